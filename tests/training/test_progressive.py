from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet import training
from tinygrad_effnet.training import ConfigError, TrainConfig, load_weights
from tinygrad_effnet.training.progressive import epochs_to_come, image_side

TINY = {"progressive": 32, "size": 64, "batch_size": 4, "epochs": 4, "limit_batches": 2}


def sides(**settings) -> list[int]:
    config = TrainConfig(**settings)
    return [image_side(config, epoch) for epoch in range(config.epochs)]


def test_sizes_grow_in_four_equal_stages():
    assert sides(progressive=48, size=96, epochs=8) == [48, 48, 64, 64, 80, 80, 96, 96]
    assert sides(progressive=64, size=96, epochs=4) == [64, 80, 80, 96]
    assert sides(size=96, epochs=3) == [96, 96, 96]


@given(st.integers(32, 300), st.integers(0, 300), st.integers(1, 50))
def test_sizes_never_fall_and_the_last_epoch_has_the_whole(first: int, more: int, epochs: int):
    run = sides(progressive=first, size=first + more, epochs=epochs)
    assert run == sorted(run)
    assert run[-1] == first + more
    assert run[0] == (first if epochs > 1 else first + more)
    assert len(set(run)) <= 4


def test_the_work_that_is_left_counts_pixels():
    config = TrainConfig(progressive=48, size=96, epochs=4)
    assert epochs_to_come(config, 0) == pytest.approx((64**2 + 80**2 + 96**2) / 48**2)
    assert epochs_to_come(config, 2) == pytest.approx((96 / 80) ** 2)
    assert epochs_to_come(config, 3) == 0
    assert epochs_to_come(TrainConfig(epochs=7), 2) == 4


@pytest.mark.parametrize("side", [31, 97, -1])
def test_a_first_size_that_cannot_be(side: int):
    with pytest.raises(ConfigError, match=f"progressive: got {side}, expected at least 32 pixels and at most size, 96"):
        TrainConfig(size=96, progressive=side)


@pytest.mark.parametrize("processes", [False, True])
def test_a_run_learns_from_these_sizes_and_resumes_within_them(tmp_path: Path, monkeypatch, capsys, processes: bool):
    seen = []
    learn = training.Trainer.train_batch
    monkeypatch.setattr(
        training.Trainer,
        "train_batch",
        lambda self, images, *rest, **named: seen.append(images.shape[2:]) or learn(self, images, *rest, **named),
    )
    config = TrainConfig(**TINY, workers=int(processes), processes=processes)
    straight = training.train(config, tmp_path, "straight")
    expected = [(side, side) for side in (32, 48, 48, 64) for _ in range(2)]
    assert seen == expected
    told = capsys.readouterr().out
    assert "epoch 1: training images of 32x32 pixels from now on" in told
    assert "epoch 2: training images of 48x48 pixels" in told
    assert "epoch 3: training images" not in told
    lines = (straight.folder / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["size"] for line in lines] == [32, 48, 48, 64]
    if processes:
        return
    seen.clear()
    training.train(config.changed(minutes=1e-9), tmp_path, "stopped")
    while not training.resume(tmp_path / "stopped", minutes=1e-9).finished:
        pass
    assert seen == expected
    (a, notes), (b, _) = (load_weights(tmp_path / name / "last.safetensors") for name in ("straight", "stopped"))
    assert notes["size"] == "64"
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
