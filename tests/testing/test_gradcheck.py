"""The gradient check finds wrong rules, says where they are wrong, and refuses what it cannot check."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.contract import Contract
from tinygrad_effnet.op import Op
from tinygrad_effnet.testing import GradcheckError, gradcheck, gradgradcheck


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.Tensor(np.random.default_rng(seed).uniform(0.5, 2.0, shape), requires_grad=True)


class Faulty(Op):
    """x³, with whatever rule a test wants."""

    name = "faulty"
    formula = "y = x³"
    rule = "x̄ = something else"
    kinks = "none at all"

    def __init__(self, rule_used: Callable[[tg.Tensor, tg.Tensor], Any]) -> None:
        self.rule_used = rule_used

    def forward(self, kernels: Any, x: Any) -> Any:
        self.save(x)
        return x * x * x

    def backward(self, dy: tg.Tensor) -> Any:
        return self.rule_used(self.saved()[0], dy)


Faulty.contract = Contract("x: ... -> ...")


def wrong_at(index: tuple[int, ...], factor: float) -> Callable[[tg.Tensor, tg.Tensor], tg.Tensor]:
    def rule(x: tg.Tensor, dy: tg.Tensor) -> tg.Tensor:
        slip = np.ones(x.shape)
        slip[index] = factor
        return dy * 3.0 * x * x * slip

    return rule


def test_right_rules_pass() -> None:
    assert gradcheck(lambda x: Faulty(lambda x, dy: dy * 3.0 * x * x)(x), leaf(2, 3))
    assert gradgradcheck(lambda x: Faulty(lambda x, dy: dy * 3.0 * x * x)(x), leaf(2, 3))
    assert gradcheck(lambda a, b: (a @ b, a.sum(), [a, b][1].exp()), [leaf(2, 3), leaf(3, 2)])
    assert gradcheck(lambda x: (x * 1e6).exp() * 0.0 + x, tg.Tensor(np.full(2, 1e-6), requires_grad=True))


@pytest.mark.parametrize(
    "rule",
    [
        lambda x, dy: -dy * 3.0 * x * x,
        lambda x, dy: dy * 3.0 * x,
        lambda x, dy: dy.sum() * 3.0 * x * x,
        lambda x, dy: dy * 3.0 * x * x + (dy - 1.0) * 1e-3,  # right where the upstream gradient is 1
        lambda x, dy: dy * 3.0 * x * x * 1.0001,
        lambda x, dy: dy * np.nan,
        lambda x, dy: None,
    ],
)
def test_wrong_rules_fail(rule: Callable[..., Any]) -> None:
    for fast in (False, True):
        with pytest.raises(GradcheckError, match="wrong gradient"):
            gradcheck(lambda x: Faulty(rule)(x), leaf(2, 3), fast_mode=fast)
        assert gradcheck(lambda x: Faulty(rule)(x), leaf(2, 3), fast_mode=fast, raise_exception=False) is False


def test_the_error_names_the_first_wrong_entry_both_numbers_and_the_rule() -> None:
    a, b = leaf(2), leaf(2, 3, seed=1)
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda a, b: Faulty(wrong_at((1, 2), 1.5))(b) * a.sum(), [a, b])
    text = str(caught.value)
    assert "input 1 (shape (2, 3)), entry (1, 2)" in text
    assert "y = x³" in text
    assert "x̄ = something else" in text
    assert "none at all" in text
    rule, difference = (float(re.search(rf"by {what}\s+(\S+)", text).group(1)) for what in ("the rules", "differences"))
    assert rule == pytest.approx(1.5 * difference, rel=1e-6)


def test_many_operations_are_named_only() -> None:
    with pytest.raises(GradcheckError, match="operations on the tape: .*faulty") as caught:
        gradcheck(lambda x: Faulty(wrong_at((0,), 2.0))(x.exp().sqrt().sin().tanh() + 1.0), leaf(2))
    assert "y = x³" not in str(caught.value)


def test_a_cut_tape_is_found() -> None:
    with pytest.raises(GradcheckError, match="by the rules       0"):
        gradcheck(lambda x, y: x.detach() * y, [leaf(2), leaf(2)])


def test_the_second_gradient_alone_may_be_wrong() -> None:
    def frozen(x: tg.Tensor, dy: tg.Tensor) -> tg.Tensor:
        return dy * 3.0 * x.detach() * x.detach()

    assert gradcheck(lambda x: Faulty(frozen)(x), leaf(3))
    with pytest.raises(GradcheckError, match="input 0"):
        gradgradcheck(lambda x: Faulty(frozen)(x), leaf(3))
    assert not gradgradcheck(lambda x: Faulty(frozen)(x), leaf(3), raise_exception=False)


def test_recording_must_not_change_a_gradient() -> None:
    def fickle(x: tg.Tensor, dy: tg.Tensor) -> tg.Tensor:
        return dy * (3.0 if not tg.is_grad_enabled() else 4.0) * x * x

    assert gradcheck(lambda x: Faulty(fickle)(x), leaf(3))
    with pytest.raises(GradcheckError, match="input 0 receives another gradient with create_graph=True"):
        gradgradcheck(lambda x: Faulty(fickle)(x), leaf(3))
    assert not gradgradcheck(lambda x: Faulty(fickle)(x), leaf(3), raise_exception=False)


def test_tensors_that_the_function_holds_are_moved_too() -> None:
    w = leaf(3)
    assert gradcheck(lambda x, _: x * w * w, [leaf(3, seed=1), w])


def test_inputs_are_put_back_and_receive_no_gradient() -> None:
    x = leaf(2, 2)
    array, before = x.array, x.numpy().copy()
    assert gradcheck(lambda x: x * x, x)
    assert x.array is array
    np.testing.assert_array_equal(array, before)
    assert x.grad is None

    def fails(x: tg.Tensor) -> tg.Tensor:
        if not np.array_equal(x.numpy(), before):
            raise OSError("moved")
        return x * x

    with pytest.raises(OSError, match="moved"):
        gradcheck(fails, x)
    assert x.array is array


def test_strided_and_read_only_inputs() -> None:
    wide = np.random.default_rng(0).standard_normal((4, 6))[::-2, ::3]
    wide.flags.writeable = False
    assert gradcheck(lambda x: x.sin() * x, tg.from_numpy(wide).requires_grad_())


def test_integer_outputs_and_untracked_inputs_are_left_out() -> None:
    constant = tg.Tensor(np.array([2.0, 3.0]))
    assert gradcheck(lambda x, c: (x * c, tg.ops.argmax(x)), [leaf(2), constant])


def test_a_step_that_is_too_long_is_seen() -> None:
    assert gradcheck(lambda x: x.exp(), leaf(3))
    assert not gradcheck(lambda x: x.exp(), leaf(3), eps=0.1, raise_exception=False)
    assert gradcheck(lambda x: x.exp(), leaf(3), eps=0.1, rtol=0.1)


def test_what_cannot_be_checked() -> None:
    with pytest.raises(TypeError, match=r"inputs\[1\] holds float32 numbers.*dtype='float64'"):
        gradcheck(lambda a, b: a * b, [leaf(2), tg.Tensor([1.0, 2.0], requires_grad=True)])
    with pytest.raises(TypeError, match=r"inputs\[0\] is a ndarray"):
        gradcheck(lambda a: a, [np.ones(2)])
    with pytest.raises(ValueError, match="requires_grad=True"):
        gradcheck(lambda a: a * a, tg.Tensor(np.ones(2)))
    with pytest.raises(TypeError, match="returned a float"):
        gradcheck(lambda a: a.sum().item(), leaf(2))
    with pytest.raises(TypeError, match="output 1 is a ndarray"):
        gradcheck(lambda a: (a, a.numpy()), leaf(2))
    with pytest.raises(ValueError, match="no output is a floating-point tensor"):
        gradcheck(lambda a: a > 1.0, leaf(2))
    with pytest.raises(TypeError, match="gradgradcheck"):
        gradgradcheck(lambda a: a, [tg.Tensor([1.0], requires_grad=True)])


def test_random_functions_are_refused() -> None:
    with pytest.raises(GradcheckError, match="two evaluations"):
        gradcheck(lambda x: tg.ops.dropout(x, 0.5), leaf(20))
    assert gradcheck(lambda x: tg.ops.dropout(x, 0.5, generator=np.random.default_rng(3)), leaf(20))


def test_whole_functions_with_gradients_inside() -> None:
    def penalty(x: tg.Tensor) -> tg.Tensor:
        (slope,) = tg.grad((x * x * x).sum(), x, create_graph=True)
        return (slope * slope).sum()

    assert gradcheck(penalty, leaf(3))
    assert gradgradcheck(penalty, leaf(3))
