"""What all optimisers share: what a step touches, and which options they take."""

from __future__ import annotations

import numpy as np
import pytest
from steps import advance, bits, leaf, parameters, set_gradients

import tinygrad_effnet as tg
from tinygrad_effnet.optim import SGD, Adam, AdamW, NAdam
from tinygrad_effnet.optim.arrays import BLOCK

# -- a step --------------------------------------------------------------------------------------------------------


def test_a_step_writes_in_place_and_leaves_gradient_and_tape_alone(make):
    params = parameters()
    arrays, before = [p.array for p in params], bits(params)
    optimizer = make(params)
    set_gradients(params, 0)
    gradients = [p.grad.array.copy() for p in params]
    optimizer.step()
    for p, array, gradient, old in zip(params, arrays, gradients, before, strict=True):
        assert p.array is array
        assert p.is_leaf
        assert p.requires_grad
        assert p.array.tobytes() != old
        np.testing.assert_array_equal(p.grad.array, gradient)
        for remembered in optimizer.state[p].values():
            if isinstance(remembered, np.ndarray):
                assert not np.shares_memory(remembered, p.grad.array)
                assert not np.shares_memory(remembered, p.array)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_stay(make, dtype):
    params = parameters(dtype)
    optimizer = make(params)
    optimizer.param_groups[0]["lr"] = np.float64(0.01)  # as a schedule of the user's own may set it
    advance(optimizer, params, range(3))
    for p in params:
        assert p.dtype == dtype
        assert all(x.dtype == dtype for x in optimizer.state[p].values() if isinstance(x, np.ndarray))


def test_numpy_options_become_plain_numbers():
    optimizer = Adam(parameters(), lr=np.float64(0.5), betas=[np.float32(0.5), 0.75])
    group = optimizer.param_groups[0]
    assert type(group["lr"]) is float
    assert group["betas"] == (0.5, 0.75)
    assert type(group["betas"][0]) is float


def test_parameters_without_gradient_are_skipped_and_their_steps_not_counted(make):
    params = parameters()
    optimizer = make(params)
    set_gradients(params, 0)
    params[1].grad = None
    before = params[1].array.copy()
    optimizer.step()
    np.testing.assert_array_equal(params[1].array, before)
    assert params[1] not in optimizer.state
    set_gradients(params, 1)
    optimizer.step()
    assert [optimizer.state[p]["step"] for p in params] == [2, 1, 2]


def test_minimises_through_the_tape(make):
    target = np.array([[1.0, -2.0], [0.5, 3.0]])
    w = tg.Tensor(np.zeros((2, 2)), requires_grad=True)
    optimizer = make([w])
    first = None
    for _ in range(300):
        optimizer.zero_grad()
        error = w - tg.Tensor(target)
        loss = (error * error).sum()
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    assert loss.item() < 0.3 * first
    optimizer.zero_grad()
    assert w.grad is None


def test_maximize_is_the_step_of_the_opposite_gradient(make):
    down, up = parameters(), parameters()
    descent, ascent = make(down), make(up)
    ascent.param_groups[0]["maximize"] = True
    for step in range(3):
        set_gradients(down, step)
        for p, q in zip(down, up, strict=True):
            q.grad = tg.Tensor(-p.grad.array)
        descent.step()
        ascent.step()
    assert bits(down) == bits(up)


def test_groups_keep_their_own_options(make):
    params = parameters()
    optimizer = make([{"params": params[:1]}, {"params": params[1:], "lr": 0.0, "weight_decay": 0.0}])
    before = bits(params)
    advance(optimizer, params, range(2))
    after = bits(params)
    assert after[0] != before[0]
    assert after[1:] == before[1:]


def test_large_and_strided_weights_are_updated_everywhere(make):
    size = 2 * BLOCK + 17
    rng = np.random.default_rng(5)
    numbers, gradient = rng.standard_normal((2, size))
    whole = tg.Tensor(numbers, requires_grad=True)
    few = tg.Tensor(numbers[-5:], requires_grad=True)
    strided = tg.from_numpy(np.asfortranarray(np.stack([numbers] * 2))).requires_grad_()
    assert not strided.array.flags.c_contiguous
    whole.grad, few.grad = tg.Tensor(gradient), tg.Tensor(gradient[-5:])
    strided.grad = tg.Tensor(np.stack([gradient] * 2))
    optimizer = make([whole, few, strided])
    optimizer.step()
    optimizer.step()
    np.testing.assert_array_equal(whole.array[-5:], few.array)
    np.testing.assert_array_equal(strided.array, np.stack([whole.array] * 2))


def test_a_gradient_of_another_shape_is_refused_before_anything_changes():
    params = parameters()
    optimizer = SGD({"first": params[0], "second": params[2]}.items())
    set_gradients(params, 0)
    params[2].grad = tg.Tensor(np.ones((4, 1), "float32"))
    before = bits(params)
    with pytest.raises(ValueError, match=r"\.grad of parameter second has shape \(4, 1\).*\(4,\)"):
        optimizer.step()
    params[2].grad = np.ones(4)
    with pytest.raises(ValueError, match="second is a ndarray"):
        optimizer.step()
    assert bits(params) == before


# -- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "0.1", None, True])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (SGD, "lr"), (SGD, "momentum"), (SGD, "dampening"), (SGD, "weight_decay"),
        (Adam, "lr"), (Adam, "eps"), (Adam, "weight_decay"), (AdamW, "weight_decay"),
        (NAdam, "lr"), (NAdam, "eps"), (NAdam, "momentum_decay"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(make, name, value):
    with pytest.raises(ValueError, match=rf"{make.__name__}\({name}\): expected a finite number of at least 0"):
        make([leaf(2)], **{name: value})
    with pytest.raises(ValueError, match=rf"{make.__name__}\({name}\)"):
        make([{"params": [leaf(2)], name: value}])


@pytest.mark.parametrize("make", [Adam, AdamW, NAdam])
@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9,), 0.9, ("a", 0.9), (0.9, float("nan"))])
def test_betas_out_of_range_are_named(make, betas):
    with pytest.raises(ValueError, match=rf"{make.__name__}\(betas\)"):
        make([leaf(2)], betas=betas)


def test_nesterov_needs_momentum_without_dampening():
    for options in ({}, {"momentum": 0.9, "dampening": 0.1}):
        with pytest.raises(ValueError, match="nesterov"):
            SGD([leaf(2)], nesterov=True, **options)


def test_a_group_added_later_has_the_defaults_and_takes_part():
    params = parameters()
    optimizer = Adam(params[:1], lr=0.25)
    optimizer.add_param_group({"params": params[1:], "eps": 1e-3})
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
    assert [group["eps"] for group in optimizer.param_groups] == [1e-8, 1e-3]
    before = bits(params)
    advance(optimizer, params, range(1))
    assert all(a != b for a, b in zip(before, bits(params), strict=True))
