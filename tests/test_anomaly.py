"""Anomaly detection: the first bad number forward and backward, its place and line, and silent changes of memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn, op

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, where it divides by zero


def leaf(*values: float) -> tg.Tensor:
    return tg.Tensor(np.array(values), True)


def line_of(marker: str) -> str:
    lines = Path(__file__).read_text().splitlines()
    return f"{__file__}:{1 + next(i for i, line in enumerate(lines) if line.endswith('# ' + marker))}"


def test_forward_names_operation_place_line_and_input() -> None:
    x = leaf(1.0, -2.0, 0.0)
    with tg.detect_anomaly(), pytest.raises(FloatingPointError) as caught:
        (x * 2.0).log()  # the logarithm
    assert str(caught.value) == (
        f"detect_anomaly: log, at {line_of('the logarithm')}, gave nan at index (1,) of shape (3,), the first of 2 "
        "such entries. Its inputs are sound: x = -4.0 there. Where log has no derivative or no value: x = 0: infinite; "
        "x < 0: y is NaN (PyTorch: the same)"
    )


@pytest.mark.parametrize("backend", tg.available_backends())
def test_forward_holds_without_a_tape_and_for_every_backend(backend: str) -> None:
    x = tg.Tensor(np.array([[1.0, 2.0], [3.0, 800.0]]))
    with tg.use_backend(backend), tg.detect_anomaly(), tg.no_grad():
        with pytest.raises(FloatingPointError, match=r"exp, at .* gave inf at index \(1, 1\) of shape \(2, 2\)\."):
            x.exp()


def test_bad_numbers_that_come_in_are_blamed_on_where_they_came_from() -> None:
    with tg.detect_anomaly(), pytest.raises(FloatingPointError, match=r"input b held nan at index \(1,\) .*, already"):
        leaf(1.0, 2.0) * leaf(1.0, np.nan)


def test_backward_names_operation_line_input_and_rule() -> None:
    x = leaf(4.0, 0.0)
    with tg.detect_anomaly():
        root = x.sqrt()  # the root
        with pytest.raises(FloatingPointError) as caught:
            (root * 3.0).sum().backward()
    assert str(caught.value).startswith(
        f"detect_anomaly: the backward pass of sqrt, made at {line_of('the root')}, gave inf at index (1,) of shape "
        "(2,), as the gradient of its input x. The rule is x̄ = ȳ / (2y)."
    )
    assert x.grad is None


def test_the_classic_of_where_and_its_cure() -> None:
    x = leaf(-1.0, 4.0)
    with tg.detect_anomaly(infinities=False):
        with pytest.raises(FloatingPointError, match="sqrt, at .* gave nan"):
            tg.where(x > 0, x.sqrt(), 0.0)
        tg.where(x > 0, tg.where(x > 0, x, 1.0).sqrt(), 0.0).backward([1.0, 1.0])
    assert x.grad.tolist() == [0.0, 0.25]


@pytest.mark.parametrize("source", ["seed", "hook"])
def test_gradients_that_arrive_bad(source: str) -> None:
    x = leaf(1.0, 2.0)
    with tg.detect_anomaly():
        y = x * 3.0
        if source == "hook":
            y.register_hook(lambda g: tg.Tensor(np.array([1.0, np.inf])))
            seed = np.ones(2)
        else:
            seed = np.array([1.0, np.inf])
        message = r"gradient that reaches mul, made at .*, holds inf at index \(1,\)"
        with pytest.raises(FloatingPointError, match=message):
            y.backward(seed)


def test_infinities_may_be_allowed() -> None:
    x = leaf(0.0, 1.0)
    masked = tg.Tensor(np.array([-np.inf, 0.0]))
    with tg.detect_anomaly(infinities=False):
        y = (x + masked).softmax(0)
        y[1].backward()
        assert np.isneginf(x.log().numpy()[0])
        with pytest.raises(FloatingPointError, match="sub, at .* gave nan"):
            masked - masked
    with tg.detect_anomaly(), pytest.raises(FloatingPointError, match="add, at .* gave -inf"):
        x + masked


def test_steps_of_a_rule_may_be_masked() -> None:
    x, exponent = leaf(0.0, 2.0), leaf(2.0, 3.0)
    with tg.detect_anomaly():
        (x**exponent).sum().backward()  # the rule takes a logarithm of 0, and hides it
    assert x.grad.tolist() == [0.0, 12.0]
    assert np.isfinite(exponent.grad.numpy()).all()


def change_array(array: np.ndarray, x: tg.Tensor) -> None:
    array[0] = 5.0


def change_attribute(array: np.ndarray, x: tg.Tensor) -> None:
    x.array[1] += 1e-12


def change_through_dlpack(array: np.ndarray, x: tg.Tensor) -> None:
    np.from_dlpack(x.detach())[-1] = 0.0


@pytest.mark.parametrize("change", [change_array, change_attribute, change_through_dlpack])
def test_silent_changes(change: Callable[[np.ndarray, tg.Tensor], Any]) -> None:
    array = np.array([1.0, 2.0, 3.0])
    x = tg.from_numpy(array).requires_grad_()
    with tg.detect_anomaly():
        y = (x * 1.5).sum() + x.exp().sum() + (x * x).sum()  # saved here
        change(array, x)
        with pytest.raises(RuntimeError) as caught:
            y.backward()
    assert str(caught.value).startswith(
        f"detect_anomaly: input a of mul, of shape (3,), was saved at {line_of('saved here')} and has changed since, "
        "without the tape's knowledge"
    )
    assert "Use Tensor(array), which copies" in str(caught.value)


def test_changes_that_were_announced_have_the_better_message() -> None:
    x = leaf(1.0, 2.0)
    with tg.detect_anomaly():
        y = (x * x).sum()
        with tg.no_grad():
            x[0] = 3.0
        with pytest.raises(RuntimeError, match=r"^mul .* tensor\[\.\.\.\] = value at "):
            y.backward()


def test_sound_training_passes_and_gives_the_same_gradients() -> None:
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 9, 5))
    images, labels = tg.Tensor(rng.standard_normal((2, 3, 5, 5)).astype(np.float32)), [1, 4]

    def gradients() -> list[np.ndarray]:
        model.zero_grad()
        tg.cross_entropy(model(images), labels).backward()
        return [p.grad.numpy() for p in model.parameters()]

    plain = gradients()
    with tg.detect_anomaly():
        watched = gradients()
        x = leaf(0.5, 2.0)
        (slope,) = tg.grad((x * x * x).sum(), x, create_graph=True)
        slope.sum().backward()
    assert x.grad.tolist() == [3.0, 12.0]
    for a, b in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_layout_and_dtype_has_a_checksum() -> None:
    arrays = [np.zeros((0, 3)), np.ones(()), np.ones((4, 6), np.float32).T[::2], np.array([True, False])]
    for array in arrays:
        with tg.detect_anomaly():
            x = tg.Tensor(np.ones(array.shape), True)
            condition = array.astype(bool)
            tg.where(condition, x * array, x * x).sum().backward()
        assert x.grad.shape == array.shape


def test_it_ends_with_the_block_and_keeps_nothing_alive() -> None:
    x = leaf(1.0, 0.0)
    with tg.detect_anomaly():
        y = x * x
        held = list(op.watch)
        detector = held[-1].__self__
        assert len(detector.checksums) == 1
        del y
        gc.collect()
        assert len(detector.checksums) == 0
    assert not op.watch
    assert not op.around_rules
    assert np.isneginf(x.log().numpy()[1])
    with pytest.raises(ZeroDivisionError), tg.detect_anomaly():
        raise ZeroDivisionError
    assert not op.watch
    assert not op.around_rules


def test_a_rule_that_fails_does_not_switch_detection_off() -> None:
    class Broken(tg.Op):
        name, shapes, contract = "broken", "x: ... -> ...", tg.op.Contract("x: ... -> ...")

        def forward(self, kernels: Any, x: Any) -> Any:
            return x * 2

        def backward(self, dy: tg.Tensor) -> tg.Tensor:
            raise ArithmeticError

    with tg.detect_anomaly():
        with pytest.raises(ArithmeticError):
            Broken()(leaf(1.0)).backward()
        with pytest.raises(FloatingPointError, match="log, at"):
            leaf(0.0).log()
