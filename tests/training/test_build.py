from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.data import Preprocessing
from tinygrad_effnet.nn import create_model
from tinygrad_effnet.training import ConfigError, TrainConfig, save_weights
from tinygrad_effnet.training.build import (
    augmentation,
    frozen_parts,
    make_model,
    make_optimizer,
    open_split,
    starting_point,
)
from tinygrad_effnet.weights import WeightsError, save

SEEN = Preprocessing(96, 96)


def test_weight_decay_spares_biases_and_norms_and_lr_scale_spares_the_classifier():
    config = TrainConfig(lr=0.1, lr_scale=0.25, weight_decay=0.5)
    model = make_model(config, 3)
    groups = {(g["lr"], g["weight_decay"]): g["params"] for g in make_optimizer(model, config).param_groups}
    assert set(groups) == {(0.025, 0.5), (0.025, 0.0), (0.1, 0.5), (0.1, 0.0)}
    assert groups[0.1, 0.5] == [model.classifier.weight]
    assert groups[0.1, 0.0] == [model.classifier.bias]
    assert all(p.ndim == 1 for p in groups[0.025, 0.0])
    assert all(p.ndim == 4 for p in groups[0.025, 0.5])
    assert sum(map(len, groups.values())) == len(list(model.parameters()))


def test_modules_learn_at_rates_of_their_own():
    scales = "stages.0=0.01, stages.1=0.125,stages.1.0.expand=0.5,head=1.5"
    config = TrainConfig(lr=0.5, lr_scale=0.25, lr_scales=scales, freeze="stem", weight_decay=0.0)
    model = make_model(config, 3)
    rates = {id(p): group["lr"] for group in make_optimizer(model, config).param_groups for p in group["params"]}
    expected = [("stages.0.", 0.005), ("stages.1.0.expand.", 0.25), ("stages.1.", 0.0625), ("head.", 0.75)]
    expected += [("classifier.", 0.5), ("", 0.125)]
    for name, p in model.named_parameters():
        if not name.startswith("stem."):
            assert rates.pop(id(p)) == next(rate for start, rate in expected if name.startswith(start)), name
    assert not rates


@pytest.mark.parametrize(
    ("scales", "words"),
    [
        ("stages.0", "lr_scales: got 'stages.0', expected \"MODULE=SHARE"),
        ("head=fast", "lr_scales: got 'head=fast'"),
        ("head=0", "lr_scales: got 'head=0', expected shares above 0"),
        ("head=nan", "expected shares above 0"),
    ],
)
def test_rates_that_make_no_sense(scales: str, words: str):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(lr_scales=scales)


def test_rates_of_modules_that_are_not_there():
    config = TrainConfig(lr_scales="stages.9=0.1")
    with pytest.raises(ConfigError, match="lr_scales: there is no module 'stages.9'; there are stem, stages"):
        make_optimizer(make_model(config, 2), config)


@pytest.mark.parametrize("freeze", ["stem", "stem, stages.0", "all"])
def test_frozen_weights_are_not_given_to_the_optimizer(freeze: str):
    config = TrainConfig(freeze=freeze)
    model = make_model(config, 3)
    learnt = {id(p) for g in make_optimizer(model, config).param_groups for p in g["params"]}
    for name, p in model.named_parameters():
        frozen = not name.startswith("classifier.") if freeze == "all" else name.startswith(("stem.", "stages.0."))
        if freeze == "stem" and name.startswith("stages.0."):
            frozen = False
        assert (id(p) in learnt) == (not frozen), name
        assert p.requires_grad == (not frozen)


@pytest.mark.parametrize(
    ("freeze", "words"),
    [
        ("stemm", "no module 'stemm'; there are stem, stages"),
        ("stem,stages,head,classifier", "leaves nothing to learn"),
    ],
)
def test_freezing_what_cannot_be(freeze: str, words: str):
    with pytest.raises(ConfigError, match=words):
        make_model(TrainConfig(freeze=freeze), 2)


def test_weights_to_start_from(tmp_path):
    path = tmp_path / "best.safetensors"
    before = make_model(TrainConfig(seed=1), 3)
    save_weights(path, {name: t.numpy() for name, t in before.state_dict().items()})
    same, other = (make_model(TrainConfig(seed=2, weights=str(path)), classes) for classes in (3, 5))
    np.testing.assert_array_equal(same.classifier.weight.numpy(), before.classifier.weight.numpy())
    assert other.classifier.weight.shape[0] == 5
    for name, t in other.named_parameters():
        if not name.startswith("classifier."):
            np.testing.assert_array_equal(t.numpy(), before.state_dict()[name].numpy())
    with pytest.raises(WeightsError, match="does not fit EfficientNet"):
        make_model(TrainConfig(model="b1", weights=str(path)), 3)
    with pytest.raises(WeightsError, match="No such file"):
        make_model(TrainConfig(weights=str(tmp_path / "none.safetensors")), 3)


def test_weights_of_others_bring_their_padding_and_normalisation(tmp_path):
    path = tmp_path / "tf_efficientnetv2_s_own.pth"  # such names are timm's, but this file's digits are not known
    save(create_model("mobilenet_v2", 4), tmp_path / "m.pth", "timm")
    save(create_model("efficientnet_v2_b0", 4), path, "timm")
    config = TrainConfig(model="efficientnet_v2_b0", weights=str(path), size=64)
    model = make_model(config, 3)
    assert (model.stem.conv.padding, model.stem.norm.eps) == ("same", 1e-3)
    start = starting_point(config)
    assert start.preprocessing == Preprocessing(64, 64, interpolation="bicubic")
    start = starting_point(TrainConfig(model="mobilenet_v2", weights=str(tmp_path / "m.pth")))
    assert (start.settings, start.preprocessing.size) == ({}, 96)
    half = Preprocessing(32, 32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    white = augmentation(config, half)(np.full((40, 50, 3), 255, np.uint8), np.random.default_rng(0))
    assert 0.5 < white.max() <= 1


def test_the_momentum_of_batch_norm_is_passed_on():
    model = make_model(TrainConfig(norm_momentum=0.3), 2)
    momenta = {m.momentum for m in model.modules() if hasattr(m, "running_var")}
    assert momenta == {0.3}


def test_every_augmentation_can_be_asked_for():
    names = repr(augmentation(TrainConfig(rotate=5, erasing=0.5, randaugment=9), SEEN))
    for part in (
        "RandomResizedCrop",
        "RandomHorizontalFlip",
        "RandomAffine",
        "RandAugment",
        "ColorJitter",
        "RandomErasing",
    ):
        assert part in names
    assert "RandomAffine" not in repr(augmentation(TrainConfig(), SEEN))
    assert frozen_parts(make_model(TrainConfig(), 2), TrainConfig()) == ()


def test_what_is_held_out_does_not_depend_on_the_seed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.fromarray(np.full((32, 32, 3), number, np.uint8)).save(tmp_path / name / f"{number}.png")

    def held_out(**seeds: int) -> list[str]:
        val = open_split(TrainConfig(data=str(tmp_path), **seeds)).val
        return [Path(val.source(index)).name for index in range(len(val))]

    assert held_out() == held_out(seed=1) == held_out(seed=2)
    assert len({tuple(held_out(data_seed=seed)) for seed in range(4)}) > 1
    cars, others = (open_split(TrainConfig(size=32, data_seed=seed)).train for seed in (0, 1))
    assert (cars[3][0] != others[3][0]).any()
    np.testing.assert_array_equal(cars[3][0], open_split(TrainConfig(size=32, seed=5)).train[3][0])
