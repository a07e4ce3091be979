"""Moving tensors between the memories of the host and of devices: an operation like others, so gradients move back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backends import Array, Backend
from ..backends.device import device_of, move, place_named, resolved
from ..op import Op, Shape, function, register
from ..tensor import Tensor
from .arithmetic import cast


@register
class Move(Op):
    """Another memory: that of the host, or of a GPU."""

    formula = "y = x in another memory"
    rule = "x̄ = ȳ in the memory of x"
    shapes = "x: ... -> ..."
    integers = True

    def __init__(self, place: str) -> None:
        self.place = place

    def forward(self, kernels: Backend, x: Array) -> Array:
        self.source = device_of(x)
        y = move(x, self.place)
        return x.view() if y is x else y  # a result of its own: what is saved must be told apart

    def backward(self, dy: Tensor) -> Tensor:
        return Move(self.source)(dy)

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return 0


@function
def to(x: Tensor, target: Any) -> Tensor:
    """x in another memory or of another dtype; x itself where nothing changes.

    Parameters
    ----------
    target : str or dtype
        A place: "cpu" or "numpy" for the host, "cuda" or "cupy" for the current GPU, "cuda:1" for another one. Or a
        dtype, see `cast`.

    Raises
    ------
    ImportError
        There is no such GPU, or CuPy or a driver is missing; the message says which.
    """
    place = place_named(target)
    if place is None:
        return cast(x, target)
    place = resolved(place)
    return x if place == device_of(x.array) else Move(place)(x)
