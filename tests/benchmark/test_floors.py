"""Floors: costs are linear in the batch, and no time is below what the data sheet allows."""

from __future__ import annotations

import pytest

from tinygrad_effnet.benchmark import command, floors
from tinygrad_effnet.benchmark.profile import OPTIMIZER
from tinygrad_effnet.benchmark.settings import Settings

TINY = Settings("b0", 64, 1, 1, 5)


@pytest.fixture(scope="module")
def found():
    return floors.costs(TINY)


def test_costs_of_a_larger_batch_are_foretold(found):
    entries = floors._count(TINY._replace(batch=5)).entries
    assert {cost.name for cost in found} == set(entries)
    for cost in found:
        entry = entries[cost.name]
        assert (entry.calls, entry.flops) == (cost.calls, cost.fixed_flops + 5 * cost.flops)
        assert entry.bytes == cost.fixed_bytes + 5 * cost.bytes
    (optimizer,) = [cost for cost in found if cost.name == OPTIMIZER]
    assert optimizer.bytes == 0 and optimizer.fixed_bytes > 0


def test_a_floor_is_the_larger_of_moving_and_computing():
    card = floors.Card("made up", 10.0, 100.0, 1000.0)
    moves, computes = floors.Cost("add", 1, 1, 20, 0, 10), floors.Cost("conv2d", 1, 4000, 20, 0, 0)
    assert moves.seconds(card, 2, False) == (10 + 40) / 10
    assert computes.seconds(card, 2, False) == 8000 / 100
    assert computes.seconds(card, 2, True) == 8000 / 1000
    assert floors.Cost("norm_add", 1, 4000, 20, 0, 0).seconds(card, 2, True) == 8000 / 100  # no product


def test_the_table_adds_up(found):
    lines = floors.in_words(found, floors.CARDS["h100"], [128]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    *rows, together, rates = cells
    assert together[0] == "together" and rates[0] == "images/s at most"
    for column in range(1, 6):
        assert sum(float(row[column]) for row in rows) == pytest.approx(float(together[column]), abs=0.05 * len(rows))
    assert float(rates[4].replace(",", "")) == pytest.approx(128e3 / float(together[4]), rel=0.05)


def test_the_command_prints_them(capsys, tmp_path):
    assert command.main(["--size", "32", "--floors", "t4"]) == 0
    said = capsys.readouterr().out
    assert "NVIDIA T4" in said and "nothing of it is measured" in said and "norm_silu_depthwise" in said
    with pytest.raises(SystemExit):
        command.main(["--floors", "voodoo"])
    assert "voodoo" in capsys.readouterr().err
