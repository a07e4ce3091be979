"""Benchmark on a GPU: who prepares, who has a turn, and what becomes of those who cannot. Nothing here computes."""

from __future__ import annotations

import threading

import pytest

from tinygrad_effnet.benchmark.contestants import Contestant
from tinygrad_effnet.benchmark.gpu import match, report
from tinygrad_effnet.benchmark.gpu.budget import Budget
from tinygrad_effnet.benchmark.gpu.match import Match
from tinygrad_effnet.benchmark.gpu.plan import Heat
from tinygrad_effnet.benchmark.processes import ContestantError

FIRST, SECOND = Heat("training", "b0", 32, 4, "tf32"), Heat("inference", "b0", 32, 1, "tf32")
OURS, TORCH = Contestant("cupy", "ours", {}), Contestant("torch", "torch", {"channels_last": True, "compiled": False})
MIB = 2**20


class World:
    """A clock that only answers move, and a log of what was asked."""

    def __init__(self) -> None:
        self.now, self.log, self.lock = 0.0, [], threading.Lock()
        self.prepares = {"ours": 1.0, "torch": 2.0}  # seconds, or an error
        self.runs = {"ours": 0.01, "torch": 0.02}  # of a step, or an error
        self.open = 0

    def start(self):
        with self.lock:
            self.open += 1
        return Asked(self)


class Asked:
    def __init__(self, world):
        self.world, self.kind = world, ""

    def ask(self, do, timeout=None, **request):
        with self.world.lock:
            self.kind = request.get("kind", self.kind)
            answers = self.world.prepares if do == "prepare" else self.world.runs
            found = answers[self.kind]
            self.world.log.append((do, self.kind, Heat(*request["heat"])))
            found = found.pop(0) if isinstance(found, list) else found
            if isinstance(found, Exception):
                raise found
            if do == "prepare":
                self.world.now += found
                if found > timeout:
                    raise ContestantError(f"it was given up after {timeout:.0f} s")
                return {"first": found, "last": 0.01}
            self.world.now += 2 * request["seconds"]
            return {"step": found, "steps": 3, "held": (1 if self.kind == "ours" else 2) * MIB}

    def close(self):
        with self.world.lock:
            self.world.open -= 1


@pytest.fixture
def world():
    return World()


def compare(world, seconds=100.0, entrants=(OURS, TORCH), heats=(FIRST, SECOND), rounds=2, reserved=0.0):
    with Match(entrants, heats, 1, Budget(seconds, lambda: world.now), world.start) as made:
        made.prepare()
        done = []
        made.run(rounds, reserved, done.append)
        assert done == list(heats)
    assert world.open == 0
    return made


def test_all_prepare_first_and_then_take_turns(world):
    made = compare(world)
    prepared = world.log[:4]
    assert {do for do, *_ in prepared} == {"prepare"}
    turns = [(kind, heat) for do, kind, heat in world.log[4:]]
    assert turns == [(k, heat) for heat in (FIRST, SECOND) for k in ("ours", "torch", "torch", "ours")]
    ours, torch = made.results[FIRST]
    assert ours.rates == {0: 400.0, 1: 400.0}
    assert ours.ratios(torch) == [2.0, 2.0]
    assert (ours.first_step, ours.memory["peak"], torch.memory["peak"]) == (1.0, MIB, 2 * MIB)


def test_who_is_missing_or_fails_is_named_and_the_rest_go_on(world):
    world.runs["torch"] = [ContestantError("AcceleratorError: an illegal access"), 0.02, 0.02]
    absent = Contestant("torch compiled", "torch", {}, needs=("no_such_package",))
    made = compare(world, entrants=(OURS, TORCH, absent))
    ours, torch, missing = made.results[FIRST]
    assert "an illegal access" in torch.problem
    assert missing.problem == "not installed: no_such_package"
    assert len(ours.rates) == 2
    assert len(made.results[SECOND][1].rates) == 2
    text = report.of_heat(FIRST, made.results[FIRST])
    assert "torch did not run: AcceleratorError: an illegal access" in text
    assert "torch compiled did not run: not installed: no_such_package" in text


def test_a_card_that_others_filled_is_tried_again_alone(world):
    world.prepares["torch"] = [ContestantError("OutOfMemoryError: CUDA out of memory. Tried"), 1.0, 1.0]
    made = compare(world)
    assert [kind for do, kind, _ in world.log if do == "prepare"].count("torch") == 3
    assert not made.results[FIRST][1].problem
    world.prepares["torch"] = [ContestantError("DeviceMemoryError: no room for 3 GiB")] * 4
    made = compare(world)
    assert made.results[FIRST][1].problem == "DeviceMemoryError: no room for 3 GiB"


def test_time_that_runs_out_leaves_out_the_end_of_the_plan(world):
    world.prepares = {"ours": 30.0, "torch": 30.0}
    made = compare(world, seconds=100.0)
    assert sorted(r.problem for rs in made.results.values() for r in rs) == ["", "", match.LATE, match.LATE]
    assert world.now <= 100
    world.prepares = {"ours": 1.0, "torch": 1.0}
    world.now = 0.0
    made = compare(world, seconds=12.0, reserved=6.0, rounds=3)
    assert made.results[FIRST][0].rates
    assert {r.problem for r in made.results[SECOND]} == {match.NO_TIME}
    assert world.now <= 6.5


def test_tables_and_documents_say_who_is_how_much_faster(world):
    made = compare(world)
    head, _, first, second = report.of_heat(FIRST, made.results[FIRST]).splitlines()
    assert head.startswith("| training, B0, 32 px, batch 4, tf32")
    assert [cell.strip() for cell in first.strip("|").split("|")][:5] == ["cupy", "400 (400–400)", "1", "1", "1.00"]
    assert [cell.strip() for cell in second.strip("|").split("|")][2:5] == ["2.00 (2.00–2.00)", "2", "0.50"]
    assert "10.00 (10.00–10.00)" in report.of_heat(SECOND, made.results[SECOND])  # ms of a single image
    best = report.of_best(made).splitlines()
    assert [cell.strip() for cell in best[2].strip("|").split("|")] == [
        FIRST.title,
        "cupy",
        "torch",
        "2.00 (2.00–2.00)",
        "0.50",
    ]
    document = report.as_document(made)
    assert [entry["best_of_others"] for entry in document] == ["torch", "torch"]
    assert document[0]["results"][1]["ours_over_this"] == [2.0, 2.0]
    assert document[0]["results"][0]["peak_bytes"] == MIB
    assert (document[1]["task"], document[1]["batch"]) == ("inference", 1)


def test_words_for_what_was_not_measured():
    assert report.of_check({"problem": "no torch"}) == "the networks could not be compared: no torch"
    assert report.of_card({"problem": "it is gone"}) == "the card's rates could not be measured: it is gone"
    assert report.of_epoch({"precision": "tf32", "problem": "late"}) == "an epoch in tf32 did not run: late"
    made = {"precision": "tf32", "images": 8064, "size": 224, "batch": 128, "seconds": 4.0}
    assert "tf32: 4.00 s, 7,200 times the speed of 8 hours" in report.of_epoch(made)
    assert report.of_heat(FIRST, []) == f"{FIRST.title}: nobody does this"
