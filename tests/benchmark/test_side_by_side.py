from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.benchmark.side_by_side import CURVES, Course, Pair, _PyTorch, learn_side_by_side
from tinygrad_effnet.benchmark.side_by_side_report import describe, draw, write
from tinygrad_effnet.training import TrainConfig
from tinygrad_effnet.training.build import make_model

TINY = TrainConfig(size=32, batch_size=8, epochs=1, limit_batches=4, weight_decay=0.1, label_smoothing=0.1, warmup=0.4)


@pytest.mark.parametrize("optimizer", ["nadam", "sgd"])
def test_in_float64_both_learn_the_same(optimizer: str):
    pytest.importorskip("torch", reason="PyTorch is the other side")
    told: list[str] = []
    pair = learn_side_by_side(TINY.changed(optimizer=optimizer), "float64", told.append)
    assert len(pair.ours.losses) == 4
    assert len(told) == 1
    assert pair.difference() < 1e-6
    assert max(pair.ours.losses) - min(pair.ours.losses) > 1e-3  # they do learn
    for name in CURVES:
        np.testing.assert_allclose(pair.ours.curves[name], pair.pytorch.curves[name], rtol=1e-5)


def test_the_control_begins_one_rounding_away():
    torch = pytest.importorskip("torch", reason="PyTorch is the other side")
    model = make_model(TINY, 3)
    other, nudged = (_PyTorch(model, TINY, 3, "float32") for _ in range(2))
    nudged.nudge(0)
    directions = set()
    for before, after in zip(other.model.parameters(), nudged.model.parameters(), strict=True):
        above, below = (torch.nextafter(before, torch.tensor(limit)) for limit in (torch.inf, -torch.inf))
        assert ((after == above) | (after == below)).all()
        directions |= set((after > before).flatten().tolist())
    assert directions == {True, False}


def test_the_control_learns_beside_the_others():
    pytest.importorskip("torch", reason="PyTorch is the other side")
    pair = learn_side_by_side(TINY.changed(limit_batches=2), "float64", lambda line: None, control=True)
    assert pair.control is not None
    assert len(pair.control.losses) == 2
    assert 0 < pair.difference(2, pair.control) < 1e-9
    assert all(len(pair.control.curves[name]) == 1 for name in CURVES)


@pytest.mark.slow
def test_in_float32_fifty_gentle_steps_stay_together():
    """The rate rises as in 500 steps of warm-up to 2e-3. With faster ones PyTorch leaves itself, too."""
    pytest.importorskip("torch", reason="PyTorch is the other side")
    gentle = TrainConfig(size=48, batch_size=16, epochs=1, limit_batches=50, lr=2e-4, warmup=0.98)
    pair = learn_side_by_side(gentle, told=lambda line: None)
    assert len(pair.ours.losses) == 50
    assert pair.difference(50) < 1e-3
    assert len(set(pair.ours.losses)) == 50  # they do learn


def made(seed: int, shift: float) -> Pair:
    ours, theirs = Course([2.0, 1.0, 0.5]), Course([2.0, 1.0 + shift, 0.5])
    for course, end in ((ours, 0.9), (theirs, 0.88)):
        course.curves |= {name: [2, 1] for name in ("train_loss", "val_loss")}
        course.curves |= {"train_f1": [0.1, 0.5], "val_f1": [0.2, end + shift]}
    return Pair(seed, ours, theirs)


def test_differences_are_measured_and_told():
    assert made(0, 0.25).difference() == pytest.approx(0.2)
    assert made(0, 0.25).difference(1) == 0.0
    text = describe([made(0, 0.0), made(1, 0.02), made(2, 0.01)])
    assert "seed 1: losses differ by at most 2.0e-02 (relative) over the first 3 steps" in text
    assert "0.9100 ± 0.0100; PyTorch 0.8900 ± 0.0100" in text
    assert "mean difference 0.0200; one run differs from another of the same program by 0.0100" in text


def test_the_control_is_told_drawn_and_kept_beside(tmp_path: Path):
    pair = replace(made(4, 0.25), control=Course([2.0, 1.0, 0.5]))
    assert pair.difference(of=pair.control) == pytest.approx(0.2)
    assert pair.differences(pair.control).tolist() == [0.0, pytest.approx(0.2), 0.0]
    assert "(relative) over the first 3 steps; PyTorch's from its own, begun one rounding away, by 2.0e-01" in describe(
        [pair]
    )
    assert json.loads(write([pair], tmp_path / "courses.json").read_text())[0]["control"]["losses"] == [2.0, 1.0, 0.5]
    sizes = {draw([p], tmp_path / "c.png", "b0").read_bytes() for p in (pair, replace(pair, control=None))}
    assert len(sizes) == 2


def test_curves_of_both_are_drawn_and_kept(tmp_path: Path):
    pairs = [made(0, 0.0), made(1, 0.02)]
    with Image.open(draw(pairs, tmp_path / "curves.png", "b0")) as picture:
        assert min(picture.size) > 600
    kept = json.loads(write(pairs, tmp_path / "courses.json").read_text())
    assert kept[1]["pytorch"]["losses"] == pytest.approx([2.0, 1.02, 0.5])


def test_without_pytorch_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        learn_side_by_side(TINY.changed(limit_batches=1))
    with pytest.raises(ValueError, match="precision: got 'float16'"):
        learn_side_by_side(TINY, "float16")
