"""Initialisation of parameters, in place. Random numbers come from the generator that `manual_seed` starts.

The *fans* of a weight are the number of connections into an output (fan_in) and out of an input (fan_out). For a
convolution
weight (O, C/groups, kh, kw) they are C/groups·kh·kw and O/groups·kh·kw: with ``groups``, since each input reaches the
outputs of its
own group only. (PyTorch's initialisers do not know the groups, so they give depthwise filters a fan_out C times too
large.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import versions
from ..backends.device import array_like, is_array
from ..ops.random import default_generator
from ..tensor import Tensor


def fans(weight: Tensor, groups: int = 1) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (outputs, inputs/groups, ...); ValueError for fewer than two axes."""
    if weight.ndim < 2:
        raise ValueError(f"fans(weight): shape {weight.shape} has no inputs and outputs; at least 2 axes are needed")
    taps = math.prod(weight.shape[2:])
    return weight.shape[1] * taps, weight.shape[0] // groups * taps


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with numbers from a normal distribution."""
    return _fill(tensor, default_generator().normal(mean, std, tensor.shape), "normal_()")


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Fill with numbers from [low, high)."""
    return _fill(tensor, default_generator().uniform(low, high, tensor.shape), "uniform_()")


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, low: float = -2.0, high: float = 2.0) -> Tensor:
    """Fill with numbers from a normal distribution, drawing again what lies outside [low, high]."""
    generator = default_generator()
    values = generator.normal(mean, std, tensor.shape)
    outside = (values < low) | (values > high)
    while outside.any():
        values[outside] = generator.normal(mean, std, int(outside.sum()))
        outside = (values < low) | (values > high)
    return _fill(tensor, values, "trunc_normal_()")


def constant_(tensor: Tensor, value: float) -> Tensor:
    """Fill with one value."""
    return _fill(tensor, value, "constant_()")


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def _fan(weight: Tensor, mode: str, groups: int) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"init(mode): {mode!r}; expected 'fan_in' or 'fan_out'")
    return fans(weight, groups)[mode == "fan_out"]


def kaiming_normal_(weight: Tensor, mode: str = "fan_in", gain: float = math.sqrt(2), groups: int = 1) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan) (He et al. 2015, section 2.2); the default gain suits ReLU."""
    return normal_(weight, 0.0, gain / math.sqrt(_fan(weight, mode, groups)))


def kaiming_uniform_(weight: Tensor, mode: str = "fan_in", gain: float = math.sqrt(2), groups: int = 1) -> Tensor:
    """Uniform with standard deviation gain / sqrt(fan) (He et al. 2015)."""
    bound = gain * math.sqrt(3 / _fan(weight, mode, groups))
    return uniform_(weight, -bound, bound)


def xavier_normal_(weight: Tensor, gain: float = 1.0, groups: int = 1) -> Tensor:
    """Normal with variance 2 gain² / (fan_in + fan_out) (Glorot and Bengio 2010, equation 12)."""
    return normal_(weight, 0.0, gain * math.sqrt(2 / sum(fans(weight, groups))))


def xavier_uniform_(weight: Tensor, gain: float = 1.0, groups: int = 1) -> Tensor:
    """Uniform with variance 2 gain² / (fan_in + fan_out) (Glorot and Bengio 2010, equation 16)."""
    bound = gain * math.sqrt(6 / sum(fans(weight, groups)))
    return uniform_(weight, -bound, bound)


def empty(*shape: int) -> np.ndarray:
    """A float32 array for an initialiser to fill."""
    return np.empty(shape, np.float32)


def _fill(tensor: Tensor, values: Any, writer: str) -> Tensor:
    versions.wrote(writer, tensor.array)
    tensor.array[...] = array_like(values, tensor.array) if is_array(values) else values
    return tensor
