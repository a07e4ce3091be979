"""Shape contracts: what they accept, and what they say otherwise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.contract import Contract


def op(**attributes: Any) -> Any:
    return SimpleNamespace(name="myop", hint=lambda shapes: "", **attributes)


def check(text: str, *shapes: tuple[int, ...], **attributes: Any) -> None:
    Contract(text).check(op(**attributes), [np.empty(shape) for shape in shapes])


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("x: N C H W -> N C", [(2, 3, 4, 5)]),
        ("a: n k, b: k m -> n m", [(2, 3), (3, 4)]),
        ("a: ... n k, b: ... k m -> ... n m", [(7, 2, 3), (3, 4)]),
        ("x: N C ..., s: C -> N C ...", [(2, 3, 9, 9, 9), (3,)]),
        ("x: N C ..., s: C -> N C ...", [(2, 3), (3,)]),
        ("w: C 1 k k -> C", [(5, 1, 3, 3)]),
        ("x: ... -> ...", [()]),
        ("x: n n -> n", [(0, 0)]),
    ],
)
def test_what_fits(text: str, shapes: list[tuple[int, ...]]) -> None:
    check(text, *shapes)


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ("x: N C H W -> N C", [(2, 3, 4)], r"x must have 4 axes \(N C H W\), but has 3"),
        ("a: n k, b: k m -> n m", [(2, 3), (4, 4)], r"axis 0 of b must be k = 3 \(from a\), but is 4"),
        ("a: ... n k, b: ... k m -> n m", [(3,), (3, 4)], r"a must have at least 2 axes \(\.\.\. n k\), but has 1"),
        ("x: N C ..., s: C -> N C", [(2, 3, 3), (2,)], r"axis 0 of s must be C = 3 \(from x\), but is 2"),
        ("w: C 1 k k -> C", [(5, 2, 3, 3)], r"axis 1 of w must be 1, but is 2"),
        ("w: C 1 k k -> C", [(5, 1, 3, 2)], r"axis 3 of w must be k = 3 \(from w\), but is 2"),
    ],
)
def test_what_does_not(text: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match="myop: " + message):
        check(text, *shapes)


def test_divided_sizes() -> None:
    text = "x: N C, w: O C/groups -> N O"
    check(text, (2, 6), (4, 3), groups=2)
    with pytest.raises(ValueError, match=r"axis 1 of w must be C/groups = 3, but is 6"):
        check(text, (2, 6), (4, 6), groups=2)
    with pytest.raises(ValueError, match=r"C = 6 \(from x\) cannot be divided by groups = 4"):
        check(text, (2, 6), (4, 1), groups=4)


def test_the_error_shows_every_shape_and_the_operations_hint() -> None:
    wrong = op()
    wrong.hint = lambda shapes: f"given {shapes}"
    with pytest.raises(ValueError) as caught:
        Contract("a: n k, b: k -> n").check(wrong, [np.empty((2, 3)), np.empty(4)])
    assert str(caught.value).splitlines()[1:] == ["  a: n k = (2, 3)", "  b: k = (4,)", "  given [(2, 3), (4,)]"]


def test_names_of_inputs() -> None:
    assert Contract("a: ..., b: ... -> ...").name_of(1) == "b"
    assert Contract("*xs: ... -> ...").name_of(3) == "xs[3]"


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5), st.data())
def test_equal_names_are_equal_sizes(shape: list[int], data: st.DataObject) -> None:
    names = [data.draw(st.sampled_from("abc")) for _ in shape]
    fits = all(shape[i] == shape[names.index(name)] for i, name in enumerate(names))
    text = f"x: {' '.join(names)} -> a"
    if fits:
        check(text, tuple(shape))
    else:
        with pytest.raises(ValueError, match="axis"):
            check(text, tuple(shape))


def test_axes_of_vectors() -> None:
    contract = Contract("x: N C ..., gamma: C, other: C N -> N C ...")
    assert [contract.axis_of(i) for i in range(3)] == [None, 1, None]
    assert Contract("x: n k, w: m k, bias: m -> n m").axis_of(2) is None
    assert Contract("x: n k, bias: k -> n k").axis_of(1) is None  # the last: as broadcasting has it
    assert Contract("x: ... C k, gamma: C -> ... C k").axis_of(1) is None  # counted from the right
