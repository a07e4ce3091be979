"""Streams of the stand-in: what is asked of one is kept back until somebody waits for it, and not done sooner.

So whoever forgets to wait reads what is not written yet, or writes over what is still to be read, and his numbers are
wrong. The null stream computes at once, which makes it quick; only what it sends to page-locked memory arrives when it
is waited for, as on any stream.
"""

from __future__ import annotations

import math
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from backends.cupy.standin.machine import CUDARuntimeError, traffic

_streams: weakref.WeakSet[Stream] = weakref.WeakSet()
_pinned: list[weakref.ref[np.ndarray]] = []


class Stream:
    """One order of work."""

    null: ClassVar[Stream]
    _entered: ClassVar[list[Stream]] = []

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.is_null, self.non_blocking = null, non_blocking
        self._work: deque[Callable[[], Any]] = deque()
        self._captured: list[Callable[[], Any]] | None = None
        self.asked = self._done = 0
        _streams.add(self)

    def __enter__(self) -> Stream:
        self._entered.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._entered.pop()

    # -- what the stand-in asks of it ------------------------------------------------------------------------------
    def later(self, work: Callable[[], Any]) -> None:
        """Do it when it is waited for, or in every replay of what is recorded."""
        if self._captured is not None:
            self._captured.append(work)
            return
        self._work.append(work)
        self.asked += 1

    def run(self, until: int | None = None) -> None:
        """Do what was asked, in order: all of it, or the first so many pieces."""
        if self._captured is not None:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted")
        while self._done < (self.asked if until is None else until):
            self._done += 1
            self._work.popleft()()

    def is_behind(self, until: int) -> bool:
        """Whether so much is not done yet. What the null stream computes counts as under way for ever."""
        return self.is_null or self._done < until

    # -- as CuPy has it --------------------------------------------------------------------------------------------
    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """What comes after it here comes after the event."""
        there, until = event.at or (self, 0)
        if self.is_null:
            there.run(until)
        elif there is not self:
            self.later(lambda: there.run(until))

    def synchronize(self) -> None:
        traffic.note("waits", 0)
        self.run()

    # -- graphs ----------------------------------------------------------------------------------------------------
    def begin_capture(self, mode: Any = None) -> None:
        if self.is_null:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self._captured = []

    def end_capture(self) -> Graph:
        graph, self._captured = Graph(self._captured or []), None
        return graph

    def is_capturing(self) -> bool:
        return self._captured is not None


class Graph:
    """What was recorded: work on the same memory in every replay."""

    def __init__(self, work: list[Callable[[], Any]]) -> None:
        self.work = work

    def launch(self, stream: Stream | None = None) -> None:
        stream = stream or current()
        for work in self.work:
            work() if stream.is_null else stream.later(work)


Stream.null = Stream(null=True)


def current() -> Stream:
    """The stream that work is asked of."""
    return Stream._entered[-1] if Stream._entered else Stream.null


class Event:
    """A place in the work of a stream, and the host's time when it was recorded."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.at: tuple[Stream, int] | None = None
        self.time = None if disable_timing else math.nan

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or current()
        self.at = stream, stream.asked
        self.time = None if self.time is None else time.perf_counter()

    @property
    def done(self) -> bool:
        return self.at is None or not self.at[0].is_behind(self.at[1])

    def synchronize(self) -> None:
        if self.at is not None and not self.done:
            traffic.note("waits", 0)
            self.at[0].run(self.at[1])


def elapsed(begin: Event, end: Event) -> float:
    """Milliseconds from one event to the other, both recorded and done."""
    if begin.time is None or end.time is None or begin.at is None or end.at is None:
        raise CUDARuntimeError("cudaErrorInvalidResourceHandle: an event without time, or not recorded")
    if not (end.done or end.at[0].is_null):
        raise CUDARuntimeError("cudaErrorNotReady: device not ready")
    return (end.time - begin.time) * 1e3


def keep(memory: np.ndarray) -> None:
    """Memory given back is used again after what was asked for before, also where a kernel knows its address only."""
    for stream in list(_streams):
        if stream._work:
            stream.later(lambda: memory)


def synchronize_all() -> None:
    """All streams come to their end."""
    traffic.note("waits", 0)
    for stream in list(_streams):
        stream.run()


def forget() -> None:
    """What nobody waits for any more is never done."""
    for stream in list(_streams):
        stream._work.clear()
        stream._done = stream.asked
    _pinned.clear()


def alloc_pinned_memory(size: int) -> np.ndarray:
    """Page-locked memory, with whatever lay there: ones in every bit."""
    memory = np.full(max(512, 1 << (size - 1).bit_length()) if size else 0, 0xFF, np.uint8)
    _pinned.append(weakref.ref(memory))
    return memory


def require_pinned(array: np.ndarray) -> None:
    """A stream copies to and from page-locked memory without waiting, and from no other."""
    own = (memory() for memory in _pinned)
    if not any(memory is not None and np.may_share_memory(array, memory) for memory in own):
        raise AssertionError("a copy that nobody waits for is to or from memory that is not page-locked")
