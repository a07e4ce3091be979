from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.training import TrainConfig
from tinygrad_effnet.training.checks import LearningRates, find_learning_rate, plot_learning_rates


def course(fall: float) -> LearningRates:
    """Flat, then falling fastest at 1e-2, then rising without end."""
    rates = np.geomspace(1e-5, 1, 101)
    losses = 2.3 - fall / (1 + (1e-2 / rates) ** 2) + np.where(rates > 0.1, 40 * (rates - 0.1), 0)
    return LearningRates(rates.tolist(), losses.tolist(), losses.tolist())


def test_the_steepest_place_is_suggested():
    assert course(1.0).suggestion == pytest.approx(1e-2, rel=0.15)
    assert "falls fastest at 1.0e-02" in str(course(1.0))


def test_nothing_is_suggested_where_the_loss_does_not_fall():
    assert course(0.02).suggestion is None
    assert "hardly falls in 101 steps" in str(course(0.02))


def test_rates_rise_by_a_constant_factor_and_everything_is_written(tmp_path: Path):
    told: list[float] = []
    found = find_learning_rate(
        TrainConfig(size=32, batch_size=4), 1e-5, 1e-3, 12, told=lambda step, rate, loss: told.append(rate)
    )
    assert found.rates == told
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 1e-3, 12), rtol=1e-9)
    assert found.smoothed[0] == pytest.approx(found.losses[0])
    for path in plot_learning_rates(found, tmp_path):
        assert path.exists()
    with open(tmp_path / "lr_find.csv", newline="") as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == found.losses
    with Image.open(tmp_path / "lr_find.png") as picture:
        assert min(picture.size) > 500


def test_it_ends_when_the_loss_breaks():
    found = find_learning_rate(TrainConfig(size=32, batch_size=4), 1e-2, 1e6, 60)
    assert 5 <= len(found.rates) < 60


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((1, 0.1), "expected 0 < low < high"), ((1e-5, 1, 5), "steps: got 5, expected at least 10")],
)
def test_bad_arguments(arguments, words: str):
    with pytest.raises(ValueError, match=words):
        find_learning_rate(TrainConfig(), *arguments)
