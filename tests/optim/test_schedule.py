"""Schedules against PyTorch and their formulas; each a function of the step alone, so that resuming is exact."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.optim import SGD, Adam, Constant, NAdam, OneCycle, StepLR, WarmupCosine


def leaf() -> tg.Tensor:
    return tg.Tensor([1.0], requires_grad=True)


def groups() -> list[dict]:
    return [{"params": [leaf()]}, {"params": [leaf()], "lr": 0.03}]


SCHEDULES = {
    "Constant": lambda optimizer: Constant(optimizer, warmup_steps=4),
    "WarmupCosine": lambda optimizer: WarmupCosine(optimizer, 3, 20, final=0.1),
    "StepLR": lambda optimizer: StepLR(optimizer, 4, gamma=0.5, warmup_steps=2),
    "OneCycle": lambda optimizer: OneCycle(optimizer, [0.5, 0.25], 20),
}
every_schedule = pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES.keys())


def rates(schedule, steps: int) -> np.ndarray:
    seen = []
    for _ in range(steps):
        seen.append(schedule.last_lr)
        schedule.step()
    return np.array(seen)


def reference_rates(torch, make, optimizer, make_schedule, steps: int):
    theirs = make([{"params": [torch.ones(1, requires_grad=True)], **options} for options in optimizer])
    schedule = make_schedule(theirs)
    seen, momenta = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch wants its optimiser to step as well
        for step in range(steps):
            if step:
                schedule.step()
            seen.append([group["lr"] for group in theirs.param_groups])
            momenta.append(
                [group["betas"][0] if "betas" in group else group["momentum"] for group in theirs.param_groups]
            )
    return np.array(seen), np.array(momenta)


@pytest.mark.parametrize(("size", "gamma"), [(1, 0.9), (4, 0.1), (7, 0.97)])
def test_step_lr_equals_pytorch(size, gamma):
    torch = pytest.importorskip("torch")
    ours = rates(StepLR(SGD(groups(), lr=0.2), size, gamma), 30)
    theirs, _ = reference_rates(
        torch,
        torch.optim.SGD,
        [{"lr": 0.2}, {"lr": 0.03}],
        lambda o: torch.optim.lr_scheduler.StepLR(o, size, gamma),
        30,
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("name", ["SGD", "NAdam"])
@pytest.mark.parametrize(
    "options",
    [
        {"max_lr": 0.1, "total_steps": 40},
        {"max_lr": [0.1, 0.3], "total_steps": 23, "pct_start": 0.45, "div_factor": 10, "final_div_factor": 100},
        {"max_lr": 0.1, "total_steps": 10, "pct_start": 0.05, "base_momentum": 0.5, "max_momentum": 0.9},
        {"max_lr": 0.1, "total_steps": 10, "pct_start": 1.0},
    ],
    ids=str,
)
def test_one_cycle_equals_pytorch(name, options):
    torch = pytest.importorskip("torch")
    optimizer = {"SGD": SGD, "NAdam": NAdam}[name](groups())
    schedule = OneCycle(optimizer, **options)
    steps = options["total_steps"]
    seen, momenta = [], []
    for _ in range(steps):
        seen.append(schedule.last_lr)
        momenta.append(
            [group["betas"][0] if name == "NAdam" else group["momentum"] for group in optimizer.param_groups]
        )
        schedule.step()
    theirs, their_momenta = reference_rates(
        torch, getattr(torch.optim, name), [{}, {}], lambda o: torch.optim.lr_scheduler.OneCycleLR(o, **options), steps
    )
    np.testing.assert_allclose(seen, theirs, rtol=1e-12)
    np.testing.assert_allclose(momenta, their_momenta, rtol=1e-12)


def test_one_cycle_may_leave_momentum_alone():
    optimizer = Adam([leaf()], betas=(0.7, 0.9))
    schedule = OneCycle(optimizer, 0.1, 10, cycle_momentum=False)
    rates(schedule, 10)
    assert optimizer.param_groups[0]["betas"] == (0.7, 0.9)
    assert OneCycle(SGD([leaf()]), 0.1, 10, cycle_momentum=False).last_lr == [pytest.approx(0.004)]


def test_one_cycle_of_degenerate_length():
    assert OneCycle(SGD([leaf()]), 0.1, 1, pct_start=1.0).last_lr[0] == pytest.approx(0.1 / 25 / 1e4)
    ours = rates(OneCycle(SGD([leaf()]), 0.1, 10, pct_start=0.1), 10)[:, 0]  # where PyTorch divides by zero
    assert ours[0] == 0.1
    assert (np.diff(ours) < 0).all()


@given(st.integers(0, 30), st.integers(1, 60), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_warmup_cosine_follows_its_formula(warm, rest, final):
    total = warm + rest
    optimizer = SGD(groups(), lr=0.2)
    ours = rates(WarmupCosine(optimizer, warm, total, final), total + 3)
    share = [
        (t + 1) / (warm + 1)
        if t < warm
        else final + (1 - final) * (1 + math.cos(math.pi * min(t - warm, rest) / rest)) / 2
        for t in range(total + 3)
    ]
    np.testing.assert_allclose(ours, np.outer(share, [0.2, 0.03]), rtol=1e-12, atol=1e-16)


def test_warmup_cosine_by_hand():
    ours = rates(WarmupCosine(SGD([leaf()], lr=0.8), 3, 7), 9)[:, 0]
    half = math.sqrt(0.5)
    np.testing.assert_allclose(
        ours, 0.8 * np.array([0.25, 0.5, 0.75, 1, (1 + half) / 2, 0.5, (1 - half) / 2, 0, 0]), atol=1e-15
    )


def test_warmup_rises_evenly_to_the_base_rate():
    ours = rates(Constant(SGD([leaf()], lr=1.0), warmup_steps=4), 7)[:, 0]
    np.testing.assert_allclose(ours, [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0], rtol=1e-15)
    assert rates(Constant(SGD([leaf()], lr=0.7)), 2).tolist() == [[0.7], [0.7]]


def test_warmup_lies_over_the_stairs():
    ours = rates(StepLR(SGD([leaf()], lr=1.0), 2, 0.5, warmup_steps=3), 6)[:, 0]
    np.testing.assert_allclose(ours, [0.25, 0.5, 0.375, 0.5, 0.25, 0.25], rtol=1e-15)


@every_schedule
def test_a_resumed_schedule_equals_an_unbroken_one(make):
    def new():
        return NAdam(groups(), lr=0.2)

    unbroken = make(new())
    expected = rates(unbroken, 20)
    first = make(new())
    rates(first, 7)
    state = json.loads(json.dumps(first.state_dict()))
    values, arrays = json.loads(json.dumps(first.optimizer.state_values())), first.optimizer.state_arrays()
    for optimizer_first in (True, False):
        second = make(new())
        if optimizer_first:
            second.optimizer.load(arrays, values)
        second.load_state_dict(state)
        if not optimizer_first:
            second.optimizer.load(arrays, values)
        assert [g["betas"] for g in second.optimizer.param_groups] == [g["betas"] for g in first.optimizer.param_groups]
        assert rates(second, 13).tolist() == expected[7:].tolist()


@every_schedule
def test_states_and_groups_that_do_not_fit_are_refused(make):
    optimizer = NAdam(groups())
    schedule = make(optimizer)
    before = schedule.state_dict()
    for state in (
        {},
        {"steps": -1, "base_lrs": [1.0, 1.0]},
        {"steps": 1, "base_lrs": [1.0]},
        {"steps": 1.5, "base_lrs": [1, 1]},
    ):
        with pytest.raises(ValueError, match="expected steps and base_lrs for 2 groups"):
            schedule.load_state_dict(state)
    assert schedule.state_dict() == before
    optimizer.add_param_group({"params": [leaf()]})
    with pytest.raises(ValueError, match=r"made for 2 parameter groups.*now has 3"):
        schedule.step()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda o: Constant(o, -1), "warmup_steps"),
        (lambda o: Constant(o, 1.5), "warmup_steps"),
        (lambda o: WarmupCosine(o, 10, 10), "warmup_steps"),
        (lambda o: WarmupCosine(o, 0, 0), "total_steps"),
        (lambda o: WarmupCosine(o, 0, 5, final=1.5), "final"),
        (lambda o: StepLR(o, 0), "step_size"),
        (lambda o: StepLR(o, True), "step_size"),
        (lambda o: StepLR(o, 3, gamma=0), "gamma"),
        (lambda o: OneCycle(o, 0.1, 10, pct_start=1.1), "pct_start"),
        (lambda o: OneCycle(o, 0.1, 10, max_momentum=1.0), "max_momentum"),
        (lambda o: OneCycle(o, 0.1, 10, base_momentum=-0.1), "base_momentum"),
        (lambda o: OneCycle(o, 0.1, 10, div_factor=0), "div_factor"),
        (lambda o: OneCycle(o, 0.1, 10, final_div_factor=float("inf")), "final_div_factor"),
        (lambda o: OneCycle(o, [0.1, 0.2, 0.3], 10), "max_lr"),
        (lambda o: OneCycle(o, None, 10), "max_lr"),
        (lambda o: OneCycle(o, float("nan"), 10), "max_lr"),
    ],
)
def test_numbers_out_of_range_are_named(make, name):
    optimizer = SGD(groups(), lr=0.5)
    with pytest.raises(ValueError, match=rf"\({name}\)"):
        make(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.03]


def test_a_schedule_needs_an_optimizer():
    with pytest.raises(TypeError, match=r"Constant\(optimizer\): expected an Optimizer, got list"):
        Constant([leaf()])
