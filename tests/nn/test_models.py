"""Every network of the list: counts that others have published, and the settings that all share."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn

# Parameters with 1000 classes, buffer entries and state-dict entries where known, billions of multiply-adds, and size:
# torchvision's for B0 to B7, V2-S to L and MobileNetV2, timm's (to 0.01 million) for the others.
COUNTS = {
    "efficientnet_b0": (5_288_548, 42_065, 360, 0.3858, 224),
    "efficientnet_b1": (7_794_184, 62_117, 508, 0.6868, 240),
    "efficientnet_b2": (9_109_994, 67_637, 508, 0.9936, 260),
    "efficientnet_b3": (12_233_232, 87_374, 574, 1.8271, 300),
    "efficientnet_b4": (19_341_616, 125_296, 706, 4.3938, 380),
    "efficientnet_b5": (30_389_784, 172_852, 854, 10.2664, 456),
    "efficientnet_b6": (43_040_704, 224_566, 986, 19.0676, 528),
    "efficientnet_b7": (66_347_960, 310_883, 1200, 37.7459, 600),
    "efficientnet_b8": (87_413_142, 380_213, 1332, 62.5975, 672),
    "efficientnet_l2": (480_309_308, 1_090_948, 1914, 475.7037, 800),
    "efficientnet_v2_s": (21_458_488, 153_982, 782, 8.3656, 384),
    "efficientnet_v2_m": (54_139_356, 292_189, None, 24.5825, 480),
    "efficientnet_v2_l": (118_515_272, 512_793, None, 56.0797, 480),
    "efficientnet_v2_xl": (208_119_808, 777_302, None, 93.3535, 512),
    "efficientnet_v2_b0": (7_139_704, None, None, 0.718, 224),
    "efficientnet_v2_b1": (8_141_052, None, None, 1.197, 240),
    "efficientnet_v2_b2": (10_096_086, None, None, 1.698, 260),
    "efficientnet_v2_b3": (14_358_406, None, None, None, 300),
    "mobilenet_v2": (3_504_872, 34_164, 314, 0.3008, 224),
}
# what fits the time of a test; others are run with the slow tests, and of the largest only the parameters are counted
QUICK = ("efficientnet_b0", "efficientnet_v2_b0", "mobilenet_v2")
LONG = ("efficientnet_l2", "efficientnet_v2_xl", "efficientnet_v2_l", "efficientnet_b8")


@pytest.fixture
def unfilled(monkeypatch):
    """Networks whose weights are not drawn, so that half a billion of them take no time and no memory."""
    for name in ("uniform_", "normal_", "kaiming_normal_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


def test_the_list_is_whole():
    assert set(COUNTS) == set(nn.list_models())
    assert nn.list_models("*v2_?") == [f"efficientnet_v2_{size}" for size in "sml"]


@pytest.mark.parametrize("name", COUNTS)
def test_counts(unfilled, name):
    net = nn.create_model(name)
    parameters, buffers, entries, _, size = COUNTS[name]
    assert sum(p.size for p in net.parameters()) == parameters
    assert buffers in (None, sum(b.size for b in net.buffers()))
    assert entries in (None, len(net.state_dict()))
    assert net.plan.size == size


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
        for name, counts in COUNTS.items()
        if counts[3] is not None and name not in LONG
    ],
)
def test_multiply_adds(name):
    size = COUNTS[name][4]
    found = nn.create_model(name).summary((1, 3, size, size)).multiply_adds
    assert found == pytest.approx(COUNTS[name][3] * 1e9, rel=6e-4)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"no 'efficientnet_b9'; the nearest are efficientnet_b8"):
        nn.create_model("efficientnet_b9")
    with pytest.raises(ValueError, match=r"EfficientNetV2\(variant\): 'xxl'; choose one of s, m, l, xl, b0"):
        nn.EfficientNetV2("xxl")
    with pytest.raises(ValueError, match=r"MobileNetV2\(width\): -1; expected a multiple above 0"):
        nn.MobileNetV2(width=-1)


SMALL = [("efficientnet_b0", {}), ("efficientnet_v2_b0", {}), ("mobilenet_v2", {"width": 0.35})]


@pytest.fixture(params=SMALL, ids=[name for name, _ in SMALL])
def small(request):
    """A network's maker with everything but its name and width to be said."""
    name, settings = request.param
    return lambda **more: nn.create_model(name, **{"num_classes": 3, "depth": 0.5} | settings | more)


def images(n=2, side=64, channels=3):
    return tg.Tensor(np.random.default_rng(1).standard_normal((n, channels, side, side)), dtype="float32")


def test_settings_reach_every_layer(small):
    net = small(norm_eps=0.1, norm_momentum=0.3, padding="same", in_channels=1, dropout=0.4)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(0.1, 0.3)}
    spatial = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
    assert {m.padding for m in spatial} == {"same"}
    assert net.dropout.p == 0.4
    with tg.no_grad():
        assert net.eval()(images(channels=1)).shape == (2, 3)


def test_without_classes_it_gives_embeddings(small):
    tg.manual_seed(1)
    whole = small().eval()
    body = small(num_classes=0).eval()
    body.load_state_dict(whole.state_dict(), strict=False)
    assert [n for n in body.state_dict() if n.startswith("classifier")] == []
    with tg.no_grad():
        x = images()
        embedding = body(x)
        assert embedding.shape == (2, body.plan.head)
        np.testing.assert_allclose(
            tg.linear(embedding, whole.classifier.weight, whole.classifier.bias).numpy(), whole(x).numpy(), rtol=1e-5
        )


def test_features_only_gives_the_last_map_at_each_scale(small):
    net = small(features_only=True, depth=1.0).eval()
    with tg.no_grad():
        maps = net(images(side=96))
    assert [m.shape[2] for m in maps] == [48, 24, 12, 6, 3]
    at = [i for i, line in enumerate(net.plan.stages) if line.stride > 1]
    expected = [net.plan.stages[i - 1].out_channels if i else net.plan.stem for i in at]
    assert [m.shape[1] for m in maps] == [*expected, net.plan.stages[-1].out_channels]
    assert net.head is None
    assert net.classifier is None


def test_width_and_depth_scale_the_table(small):
    net, wide = small(depth=1.0, width=1.0), small(depth=2.0, width=2.0)
    for line, other in zip(net.plan.stages, wide.plan.stages, strict=True):
        assert other.out_channels == 2 * line.out_channels
        assert other.repeats == 2 * line.repeats


def test_fused_operations_change_nothing_but_rounding(small):
    """Training mode, stochastic depth included: outputs, gradients and running statistics."""
    results = []
    for fused in (True, False):
        tg.manual_seed(4)
        net = small(fused=fused, stochastic_depth=0.3).double()
        x = tg.Tensor(images().numpy(), dtype="float64", requires_grad=True)
        y = net(x)
        y.backward(np.random.default_rng(2).standard_normal(y.shape))
        state = {name: t.numpy() for name, t in net.state_dict().items()}
        grads = {name: p.grad.numpy() for name, p in net.named_parameters()}
        results.append((y.numpy(), x.grad.numpy(), state, grads))
    (y, dx, state, grads), (y2, dx2, state2, grads2) = results
    np.testing.assert_allclose(y, y2, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dx, dx2, rtol=1e-7, atol=1e-10)
    for name in state:
        np.testing.assert_allclose(state[name], state2[name], rtol=1e-9, atol=1e-12, err_msg=name)
    for name in grads:
        np.testing.assert_allclose(grads[name], grads2[name], rtol=1e-6, atol=1e-9, err_msg=name)


def test_v2_has_full_convolutions_early_and_its_own_rounding():
    net = nn.EfficientNetV2("b3", 2)
    kinds = [{type(b) for b in stage.children()} for stage in net.stages]
    assert kinds == [{nn.FusedMBConv}] * 3 + [{nn.MBConv}] * 3
    assert net.plan.stages[0].out_channels == 16  # 19.2: EfficientNet's rule would give 24
    first = next(iter(net.stages[0].children()))
    assert first.project is None
    assert first.squeeze_excite is None
    assert first.expand.conv.kernel_size == (3, 3)


def test_mobilenet_is_the_block_without_what_came_later():
    net = nn.MobileNetV2()
    assert not any(isinstance(m, (nn.SqueezeExcitation, nn.SiLU, nn.StochasticDepth)) for m in net.modules())
    assert sum(isinstance(m, nn.ReLU6) for m in net.modules()) == 2 * 17 - 1 + 2
    assert nn.MobileNetV2(width=0.5).plan.head == 1280
    assert nn.MobileNetV2(width=1.4).plan.head == 1792
    assert net.classifier.weight.numpy().std() == pytest.approx(0.01, rel=0.02)
