"""Which parameters an optimiser takes, and what it says of those that it does not."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.optim import SGD, NAdam


def leaf(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.ones(shape), requires_grad=True)


def test_named_parameters_and_generators_are_taken():
    params = {"stem.weight": leaf(2), "head.bias": leaf(3)}
    optimizer = SGD((pair for pair in params.items()), lr=0.5)
    assert optimizer.param_groups[0]["param_names"] == ["stem.weight", "head.bias"]
    assert optimizer.param_groups[0]["params"] == list(params.values())
    assert "2 parameters, 5 entries; lr=0.5" in repr(optimizer)


def test_wrong_parameters_are_named():
    w = leaf(2)
    wrong = [
        (ValueError, "no parameters", []),
        (ValueError, "without parameters", [{"params": []}]),
        (TypeError, "got a Tensor; put one tensor", w),
        (TypeError, "got a dict", {"w": w}),
        (TypeError, "got a set", {w}),
        (TypeError, "list of tensors, got a set", [{"params": {w}}]),
        (TypeError, "got a int", 3),
        (TypeError, "list of tensors, got a int", [{"params": 3}]),
        (TypeError, r"params\[0\] is a tuple", [(w, leaf(3))]),
        (TypeError, r"params\[1\] is a ndarray", [w, np.ones(2)]),
        (TypeError, "'w' is a float", [("w", 1.0)]),
        (ValueError, r"params\[0\] is the result of an operation.*mul", [w * 2]),
        (ValueError, r"params\[1\] does not require a gradient", [w, tg.Tensor([1.0])]),
        (ValueError, r"params\[1\] occurs twice", [w, w]),
        (ValueError, r"params\[0\] occurs twice", [{"params": [w]}, {"params": [w]}]),
        (ValueError, "'w' occurs twice", [("w", w), ("w", leaf(3))]),
        (ValueError, "name all or none", [("w", w), leaf(3)]),
        (ValueError, "name all or none", [{"params": [("w", w)]}, {"params": [leaf(3)]}]),
        (TypeError, "complex", [tg.Tensor(np.ones(2, "complex128"), requires_grad=True)]),
        (ValueError, "no option 'learning_rate'", [{"params": [w], "learning_rate": 1.0}]),
        (TypeError, "a group is a dict", [{"params": [w]}, leaf(2)]),
    ]
    for error, message, params in wrong:
        with pytest.raises(error, match=message):
            NAdam(params)


def test_a_group_may_hold_a_single_tensor():
    w = leaf(2)
    assert SGD([{"params": w}]).param_groups[0]["params"] == [w]
