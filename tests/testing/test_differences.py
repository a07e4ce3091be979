"""How a rule is judged: by the power with which its error falls, and never at a kink."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.testing import GradcheckError, KinkError, gradcheck, gradgradcheck, gradient_report
from tinygrad_effnet.testing.differences import STEP, Line, judge


def line(f: Callable[[float], float], x: float) -> Line:
    return Line(lambda t: [np.array(f(x + t))], [np.array(f(x))], [np.array(1.0)], abs(x))


@pytest.mark.parametrize(
    ("f", "slope"),
    [(math.exp, math.exp), (math.sin, math.cos), (lambda x: x**3, lambda x: 3 * x * x), (math.tanh, None)],
)
@given(x=st.floats(-2, 2), slip=st.floats(1e-6, 0.1), sign=st.sampled_from([-1, 1]))
def test_the_error_of_a_right_rule_falls_and_that_of_a_wrong_one_does_not(
    f: Callable, slope: Callable | None, x: float, slip: float, sign: int
) -> None:
    right = 1 - math.tanh(x) ** 2 if slope is None else slope(x)
    found = judge(line(f, x), right, STEP * max(1, abs(x)), 1e-7, 1e-5, "here")
    assert found.verdict == "right"
    assert found.slope is None or 1.5 < found.slope < 2.6
    # far below the tolerance of 1e-5
    slip *= max(1, abs(right))
    wrong = judge(line(f, x), right + sign * slip, STEP * max(1, abs(x)), 1e-7, 1e-5, "here")
    assert wrong.verdict == "wrong"
    assert wrong.slope is not None
    assert wrong.slope < 1.5


def test_a_rule_off_by_less_than_the_tolerance_is_found_by_its_slope() -> None:
    x = tg.Tensor(np.array([0.7, -0.4]), requires_grad=True)

    def slightly_wrong(x: tg.Tensor) -> tg.Tensor:
        y = x.sin()
        y.register_hook(lambda dy: dy * (1 + 1e-6))
        return y

    with pytest.raises(GradcheckError, match=r"slope +-?0\.\d\d \(the error of a right rule falls as h²\)"):
        gradcheck(slightly_wrong, x, rtol=1e-5)
    assert gradcheck(lambda x: x.sin(), x)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the square root's rule at 0
@pytest.mark.parametrize(
    ("f", "at"),
    [
        (lambda x: x.abs() * 2.0 + x.relu(), 0.0),
        (lambda x: x.relu(), 0.0),
        (lambda x: tg.relu6(x), 6.0),
        (lambda x: tg.leaky_relu(x, 0.1), 0.0),
        (lambda x: x.clip(-1.0, 1.0), 1.0),
        (lambda x: tg.hardswish(x), -3.0),
        (lambda x: x.sqrt(), 0.0),
        (lambda x: x * x.sin().abs(), math.pi),
    ],
)
def test_a_kink_is_called_a_kink(f: Callable[[tg.Tensor], tg.Tensor], at: float) -> None:
    x = tg.Tensor(np.array([[0.3, 0.5], [0.4, at]]), requires_grad=True)
    for fast in (False, True):
        with pytest.raises(KinkError, match="kink") as caught:
            gradcheck(f, x, fast_mode=fast)
        assert "wrong" not in str(caught.value)
    with pytest.raises(KinkError, match=r"kink at input 0 \(shape \(2, 2\)\), entry \(1, 1\)"):
        gradcheck(f, x)
    assert gradcheck(f, x, raise_exception=False) is False


def test_ties_are_kinks_and_a_subgradient_is_said_to_be_one() -> None:
    x = tg.Tensor(np.array([1.0, 1.0, 0.0]), requires_grad=True)
    with pytest.raises(KinkError, match="a subgradient"):
        gradcheck(lambda x: tg.max_pool2d(x.reshape(1, 1, 1, 3), (1, 3)), x)


def test_a_wrong_rule_near_no_kink_is_not_excused() -> None:
    x = tg.Tensor(np.array([0.5, 2.0]), requires_grad=True)
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: x.detach() * x, x)
    assert not isinstance(caught.value, KinkError)


def test_inputs_a_few_steps_from_a_kink_can_be_checked() -> None:
    for distance in (2e-5, 1e-4, 5e-4, 2e-3):
        assert gradcheck(lambda x: x.relu() * x + x.abs(), tg.Tensor(np.array([distance, -distance]), True))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (x + 1e6) - 1e6,
        lambda x: (x * 1e5).sin() * 1e-8 + x,
        lambda x: ((x + 1e4) ** 2.0 - 1e8) * 1e-3,
        lambda x: (x * 100.0).sin(),
    ],
)
def test_rounding_and_steepness_are_no_wrong_rule(f: Callable[[tg.Tensor], tg.Tensor]) -> None:
    assert gradcheck(f, tg.Tensor(np.array([0.3, -1.2, 2.5]), requires_grad=True), rtol=1e-3, atol=1e-3)


def test_the_report_shows_every_comparison() -> None:
    x = tg.Tensor(np.array([0.5, 0.0]), requires_grad=True)
    report = gradient_report(lambda x: x.relu().exp(), x)
    assert not report.ok
    assert [found.verdict for found in report.entries] == ["right", "kink"]
    assert report.entries[0].slope == pytest.approx(2.0, abs=0.1)
    text = str(report)
    assert "along a random direction in all inputs" in text
    assert "entry (1,)" in text
    assert "x̄ = ȳ · [x > 0]" in text
    assert len(text.splitlines()[0]) > 40


def test_the_report_tells_a_kink_where_the_rule_happens_to_agree() -> None:
    x = tg.Tensor(np.array([0.5, 0.0]), requires_grad=True)
    report = gradient_report(lambda x: x.abs(), x)
    assert report.ok
    assert [found.sides is not None for found in report.entries] == [False, True]
    left, right = report.entries[1].sides
    assert left == pytest.approx(-right)
    assert str(report).count("at a kink") == 2  # the entry, and the direction through it


def test_by_complex_step_more_is_seen_than_by_differences() -> None:
    x = tg.Tensor(np.array([0.7, -0.4, 0.2]), requires_grad=True)

    def off(factor: float) -> Callable[[tg.Tensor], tg.Tensor]:
        def f(x: tg.Tensor) -> tg.Tensor:
            y = (x * x).silu()
            y.register_hook(lambda dy: dy * factor)
            return y

        return f

    assert gradcheck(off(1.0), x, method="complex")
    assert gradgradcheck(off(1.0), x, method="complex")
    assert gradcheck(off(1 + 1e-9), x)
    for fast in (False, True):
        with pytest.raises(GradcheckError, match="by complex step"):
            gradcheck(off(1 + 1e-9), x, method="complex", fast_mode=fast)
    with pytest.raises(ValueError, match=r"gradcheck\(method\): 'guess'; expected one of"):
        gradcheck(off(1.0), x, method="guess")
