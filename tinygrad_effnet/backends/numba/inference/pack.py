"""Weights as tiles read them: batch norm folded in, channels in groups side by side, zeros after the last."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...base import Array, Block, Layer, Window
from ..layout import empty
from .tiles import FINISHES, GROUP, LANES, WINDOWS

F32 = np.float32


class BlockArrays(NamedTuple):
    """What kernels take of a block; flat arrays."""

    hidden: int
    channels: int
    squeezed: int
    finish: int
    gates: bool
    widen_w: Array
    widen_shift: Array
    taps: Array
    taps_shift: Array
    reduce_w: Array
    reduce_b: Array
    expand_w: Array
    expand_b: Array
    project_w: Array
    project_shift: Array


class PackedBlock(NamedTuple):
    arrays: BlockArrays
    act: int
    widens: bool
    plans: dict[Any, Any]  # of `kernels`, by window, images' shape and threads


class LayerArrays(NamedTuple):
    """What kernels take of a layer; flat arrays."""

    depth: int
    channels: int
    w: Array
    shift: Array


class PackedLayer(NamedTuple):
    arrays: LayerArrays
    act: int
    plans: dict[Any, Any]  # of `kernels`, by window, images' shape and threads


def columns(w: Array) -> Array:
    """w: O K -> groups of rows of K, each K x as many vectors as the group needs, one after the other, flat."""
    outs, depth = w.shape
    parts = []
    for first in range(0, outs, GROUP):
        group = w[first : first + GROUP]
        wide = -(-len(group) // LANES) * LANES
        part = np.zeros((depth, wide), F32)
        part[:, : len(group)] = group.T
        parts.append(part.reshape(-1))
    return aligned(np.concatenate(parts))


def filters(w: Array) -> Array:
    """w: C 1 k k -> groups of channels, each k k GROUP, flat."""
    channels, taps = len(w), w[0].size
    padded = np.zeros((-(-channels // GROUP) * GROUP, taps), F32)
    padded[:channels] = w.reshape(channels, taps)
    return aligned(padded.reshape(-1, GROUP, taps).swapaxes(1, 2))


def shifts(b: Array) -> Array:
    padded = np.zeros(-(-len(b) // GROUP) * GROUP, F32)
    padded[: len(b)] = b
    return aligned(padded)


def aligned(x: Array) -> Array:
    """A flat copy that begins where a line of the cache does, so that no vector lies across two."""
    y = empty((x.size,), F32)
    y.reshape(x.shape)[...] = x
    return y


def pack_layer(layer: Layer) -> PackedLayer | None:
    """None where `kernels` cannot compute it: groups, or numbers that are not float32."""
    w = layer.weight
    if layer.groups != 1 or not fits(w, layer.shift):
        return None
    rows = w.transpose(0, 2, 3, 1).reshape(len(w), -1)
    arrays = LayerArrays(rows.shape[1], len(w), columns(rows), shifts(layer.shift))
    return PackedLayer(arrays, FINISHES.index(layer.act), {})


def takes_layer(window: Window) -> bool:
    """Whether `kernels` can convolve so: as far down as across, and without gaps."""
    return window.kernel[0] == window.kernel[1] and window.stride[0] == window.stride[1] and window.dilation == (1, 1)


def pack_block(block: Block) -> PackedBlock | None:
    """None where `kernels` cannot compute it: shapes or activations of another kind of block, not float32."""
    widen, depthwise, project, squeeze = block.widen, block.depthwise, block.project, block.squeeze
    nothing = np.zeros(1, F32)
    hidden, squeezed = len(depthwise.weight), 0 if squeeze is None else len(squeeze[1])
    channels = hidden if widen is None else widen.weight.shape[1]
    wanted = [(depthwise, (hidden, 1, *depthwise.weight.shape[2:]), hidden, depthwise.act)]
    wanted += [(project, (channels if block.skip else len(project.weight), hidden, 1, 1), 1, "none")]
    wanted += [] if widen is None else [(widen, (hidden, channels, 1, 1), 1, depthwise.act)]
    if depthwise.act == "none" or not fits(*squeeze or ()) or not all([is_such(*layer) for layer in wanted]):
        return None
    gates = (nothing,) * 4
    if squeeze is not None:
        gates = (
            aligned(squeeze[0].reshape(squeezed, hidden)), aligned(squeeze[1]),
            aligned(squeeze[2].reshape(hidden, squeezed).T), aligned(squeeze[3]),
        )  # fmt: skip
    packed = BlockArrays(
        hidden, len(project.weight), squeezed, FINISHES.index("add" if block.skip else "none"), squeeze is not None,
        nothing if widen is None else columns(widen.weight[:, :, 0, 0]),
        nothing if widen is None else shifts(widen.shift),
        filters(depthwise.weight), shifts(depthwise.shift), *gates,
        columns(project.weight[:, :, 0, 0]), shifts(project.shift),
    )  # fmt: skip
    return PackedBlock(packed, FINISHES.index(depthwise.act), widen is not None, {})


def takes_block(window: Window) -> bool:
    """Whether there is a tile for such a depthwise filter."""
    (size, across), (stride, along) = window.kernel, window.stride
    return size == across and stride == along and window.dilation == (1, 1) and (size, stride) in WINDOWS


def is_such(layer: Layer, shape: tuple[int, ...], groups: int, act: str) -> bool:
    return (layer.weight.shape, layer.groups, layer.act) == (shape, groups, act) and fits(layer.weight, layer.shift)


def fits(*arrays: Array) -> bool:
    return all([array.dtype == F32 for array in arrays])
