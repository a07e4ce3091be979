"""Memory layout, as far as it is the same on the host and on a device.

Images N C H W may lie channel-major, as a C-contiguous array C N H W seen through a transpose (see `base`).
"""

from __future__ import annotations

from .base import Array


def is_channel_major(x: Array) -> bool:
    """Whether ``x`` lies channel-major, and not in C order as well."""
    return bool(x.ndim >= 2 and not x.flags.c_contiguous and x.swapaxes(0, 1).flags.c_contiguous)


def swap(x: Array, swapped: bool) -> Array:
    """A view of ``x`` with its first two axes swapped, or ``x``, as asked; the same again undoes it."""
    return x.swapaxes(0, 1) if swapped else x


def require_shape(name: str, x: Array, shape: tuple[int, ...]) -> None:
    """Refuse an argument of another shape: a kernel would read past its end.

    Raises
    ------
    ValueError
        With the name of the argument, its shape, and the one that was expected.
    """
    if x.shape != shape:
        raise ValueError(f"{name}: got an array of shape {x.shape}, expected {shape}")
