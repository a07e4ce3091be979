"""The moving average: its formula, what it puts into the model and takes out again, saving and restoring."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.optim import EMA
from tinygrad_effnet.optim.arrays import BLOCK


def model(dtype: str = "float32", seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "weight": tg.Tensor(rng.standard_normal((2, BLOCK)).astype(dtype), requires_grad=True),
        "scale": tg.Tensor(np.asarray(rng.standard_normal(), dtype), requires_grad=True),
        "running_mean": tg.Tensor(rng.standard_normal(3).astype(dtype)),
        "running_var": rng.random(3).astype(dtype),  # a plain array will do as well
        "num_batches": tg.Tensor(np.array(3)),
    }


def array(x):
    return x.array if isinstance(x, tg.Tensor) else x


def move(state: dict, step: int) -> None:
    rng = np.random.default_rng(100 + step)
    for x in state.values():
        values = array(x)
        values[...] = values + 1 if values.dtype.kind == "i" else rng.standard_normal(values.shape)


def bits(state: dict) -> dict:
    return {name: array(x).tobytes() for name, x in state.items()}


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_follows_its_formula(warmup, dtype):
    state = model(dtype)
    ema = EMA(state, decay=0.3, warmup=warmup)
    expected = {name: array(x).astype("float64") for name, x in state.items()}
    for n in range(6):
        move(state, n)
        ema.update()
        d = min(0.3, (1 + n) / (10 + n)) if warmup else 0.3
        for name, x in state.items():
            expected[name] = d * expected[name] + (1 - d) * array(x)
    assert ema.updates == 6
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for name in ("weight", "scale", "running_mean", "running_var"):
        assert ema.average[name].dtype == dtype
        np.testing.assert_allclose(ema.average[name], expected[name], rtol=tolerance, atol=tolerance)
    assert ema.average["num_batches"] == 9  # counted, not averaged
    assert ema.average["num_batches"].dtype == np.int64


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.floats(0, 0.999), st.booleans())
@settings(max_examples=40, deadline=None)
def test_stays_between_the_extremes(values, decay, warmup):
    w = tg.Tensor(np.array([0.5]))
    ema = EMA({"w": w}, decay, warmup)
    for value in values:
        w.array[0] = value
        ema.update()
    assert min([0.5, *values]) - 1e-12 <= ema.average["w"][0] <= max([0.5, *values]) + 1e-12


def test_starts_as_a_copy_and_leaves_the_model_alone():
    state = model()
    before = bits(state)
    ema = EMA(state)
    ema.update()
    ema.average["weight"][:] = 7
    assert bits(state) == before
    assert all(not np.shares_memory(ema.average[name], array(x)) for name, x in state.items())


def test_applied_swaps_in_and_gives_back_to_the_last_bit():
    state = model()
    state["running_mean"].array[0] = -0.0
    state["running_mean"].array[1] = np.nan
    ema = EMA(state, decay=0.5)
    move(state, 0)
    ema.update()
    move(state, 1)
    before, averages = bits(state), bits(ema.average)
    arrays = {name: array(x) for name, x in state.items()}
    with ema.applied():
        assert bits(state) == averages
        assert all(array(x) is arrays[name] for name, x in state.items())
        state["running_mean"].array = np.zeros(3, "float32")  # as a layer may do with its buffers
        state["weight"].array += 1
    assert bits(state) == before
    assert bits(ema.average) == averages
    assert all(array(x) is arrays[name] for name, x in state.items())


def test_applied_gives_back_after_an_error():
    state = model()
    ema = EMA(state)
    move(state, 0)
    before = bits(state)

    def fail():
        assert bits(state) != before
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"), ema.applied():
        fail()
    assert bits(state) == before
    ema.update()  # and the average may be used again


def test_no_update_and_no_second_swap_while_applied():
    ema = EMA(model())
    with ema.applied():
        with pytest.raises(RuntimeError, match=r"leave the applied\(\) block"):
            ema.update()
        second = ema.applied()
        with pytest.raises(RuntimeError, match="already"):
            second.__enter__()
    ema.update()


def test_tensors_that_were_replaced_can_be_passed_anew():
    state, fresh = model(), model(seed=1)
    ema = EMA(state, decay=0.0)
    ema.update(fresh)
    np.testing.assert_allclose(ema.average["weight"], fresh["weight"].array, rtol=1e-6, atol=1e-6)
    move(fresh, 0)
    before = bits(fresh)
    with ema.applied(fresh):
        assert bits(fresh) == bits(ema.average)
    assert bits(fresh) == before


def test_a_resumed_average_equals_an_unbroken_one_to_the_last_bit():
    state = model()
    unbroken = EMA(state, decay=0.6)
    first = EMA(state, decay=0.6)
    for n in range(3):
        move(state, n)
        unbroken.update()
        first.update()
    arrays, values = first.state_arrays(), json.loads(json.dumps(first.state_values()))
    first.average["weight"][:] = 0  # what was saved does not change with it
    second = EMA(model(seed=9), decay=0.6)
    second.load(arrays, values)
    arrays["weight"][:] = 1
    for n in range(3, 6):
        move(state, n)
        unbroken.update()
        second.update(state)
    assert bits(second.average) == bits(unbroken.average)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("scale"), "'scale' is missing"),
        (lambda s: s.update(bias=np.zeros(2)), "'bias' is not known"),
        (lambda s: s.update(running_mean=np.zeros(4, "float32")), r"'running_mean' is float32 of shape \(4,\).*\(3,\)"),
        (lambda s: s.update(running_mean=np.zeros(3)), "'running_mean' is float64"),
    ],
)
def test_states_that_do_not_fit_are_named(spoil, message):
    ema = EMA(model())
    before = bits(ema.average)
    wrong = model(seed=1)
    spoil(wrong)
    with pytest.raises(ValueError, match=message):
        ema.update(wrong)
    with pytest.raises(ValueError, match=message), ema.applied(wrong):
        pass
    arrays = ema.state_arrays()
    spoil(arrays)
    with pytest.raises(ValueError, match=message):
        ema.load(arrays, {"updates": 3})
    with pytest.raises(ValueError, match="whole number"):
        ema.load(ema.state_arrays(), {"updates": -1})
    assert bits(ema.average) == before
    assert ema.updates == 0


def test_read_only_arrays_cannot_be_swapped():
    state = {name: x.numpy() if isinstance(x, tg.Tensor) else x for name, x in model().items()}
    with pytest.raises(ValueError, match="'weight' is read-only; pass the model's tensors"), EMA(state).applied():
        pass


def test_wrong_arguments_are_named():
    for decay in (1.0, -0.1, float("nan"), "0.9"):
        with pytest.raises(ValueError, match=r"EMA\(decay\)"):
            EMA(model(), decay)
    for state in ({}, [tg.Tensor([1.0])], None):
        with pytest.raises(TypeError, match=r"EMA\(model_state\)"):
            EMA(state)
    with pytest.raises(TypeError, match="'w' is a float; expected a Tensor"):
        EMA({"w": 1.0})
