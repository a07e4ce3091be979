from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn
from tinygrad_effnet.nn.efficientnet import VARIANTS
from tinygrad_effnet.nn.staged import round_channels

# kernel, stride, in, out, expanded, squeeze, skip, of B0's blocks
BLOCKS = [
    (3, 1, 32, 16, 32, 8, False),
    (3, 2, 16, 24, 96, 4, False),
    (3, 1, 24, 24, 144, 6, True),
    (5, 2, 24, 40, 144, 6, False),
    (5, 1, 40, 40, 240, 10, True),
    (3, 2, 40, 80, 240, 10, False),
    (3, 1, 80, 80, 480, 20, True),
    (3, 1, 80, 80, 480, 20, True),
    (5, 1, 80, 112, 480, 20, False),
    (5, 1, 112, 112, 672, 28, True),
    (5, 1, 112, 112, 672, 28, True),
    (5, 2, 112, 192, 672, 28, False),
    (5, 1, 192, 192, 1152, 48, True),
    (5, 1, 192, 192, 1152, 48, True),
    (5, 1, 192, 192, 1152, 48, True),
    (3, 1, 192, 320, 1152, 48, False),
]


def blocks(net):
    return [block for stage in net.stages for block in stage]


def test_196_classes():
    assert sum(p.size for p in nn.EfficientNet("b0", 196).parameters()) == 4_258_624


def test_block_table_of_b0():
    net = nn.EfficientNet("b0", 10)
    for block, expected in zip(blocks(net), BLOCKS, strict=True):
        conv = block.depthwise.conv
        assert (
            conv.kernel_size[0],
            conv.stride,
            (block.expand or block.depthwise).conv.in_channels,
            block.project.conv.out_channels,
            conv.in_channels,
            block.squeeze_excite.reduce.out_channels,
            block.has_skip,
        ) == expected
        assert conv.groups == conv.in_channels
        assert block.project.act is None


def test_drop_probabilities():
    """0.2 · i / 16 for block i, where there is a skip; the divisor is the number of blocks after scaling."""
    net = nn.EfficientNet("b0", 10)
    for i, block in enumerate(blocks(net)):
        assert (block.drop_path is not None) == block.has_skip
        assert block.drop_path is None or block.drop_path.p == pytest.approx(0.2 * i / 16)
    b5 = blocks(nn.EfficientNet("b5", 10))
    assert len(b5) == 39
    assert b5[1].drop_path.p == pytest.approx(0.2 / 39)


def test_depthwise_initialisation_counts_one_group():
    tg.manual_seed(3)
    net = nn.EfficientNet("b0", 10)
    by_kernel = {3: [], 5: []}
    for block in blocks(net):
        by_kernel[block.depthwise.conv.kernel_size[0]].append(block.depthwise.conv.weight.numpy().ravel())
    assert np.concatenate(by_kernel[3]).std() == pytest.approx(0.4714, rel=0.02)
    assert np.concatenate(by_kernel[5]).std() == pytest.approx(0.2828, rel=0.02)
    assert np.abs(net.classifier.weight.numpy()).max() <= 10**-0.5
    assert not net.classifier.bias.numpy().any()
    assert net.head.conv.weight.numpy().std() == pytest.approx((2 / 1280) ** 0.5, rel=0.02)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_sides_halve_and_round_up(padding):
    """B2 at 260: 130, 65, 33, 17, 9, with either padding."""
    rows = nn.EfficientNet("b0", 2, padding=padding).summary((1, 3, 260, 260)).rows
    sides = {row.name: row.output_shape[2] for row in rows if row.output_shape and len(row.output_shape) == 4}
    assert [sides[n] for n in ("stem", "stages.1", "stages.2", "stages.3", "head")] == [130, 65, 33, 17, 9]


def test_names_are_readable():
    names = list(nn.EfficientNet("b0").state_dict())
    assert names[0] == "stem.conv.weight"
    for name in (
        "stages.1.0.expand.conv.weight",
        "stages.1.0.depthwise.norm.running_var",
        "stages.1.0.squeeze_excite.reduce.bias",
        "stages.6.0.project.norm.num_batches_tracked",
        "head.norm.bias",
        "classifier.bias",
    ):
        assert name in names


def test_norm_settings_follow_the_variant():
    assert (nn.EfficientNet("b0", 2).head.norm.eps, nn.EfficientNet("b0", 2).head.norm.momentum) == (1e-5, 0.1)
    b5 = nn.EfficientNet("b5", 2)
    assert (b5.head.norm.eps, b5.head.norm.momentum) == (1e-3, 0.01)
    own = nn.EfficientNet("b0", 2, norm_eps=0.1, norm_momentum=0.3)
    assert {(m.eps, m.momentum) for m in own.modules() if isinstance(m, nn.BatchNorm2d)} == {(0.1, 0.3)}
    assert nn.EfficientNet("b3", 2).dropout.p == VARIANTS["b3"].dropout == 0.3


def test_grey_images_and_other_settings():
    net = nn.EfficientNet("b0", 3, in_channels=1, dropout=0.0, stochastic_depth=0.0).eval()
    with tg.no_grad():
        assert net(tg.Tensor(np.zeros((2, 1, 32, 40), np.float32))).shape == (2, 3)


@pytest.mark.parametrize(("channels", "expected"), [(32, 32), (35.2, 32), (17.6, 16), (19.2, 24), (4, 8), (28.8, 32)])
def test_round_channels(channels, expected):
    assert round_channels(channels) == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"variant": "b9"}, "'b9'; choose one of b0, b1"),
        ({"num_classes": -1}, "num_classes = -1"),
        ({"width": 0.0}, "width"),
        ({"depth": float("inf")}, "depth"),
        ({"padding": "reflect"}, "expected 'symmetric' or 'same'"),
        ({"stochastic_depth": 1.0}, "stochastic_depth"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        nn.EfficientNet(**settings)


@pytest.mark.slow
def test_learns_a_batch_by_heart():
    """32 images of noise to almost zero loss: would have caught a sigmoid before the loss."""
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    images, labels = tg.Tensor(rng.standard_normal((32, 3, 32, 32)), dtype="float32"), rng.integers(0, 4, 32)
    net = nn.EfficientNet("b0", 4, dropout=0.0, stochastic_depth=0.0)
    optimizer = tg.optim.NAdam(net.parameters(), lr=2e-3)
    for _ in range(40):
        optimizer.zero_grad()
        loss = tg.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02
