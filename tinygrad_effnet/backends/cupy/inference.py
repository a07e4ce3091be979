"""A network in use on a GPU: batch norm folded into weights, and a block in as few launches as its products allow.

A single image keeps a GPU busy for less time than the host needs to launch its kernels, so that launches are what a
block costs: seven, or eight where it widens, all of whose constants were made when it was packed. A shift, SiLU and a
skip are one pass over the product's result, in place; those of the widened image are computed where the depthwise
convolution reads it, and those of its result where the gates are applied.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..base import Array, Block, Layer, Squeeze, Statistics, Window
from . import convolution, depthwise, fused
from .launch import MOST_SHARED, computing, kernel
from .layout import THREADS, channel_first, channel_major, plain
from .normalization import normalise

POINTWISE = Window((1, 1))
ACTS = {"none": "PLAIN", "silu": "SILU"}  # what `normalise` calls them; others are computed in steps


class Shift(NamedTuple):
    """A shift in the form of a batch norm, which kernels take: scale 1, and the mean with its sign turned."""

    scale: Array
    beta: Array
    mean: Array
    var: Array

    @property
    def statistics(self) -> Statistics:
        return Statistics(self.mean, self.var, 0.0, True)


class PackedLayer(NamedTuple):
    """A convolution and what follows it. weight: O C/groups kh kw."""

    weight: Array
    shift: Shift
    groups: int
    mode: str  # of `normalise`


class PackedSqueeze(NamedTuple):
    """Squeeze-excitation as `gates` reads it: S C, S, S C (transposed), C."""

    reduce: Array
    reduce_bias: Array
    expand: Array
    expand_bias: Array

    def shared(self, dtype: Any) -> int:
        """Bytes of shared memory that an image's gates take."""
        return sum(self.reduce.shape) * int(computing(dtype).itemsize)


class PackedBlock(NamedTuple):
    """An inverted residual."""

    widen: PackedLayer | None
    depthwise: PackedLayer
    squeeze: PackedSqueeze | None
    project: PackedLayer
    skip: bool


def pack_layer(layer: Layer) -> PackedLayer | None:
    """What `run_layer` reads, or None where there is no kernel for its activation."""
    import cupy

    if layer.act not in ACTS:
        return None
    mean = -layer.shift.astype(computing(layer.shift.dtype))
    shift = Shift(cupy.ones_like(mean), cupy.zeros_like(mean), mean, cupy.ones_like(mean))
    return PackedLayer(plain(layer.weight), shift, layer.groups, ACTS[layer.act])


def takes_layer(window: Window) -> bool:
    """Whether `run_layer` takes such a convolution: any."""
    return True


def pack_block(block: Block) -> PackedBlock | None:
    """What `run_block` reads, or None where there are no kernels for such a block."""
    widen = None if block.widen is None else pack_layer(block.widen)
    middle, project = pack_layer(block.depthwise), pack_layer(block.project)
    squeeze = None if block.squeeze is None else _pack_squeeze(block.squeeze)
    if middle is None or project is None or project.mode != "PLAIN" or middle.mode != "SILU":
        return None
    if (block.widen is not None and (widen is None or widen.mode != "SILU")) or not _is_depthwise(middle):
        return None
    if squeeze is not None and squeeze.shared(middle.weight.dtype) > MOST_SHARED:
        return None
    return PackedBlock(widen, middle, squeeze, project, block.skip)


def takes_block(window: Window) -> bool:
    """Whether `run_block` takes a block of such a depthwise convolution."""
    return depthwise.has_kernel(window)


def run_layer(x: Array, packed: PackedLayer, window: Window, skip: Array | None) -> Array:
    """act(conv2d(x, weight) + shift), plus ``skip``. x: N C H W, not empty -> N O Ho Wo."""
    weight, _, groups, mode = packed
    if _is_depthwise(packed):
        y = channel_major(depthwise.depthwise_conv2d(x, weight, window))
    else:
        y = channel_major(convolution.conv2d(x, weight, window, groups))
    if skip is not None and mode == "PLAIN":
        return _finished(y, packed.shift, "ADD", skip)
    made = _finished(y, packed.shift, mode)
    if skip is not None:
        made += skip
    return made


def run_block(x: Array, packed: PackedBlock, window: Window) -> Array:
    """The block's result for x: N C H W, not empty, by the window of its depthwise convolution -> N O Ho Wo."""
    widen, middle, squeeze, project, skip = packed
    wide = x if widen is None else convolution.conv2d(x, widen.weight, POINTWISE, widen.groups)
    source, size, out = channel_major(wide), (x.shape[2], x.shape[3]), window.output_size(*x.shape[2:])
    y = _depthwise(source, middle, None if widen is None else widen.shift, window, size, out)
    if squeeze is None:
        z = _finished(y, middle.shift, "SILU")
    else:
        scale, beta, *_ = middle.shift
        pooled = fused.plane_means(y, scale, beta, 0.0, middle.shift.statistics, None)
        z = fused.excite(channel_first(y), scale, beta, _gates(pooled, squeeze, x.dtype).T, middle.shift.statistics)
    return run_layer(z, project, POINTWISE, x if skip else None)


def _finished(y: Array, shift: Shift, mode: str, skip: Array | None = None) -> Array:
    """y, C N H W, after its shift and what follows, in place -> N C H W."""
    beside = None if skip is None else channel_major(skip)
    normalise(mode, y, shift.scale, shift.beta, 0.0, None, shift.mean, shift.var, y, skip=beside)
    return channel_first(y)


def _depthwise(source: Array, layer: PackedLayer, shift: Shift | None, window: Window, size: Any, out: Any) -> Array:
    """source, C N H W, convolved, after SiLU of what it is with a shift where there is one -> C N Ho Wo, raw."""
    import cupy

    channels, images = source.shape[:2]
    taps = depthwise.filters(layer.weight, channels, window)
    y = cupy.empty((channels, images, *out), source.dtype)
    tiles = depthwise.output_tiles(window, images, out, depthwise.access(source))
    norm: tuple[Any, ...] = None, None, 0.0, None, 0, None, None
    if shift is not None:
        norm = shift.scale, shift.beta, 0.0, None, 0, shift.mean, shift.var
    name = "depthwise_forward"
    launch = kernel("depthwise", name, source.dtype, window.kernel[0], window.stride[0], shift is not None)
    args = source, taps, *depthwise.planes_of(window, source, size, out), *tiles.cut, *norm, y
    launch((tiles.number, channels), tiles.block, args, depthwise.bytes_of(tiles, source))
    return y


def _gates(pooled: Array, squeeze: PackedSqueeze, dtype: Any) -> Array:
    """pooled: C N -> C N."""
    import cupy

    channels, images = pooled.shape
    gate = cupy.empty_like(pooled)
    launch = kernel("inference", "gates", dtype)
    sizes = images, channels, len(squeeze.reduce)
    launch((images,), (THREADS,), (pooled, *squeeze, *sizes, gate), squeeze.shared(dtype))
    return gate


def _pack_squeeze(squeeze: Squeeze) -> PackedSqueeze:
    reduce, reduce_bias, expand, expand_bias = squeeze
    narrow = plain(reduce[:, :, 0, 0])
    return PackedSqueeze(narrow, plain(reduce_bias), plain(expand[:, :, 0, 0].T), plain(expand_bias))


def _is_depthwise(layer: PackedLayer) -> bool:
    outputs, inputs = layer.weight.shape[:2]
    return inputs == 1 and layer.groups == outputs > 1
