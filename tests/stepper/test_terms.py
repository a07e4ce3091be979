"""The products behind an entry add up to it, forward and backward, and updates worked by hand agree with the engine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim
from tinygrad_effnet.stepper import record
from tinygrad_effnet.stepper.terms import terms_of
from tinygrad_effnet.stepper.updates import largest_gradient, worked_update


@given(
    groups=st.sampled_from([1, 2, 4]),
    stride=st.integers(1, 3),
    padding=st.sampled_from([0, 1, 2, "same"]),
    dilation=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_of_a_convolution(groups, stride, padding, dilation, seed) -> None:
    rng = np.random.default_rng(seed)
    filters = 4 * int(rng.integers(1, 3))
    x = tg.Tensor(rng.normal(size=(2, 4, 7, 6)), requires_grad=True)
    w = tg.Tensor(rng.normal(size=(filters, 4 // groups, 3, 2)), requires_grad=True)
    with record(check_rules=False) as run:
        y = tg.conv2d(x, w, None, stride, padding, dilation, groups)
        y.backward(rng.normal(size=y.shape))
    for step in run:
        for out in step.outputs if step.op != "leaf" else ():
            index = tuple(int(rng.integers(size)) for size in out.value.shape)
            (found,) = [t for t in terms_of(run.steps, step, index) if t.name == out.name]
            assert found.index == index and found.value == out.value.at(index)
            assert sum(a * b for _, a, _, b in found.terms) == pytest.approx(found.value, rel=1e-9, abs=1e-12)
            assert len(found.terms) == found.count
            (largest,) = [t for t in step.worked if t.name == out.name]
            assert largest.total == pytest.approx(largest.value) and abs(largest.value) == np.abs(out.value.kept).max()


@pytest.mark.parametrize("product", [tg.matmul, lambda x, w: tg.linear(x, w.T, None)])
def test_products_of_a_matrix(product) -> None:
    rng = np.random.default_rng(4)
    x, w = (tg.Tensor(rng.normal(size=size), requires_grad=True) for size in ((3, 5), (5, 4)))
    with record() as run:
        y = product(x, w)
        y.backward(rng.normal(size=y.shape))
    found = [terms for step in run for terms in step.worked]
    assert len(found) == 3
    for terms in found:
        assert terms.total == pytest.approx(terms.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.NAdam(p, weight_decay=0.01),
        lambda p: optim.NAdam(p, weight_decay=0.1, decoupled_weight_decay=True, momentum_decay=1.0),
        lambda p: optim.Adam(p, weight_decay=0.02, amsgrad=True),
        lambda p: optim.AdamW(p),
        lambda p: optim.SGD(p, lr=0.1),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.2, maximize=True),
    ],
)
def test_updates_worked_by_hand(make) -> None:
    rng = np.random.default_rng(6)
    layer = nn.Linear(5, 4)
    optimizer = make(layer.parameters())
    with record() as run:
        for _ in range(3):
            optimizer.zero_grad()
            layer(tg.Tensor(rng.normal(size=(3, 5)).astype("f"))).backward(rng.normal(size=(3, 4)))
            optimizer.step()
    updates = [step for step in run if step.phase == "update"]
    assert len(updates) == 6
    for step in updates:
        numbers = dict(worked_update(step))
        assert numbers["θ_t"] == pytest.approx(step.outputs[0].value.at(largest_gradient(step)), rel=1e-6)
        assert "θ_t = " in run.explain(step.index)
