"""The launches of a function, recorded once and replayed as one: a CUDA graph.

A launch costs the host some microseconds, and all of Python that leads to it many more. Where the device has little to
compute, as for one image, that is what takes the time. A graph asks for everything at once.

A graph has the addresses of its arrays built in, and a replay writes to them whatever else may lie there by then. So

* everything that is allocated while the function is recorded comes out of a pool of the recording's own, which nobody
  else takes from. The function frees its intermediate arrays and they are reused, by itself: in the graph as in the
  recording, one after the other. The pool, and its results, live for as long as the recording does.
* a replay's arguments are copied into arrays of the recording, and its result out of one, into memory of the caller's.
* what else the function reads must stay where it is, which its owner sees to.

The function is run once before it is recorded: that compiles its kernels, fills what it keeps between calls, and leaves
in the pool what the recording will ask for. It must launch the same work every time, read no number and send none.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..base import Array
from .products import own_products


class RecordingError(RuntimeError):
    """A function cannot be recorded; the message says what it did that cannot be, and the cause is chained."""


class Graph:
    """``function`` of arrays on the current device, recorded for such arguments as the examples.

    Parameters
    ----------
    function : callable
        Takes arrays and gives one.
    examples : arrays
        Of the shapes and dtypes that it will be called with. Nothing is written to them.

    Raises
    ------
    RecordingError
        It does something that cannot be recorded.
    """

    def __init__(self, function: Callable[..., Array], *examples: Array) -> None:
        import cupy

        self._pool = cupy.cuda.MemoryPool()
        self._over = cupy.cuda.get_current_stream().record()  # the last replay, and at first what examples wait for
        stream = cupy.cuda.Stream(non_blocking=True)  # the default stream cannot record
        stream.wait_event(self._over)
        with cupy.cuda.using_allocator(self._pool.malloc), own_products(), stream:
            self._arguments = [example.copy() for example in examples]
            function(*self._arguments)
            stream.synchronize()
            self._result, self._graph = _recorded(function, self._arguments, stream)

    def __call__(self, *arguments: Array) -> Array:
        """What the function gives, computed on the current stream.

        Raises
        ------
        TypeError, ValueError
            An argument is not such as was recorded.
        """
        import cupy

        if len(arguments) != len(self._arguments):
            raise TypeError(f"Graph: got {len(arguments)} arguments, recorded with {len(self._arguments)}")
        for number, (given, own) in enumerate(zip(arguments, self._arguments, strict=True)):
            if (given.shape, given.dtype, given.device.id) != (own.shape, own.dtype, own.device.id):
                raise ValueError(
                    f"Graph, argument {number}: got {given.dtype} of shape {given.shape} on device {given.device.id}, "
                    f"recorded with {own.dtype} of shape {own.shape} on device {own.device.id}; record another graph"
                )
        stream = cupy.cuda.get_current_stream()
        stream.wait_event(self._over)  # on whichever stream it was
        for given, own in zip(arguments, self._arguments, strict=True):
            own[...] = given
        self._graph.launch(stream)
        result = self._result.copy()
        self._over.record(stream)
        return result

    def __del__(self) -> None:
        if hasattr(self, "_graph"):
            self._over.synchronize()  # or its memory might be given back under a replay

    @property
    def nbytes(self) -> int:
        """Bytes of the device that the recording holds."""
        held: int = self._pool.total_bytes()
        return held


def _recorded(function: Callable[..., Array], arguments: list[Array], stream: Any) -> tuple[Array, Any]:
    """The array that replays write to, and the graph."""
    stream.begin_capture()
    try:
        result = function(*arguments)
    except Exception as error:
        with suppress(RuntimeError):  # the stream must stop recording; that it recorded nothing of use is known
            stream.end_capture()
        if isinstance(error, MemoryError):
            raise
        raise RecordingError(
            f"the launches cannot be recorded: {error}. What is recorded may compute on the device; it may not read "
            "a number, send one, or call another library"
        ) from error
    return result, stream.end_capture()
