"""The way of batches to a device, on a stand-in whose streams put off what nobody waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from backends.cupy.standin import machine, standin_cupy, streams

from tinygrad_effnet.backends.cupy.feed import ALIGNMENT, Feed

Arrays = list[np.ndarray]
times = pytest.mark.parametrize("when", ["early", "late"])


def batches(count: int, size: int = 5) -> list[Arrays]:
    rng = np.random.default_rng(3)
    return [
        [rng.integers(0, 256, 7).astype(np.uint8), rng.standard_normal((size, 3)), rng.integers(0, 9, size)]
        for _ in range(count)
    ]


def negatives(given: list[Arrays], when: str, spoil: Callable[[Feed], None] = lambda feed: None) -> list[Arrays]:
    """What a stream computes of batches, each of which is sent before the one before is computed with.

    ``when`` it does so: "early", as soon as it is asked, or "late", when somebody waits for it.
    """
    with standin_cupy():
        feed, computing = Feed(), streams.Stream.null if when == "early" else streams.Stream(non_blocking=True)
        spoil(feed)
        results: list[Any] = []
        before = None
        for batch in [*given, None]:
            own = None if batch is None else [part.copy() for part in batch]
            sent = None if own is None else feed.send(own)
            for part in own or []:
                part[...] = 0  # it is the caller's again
            if before is not None:
                with computing, before.opened() as there:
                    results.append([-part for part in there])
            before = sent
        feed.close()
        with computing:
            return [[part.get() for part in result] for result in results]


def same(a: list[Arrays], b: list[Arrays]) -> bool:
    return all(np.array_equal(x, y) for xs, ys in zip(a, b, strict=True) for x, y in zip(xs, ys, strict=True))


@times
def test_numbers_arrive_whole_and_in_order(when: str) -> None:
    given = batches(7)
    assert same(negatives(given, when), [[-part for part in batch] for batch in given])


@times
def test_slots_grow_under_way(when: str) -> None:
    given = [batches(1, size)[0] for size in (2, 3, 40, 1, 300, 80, 700)]
    assert same(negatives(given, when), [[-part for part in batch] for batch in given])


def without(name: str, method: str) -> Callable[[Feed], None]:
    """One kind of waiting left out: of whom, for which event."""

    def spoil(feed: Feed) -> None:
        events = [getattr(slot, name) for slot in feed._slots]
        if method == "synchronize":
            for event in events:
                event.synchronize = lambda: None
            return
        wait, owner = streams.Stream.wait_event, feed._stream

        def deaf(self: streams.Stream, event: streams.Event) -> None:
            if not (event in events and (self is owner) == (method == "copying")):
                wait(self, event)

        streams.Stream.wait_event = deaf  # type: ignore[method-assign]

    return spoil


@pytest.mark.parametrize(
    ("event", "waiting", "when"),
    [("copied", "synchronize", "late"), ("used", "copying", "late"), ("copied", "computing", "early")],
)
def test_each_wait_is_needed(event: str, waiting: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the tests above would see one that is missing."""
    monkeypatch.setattr(streams.Stream, "wait_event", streams.Stream.wait_event)
    given = batches(7)
    assert not same(negatives(given, when, without(event, waiting)), [[-part for part in batch] for batch in given])


def test_arrays_begin_where_kernels_can_read_them() -> None:
    with standin_cupy():
        with Feed().send(batches(1)[0]).opened() as there:
            assert [(a.data.ptr - there[0].data.ptr) % ALIGNMENT for a in there] == [0, 0, 0]
            assert [a.dtype for a in there] == [np.uint8, np.float64, np.int64]
            assert all(a.base is not None for a in there)  # parts of one buffer


def test_a_parcel_is_opened_once_and_in_time() -> None:
    with standin_cupy():
        feed = Feed()
        first, second, third = (feed.send(batch) for batch in batches(3))
        with pytest.raises(RuntimeError, match=r"^Parcel\.opened: it was opened before, or two more were sent since"):
            first.opened().__enter__()
        for parcel in (second, third):
            with parcel.opened():
                pass
        with pytest.raises(RuntimeError, match="send it again"):
            second.opened().__enter__()


def test_a_device_without_room_is_as_it_was() -> None:
    given = batches(1, 4000)[0]
    with standin_cupy(memory=2**16):
        feed = Feed()
        with pytest.raises(MemoryError):
            feed.send(given)
        assert machine.pools[0].used == 0
        small = batches(1)[0]
        with feed.send(small).opened() as there:
            np.testing.assert_array_equal(there[1].get(), small[1])
        feed.close()
        del there
        assert machine.pools[0].used == 0


def test_a_host_without_page_locked_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with standin_cupy() as cupy:
        error = machine.CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        monkeypatch.setattr(cupy.cuda.runtime, "errorMemoryAllocation", 2, raising=False)

        def full(size: int) -> Any:
            raise error

        monkeypatch.setattr(cupy.cuda, "alloc_pinned_memory", full)
        feed = Feed()
        error.status = 2  # type: ignore[attr-defined]
        with pytest.raises(MemoryError, match=r"^the host has no [\d,]+ bytes of page-locked memory"):
            feed.send(batches(1)[0])
        error.status = 700  # type: ignore[attr-defined]
        with pytest.raises(machine.CUDARuntimeError):
            feed.send(batches(1)[0])
