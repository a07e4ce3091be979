"""Blocks and layers that a GPU computes with folded weights, on the stand-in for CuPy, are what they are in steps."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from backends.cupy.standin import available, standin_cupy, traffic
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import images, with_random_state

import tinygrad_effnet as tg
from tinygrad_effnet import nn
from tinygrad_effnet.backends.cupy.launch import Kernel
from tinygrad_effnet.nn.folding import KEPT

pytestmark = pytest.mark.skipif(not available(), reason="kernels run on the CPU by way of g++, which is not installed")


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    with standin_cupy():
        yield


def in_steps(module, x):
    """On the host, one operation after the other."""
    with tg.use_backend("numpy"), tg.no_grad():
        return module(x).numpy()


def packed(module):
    """How many of the modules were computed whole."""
    return sum(
        vars(part).get(KEPT) is not None
        and vars(part)[KEPT].packed is not None
        and any(vars(part)[KEPT].windows.values())
        for part in module.modules()
    )


def assert_same(module, x, whole=1, dtype="float32", error=2e-5):
    expected = in_steps(module, x)
    there = copy.deepcopy(module).cuda().to(dtype)
    moved = x.cuda().to(dtype)
    with tg.no_grad():
        found = there(moved).float().cpu().numpy()
    assert packed(there) >= whole
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=error, atol=error * size)
    return there, moved


@contextmanager
def counted() -> Iterator[list[str]]:
    """Our kernels that are launched inside, by name."""
    launched: list[str] = []
    call = Kernel.__call__

    def note(self, *args, **options):
        launched.append(self.expression.split("<")[0])
        return call(self, *args, **options)

    Kernel.__call__ = note
    try:
        yield launched
    finally:
        Kernel.__call__ = call


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 6),
    st.none() | st.integers(1, 9),
    st.sampled_from([3, 5]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 4]),
    st.sampled_from([0.0, 0.5]),
    st.integers(1, 3),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(0, 99),
)
def test_a_block_is_what_it_is_in_steps(channels, out, kernel, stride, ratio, se_ratio, n, size, seed):
    module = nn.MBConv(channels, out or channels, kernel, stride, ratio, se_ratio, stochastic_depth=0.3)
    whole = 1 if channels * ratio > 1 else 0  # of a single channel, a convolution is no depthwise one
    assert_same(with_random_state(module, seed), images((n, channels, *size), seed), whole)


@pytest.mark.parametrize("dtype, error", [("float64", 1e-5), ("float16", 2e-2), ("bfloat16", 1e-1)])
def test_a_block_in_other_dtypes(dtype, error):
    module = with_random_state(nn.MBConv(6, 6, expand_ratio=4))
    assert_same(module, images((2, 6, 8, 8)), 1, dtype, error)


@pytest.mark.parametrize("act", [None, nn.SiLU])
@pytest.mark.parametrize("kernel, stride, groups", [(1, 1, 1), (3, 2, 1), (3, 1, 2), (3, 1, 6)])
def test_a_layer_is_what_it_is_in_steps(act, kernel, stride, groups):
    layer = nn.ConvNormAct(6, 12 if groups < 6 else 6, kernel, stride, groups=groups, act=act and act())
    assert_same(with_random_state(layer), images((2, 6, 7, 8)))


@pytest.mark.parametrize(
    "module", [nn.ConvNormAct(3, 4, 3, act=nn.ReLU6()), nn.MBConv(3, 3, expand_ratio=2, act=nn.ReLU6)]
)
def test_other_activations_are_computed_in_steps(module):
    assert_same(with_random_state(module), images((2, 3, 6, 6)), 0)


def test_a_fused_mbconv_adds_its_skip():
    module = nn.FusedMBConv(6, 6, expand_ratio=4, se_ratio=0.0)
    assert_same(with_random_state(module), images((2, 6, 6, 6)))


def test_a_block_takes_few_launches_and_nothing_is_carried_over():
    there, x = assert_same(with_random_state(nn.MBConv(8, 8, 5, expand_ratio=4)), images((2, 8, 8, 8)))
    traffic.clear()
    with counted() as launched, tg.no_grad():
        there(x)
    # beside the two products
    assert launched == ["depthwise_forward", "pool", "gates", "excite", "normalise"]
    assert traffic.counts == {"to host": 0, "to device": 0, "waits": 0}


def test_what_is_written_to_weights_is_noticed():
    module = with_random_state(nn.MBConv(6, 6, expand_ratio=4))
    there, x = assert_same(module, images((2, 6, 8, 8)))
    state = {name: t.cpu() * 1.5 for name, t in there.state_dict().items() if t.dtype.kind == "f"}
    there.load_state_dict(state, strict=False)
    module.load_state_dict(state, strict=False)
    with tg.no_grad():
        found = there(x).cpu().numpy()
    expected = in_steps(module, x.cpu())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_with_gradients_nothing_is_kept():
    there, x = assert_same(with_random_state(nn.MBConv(6, 6, expand_ratio=4)), images((2, 6, 8, 8)))
    there(x)
    assert KEPT not in vars(there)
