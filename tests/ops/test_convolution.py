"""Convolutions: any stride, padding, dilation and groups, against differences and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck, gradgradcheck

FAST = [name for name in tg.available_backends() if name != "loops"]


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Shape of the images, of the filters, and the other arguments of conv2d."""
    groups = draw(st.integers(1, 3))
    n, channels, outputs = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    size, kernel = draw(st.tuples(*[st.integers(1, 6)] * 2)), draw(st.tuples(*[st.integers(1, 3)] * 2))
    padding = draw(st.one_of(st.sampled_from(["same", "valid"]), st.tuples(*[st.integers(0, 3)] * 2)))
    dilation = draw(st.tuples(*[st.integers(1, 2)] * 2))
    around = (0, 0) if padding == "valid" else padding
    for s, k, p, d in zip(size, kernel, around if padding != "same" else (9, 9), dilation, strict=True):
        assume(s + 2 * p >= d * (k - 1) + 1)
    options = {"stride": draw(st.tuples(*[st.integers(1, 3)] * 2)), "padding": padding, "dilation": dilation}
    return (n, channels, *size), (outputs, channels // groups, *kernel), {**options, "groups": groups}


@pytest.mark.parametrize("backend", FAST)
@given(case=convolutions(), data=st.data(), seed=st.integers(0, 999))
def test_gradients_of_any_convolution(
    backend: str, case: Any, data: st.DataObject, seed: int, layouts: st.SearchStrategy, leaves: Callable
) -> None:
    images, filters, options = case
    rng = np.random.default_rng(seed)
    arrays = [data.draw(layouts)(rng.standard_normal(shape)) for shape in (images, filters, filters[:1])]
    with tg.use_backend(backend):
        assert gradcheck(lambda x, w, b: tg.ops.conv2d(x, w, b, **options), leaves(*arrays), seed=seed, fast_mode=True)
        assert gradgradcheck(
            lambda x, w: tg.ops.conv2d(x, w, **options), leaves(*arrays[:2]), seed=seed, fast_mode=True
        )


@given(case=convolutions(), seed=st.integers(0, 999))
def test_agrees_with_pytorch(case: Any, seed: int, like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    images, filters, options = case
    # PyTorch has "same" for stride 1 only, and copies (with a warning) where it needs more padding on one side
    assume(
        images[0]
        and (options["padding"] != "same" or (options["stride"] == (1, 1) and filters[2] % 2 and filters[3] % 2))
    )
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape) for shape in (images, filters, filters[:1])]
    like_torch(
        lambda x, w, b: tg.ops.conv2d(x, w, b, **options),
        lambda x, w, b: torch.nn.functional.conv2d(x, w, b, **options),
        *arrays,
    )


def test_same_padding_with_a_stride_pads_as_tensorflow_does(like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for size, k, (before, after) in ((6, 3, (0, 1)), (6, 5, (1, 2)), (7, 3, (1, 1))):
        like_torch(
            lambda x, w: tg.ops.conv2d(x, w, stride=2, padding="same"),
            lambda x, w, p=(before, after) * 2: torch.nn.functional.conv2d(torch.nn.functional.pad(x, p), w, stride=2),
            rng.standard_normal((2, 2, size, size)),
            rng.standard_normal((3, 2, k, k)),
        )


def test_depthwise_is_a_convolution_with_a_group_for_each_channel(like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 4, 7, 6)), rng.standard_normal((4, 1, 3, 3)), rng.standard_normal(4)
    like_torch(
        lambda x, w, b: tg.ops.depthwise_conv2d(x, w, b, 2, 1),
        lambda x, w, b: torch.nn.functional.conv2d(x, w, b, 2, 1, groups=4),
        x,
        w,
        b,
    )
    made = tg.ops.conv2d(tg.Tensor(x, requires_grad=True), tg.Tensor(w), groups=4)
    assert made.node.name == "depthwise_conv2d"
    more = tg.ops.conv2d(tg.Tensor(x, requires_grad=True), tg.Tensor(np.concatenate([w, w])), groups=4)
    assert more.node.name == "conv2d"


def test_the_definition_on_a_page() -> None:
    x = tg.Tensor(np.arange(9.0).reshape(1, 1, 3, 3))
    w = tg.Tensor(np.array([[[[1.0, 0.0], [0.0, -2.0]]]]))
    np.testing.assert_array_equal(tg.ops.conv2d(x, w).numpy(), [[[[-8.0, -9.0], [-11.0, -12.0]]]])


def test_flops_are_two_for_each_multiply_add() -> None:
    x, w = tg.Tensor(np.ones((2, 4, 9, 9)), requires_grad=True), tg.Tensor(np.ones((6, 2, 3, 3)), requires_grad=True)
    node = tg.ops.conv2d(x, w, stride=2, groups=2).node
    expected = 2 * 2 * 6 * 4 * 4 * 2 * 3 * 3
    assert node.flops([x.shape, w.shape], [(2, 6, 4, 4)]) == expected
    settings = node.window, node.groups, node.size
    for name, inputs, output in (
        ("conv2d_input_grad", [(2, 6, 4, 4), w.shape], x.shape),
        ("conv2d_weight_grad", [x.shape, (2, 6, 4, 4)], w.shape),
    ):
        assert tg.op.registry[name](*settings).flops(inputs, [output]) == expected


def test_errors_say_what_does_not_fit_and_what_may_be_meant() -> None:
    def conv(x: tuple[int, ...], w: tuple[int, ...], **options: Any) -> None:
        tg.ops.conv2d(tg.Tensor(np.ones(x)), tg.Tensor(np.ones(w)), **options)

    with pytest.raises(ValueError, match=r"axis 1 of weight must be C/groups = 3, but is 4") as caught:
        conv((2, 3, 8, 8), (6, 4, 3, 3))
    assert "x: N C H W = (2, 3, 8, 8)\n  weight: O C/groups kh kw = (6, 4, 3, 3)" in str(caught.value)
    with pytest.raises(ValueError, match="Are the images N H W C"):
        conv((2, 8, 8, 3), (6, 3, 3, 3))
    with pytest.raises(ValueError, match=r"x must have 4 axes .* has 3[\s\S]*x.unsqueeze\(0\)"):
        conv((3, 8, 8), (6, 3, 3, 3))
    with pytest.raises(ValueError, match="Is the weight transposed"):
        conv((2, 3, 8, 8), (3, 6, 3, 3))
    with pytest.raises(ValueError, match="depthwise convolution, groups=3"):
        conv((2, 3, 8, 8), (3, 1, 3, 3))
    with pytest.raises(ValueError, match=r"conv2d\(groups\): got 4; expected a divisor of the number of filters"):
        conv((2, 4, 8, 8), (6, 1, 3, 3), groups=4)
    with pytest.raises(ValueError, match=r"C = 3 \(from x\) cannot be divided by groups = 2"):
        conv((2, 3, 8, 8), (6, 1, 3, 3), groups=2)
    with pytest.raises(ValueError, match="the window covers 3x3 pixels, but the image has 2x2"):
        conv((2, 3, 2, 2), (6, 3, 3, 3))
    with pytest.raises(ValueError, match=r"conv2d\(bias\): its shape is \(3,\); expected \(6,\)"):
        conv((2, 3, 8, 8), (6, 3, 3, 3), bias=tg.Tensor(np.ones(3)))
    with pytest.raises(ValueError, match="one filter a channel"):
        tg.ops.depthwise_conv2d(tg.Tensor(np.ones((2, 3, 8, 8))), tg.Tensor(np.ones((3, 3, 3, 3))))
