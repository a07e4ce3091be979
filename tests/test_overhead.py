"""What an operation costs beside its numbers, counted in calls: seconds vary with the machine, calls do not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import Tensor

A, B = np.array([0.3, -1.2, 0.7, 2.0], np.float32), np.array([1.1, 0.4, -0.9, 0.6], np.float32)
UPSTREAM = np.random.default_rng(0).standard_normal(4).astype(np.float32)

# calls of Python functions, comprehensions among them: forward recorded, forward without, backward
MOST: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int, int, int]] = {
    "add": (lambda a, b: a + b, 13, 10, 26),
    "mul": (lambda a, b: a * b, 14, 11, 51),
    "mul by a number": (lambda a, b: a * 2.0, 22, 19, 40),
    "exp": (lambda a, b: a.exp(), 13, 10, 37),
    "relu": (lambda a, b: a.relu(), 13, 10, 47),
    "reshape": (lambda a, b: a.reshape(2, 2), 14, 11, 29),
    "sum": (lambda a, b: a.sum(), 17, 14, 37),
}


@pytest.fixture(autouse=True)
def plain_backend() -> Iterator[None]:
    with tg.use_backend("numpy"):
        yield


def calls(f: Callable[[], Any]) -> int:
    """How many Python functions run while ``f`` does, itself left out."""
    count = -1

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    f()  # what is remembered from a first time
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        f()
    finally:
        sys.setprofile(before)
    return count


def measured(f: Callable[[Tensor, Tensor], Tensor]) -> tuple[int, int, int]:
    a, b = Tensor(A, requires_grad=True), Tensor(B, requires_grad=True)
    ys = [f(a, b), f(a, b)]
    upstream = Tensor(UPSTREAM.ravel()[: ys[0].size].reshape(ys[0].shape))

    def backward() -> None:
        a.grad = b.grad = None
        ys.pop().backward(upstream)

    with tg.no_grad():
        unrecorded = calls(lambda: f(a, b)) - 1
    return calls(lambda: f(a, b)) - 1, unrecorded, calls(backward)


@pytest.mark.parametrize("name", MOST)
def test_an_operation_makes_few_calls(name: str) -> None:
    f, *most = MOST[name]
    found = measured(f)
    assert all(n <= m for n, m in zip(found, most, strict=True)), f"{name}: {found} calls, at most {most} are allowed"


def test_what_is_counted_counts() -> None:
    def twice() -> None:
        calls(lambda: None)

    assert calls(lambda: None) == 0
    assert calls(twice) > 0
    assert measured(lambda a, b: a + b + b)[0] > measured(lambda a, b: a + b)[0]


def test_an_operation_in_a_chain_costs_the_same_at_any_length() -> None:
    def chain(length: int) -> Callable[[Tensor, Tensor], Tensor]:
        def run(a: Tensor, b: Tensor) -> Tensor:
            for _ in range(length):
                a = a * b
            return a

        return run

    short, middle, long = (np.array(measured(chain(n))) for n in (10, 20, 30))
    assert (long - middle == middle - short).all()
