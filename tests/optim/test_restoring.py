"""Saving an optimiser and going on from what was saved, exactly, or being told what differs."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from steps import advance, bits, leaf, parameters, set_gradients

import tinygrad_effnet as tg
from tinygrad_effnet.optim import SGD, NAdam, Optimizer


def through_json(optimizer: Optimizer, other: Optimizer) -> None:
    other.load(optimizer.state_arrays(), json.loads(json.dumps(optimizer.state_values())))


def through_state_dict(optimizer: Optimizer, other: Optimizer) -> None:
    other.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("transfer", [through_json, through_state_dict])
@pytest.mark.parametrize("named", [False, True])
def test_a_resumed_run_equals_an_unbroken_one_to_the_last_bit(make, transfer, named):
    def given_as(params):
        pairs = [(f"layer.{i}.weight", p) for i, p in enumerate(params)] if named else params
        return [{"params": pairs[:1], "lr": 0.02}, {"params": pairs[1:]}]

    unbroken = parameters()
    advance(make(given_as(unbroken)), unbroken, range(7))

    params = parameters()
    first = make(given_as(params))
    advance(first, params, range(4))
    resumed = [tg.Tensor(p.array, requires_grad=True) for p in params]
    second = make([{"params": group["params"]} for group in given_as(resumed)])
    groups = second.param_groups
    transfer(first, second)
    advance(first, params, range(100, 103))  # what was saved must not change with what it was saved from
    advance(second, resumed, range(4, 7))
    assert second.param_groups is groups
    assert groups[0]["lr"] == 0.02
    assert bits(resumed) == bits(unbroken)


def test_state_is_made_of_plain_numbers_and_arrays(make):
    params = parameters()
    optimizer = make(params)
    advance(optimizer, params[:2], range(2))
    state = optimizer.state_dict()
    assert set(state["state"]) == {0, 1}
    assert state["groups"][0]["params"] == [0, 1, 2]
    for member in state["state"].values():
        assert member["step"] == 2
        assert all(type(x) in (int, float, np.ndarray) for x in member.values())
    assert json.loads(json.dumps(optimizer.state_values()))["numbers"]["1"]["step"] == 2
    assert all(type(x) is np.ndarray for x in optimizer.state_arrays().values())


def test_momentum_or_amsgrad_may_be_switched_on_later():
    params = parameters()
    optimizer = SGD(params, lr=0.1)
    advance(optimizer, params, range(1))
    optimizer.param_groups[0]["momentum"] = 0.9
    through_json(optimizer, SGD(parameters(), lr=0.1))
    advance(optimizer, params, range(1, 3))
    assert "momentum_buffer" in optimizer.state[params[0]]
    optimizer.param_groups[0]["momentum"] = 0
    other = SGD(parameters(), lr=0.1)
    through_json(optimizer, other)
    assert "0.momentum_buffer" not in other.state_arrays()


def saved_nadam(**options):
    params = parameters()
    optimizer = NAdam([(f"p{i}", p) for i, p in enumerate(params)], **options)
    advance(optimizer, params, range(2))
    return optimizer.state_dict()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.update(optimizer="Adam"), "it was saved by Adam"),
        (lambda s: s["groups"].append(s["groups"][0]), "2 groups were saved, here are 1"),
        (lambda s: s["groups"][0].update(params=[0, 1]), r"its parameters are numbers \[0, 1\], here \[0, 1, 2\]"),
        (lambda s: s["groups"][0].update(param_names=["p0", "x", "p2"]), "where 'x' was saved, here is 'p1'"),
        (lambda s: s["groups"][0].pop("eps"), "its options are"),
        (lambda s: s["groups"][0].update(lr=-1.0), r"NAdam\(lr\)"),
        (lambda s: s["state"].update({9: {}}), "it has a parameter 9"),
        (lambda s: s["state"][1].pop("mu_product"), "parameter p1: mu_product is missing"),
        (lambda s: s["state"][1].pop("exp_avg"), "parameter p1: exp_avg is missing"),
        (lambda s: s["state"][1].update(momentum_buffer=np.ones(3)), "parameter p1: momentum_buffer is not known"),
        (lambda s: s["state"][2].update(step=1.5), "parameter p2: step is 1.5, expected int"),
        (lambda s: s["state"][2].update(exp_avg=0.0), "parameter p2: exp_avg is a float, expected an array"),
        (lambda s: s["state"][2].update(exp_avg=np.ones(4)), "exp_avg is float64 .* expected float32"),
        (
            lambda s: s["state"][2].update(exp_avg=np.ones(3, "float32")),
            r"shape \(3,\), expected float32 of shape \(4,\)",
        ),
        (lambda s: s.pop("state"), 'a dict with "state" and "groups"'),
    ],
)
def test_a_state_that_does_not_fit_is_refused_whole(spoil, message):
    state = saved_nadam()
    spoil(state)
    params = parameters(seed=3)
    optimizer = NAdam([(f"p{i}", p) for i, p in enumerate(params)], lr=0.123)
    advance(optimizer, params, range(1))
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["groups"] == before["groups"]
    np.testing.assert_equal(after["state"], before["state"])


def test_a_flat_state_of_another_model_is_refused_by_name():
    optimizer = NAdam([("stem", leaf(2))])
    other = NAdam([("head", leaf(2))])
    set_gradients(other.param_groups[0]["params"], 0)
    other.step()
    with pytest.raises(ValueError, match="'head' was saved, here is 'stem'"):
        optimizer.load(other.state_arrays(), other.state_values())
    arrays = other.state_arrays() | {"tail.exp_avg": np.ones(2)}
    with pytest.raises(ValueError, match="it has a parameter 'tail'"):
        other.load(arrays, other.state_values())
    with pytest.raises(ValueError, match="expected what state_values"):
        other.load({}, {"lr": 3})


def test_what_was_saved_stays_as_it_was(make):
    params, others = parameters(), parameters()
    first, second = make(params), make(others)
    advance(first, params, range(2))
    state, arrays = first.state_dict(), first.state_arrays()
    kept, kept_arrays = copy.deepcopy(state), copy.deepcopy(arrays)
    advance(first, params, range(2, 4))
    second.load_state_dict(state)
    advance(second, others, range(2, 4))
    np.testing.assert_equal(state, kept)
    np.testing.assert_equal(arrays, kept_arrays)


def test_missing_options_are_told_before_the_arrays_that_depend_on_them():
    params = parameters()
    optimizer = SGD(params, momentum=0.9)
    advance(optimizer, params, range(1))
    state = optimizer.state_dict()
    del state["groups"][0]["momentum"]
    with pytest.raises(ValueError, match="its options are"):
        optimizer.load_state_dict(state)
