"""Samples for what slides a window over an image: awkward strides, paddings, dilations and groups, and pooling."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from ..backends import Padding, Pair, Window
from ..op import Op, Shape
from .samples import Rng, Sample, distinct, fixed, samples_of


@dataclass(frozen=True)
class Geometry:
    """A window over images: x (n, channels, *size), filters (outputs, channels / groups, *kernel)."""

    label: str
    size: Pair
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    n: int = 2
    channels: int = 2
    outputs: int = 3
    groups: int = 1

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.stride, self.padding, self.dilation)

    @property
    def images(self) -> Shape:
        return self.n, self.channels, *self.size

    def results(self, channels: int) -> Shape:
        return self.n, channels, *self.window.output_size(*self.size)


GEOMETRIES = (
    Geometry("plain", (4, 5), (3, 2)),
    Geometry("1x1", (3, 3), (1, 1), channels=3, outputs=2),
    Geometry("stride 2, TensorFlow's same", (4, 6), (3, 3), (2, 2), ((0, 1), (0, 1))),
    Geometry("uneven stride and padding, pixels never seen", (5, 6), (2, 3), (3, 2), ((1, 0), (0, 2))),
    Geometry("dilated", (6, 5), (2, 2), (2, 1), ((1, 1), (0, 1)), (3, 2)),
    Geometry("stride beyond the kernel", (5, 5), (1, 2), (3, 3)),
    Geometry("groups", (3, 4), (2, 2), channels=4, outputs=6, groups=2),
    Geometry("a filter for each of one-pixel images", (1, 1), (1, 1), n=1, channels=1, outputs=1),
    Geometry("empty batch", (3, 3), (2, 2), n=0),
)


@samples_of("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
def _convolution(op: type[Op], rng: Rng) -> list[Sample]:
    made = []
    for g in GEOMETRIES:
        filters = g.outputs, g.channels // g.groups, *g.kernel
        shapes = _operands(op.name, g.images, filters, g.results(g.outputs))
        made.append(Sample(g.label, fixed(op, g.window, g.groups, g.size), [rng.standard_normal(s) for s in shapes]))
    return made


@samples_of("depthwise_conv2d", "depthwise_conv2d_input_grad", "depthwise_conv2d_weight_grad")
def _depthwise(op: type[Op], rng: Rng) -> list[Sample]:
    made = []
    for g in GEOMETRIES:
        shapes = _operands(op.name, g.images, (g.channels, 1, *g.kernel), g.results(g.channels))
        made.append(Sample(g.label, fixed(op, g.window, g.size), [rng.standard_normal(s) for s in shapes]))
    return made


def _operands(name: str, images: Shape, filters: Shape, results: Shape) -> tuple[Shape, Shape]:
    """What a convolution, or one of its two gradients, is given: all but what it makes."""
    return (
        (results, filters)
        if name.endswith("input_grad")
        else (images, results)
        if name.endswith("weight_grad")
        else (images, filters)
    )


def _fits_pooling(g: Geometry) -> bool:
    return all(2 * max(p) <= d * (k - 1) + 1 for p, k, d in zip(g.padding, g.kernel, g.dilation, strict=True))


POOLINGS = tuple(g for g in GEOMETRIES if _fits_pooling(g) and g.groups == 1)


@samples_of("max_pool2d")
def _max_pool(op: type[Op], rng: Rng) -> list[Sample]:
    return [Sample(g.label, fixed(op, g.window), [distinct(rng, g.images)]) for g in POOLINGS]


@samples_of("avg_pool2d", "avg_pool2d_grad")
def _avg_pool(op: type[Op], rng: Rng) -> list[Sample]:
    undilated = [g for g in POOLINGS if g.dilation == (1, 1)]
    return [
        Sample(
            f"{g.label}, count_include_pad={count}",
            fixed(op, g.window, count, g.size),
            [rng.standard_normal(g.results(g.channels) if op.name.endswith("grad") else g.images)],
        )
        for g, count in itertools.product(undilated, (True, False))
    ]


@samples_of("scatter_planes", "gather_planes")
def _planes(op: type[Op], rng: Rng) -> list[Sample]:
    made = []
    for images, size in (
        ((2, 2, 3, 4), (2, 2)),
        ((1, 1, 1, 1), (2, 3)),
        ((1, 2, 4, 2), (1, 1)),
        ((0, 2, 2, 2), (1, 2)),
    ):
        index = rng.integers(0, images[2] * images[3], (*images[:2], *size))
        settings, shape = ((index, images[2:]), index.shape) if op.name == "scatter_planes" else ((index,), images)
        made.append(Sample(f"{images} at {size} places", fixed(op, *settings), [rng.standard_normal(shape)]))
    return made
