"""The names in other dialects: examples from their own files, counts, and PyTorch's model where it is installed."""

from __future__ import annotations

import pytest

from tinygrad_effnet import nn, weights

B0, V2, MOBILE = nn.EfficientNet("b0", 2), nn.EfficientNetV2("s", 2), nn.MobileNetV2(2)

# torchvision, timm, lukemelas
EXAMPLES = [
    (B0, "stem.conv.weight", "features.0.0.weight", "conv_stem.weight", "_conv_stem.weight"),
    (B0, "stem.norm.bias", "features.0.1.bias", "bn1.bias", "_bn0.bias"),
    # the first block has no widening convolution: timm's "pw" is then the narrowing one
    (B0, "stages.0.0.depthwise.conv.weight", "features.1.0.block.0.0.weight", "blocks.0.0.conv_dw.weight",
     "_blocks.0._depthwise_conv.weight"),
    (B0, "stages.0.0.depthwise.norm.weight", "features.1.0.block.0.1.weight", "blocks.0.0.bn1.weight",
     "_blocks.0._bn1.weight"),
    (B0, "stages.0.0.squeeze_excite.reduce.bias", "features.1.0.block.1.fc1.bias", "blocks.0.0.se.conv_reduce.bias",
     "_blocks.0._se_reduce.bias"),
    (B0, "stages.0.0.project.conv.weight", "features.1.0.block.2.0.weight", "blocks.0.0.conv_pw.weight",
     "_blocks.0._project_conv.weight"),
    (B0, "stages.0.0.project.norm.bias", "features.1.0.block.2.1.bias", "blocks.0.0.bn2.bias", "_blocks.0._bn2.bias"),
    (B0, "stages.2.1.expand.conv.weight", "features.3.1.block.0.0.weight", "blocks.2.1.conv_pw.weight",
     "_blocks.4._expand_conv.weight"),
    (B0, "stages.2.1.expand.norm.running_var", "features.3.1.block.0.1.running_var", "blocks.2.1.bn1.running_var",
     "_blocks.4._bn0.running_var"),
    (B0, "stages.2.1.squeeze_excite.expand.weight", "features.3.1.block.2.fc2.weight",
     "blocks.2.1.se.conv_expand.weight", "_blocks.4._se_expand.weight"),
    (B0, "stages.2.1.project.norm.num_batches_tracked", "features.3.1.block.3.1.num_batches_tracked",
     "blocks.2.1.bn3.num_batches_tracked", "_blocks.4._bn2.num_batches_tracked"),
    (B0, "head.conv.weight", "features.8.0.weight", "conv_head.weight", "_conv_head.weight"),
    (B0, "head.norm.running_mean", "features.8.1.running_mean", "bn2.running_mean", "_bn1.running_mean"),
    (B0, "classifier.weight", "classifier.1.weight", "classifier.weight", "_fc.weight"),
    (V2, "stages.0.1.expand.conv.weight", "features.1.1.block.0.0.weight", "blocks.0.1.conv.weight", None),
    (V2, "stages.1.0.expand.conv.weight", "features.2.0.block.0.0.weight", "blocks.1.0.conv_exp.weight", None),
    (V2, "stages.1.0.project.norm.weight", "features.2.0.block.1.1.weight", "blocks.1.0.bn2.weight", None),
    (V2, "head.conv.weight", "features.7.0.weight", "conv_head.weight", None),
    (MOBILE, "stages.0.0.depthwise.conv.weight", "features.1.conv.0.0.weight", "blocks.0.0.conv_dw.weight", None),
    (MOBILE, "stages.0.0.project.conv.weight", "features.1.conv.1.weight", "blocks.0.0.conv_pw.weight", None),
    (MOBILE, "stages.0.0.project.norm.weight", "features.1.conv.2.weight", "blocks.0.0.bn2.weight", None),
    (MOBILE, "stages.1.1.expand.conv.weight", "features.3.conv.0.0.weight", "blocks.1.1.conv_pw.weight", None),
    (MOBILE, "stages.1.1.project.norm.bias", "features.3.conv.3.bias", "blocks.1.1.bn3.bias", None),
    (MOBILE, "head.conv.weight", "features.18.0.weight", "conv_head.weight", None),
]  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{type(e[0]).__name__}-{e[1]}" for e in EXAMPLES])
def test_examples(example):
    model, own, *theirs = example
    for dialect, name in zip(("torchvision", "timm", "lukemelas"), theirs, strict=True):
        if name is not None:
            assert weights.key_map(model, dialect)[own] == name


@pytest.mark.parametrize("dialect", weights.DIALECTS)
@pytest.mark.parametrize("model", [B0, V2, MOBILE], ids=["b0", "v2_s", "mobilenet_v2"])
def test_every_entry_has_a_name_of_its_own(model, dialect):
    if dialect == "lukemelas" and model is not B0:
        with pytest.raises(ValueError, match="lukemelas's EfficientNet-PyTorch has no"):
            weights.key_map(model, dialect)
        return
    names = weights.key_map(model, dialect)
    assert list(names) == list(model.state_dict())
    assert len(set(names.values())) == len(names)


def test_bad_arguments():
    with pytest.raises(ValueError, match="'keras'; choose one of native, torchvision, timm, lukemelas"):
        weights.key_map(B0, "keras")
    with pytest.raises(ValueError, match="a Linear has no names in other dialects"):
        weights.key_map(nn.Linear(2, 3), "timm")
