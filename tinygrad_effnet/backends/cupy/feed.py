"""The way of batches to a device while it computes: page-locked memory, a stream of their own, two slots by turns.

A slot has a buffer h of page-locked memory, a buffer d on the device, and two events. Who waits for whom:

=========  ======================  ==============================  ===================
who        does                    not before                      waits for
=========  ======================  ==============================  ===================
the host   fills h                 h has left, two batches ago     ``copied``
copying    h -> d                  d has been read, two ago        ``used``
computing  makes images out of d   d has arrived                   ``copied``
=========  ======================  ==============================  ===================

CuPy's pool hands memory that was freed on one stream to the next that asks on the same stream, at once: it trusts in
that stream's order, and knows no other. So nothing may be freed on one stream that another still uses.

* d is asked for on the copying stream. Were it asked for on the computing one, it might be an activation's that was
  freed a moment ago and is still to be read, and the copy would not wait for that.
* d is given back where its slot must grow, after the copying stream has been told to wait for ``used``. It can only
  come back to that stream, and so after all that read it.
* In the end both buffers are given back after the host has waited for both events, once for an epoch: another stream
  may get the address of this one, and with it this one's free memory.
* What is made out of d is asked for and written on the computing stream, where everything else reads it. Nothing that
  leaves a slot shows d or h: a label is copied, on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Array
from .memory import page_locked

ALIGNMENT = 256  # bytes; where each array begins, as in memory of its own
SLOTS = 2


class Feed:
    """Carries arrays to the current device beside what is computed there.

    Made, used and ended with that device the current one, by one thread.
    """

    def __init__(self) -> None:
        import cupy

        self._stream = cupy.cuda.Stream(non_blocking=True)  # one that does not wait for the default stream
        self._slots = [_Slot(self._stream) for _ in range(SLOTS)]
        self._sent = 0

    def send(self, arrays: Sequence[NDArray[Any]]) -> Parcel:
        """Begin to carry arrays over; they may be written to as soon as this returns.

        Of all that is sent the last two can be opened.

        Raises
        ------
        MemoryError
            No room is left on the device, or for page-locked memory.
        """
        slot = self._slots[self._sent % SLOTS]
        spans, size = _spans(arrays)
        slot.holds = 0
        slot.require(size)
        for array, (first, last) in zip(arrays, spans, strict=True):
            np.copyto(slot.host[first:last].view(array.dtype).reshape(array.shape), array)
        slot.there[:size].set(slot.host[:size], self._stream)
        slot.copied.record(self._stream)
        self._sent += 1
        slot.holds = self._sent
        return Parcel(slot, self._sent, [(*span, a.dtype, a.shape) for a, span in zip(arrays, spans, strict=True)])

    def close(self) -> None:
        """Wait until the buffers are free of use, and give them back."""
        for slot in self._slots:
            slot.copied.synchronize()
            slot.used.synchronize()
        self._slots.clear()


class Parcel:
    """Arrays on their way; see `Feed.send`."""

    def __init__(self, slot: _Slot, number: int, layout: list[tuple[int, int, np.dtype[Any], tuple[int, ...]]]) -> None:
        self._slot, self._number, self._layout = slot, number, layout

    @contextmanager
    def opened(self) -> Iterator[list[Array]]:
        """The arrays on the device, once, to be read by work that is asked of the current stream inside the block.

        Raises
        ------
        RuntimeError
            It has been opened before, or its place has been taken by a later one.
        """
        import cupy

        slot = self._slot
        if slot.holds != self._number:
            raise RuntimeError("Parcel.opened: it was opened before, or two more were sent since; send it again")
        slot.holds = 0
        stream = cupy.cuda.get_current_stream()
        stream.wait_event(slot.copied)
        try:
            yield [slot.there[first:last].view(dtype).reshape(shape) for first, last, dtype, shape in self._layout]
        finally:
            slot.used.record(stream)


class _Slot:
    """Two buffers and their events. An event that has not been recorded yet is over."""

    def __init__(self, stream: Any) -> None:
        import cupy

        self.stream = stream
        self.copied, self.used = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        self.host: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.there: Array = cupy.empty(0, "uint8")
        self.holds = 0  # the number of the parcel that lies here, from 1, until it is opened

    def require(self, size: int) -> None:
        """Wait until the host may write, and the copying stream will; make room for so many bytes."""
        import cupy

        self.copied.synchronize()
        self.stream.wait_event(self.used)
        room = size + size // 8  # batches of photographs differ a little
        if len(self.host) < size:
            self.host = np.empty(0, np.uint8)
            self.host = page_locked(room)
        if len(self.there) < size:
            with self.stream:
                self.there = cupy.empty(0, "uint8")
                self.there = cupy.empty(room, "uint8")


def _spans(arrays: Sequence[NDArray[Any]]) -> tuple[list[tuple[int, int]], int]:
    """Where each array begins and ends in a buffer, and the bytes of all."""
    spans, end = [], 0
    for array in arrays:
        first = -(-end // ALIGNMENT) * ALIGNMENT
        end = first + array.nbytes
        spans.append((first, end))
    return spans, end
