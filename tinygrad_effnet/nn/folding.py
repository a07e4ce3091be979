"""Use without gradients: batch norm folded into the weights, and a whole block or layer in one kernel.

In eval mode a batch norm is a scale and a shift of each channel, which the convolution before it can do itself:

    (conv(x, w) - mean) / √(var + eps) · gamma + beta = conv(x, w · scale) + shift
    scale = gamma / √(var + eps),    shift = beta - mean · scale

The folded weights, in the form that kernels read, are kept with the module for as long as nobody writes to what they
were made from. All this is done under `no_grad` alone, where the backend has kernels for it, and where nobody watches
an inner module or looks on at operations: otherwise the module computes as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import op, tape, versions
from ..backends import Block, Layer, Window, backend_of
from ..backends.device import is_array, require_one_place
from ..ops.window import window_of
from ..tensor import Tensor, wrap
from .activations import ReLU6, SiLU
from .fusing import is_unwatched
from .layers import BatchNorm2d, Conv2d
from .module import Module

ACTS = {SiLU: "silu", ReLU6: "relu6", type(None): "none"}
KEPT = "_folded"  # the attribute that holds a module's `Folded`


class Folded(NamedTuple):
    """What kernels read of a module, and what it was made from."""

    source: tuple[Any, ...]  # parameters' arrays and settings, the same objects for as long as they hold
    time: int  # by the clock of versions.py
    packed: Any  # None where there are no kernels for such a module
    windows: dict[tuple[Any, ...], Window | None]  # by the image's size


def whole_block(block: Any, x: Tensor) -> Tensor | None:
    """An `MBConv`'s result, or None where it must be computed in steps.

    Raises
    ------
    MixedDevicesError
        The weights lie elsewhere.
    """
    kernels = _kernels(block, x)
    if kernels is None or (block.drop_path is not None and block.drop_path.training):
        return None
    layers = [layer for layer in (block.expand, block.depthwise, block.project) if layer is not None]
    source = _source(layers)
    if source is None or not all([is_unwatched(part) for part in (block.drop_path, block.squeeze_excite) if part]):
        return None
    squeeze = block.squeeze_excite
    if squeeze is not None:
        if not squeeze.is_plain:
            return None
        source += tuple([weight.array for weight in squeeze.weights])

    def pack() -> Any:
        if not all([_is_pointwise(layer.conv) for layer in layers if layer is not block.depthwise]):
            return None
        require_one_place("conv2d", x=x.array, w=layers[0].conv.weight.array)
        widen = None if block.expand is None else fold(block.expand)
        weights: Any = None if squeeze is None else tuple([weight.array for weight in squeeze.weights])
        return kernels.pack_block(Block(widen, fold(block.depthwise), weights, fold(block.project), block.has_skip))

    folded = _folded(block, source, pack)
    window = _window(folded, block.depthwise.conv, x, layers[0].conv.in_channels, kernels.takes_block)
    return None if window is None else wrap(kernels.run_block(x.array, folded.packed, window))


def whole_layer(layer: Any, x: Tensor, skip: Tensor | None = None) -> Tensor | None:
    """A `ConvNormAct`'s result (plus ``skip``), or None where it must be computed in steps; errors as of a block."""
    kernels = _kernels(layer, x)
    source = None if kernels is None else _source([layer])
    if source is None:
        return None

    def pack() -> Any:
        require_one_place("conv2d", x=x.array, w=layer.conv.weight.array)
        return kernels.pack_layer(fold(layer))

    folded = _folded(layer, source, pack)
    window = _window(folded, layer.conv, x, layer.conv.in_channels, kernels.takes_layer)
    if window is None:
        return None
    return wrap(kernels.run_layer(x.array, folded.packed, window, None if skip is None else skip.array))


def kept_in(module: Module) -> list[Folded]:
    """What this module and those below it keep folded now: a recording of their launches reads it (recorded.py)."""
    return [vars(part)[KEPT] for part in module.modules() if KEPT in vars(part)]


def fold(layer: Any) -> Layer:
    """A `ConvNormAct` as one convolution with a shift."""
    conv, norm = layer.conv, layer.norm
    gamma, beta, mean, var, weight = [
        tensor.array.astype(np.float64)
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var, conv.weight)
    ]
    scale = gamma / backend_of([var]).sqrt(var + norm.eps)
    shift = beta - mean * scale
    weight = weight * scale.reshape(-1, 1, 1, 1)
    dtype = conv.weight.dtype
    return Layer(weight.astype(dtype), shift.astype(dtype), conv.groups, ACTS[type(layer.act)])


def _kernels(module: Module, x: Tensor) -> Any:
    """The backend's kernels for use, if this is use and nobody looks on."""
    if tape.is_grad_enabled():
        vars(module).pop(KEPT, None)  # in training it would be stale at every step
        return None
    return None if op.watch or op.around_forwards else backend_of([x.array]).inference


def _source(layers: list[Any]) -> tuple[Any, ...] | None:
    """All that folded weights depend on, or None if one of the layers is not what is folded, or is watched."""
    source: list[Any] = []
    for layer in layers:
        conv, norm, act = layer.conv, layer.norm, layer.act
        if type(conv) is not Conv2d or type(norm) is not BatchNorm2d or type(act) not in ACTS:
            return None
        if (
            norm.training
            or conv.bias is not None
            or not all([is_unwatched(part) for part in (layer, conv, norm, act) if part])
        ):
            return None
        tensors = conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var
        source += [tensor.array for tensor in tensors]
        source += [norm.eps, conv.stride, conv.padding, conv.dilation, conv.groups, type(act)]
    return tuple(source)


def _folded(module: Module, source: tuple[Any, ...], pack: Callable[[], Any]) -> Folded:
    """What was kept, or made anew where something was replaced or written to."""
    kept: Folded | None = vars(module).get(KEPT)
    if kept is not None and len(kept.source) == len(source):
        same = all([a is b for a, b in zip(kept.source, source, strict=True)])
        if same and kept.time == versions.clock:
            return kept
        arrays = [a for a in source if is_array(a)]
        time = versions.clock
        if same and not any([versions.last_write(array, kept.time) for array in arrays]):
            kept = kept._replace(time=time)
            vars(module)[KEPT] = kept
            return kept
    time = versions.clock  # before anything is read
    kept = Folded(source, time, pack(), {})
    vars(module)[KEPT] = kept
    return kept


def _window(folded: Folded, conv: Conv2d, x: Tensor, channels: int, takes: Callable[[Window], bool]) -> Window | None:
    """The convolution's window for images such as x, or None where kernels do not take them."""
    array = x.array
    if folded.packed is None or array.ndim != 4 or array.shape[1] != channels or array.dtype != conv.weight.array.dtype:
        return None
    size = array.shape[2:]
    if size not in folded.windows:
        window = _window_of(conv, size)
        folded.windows[size] = window if window is not None and takes(window) else None
    return folded.windows[size] if array.size else None


def _window_of(conv: Conv2d, size: Any) -> Window | None:
    """None where it does not fit: the module then says so as ever."""
    try:
        return window_of("Conv2d", conv.kernel_size, conv.stride, conv.padding, conv.dilation, size)
    except ValueError:
        return None


def _is_pointwise(conv: Conv2d) -> bool:
    window = _window_of(conv, (1, 1))
    return window is not None and window.is_pointwise
