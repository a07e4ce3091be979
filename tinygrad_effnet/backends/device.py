"""Where arrays lie, and how they are moved: the host's memory, or a GPU's.

A place has PyTorch's names: ``"cpu"``, and ``"cuda:0"``, ``"cuda:1"``, ... for the devices that CuPy sees. The names of
the backends mean places as well: ``"numpy"`` the host, ``"cupy"`` the current device.

Nothing here imports CuPy unless it is asked to move something there: an array of CuPy's can only exist once CuPy has
been imported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .base import Array
from .layout import is_channel_major, swap

HOST = "cpu"
_PLACES = {"cpu": "cpu", "numpy": "cpu", "cuda": "cuda", "cupy": "cuda"}


class MixedDevicesError(TypeError):
    """Arrays that lie in different memories were to be computed with; the message says which and how to move them."""

    def __init__(self, message: str, arrays: Sequence[Array] = ()) -> None:
        super().__init__(message)
        self.arrays = arrays

    def named(self, caller: str, name_of: Callable[[int], str]) -> MixedDevicesError:
        """The same, with the names that the caller gives its arguments."""
        return MixedDevicesError(mixing(caller, [name_of(i) for i in range(len(self.arrays))], self.arrays))


def is_array(x: Any) -> bool:
    """True for an array of the host or of a device."""
    return isinstance(x, np.ndarray) or is_on_device(x)


def is_on_device(x: Any) -> bool:
    """True for an array of CuPy's."""
    kind = getattr(sys.modules.get("cupy"), "ndarray", None)  # None while another thread imports it
    return kind is not None and isinstance(x, kind)


def device_of(array: Array) -> str:
    """Where an array lies: ``"cpu"`` or ``"cuda:<number>"``."""
    return f"cuda:{array.device.id}" if is_on_device(array) else HOST


def mixing(caller: str, names: Sequence[str], arrays: Sequence[Array]) -> str:
    """What to say of arrays that lie in different places."""
    places = [device_of(array) for array in arrays]
    where = ", ".join(
        f"{name} (shape {tuple(array.shape)}) on {place}"
        for name, array, place in zip(names, arrays, places, strict=True)
    )
    first = names[0]
    other = next((i for i, place in enumerate(places) if place != places[0]), 0)
    return (
        f"{caller}: its arguments lie in different memories: {where}. Nothing is moved unseen, so move one: "
        f"{first}.to({places[other]!r}) or {names[other]}.to({places[0]!r})"
    )


def require_one_place(caller: str, **arrays: Array) -> None:
    """Refuse arrays that lie in different places, by the names that the caller gives them.

    Raises
    ------
    MixedDevicesError
        They do not all lie in one place.
    """
    if len({device_of(array) for array in arrays.values()}) > 1:
        raise MixedDevicesError(mixing(caller, list(arrays), list(arrays.values())), list(arrays.values()))


def place_named(target: Any) -> str | None:
    """The place that a word names: ``"cpu"``, ``"cuda"`` (the current device) or ``"cuda:1"``; None for other words.

    Raises
    ------
    ValueError
        It looks like a place and is none.
    """
    if not isinstance(target, str):
        return None
    word, _, number = target.partition(":")
    if word not in _PLACES:
        return None
    place = _PLACES[word]
    if not number and ":" not in target:
        return place
    if place == HOST or not re.fullmatch(r"\d{1,4}", number):
        raise ValueError(f"to(target): {target!r} is no place; expected 'cpu', 'cuda' or 'cuda:<number of the device>'")
    return f"cuda:{int(number)}"


def resolved(place: str) -> str:
    """The place with the number of its device, for "cuda" that of the current one.

    Raises
    ------
    ImportError
        It is a device, and CuPy, a driver or any device is missing.
    """
    if place == HOST:
        return place
    from .cupy.availability import require_device

    cupy = require_device(f"to({place!r})")
    return place if ":" in place else f"cuda:{cupy.cuda.Device().id}"


def move(array: Array, place: str) -> Array:
    """The array in the memory named by `place_named`: itself where it lies there, else a copy.

    Raises
    ------
    ImportError
        CuPy, a driver or the device is not there.
    DeviceMemoryError
        It does not fit there.
    """
    place = resolved(place)
    if place == device_of(array):
        return array
    if place == HOST:
        return on_host(array)
    with chosen(place) as cupy, explaining_shortage(f"to({place!r})", tuple(array.shape)):
        if not is_on_device(array):
            swapped = is_channel_major(array)  # and so it is there
            return swap(cupy.asarray(swap(array, swapped)), swapped)
        return cupy.asarray(array)


@contextmanager
def chosen(place: str) -> Iterator[Any]:
    """Inside the block the device of a `resolved` name is the current one; gives the module ``cupy``.

    Raises
    ------
    ValueError
        There is no device of that number.
    """
    import cupy

    number = int(place.partition(":")[2])
    count = cupy.cuda.runtime.getDeviceCount()
    if number >= count:
        raise ValueError(f"to({place!r}): there is no such device; this machine has {count}, numbered from 0")
    with cupy.cuda.Device(number):
        yield cupy


@contextmanager
def explaining_shortage(caller: str, *shapes: tuple[int, ...]) -> Iterator[None]:
    """Where a device is full inside the block, or the function that this decorates, the error is ours, and says so.

    Operations do this for themselves; it is for what allocates outside of one. The host's own MemoryError is let pass.
    """
    try:
        yield
    except MemoryError as error:
        memory = getattr(getattr(sys.modules.get("cupy"), "cuda", None), "memory", None)
        if memory is None or not isinstance(error, memory.OutOfMemoryError):
            raise
        from .cupy.memory import shortage

        raise shortage(error, caller, shapes) from None


def on_host(array: Array) -> np.ndarray[Any, Any]:
    """A copy as a NumPy array, in C order, wherever the original lies."""
    copy: np.ndarray[Any, Any] = array.get(order="C") if is_on_device(array) else np.array(array, order="C")
    return copy


def reading(*arrays: Array) -> Callable[[], list[np.ndarray[Any, Any]]]:
    """Begin to read arrays, all of one place; what is returned waits for them, and gives them as NumPy arrays.

    It waits for what was asked of a device before, not for what is asked of it after. Arrays of the host are given
    themselves.
    """
    if not is_on_device(arrays[0]):
        return lambda: list(arrays)
    from .cupy.memory import Reading

    with arrays[0].device:
        return Reading(arrays)


def number_like(value: Any, dtype: Any, like: Array | None) -> Array:
    """An array of shape () in the memory where ``like`` lies. On a device the number travels with a launch."""
    if like is None or type(like) is np.ndarray:
        return np.asarray(value, dtype)
    import cupy

    with like.device:
        return cupy.full((), value, dtype)


def array_like(values: Any, like: Array) -> Array:
    """What a user gave (an array of any place, a list), in the memory where ``like`` lies: a copy if it must move.

    For functions that are *asked* to carry numbers into something, such as ``load_state_dict``.
    """
    if not is_on_device(like):
        return on_host(values) if is_on_device(values) else np.asarray(values)
    return move(values if is_array(values) else np.asarray(values), device_of(like))


def copy_like(values: Any, like: Array) -> Array:
    """As `array_like`, and always a copy."""
    moved = array_like(values, like)
    return moved.copy() if moved is values or not is_on_device(moved) else moved


def zeros_like(like: Array) -> Array:
    """Zeros of the shape, dtype and place of an array."""
    if not is_on_device(like):
        return np.zeros_like(like)
    import cupy

    return cupy.zeros_like(like)


def explained(error: Exception, caller: str, name_of: Callable[[int], str], arrays: Sequence[Array]) -> Exception:
    """What went wrong with an operation's arrays, in its own words: they do not lie together, or a device is full."""
    if isinstance(error, MixedDevicesError):
        return error.named(caller, name_of) if error.arrays else error
    if not isinstance(error, MemoryError) or not any(is_on_device(array) for array in arrays):
        return error
    from .cupy.memory import shortage

    return shortage(error, caller, [tuple(array.shape) for array in arrays])
