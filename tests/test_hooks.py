"""Hooks: each place is reached, in order, and left when the block ends."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn, op, optim, tape
from tinygrad_effnet.hooks import Hooks
from tinygrad_effnet.nn.module import around_calls
from tinygrad_effnet.optim.optimizer import around_updates


def test_the_last_hook_is_the_outermost_and_each_may_change_the_result() -> None:
    hooks = Hooks()
    with hooks(lambda name, call, x: call(x + 1)), hooks(lambda name, call, x: (name, call(10 * x))):
        assert hooks.bind(lambda x: x + 0.5, "here")(2) == ("here", 21.5)
    assert not hooks and hooks.bind(abs) is abs


def test_a_hook_goes_when_the_block_fails() -> None:
    hooks = Hooks()
    with pytest.raises(KeyError), hooks(print):
        raise KeyError
    assert hooks == []


def test_every_place_is_reached() -> None:
    seen: list[str] = []
    rng = np.random.default_rng(5)
    layer = nn.Linear(3, 2)
    x = tg.Tensor(rng.normal(size=(4, 3)).astype("f"), requires_grad=True)

    def forward(used, call, kernels, *arrays):
        seen.append(f"forward {used.name}")
        return call(kernels, *arrays)

    def walk(call, outputs, *rest):
        seen.append("walk")
        found = call(outputs, *rest)
        seen.append("walked")
        return found

    def pulled(used, gradients, edges):
        seen.append(f"pulled {used.name} {len(edges)}")
        for (node, index), gradient in edges:
            assert node.outputs[index] == (gradient.shape, gradient.dtype)

    def called(module, call, *inputs):
        seen.append(type(module).__name__)
        return call(*inputs)

    def updated(optimizer, call, param, gradient, state, group):
        before = param.copy()
        call(param, gradient, state, group)
        seen.append(f"update {np.array_equal(param, before - np.float32(0.5) * gradient)}")

    with (
        op.around_forwards(forward),
        tape.around_walks(walk),
        op.watch_pulls(pulled),
        around_calls(called),
        around_updates(updated),
    ):
        y = layer(x)
        y.backward(rng.normal(size=(4, 2)))
        tg.grad(layer(x), x, tg.Tensor(rng.normal(size=(4, 2)).astype("f")))
        optim.SGD(layer.parameters(), lr=0.5).step()
    first = seen[: seen.index("walk")]
    assert first == ["Linear", "forward linear"]
    assert seen.count("walk") == seen.count("walked") == 2
    assert "pulled linear 3" in seen and "pulled linear 1" in seen  # of tg.grad, only what was asked for
    assert seen[-2:] == ["update True", "update True"]
