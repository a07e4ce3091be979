"""No backward rule can be broken unnoticed: see mutate_rules.py, which this runs."""

from __future__ import annotations

from collections.abc import Iterator

import mutate_rules
import pytest
from mutate_rules import Mutant, explanation, mutants, planted, rules, survives

import tinygrad_effnet as tg
from tinygrad_effnet.op import registry


@pytest.fixture(autouse=True)
def _on_numpy() -> Iterator[None]:
    with tg.use_backend("numpy"):
        yield


def all_mutants() -> list[Mutant]:
    return [mutant for rule in rules() for mutant in mutants(rule)]


def test_every_mutant_dies_or_is_explained() -> None:
    every = all_mutants()
    alive = [mutant for mutant in every if survives(mutant)]
    assert len(alive) <= 0.05 * len(every)
    assert not [mutant.label for mutant in alive if explanation(mutant) is None]
    assert all(any(op in m.rule.ops and part in m.label for m in alive) for op, part in mutate_rules.EXPLAINED)


def test_every_operation_has_mutants_of_many_kinds() -> None:
    every = all_mutants()
    of_ops = {op for mutant in every for op in mutant.rule.ops}
    assert of_ops == {name for name, op in registry.items() if op.__module__.startswith("tinygrad_effnet.ops")}
    kinds = {mutant.label.split(": ", 1)[1].split(" in `")[0] for mutant in every}
    for kind in ("sign of gradient 0", "factor of gradient 1", "left out of gradient 0", "gradients exchanged"):
        assert kind in kinds
    for kind in ("left operand only", "another operator", "one more", "another edge", "the opposite", "a for b"):
        assert kind in kinds
    assert len({(m.rule.owner, m.rule.name, m.label, id(m)) for m in every}) == len(every)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # at kinks, and means of nothing
def test_every_right_rule_passes() -> None:
    for name in {op for rule in rules() for op in rule.ops}:
        mutate_rules.check(name)


def test_rules_that_are_right_pass_and_come_back_after_a_mutant() -> None:
    rule = next(rule for rule in rules() if rule.ops == ("exp",))
    mutate_rules.check("exp")
    with planted(mutants(rule)[0]):
        assert registry["exp"].backward is not rule.function
        with pytest.raises(AssertionError):
            mutate_rules.check("exp")
    assert registry["exp"].backward is rule.function
    mutate_rules.check("exp")


def test_the_script_counts_and_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutate_rules.main(["--sample", "12", "--seed", "4"]) == 0
    assert "of   12 killed" in capsys.readouterr().out
    assert mutate_rules.main(["--op", "where", "exp"]) == 0
    text = capsys.readouterr().out
    assert "survived  Where.backward: half in `0`" in text
    assert "the first is the last" in text
