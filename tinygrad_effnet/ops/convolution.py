"""Convolution (that is, cross-correlation), full and depthwise.

A convolution is linear in its image and linear in its filter. So it comes as three operations that are each other's
rules: the convolution, the gradient of its input and the gradient of its weight. Any order of derivative stays among
them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..backends import Array, Backend, Pair, Window
from ..contract import expect_arrays
from ..op import Op, Shape, function, register
from ..tensor import Tensor
from .shape import reshape
from .window import PaddingLike, PairLike, window_of


class _Convolution(Op):
    def __init__(self, window: Window, groups: int, size: Pair) -> None:
        self.window, self.groups, self.size = window, groups, size

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        """2 for each multiply-add: N · O · Ho · Wo · C/groups · kh · kw of them, in all three operations alike."""
        images, filters = self._images_and_filters(inputs, outputs)
        return 2 * images[0] * math.prod(self.window.output_size(*self.size)) * math.prod(filters)

    def _images_and_filters(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> tuple[Shape, Shape]:
        return inputs[0], inputs[1]


@register
class Conv2d(_Convolution):
    """Convolution of images with a bank of filters."""

    formula = "y[n,o,i,j] = Σ_c,p,q w[o,c,p,q] · x[n, c, i·s + p·d − pad, j·s + q·d − pad]"
    rule = "x̄ = conv2d_input_grad(ȳ, w),  w̄ = conv2d_weight_grad(x, ȳ)"
    shapes = "x: N C H W, weight: O C/groups kh kw -> N O Ho Wo"
    symbols = "weight: w"

    def forward(self, kernels: Backend, x: Array, w: Array) -> Array:
        self.save(x, w)
        return kernels.conv2d(x, w, self.window, self.groups)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, w = self.saved()
        settings = self.window, self.groups, self.size
        return (
            Conv2dInputGrad(*settings)(dy, w) if self.needed[0] else None,
            Conv2dWeightGrad(*settings)(x, dy) if self.needed[1] else None,
        )

    def hint(self, inputs: Sequence[Shape]) -> str:
        x, w = inputs
        if len(x) == 3:
            return "One image of its own needs a batch axis: x.unsqueeze(0)."
        if len(x) == len(w) == 4 and x[3] == w[1] * self.groups:
            return "Are the images N H W C? x.permute(0, 3, 1, 2) makes them N C H W."
        if len(x) == len(w) == 4 and w[1] == 1 and w[0] == x[1]:
            return f"Did you mean a depthwise convolution, groups={x[1]}?"
        if len(x) == len(w) == 4 and w[0] == x[1]:
            return "Is the weight transposed? Its axes are (outputs, inputs/groups, height, width)."
        if len(x) == len(w) == 4 and x[1] % self.groups:
            return "groups must divide the channels of x, and the number of filters."
        if len(x) == len(w) == 4:
            fits = w[0], x[1] // self.groups, *w[2:]
            return f"A weight of shape {fits} would fit these images; this one fits {w[1] * self.groups} channels."
        return "Images are (N, C, H, W), and the weight is (outputs, inputs/groups, height, width)."


@register
class Conv2dInputGrad(_Convolution):
    """Gradient of a convolution's images: each output pixel gives back, through the filter, to what it saw."""

    formula = "x̄[n,c,h,v] = Σ_o,p,q w[o,c,p,q] · ȳ[n, o, i, j]  where  i·s + p·d − pad = h,  j·s + q·d − pad = v"
    rule = "ȳ's gradient = conv2d(g, w),  w̄ = conv2d_weight_grad(g, ȳ)  for the gradient g of x̄"
    shapes = "dy: N O Ho Wo, w: O I kh kw -> N C H W"

    def forward(self, kernels: Backend, dy: Array, w: Array) -> Array:
        self.save(dy, w)
        return kernels.conv2d_input_grad(dy, w, self.window, self.groups, self.size)

    def backward(self, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        dy, w = self.saved()
        settings = self.window, self.groups, self.size
        return (
            Conv2d(*settings)(g, w) if self.needed[0] else None,
            Conv2dWeightGrad(*settings)(g, dy) if self.needed[1] else None,
        )


@register
class Conv2dWeightGrad(_Convolution):
    """Gradient of a convolution's filters: how each tap's view of the images goes with the gradient of the result."""

    formula = "w̄[o,c,p,q] = Σ_n,i,j ȳ[n,o,i,j] · x[n, c, i·s + p·d − pad, j·s + q·d − pad]"
    rule = "x̄ = conv2d_input_grad(ȳ, g),  ȳ's gradient = conv2d(x, g)  for the gradient g of w̄"
    shapes = "x: N C H W, dy: N O Ho Wo -> O C/groups kh kw"

    def forward(self, kernels: Backend, x: Array, dy: Array) -> Array:
        self.save(x, dy)
        return kernels.conv2d_weight_grad(x, dy, self.window, self.groups)

    def backward(self, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, dy = self.saved()
        settings = self.window, self.groups, self.size
        return (
            Conv2dInputGrad(*settings)(dy, g) if self.needed[0] else None,
            Conv2d(*settings)(x, g) if self.needed[1] else None,
        )

    def _images_and_filters(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> tuple[Shape, Shape]:
        return inputs[0], outputs[0]


class _Depthwise(_Convolution):
    def __init__(self, window: Window, size: Pair) -> None:
        self.window, self.size = window, size


@register
class DepthwiseConv2d(_Depthwise):
    """Convolution of each channel with a filter of its own (Sifre 2014; Howard et al. 2017)."""

    formula = "y[n,c,i,j] = Σ_p,q w[c,p,q] · x[n, c, i·s + p·d − pad, j·s + q·d − pad]"
    rule = "x̄ = depthwise_conv2d_input_grad(ȳ, w),  w̄ = depthwise_conv2d_weight_grad(x, ȳ)"
    shapes = "x: N C H W, weight: C 1 kh kw -> N C Ho Wo"
    symbols = "weight: w"

    def forward(self, kernels: Backend, x: Array, w: Array) -> Array:
        self.save(x, w)
        return kernels.depthwise_conv2d(x, w, self.window)

    def backward(self, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, w = self.saved()
        return (
            DepthwiseConv2dInputGrad(self.window, self.size)(dy, w) if self.needed[0] else None,
            DepthwiseConv2dWeightGrad(self.window, self.size)(x, dy) if self.needed[1] else None,
        )

    def hint(self, inputs: Sequence[Shape]) -> str:
        return "The weight holds one filter a channel: (channels, 1, height, width)."


@register
class DepthwiseConv2dInputGrad(_Depthwise):
    """Gradient of a depthwise convolution's images."""

    formula = "x̄[n,c,h,v] = Σ_p,q w[c,p,q] · ȳ[n, c, i, j]  where  i·s + p·d − pad = h,  j·s + q·d − pad = v"
    rule = "ȳ's gradient = depthwise_conv2d(g, w),  w̄ = depthwise_conv2d_weight_grad(g, ȳ)  for the gradient g of x̄"
    shapes = "dy: N C Ho Wo, w: C 1 kh kw -> N C H W"

    def forward(self, kernels: Backend, dy: Array, w: Array) -> Array:
        self.save(dy, w)
        return kernels.depthwise_conv2d_input_grad(dy, w, self.window, self.size)

    def backward(self, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        dy, w = self.saved()
        return (
            DepthwiseConv2d(self.window, self.size)(g, w) if self.needed[0] else None,
            DepthwiseConv2dWeightGrad(self.window, self.size)(g, dy) if self.needed[1] else None,
        )


@register
class DepthwiseConv2dWeightGrad(_Depthwise):
    """Gradient of a depthwise convolution's filters."""

    formula = "w̄[c,p,q] = Σ_n,i,j ȳ[n,c,i,j] · x[n, c, i·s + p·d − pad, j·s + q·d − pad]"
    rule = "x̄ = depthwise_conv2d_input_grad(ȳ, g),  ȳ's gradient = depthwise_conv2d(x, g)  for the gradient g of w̄"
    shapes = "x: N C H W, dy: N C Ho Wo -> C 1 kh kw"

    def forward(self, kernels: Backend, x: Array, dy: Array) -> Array:
        self.save(x, dy)
        return kernels.depthwise_conv2d_weight_grad(x, dy, self.window)

    def backward(self, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, dy = self.saved()
        return (
            DepthwiseConv2dInputGrad(self.window, self.size)(dy, g) if self.needed[0] else None,
            DepthwiseConv2d(self.window, self.size)(x, g) if self.needed[1] else None,
        )

    def _images_and_filters(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> tuple[Shape, Shape]:
        return inputs[0], outputs[0]


@function
def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PairLike = 1,
    padding: PaddingLike = 0,
    dilation: PairLike = 1,
    groups: int = 1,
) -> Tensor:
    """Two-dimensional convolution (cross-correlation) of images with filters.

    Parameters
    ----------
    x : Tensor (N, C, H, W)
    weight : Tensor (O, C/groups, kh, kw)
    bias : Tensor (O,), optional
    stride, dilation : int or (vertical, horizontal)
    padding : int, (vertical, horizontal), "same" or "valid"
        "same" is TensorFlow's: the output has ceil(size / stride) pixels, and an odd total pads one more at the
        bottom and right.
    groups : int
        Input and output channels are split into so many groups, each convolved by itself. With ``groups == C == O`` the
        depthwise kernel is used.

    Returns
    -------
    Tensor (N, O, Ho, Wo)

    Raises
    ------
    ValueError
        Shapes do not fit each other, the groups or the image.
    """
    expect_arrays("conv2d", x=x, weight=weight)
    if not isinstance(groups, int) or groups < 1 or (weight.ndim and weight.shape[0] % groups):
        raise ValueError(
            f"conv2d(groups): got {groups!r}; expected a divisor of the number of filters, the first axis of weight "
            f"(shape {weight.shape})"
        )
    if groups > 1 and groups == weight.shape[0] and x.ndim == 4 and x.shape[1] == groups:
        return depthwise_conv2d(x, weight, bias, stride, padding, dilation)
    window, size = _window("conv2d", x, weight, stride, padding, dilation)
    return _plus_bias("conv2d", Conv2d(window, groups, size)(x, weight), bias)


@function
def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PairLike = 1,
    padding: PaddingLike = 0,
    dilation: PairLike = 1,
) -> Tensor:
    """Convolution of each channel with a filter of its own: x (N, C, H, W), weight (C, 1, kh, kw) -> (N, C, Ho, Wo).

    The other arguments, and the errors, are those of `conv2d`.
    """
    expect_arrays("depthwise_conv2d", x=x, weight=weight)
    window, size = _window("depthwise_conv2d", x, weight, stride, padding, dilation)
    return _plus_bias("depthwise_conv2d", DepthwiseConv2d(window, size)(x, weight), bias)


def _window(
    name: str, x: Tensor, weight: Tensor, stride: PairLike, padding: PaddingLike, dilation: PairLike
) -> tuple[Window, Pair]:
    if x.ndim != 4 or weight.ndim != 4:  # the operation's contract says what is wrong, but needs a window to be made
        return Window((1, 1)), (1, 1)
    size = x.shape[2], x.shape[3]
    return window_of(name, weight.shape[2:], stride, padding, dilation, size), size


def _plus_bias(name: str, y: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return y
    if bias.shape != y.shape[1:2]:
        raise ValueError(
            f"{name}(bias): its shape is {bias.shape}; expected ({y.shape[1]},), one number an output channel"
        )
    return y + reshape(bias, (1, -1, 1, 1))
