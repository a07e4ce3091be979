from __future__ import annotations

import pytest

from tinygrad_effnet.training import TrainConfig
from tinygrad_effnet.training.checks import Overfit, overfit_one_batch

SMALL = TrainConfig(size=32, batch_size=8, mixup=0.5, dropout=0.5)


def test_a_batch_is_learnt_by_heart():
    told: list[int] = []
    result = overfit_one_batch(SMALL, steps=40, told=lambda step, loss: told.append(step))
    assert result.learnt
    assert result.losses[0] == pytest.approx(2.3, abs=0.2)  # a guess among ten
    assert told == list(range(1, len(result.losses) + 1))
    assert "Learnt by heart" in str(result)


def test_a_rate_that_learns_nothing_is_found_out():
    result = overfit_one_batch(SMALL.changed(lr=1e-9), steps=3)
    assert not result.learnt
    assert len(result.losses) == 3
    assert "Not learnt by heart" in str(result)


def test_both_loss_and_accuracy_must_be_there():
    assert Overfit([2.0, 0.01], 1.0, 10).learnt
    assert not Overfit([2.0, 0.01], 0.9, 10).learnt
    assert not Overfit([2.0, 0.5], 1.0, 10).learnt
