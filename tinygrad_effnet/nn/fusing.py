"""When a module may take a fused operation in place of the modules it is built from.

The numbers are the same, but the inner modules are not called: so only where nobody watches them, and where they are
what the fused operation computes.
"""

from __future__ import annotations

from ..backends import backend_of
from ..tensor import Tensor
from .activations import SiLU
from .layers import BatchNorm2d, Conv2d, StochasticDepth
from .module import Module

REPLACED = {BatchNorm2d, Conv2d, SiLU, StochasticDepth}  # what fused operations compute; subclasses may do otherwise


def wants_fused(fused: bool | None, x: Tensor) -> bool:
    """What a ``fused`` switch means for x: None is on where the backend that computes with x has kernels for it."""
    return backend_of([x.array]).has_fused if fused is None else fused


def is_plain(module: Module) -> bool:
    """Whether a module is of a kind that is replaced, without a hook and without a forward of its own."""
    return type(module) in REPLACED and is_unwatched(module)


def is_unwatched(module: Module) -> bool:
    """Whether calling a module does nothing but what its class says."""
    own = module.__dict__
    return not own.get("_forward_hooks") and "forward" not in own
