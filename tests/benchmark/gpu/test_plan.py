"""Benchmark on a GPU: what is measured, by whom, and how the time is split."""

from __future__ import annotations

import pytest

from tinygrad_effnet.benchmark.contestants import Contestant
from tinygrad_effnet.benchmark.gpu import budget, entrants
from tinygrad_effnet.benchmark.gpu.budget import Budget
from tinygrad_effnet.benchmark.gpu.plan import PLAN, Heat, heats


def test_the_plan_has_every_precision_and_both_batches():
    assert heats() == list(PLAN)
    assert len(set(PLAN)) == len(PLAN)
    for precision in ("float32", "tf32", "bfloat16", "float16"):
        batches = {h.batch for h in heats(tasks=["training"], precisions=[precision]) if h.model == "b0"}
        assert batches == {128, 256}
    assert {h.batch for h in heats(tasks=["inference"])} == {1, 256}
    assert [h.size for h in PLAN if h.model == "b3"] == [300, 300]
    assert PLAN[0].title == "training, B0, 224 px, batch 128, tf32"
    assert PLAN[3].is_latency and not PLAN[2].is_latency


def test_a_workload_of_ones_own_takes_the_place_of_the_plans():
    assert heats("b1", 64, 4, ["training"], ["tf32"]) == [Heat("training", "b1", 64, 4, "tf32")]
    assert [(h.task, h.precision) for h in heats(batch=8)][:2] == [("training", "float32"), ("training", "tf32")]
    assert {(h.model, h.size, h.batch) for h in heats(batch=8)} == {("b0", 224, 8)}


@pytest.mark.parametrize(
    "given, message",
    [
        ({"model": "b9"}, "--model b9: expected one of b0, "),
        ({"size": 8}, "--size 8: expected at least 32"),
        ({"batch": 0}, "--batch 0: expected at least 1"),
        ({"tasks": ["inference"], "precisions": ["bfloat16"]}, "the plan has no such workload"),
    ],
)
def test_workloads_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        heats(**given)


def test_teams_are_processes_and_a_compiled_heat_has_one_of_its_own():
    chosen = entrants.choose(None)
    assert [e.name for e in chosen] == [
        *("cupy", "cupy recorded", "torch", "torch channels_last", "torch compiled", "onnxruntime"),
    ]
    made = entrants.teams(chosen, PLAN)
    for entrant in chosen:
        own = [heat for team in made if team.entrant is entrant for heat in team.heats]
        assert sorted(own) == sorted(h for h in PLAN if entrants.takes_part(entrant, h))
        for team in made:
            if team.entrant is entrant:
                assert len({(h.task, h.precision) for h in team.heats}) == 1
                assert len(team.heats) == 1 or not entrant.options.get("compiled")
    firsts = [PLAN.index(team.heats[0]) for team in made]
    assert firsts == sorted(firsts)
    with pytest.raises(
        ValueError, match="--only 'numba': there is no such contestant on a GPU; there are cupy, cupy recorded"
    ):
        entrants.choose(["numba"])


def test_onnx_runtime_reads_files_of_float32():
    (onnx,) = entrants.choose(["onnxruntime"])
    assert not entrants.takes_part(onnx, PLAN[0])
    assert entrants.takes_part(onnx, Heat("inference", "b0", 224, 1, "tf32"))
    assert not entrants.takes_part(onnx, Heat("inference", "b0", 224, 1, "float16"))
    assert entrants.takes_part(Contestant("x", "torch", {}), PLAN[0])


def test_a_budget_is_split_among_the_turns_to_come():
    now = [100.0]
    time = Budget(100.0, lambda: now[0])
    assert (time.left, time.used, time.may_begin) == (100.0, 0.0, True)
    assert time.turn(100) == pytest.approx(0.5)
    assert time.turn(100, reserved=40) == pytest.approx(0.3)
    assert time.turn(1) == budget.LONGEST
    now[0] += 50.0
    assert not time.may_begin
    assert time.left_to_prepare == pytest.approx(10)
    now[0] += 60.0
    assert (time.left, time.left_to_prepare) == (0.0, 0.0)
    assert time.turn(10) == budget.SHORTEST
