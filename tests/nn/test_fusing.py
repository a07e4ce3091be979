"""The fused path of a network and the step-by-step one are the same network."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn
from tinygrad_effnet.op import watch

BACKENDS = [name for name in tg.available_backends() if name != "loops"]
FUSED = {"norm_silu", "norm_silu_depthwise", "norm_silu_squeeze_excite", "norm_add"}


def used(f):
    """Names of the operations that ``f`` runs."""
    names = set()
    with watch(lambda op, inputs, outputs: names.add(op.name)):
        f()
    return names


def block(fused, **settings):
    tg.manual_seed(3)
    return nn.MBConv(**{"in_channels": 4, "out_channels": 4, "stochastic_depth": 0.5, "fused": fused, **settings})


def images(n=4, channels=4, dtype="float64"):
    return tg.Tensor(np.random.default_rng(1).standard_normal((n, channels, 9, 7)), dtype=dtype)


def run(net, x, training=True):
    """Result, gradients and buffers of two steps, random numbers from one seed."""
    net.train(training)
    tg.manual_seed(7)
    found = []
    for _ in range(2):
        net.zero_grad()
        y = net(x)
        y.backward(np.random.default_rng(2).standard_normal(y.shape))
        found += [y.numpy(), *[p.grad.numpy().copy() for p in net.parameters()]]
    return found + [b.numpy().copy() for b in net.buffers()] + [tg.ops.default_generator().random(3)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"expand_ratio": 1},
        {"se_ratio": 0},
        {"stride": 2, "kernel_size": 5, "out_channels": 6},
        {"padding": "same", "stride": 2},
        {"stochastic_depth": 0.0, "kernel_size": 5},
    ],
    ids=str,
)
def test_a_block_is_the_same_either_way(backend, training, settings):
    with tg.use_backend(backend):
        ways = [run(block(fused, **settings).double(), images(), training) for fused in (False, True)]
    for plain, fused in zip(*ways, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_whole_network_draws_the_same_masks(backend):
    x = tg.Tensor(np.random.default_rng(0).standard_normal((3, 3, 33, 40)))
    ways = []
    for fused in (False, True):
        tg.manual_seed(5)
        net = nn.EfficientNet("b0", 5, fused=fused).double()
        with tg.use_backend(backend):
            ways.append(net(x).numpy())
    np.testing.assert_allclose(ways[1], ways[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("training", [True, False])
def test_a_whole_network_is_the_same_either_way(backend, training):
    """Its stem and first block too, which fused operations cut at another place than modules do."""
    x = tg.Tensor(np.random.default_rng(0).standard_normal((4, 3, 33, 40)))
    ways = []
    for fused in (False, True):
        tg.manual_seed(5)
        with tg.use_backend(backend):
            ways.append(run(nn.EfficientNet("b0", 5, fused=fused).double(), x, training))
    for plain, fused in zip(*ways, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-6, atol=1e-8)


def test_a_block_takes_its_stem_over_in_training_and_unwatched():
    net, x = nn.EfficientNet("b0", 5, fused=True), images(channels=3, dtype="float32")
    assert "depthwise_conv2d" not in used(lambda: net(x))
    assert "depthwise_conv2d" in used(lambda: net.eval()(x))
    net.train()
    for name in ("stem", "stem.norm", "stages", "stages.0", "stages.0.0"):
        seen = []
        hook = net.get_submodule(name).register_forward_hook(lambda module, *rest, seen=seen: seen.append(module))
        assert "depthwise_conv2d" in used(lambda: net(x))
        assert seen == [net.get_submodule(name)]
        hook.remove()


def test_names_of_the_state_do_not_depend_on_the_path():
    assert list(block(True).state_dict()) == list(block(False).state_dict())


def test_by_default_the_backend_decides():
    x = images(dtype="float32")
    for backend in BACKENDS:
        with tg.use_backend(backend):
            assert bool(FUSED & used(lambda: block(None)(x))) == (backend == "numba")
            assert not FUSED & used(lambda: block(False)(x))
            assert used(lambda: block(True)(x)) >= {"norm_silu_depthwise", "norm_silu_squeeze_excite", "norm_add"}


@pytest.mark.parametrize(
    "name", ["expand", "expand.act", "depthwise.conv", "squeeze_excite", "squeeze_excite.reduce", "project.norm"]
)
def test_a_hook_on_an_inner_module_is_called(name):
    net, x, seen = block(True), images(dtype="float32"), []
    hook = net.get_submodule(name).register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    assert not {"norm_silu_depthwise", "norm_silu_squeeze_excite"} & used(lambda: net(x))
    assert len(seen) == 1
    hook.remove()
    assert "norm_silu_depthwise" in used(lambda: net(x))


def test_what_is_put_in_place_of_an_inner_module_is_used():
    net, x = block(True), images(dtype="float32")
    net.depthwise.act = nn.ReLU()
    assert {"relu"} <= used(lambda: net(x))
    assert "norm_silu_depthwise" not in used(lambda: net(x))


def test_summary_shows_every_module():
    rows = block(True).summary((2, 4, 8, 8)).rows
    assert all(row.output_shape for row in rows)


def test_norms_frozen_alone_keep_their_statistics():
    ways = []
    for fused in (False, True):
        net = block(fused).double()
        net.expand.norm.eval()
        tg.manual_seed(7)
        ways.append(net(images()).numpy())
        assert not net.expand.norm.running_mean.numpy().any()
        assert net.depthwise.norm.num_batches_tracked.item() == 1
        assert net.expand.norm.num_batches_tracked.item() == 0
    np.testing.assert_allclose(ways[1], ways[0], rtol=1e-9, atol=1e-10)


def test_second_derivatives_are_refused_with_advice():
    net, x = block(True), images(dtype="float32").requires_grad_()
    y = net(x)
    with pytest.raises(RuntimeError, match="fused=False"):
        tg.grad(y, x, tg.Tensor(np.full(y.shape, 0.5), dtype="float32"), create_graph=True)
    assert tg.grad(block(False)(x), x, tg.Tensor(np.full(y.shape, 0.5), dtype="float32"), create_graph=True)
