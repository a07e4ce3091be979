"""Batch norm into the convolution before it, where it costs nothing.

In use, batch norm multiplies each channel by one number and adds another, and so does a bias that is added. Both are
linear, as the convolution is: they go into its weight and bias,
``a · (w ⋆ x + c) + b = (a · w) ⋆ x + (a · c + b)``, computed in double precision and kept in single.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from .trace import Step, Trace, Value

CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
Vector = np.ndarray  # of float64, one number a channel


class _Affine(NamedTuple):
    """y = x · scale + shift, channel by channel."""

    x: Value
    scale: Vector
    shift: Vector


def fold(trace: Trace) -> None:
    """Let convolutions do what is multiplied by and added to their results, and to nobody else's."""
    uses = Counter([*[value for step in trace.steps for value in step.inputs], *trace.outputs])
    maker = {step.outputs[0]: step for step in trace.steps if step.op.name in CONVOLUTIONS}
    kept = []
    for step in trace.steps:
        affine = _affine(step)
        conv = None if affine is None else maker.get(affine.x)
        if affine is None or conv is None or uses[affine.x] > 1 or conv.inputs[1].constant is None:
            kept.append(step)
            continue
        weight = conv.inputs[1]
        bias = np.zeros(len(affine.scale)) if len(conv.inputs) == 2 else _numbers(conv.inputs[2])
        scaled = _numbers(weight) * affine.scale.reshape(-1, 1, 1, 1)
        name = weight.name.removesuffix("weight") + "bias" if weight.name.endswith("weight") else ""
        conv.inputs = [
            conv.inputs[0],
            Value(weight.sizes, scaled.astype(np.float32), weight.name),
            Value(affine.shift.shape, (bias * affine.scale + affine.shift).astype(np.float32), name),
        ]
        conv.outputs = step.outputs
        maker[step.outputs[0]] = conv
    trace.steps = kept


def _affine(step: Step) -> _Affine | None:
    """The step as multiplication and addition channel by channel, if it is that."""
    name, inputs = step.op.name, step.inputs
    if len(inputs) == 3 and name == "scale_shift" and len(inputs[0].sizes) == 4:
        if inputs[1].constant is None or inputs[2].constant is None:
            return None
        return _Affine(inputs[0], _numbers(inputs[1]), _numbers(inputs[2]))
    if name not in ("add", "sub", "mul", "div"):
        return None
    x, other = inputs
    if x.constant is not None and name in ("add", "mul"):
        x, other = other, x
    if x.constant is not None or x.sizes != step.outputs[0].sizes:
        return None
    vector = _by_channel(other, x)
    if vector is None:
        return None
    ones, zeros = np.ones_like(vector), np.zeros_like(vector)
    if name in ("add", "sub"):
        return _Affine(x, ones, vector if name == "add" else -vector)
    return _Affine(x, vector if name == "mul" else 1 / vector, zeros)


def _by_channel(other: Value, x: Value) -> Vector | None:
    """A constant that is the same for every image and pixel, one number a channel."""
    channels = x.sizes[1] if len(x.sizes) == 4 else None
    if other.constant is None or channels is None:
        return None
    shape = (1,) * (4 - len(other.sizes)) + other.constant.shape
    if shape not in ((1, channels, 1, 1), (1, 1, 1, 1)):
        return None
    return np.broadcast_to(_numbers(other).reshape(-1), (channels,)).copy()


def _numbers(value: Value) -> np.ndarray:
    return np.asarray(value.constant, np.float64)
