"""Blocks and layers that are computed whole, in eval mode without gradients, are what they are step by step."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from backends.cupy.standin import standin_cupy
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import images, with_random_state

import tinygrad_effnet as tg
from tinygrad_effnet import nn
from tinygrad_effnet.backends.device import MixedDevicesError
from tinygrad_effnet.nn.folding import KEPT
from tinygrad_effnet.op import watch
from tinygrad_effnet.optim import SGD

threads = pytest.importorskip("tinygrad_effnet.backends.numba.threads")


def set_fused(module, value):
    for part in module.modules():
        if hasattr(part, "fused"):
            part.fused = value


def whole(module, x):
    with tg.use_backend("numba"), tg.no_grad():
        return module(x).numpy()


def plain(module, x, backend="numpy"):
    set_fused(module, False)
    with tg.use_backend(backend), tg.no_grad():
        y = module(x).numpy()
    set_fused(module, None)
    return y


def kept(module):
    """Whether anything below was computed whole since it was last trained."""
    return any(vars(part).get(KEPT) is not None and vars(part)[KEPT].packed is not None for part in module.modules())


def assert_same(module, x, backend="numpy"):
    expected = plain(module, x, backend)
    vars(module).pop(KEPT, None)
    found = whole(module, x)
    assert kept(module)
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * size)


BLOCKS = st.fixed_dictionaries(
    {
        "in_channels": st.integers(1, 11),
        "kernel_size": st.sampled_from([3, 5]),
        "stride": st.sampled_from([1, 2]),
        "expand_ratio": st.sampled_from([1, 2, 6]),
        "se_ratio": st.sampled_from([0.0, 0.25, 0.5]),
        "padding": st.sampled_from(["symmetric", "same"]),
        "act": st.sampled_from([nn.SiLU, nn.ReLU6]),
        "stochastic_depth": st.sampled_from([0.0, 0.3]),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    block=BLOCKS,
    out=st.none() | st.integers(1, 53),
    n=st.integers(1, 5),
    size=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    seed=st.integers(0, 99),
)
def test_a_block_is_what_it_is_in_steps(block, out, n, size, seed):
    module = nn.MBConv(out_channels=out or block["in_channels"], **block)
    assert_same(with_random_state(module, seed), images((n, block["in_channels"], *size), seed))


@settings(max_examples=30, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 9), st.integers(1, 101)),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.integers(1, 3),
    act=st.sampled_from([None, nn.SiLU, nn.ReLU6]),
    n=st.integers(1, 5),
    size=st.tuples(st.integers(5, 17), st.integers(5, 17)),
    order=st.sampled_from([(0, 1, 2, 3), (1, 0, 2, 3), (0, 2, 3, 1), (0, 1, 3, 2)]),
)
def test_a_layer_is_what_it_is_in_steps_however_its_input_lies(channels, kernel, stride, act, n, size, order):
    layer = nn.ConvNormAct(*channels, kernel, stride, act=act and act())
    x = images((n, channels[0], *size))
    laid = np.ascontiguousarray(x.numpy().transpose(order)).transpose(np.argsort(order))
    assert_same(with_random_state(layer), tg.from_numpy(laid))


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("expand_ratio", [1, 4])
def test_a_fused_mbconv_is_what_it_is_in_steps(skips, expand_ratio):
    block = nn.FusedMBConv(7, 7 if skips else 5, expand_ratio=expand_ratio, se_ratio=0.25, stochastic_depth=0.5)
    assert_same(with_random_state(block), images((3, 7, 9, 10)))


def test_a_block_is_what_the_loops_say():
    block = with_random_state(nn.MBConv(3, 3, 5, expand_ratio=2))
    assert_same(block, images((1, 3, 6, 5)), "loops")


@pytest.mark.parametrize(
    "network",
    [lambda n: nn.EfficientNet("b0", n), lambda n: nn.EfficientNetV2("b0", n), nn.MobileNetV2],
    ids=["b0", "v2-b0", "mobile"],
)
def test_a_network_is_what_it_is_in_steps(network):
    tg.manual_seed(0)
    net = network(5)
    net.load_state_dict(
        {k: np.full(v.shape, 0.7) for k, v in net.state_dict().items() if k.endswith("running_var")}, strict=False
    )
    assert_same(net.eval(), images((2, 3, 50, 67)))


@pytest.mark.parametrize("n", [1, 3, 8])
def test_numbers_do_not_depend_on_the_threads(n):
    block, x = with_random_state(nn.MBConv(25, 25, 5)), images((n, 25, 14, 14))
    before = threads.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            if count > before:
                pytest.skip("one core")
            tg.set_num_threads(count)
            found.append(whole(block, x))
    finally:
        tg.set_num_threads(before)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("act", [nn.SiLU, nn.ReLU6])
def test_nan_and_infinity_pass_through(act):
    block, x = with_random_state(nn.MBConv(4, 5, act=act)), images((3, 4, 8, 8))
    values = x.numpy().copy()
    values[0, 1, 2, 3], values[1, 0, 0, 0] = np.nan, np.inf
    with np.errstate(all="ignore"):
        y, expected = whole(block, tg.from_numpy(values)), plain(block, tg.from_numpy(values))
    for found, wanted in zip(y, expected, strict=True):  # image by image: of infinities, sums may make NaN
        assert np.isfinite(found).all() == np.isfinite(wanted).all()
    assert np.isnan(y[0]).any()


def optimise(net, x):
    net.train()
    with tg.use_backend("numba"):
        net(x).backward(np.ones((*x.shape[:1], net.project.conv.out_channels, *x.shape[2:]), np.float32))
    SGD(net.parameters(), 0.1).step()
    net.eval()


def write(net, x):
    net.depthwise.norm.running_mean[...] = 0.25


def load(net, x):
    net.load_state_dict({"squeeze_excite.reduce.bias": np.full(1, 3.0)}, strict=False)


def replace(net, x):
    net.project.conv.weight = nn.Parameter(net.project.conv.weight.numpy() * 2)


def set_eps(net, x):
    net.expand.norm.eps = 0.5


@pytest.mark.parametrize("change", [optimise, write, load, replace, set_eps])
def test_weights_are_folded_anew_after_a_change(change):
    net, x = with_random_state(nn.MBConv(4, 4)), images((2, 4, 7, 7))
    before = whole(net, x)
    packed = vars(net)[KEPT].packed
    np.testing.assert_array_equal(whole(net, x), before)
    assert vars(net)[KEPT].packed is packed
    change(net, x)
    after = whole(net, x)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, plain(net, x), rtol=2e-5, atol=1e-4)


def test_writes_elsewhere_fold_nothing_anew():
    net, x = with_random_state(nn.MBConv(4, 4)), images((2, 4, 7, 7))
    whole(net, x)
    packed = vars(net)[KEPT].packed
    tg.Tensor([1.0, 2.0])[...] = 3.0
    whole(net, x)
    assert vars(net)[KEPT].packed is packed


def test_training_keeps_no_folded_weights():
    net, x = with_random_state(nn.MBConv(4, 4)), images((2, 4, 7, 7))
    whole(net, x)
    with tg.use_backend("numba"):
        net.train()(x)
    assert not kept(net)


def test_a_copy_has_weights_of_its_own():
    net, x = with_random_state(nn.MBConv(4, 4)), images((2, 4, 7, 7))
    before = whole(net, x)
    other = copy.deepcopy(net)
    write(other, x)
    np.testing.assert_allclose(whole(other, x), plain(other, x), rtol=2e-5, atol=1e-4)
    np.testing.assert_array_equal(whole(net, x), before)


@pytest.mark.parametrize("name", ["expand", "expand.act", "depthwise.conv", "squeeze_excite.reduce", "project.norm"])
def test_a_hook_on_an_inner_module_is_called(name):
    net, x, seen = with_random_state(nn.MBConv(4, 4)), images((2, 4, 7, 7)), []
    before = whole(net, x)
    hook = net.get_submodule(name).register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    np.testing.assert_allclose(whole(net, x), before, rtol=2e-5, atol=1e-4)
    assert len(seen) == 1
    hook.remove()


def test_whoever_watches_operations_sees_them():
    net, x, names = with_random_state(nn.MBConv(4, 4)), images((2, 4, 7, 7)), []
    with watch(lambda op, inputs, outputs: names.append(op.name)):
        whole(net, x)
    assert {"norm_silu_depthwise", "norm_silu_squeeze_excite", "norm_add"} <= set(names)


def test_gradients_are_recorded_as_ever():
    net, x = with_random_state(nn.MBConv(4, 4)), images((2, 4, 7, 7)).requires_grad_()
    upstream = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    with tg.use_backend("numba"):
        net(x).backward(upstream)
    set_fused(net, False)
    y = images((2, 4, 7, 7)).requires_grad_()
    with tg.use_backend("numpy"):
        net(y).backward(upstream)
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings", [{"kernel_size": 7}, {"padding": "same", "kernel_size": 4}, {"act": nn.ReLU}], ids=str
)
def test_what_has_no_kernels_is_computed_in_steps(settings):
    net, x = with_random_state(nn.MBConv(4, 4, **settings)), images((2, 4, 9, 9))
    found = whole(net, x)
    assert vars(net).get(KEPT) is None or not any(vars(net)[KEPT].windows.values())
    np.testing.assert_allclose(found, plain(net, x), rtol=2e-5, atol=1e-4)


def test_other_numbers_are_computed_in_steps():
    net, x = with_random_state(nn.MBConv(4, 4).double()), images((2, 4, 9, 9)).double()
    np.testing.assert_allclose(whole(net, x), plain(net, x), rtol=1e-9, atol=1e-9)
    assert not kept(net)


@pytest.mark.parametrize("shape", [(2, 5, 8, 8), (2, 4, 8), (4, 8, 8)])
def test_mistakes_are_named_as_ever(shape):
    net = with_random_state(nn.MBConv(4, 4))
    whole(net, images((2, 4, 8, 8)))
    with pytest.raises(ValueError) as ours:
        whole(net, images(shape))
    set_fused(net, False)
    with tg.use_backend("numba"), tg.no_grad(), pytest.raises(ValueError) as steps:
        net(images(shape))
    assert str(ours.value) == str(steps.value)


@pytest.mark.parametrize("block", [nn.ConvNormAct(3, 4, 3, act=nn.SiLU()), nn.MBConv(3, 4, 2, 3, 1, 0.25)])
def test_weights_that_lie_elsewhere_are_named(block):
    with standin_cupy(runs_kernels=False), tg.use_backend("numba"), tg.no_grad():
        there = copy.deepcopy(block).eval().cuda()
        words = r"^conv2d: its arguments lie in different memories: x \(shape .*\) on cpu, w \(shape .*\) on cuda:0"
        with pytest.raises(MixedDevicesError, match=words):
            there(images((1, 3, 8, 8)))


def test_no_images_give_no_results():
    net = with_random_state(nn.MBConv(4, 6))
    assert whole(net, images((0, 4, 8, 8))).shape == (0, 6, 8, 8)
