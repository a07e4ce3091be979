"""The machine of the stand-in: two devices with little memory, and a count of what goes to and fro."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_current = [0]
DEVICES = 2
MEMORY = 2**32
runs_kernels = [True]  # of the blocks that we are in, the innermost last


class OutOfMemoryError(MemoryError):
    """As ``cupy.cuda.memory`` has it."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


class CUDARuntimeError(RuntimeError):
    """As ``cupy.cuda.runtime`` has it."""


class Traffic:
    """How often something was copied from one memory to the other or waited for, and how much was launched."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.counts = {"to host": 0, "to device": 0, "waits": 0}
        self.bytes = dict(self.counts)
        self.launches = 0

    def note(self, kind: str, nbytes: int) -> None:
        self.counts[kind] += 1
        self.bytes[kind] += nbytes


traffic = Traffic()


class Pool:
    """Memory of a device: what is in use, and no more than there is."""

    def __init__(self, limit: int = MEMORY) -> None:
        self.used = self.peak = 0
        self.limit = limit
        self.users_limit = 0  # none

    def allocate(self, nbytes: int) -> None:
        if self.used + nbytes > (self.users_limit or self.limit):
            raise OutOfMemoryError(nbytes, self.used)
        self.used += nbytes
        self.peak = max(self.peak, self.used)

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return self.peak

    def free_bytes(self) -> int:
        return self.peak - self.used

    def free_all_blocks(self) -> None:
        self.peak = self.used

    def get_limit(self) -> int:
        return self.users_limit

    def set_limit(self, size: int) -> None:
        self.users_limit = size

    def malloc(self, size: int) -> None:
        """Only names the pool; see `using_allocator`."""


pools = [Pool() for _ in range(DEVICES)]
_allocators: list[Any] = []


@contextmanager
def using_allocator(malloc: Any) -> Iterator[None]:
    """As ``cupy.cuda`` has it, for the ``malloc`` of a pool."""
    _allocators.append(malloc)
    try:
        yield
    finally:
        _allocators.pop()


def pool_of(device: int) -> Pool:
    """Where memory comes from."""
    pool: Pool = _allocators[-1].__self__ if _allocators else pools[device]
    return pool


def properties(number: int) -> dict[str, Any]:
    """As ``cupy.cuda.runtime.getDeviceProperties`` gives them, the name in bytes."""
    return {"name": b"Stand-in", "major": 9, "minor": 0, "multiProcessorCount": 132, "totalGlobalMem": MEMORY + number}


class Device:
    """``with Device(1):`` computes there."""

    def __init__(self, number: int | None = None) -> None:
        self.id = _current[-1] if number is None else number
        if not 0 <= self.id < DEVICES:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def __enter__(self) -> Device:
        _current.append(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        _current.pop()

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    @property
    def mem_info(self) -> tuple[int, int]:
        """(free, total) bytes, as the driver sees them: what the pool keeps is not free."""
        pool = pools[self.id]
        return pool.limit - pool.peak, pool.limit

    def synchronize(self) -> None:
        from backends.cupy.standin import streams  # which count what goes to and fro here

        streams.synchronize_all()
