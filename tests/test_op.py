"""Operations: how a user writes one, what the engine does for it, and what it says when a rule fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.op import common_dtype, differentiate, registry, watch
from tinygrad_effnet.testing import gradcheck, gradgradcheck


@pytest.fixture(autouse=True)
def clean_registry() -> Iterator[None]:
    before = dict(registry)
    yield
    registry.clear()
    registry.update(before)


def make_cube() -> type[tg.Op]:
    @tg.register
    class CubedSum(tg.Op):
        """(a + b) cubed, entry by entry."""

        formula = "y = (a + b)³"
        rule = "ā = b̄ = 3 ȳ (a + b)²"
        shapes = "a: ..., b: ... -> ..."

        def forward(self, kernels: tg.backends.Backend, a: Any, b: Any) -> Any:
            self.save(a, b)
            return kernels.power(kernels.add(a, b), 3.0)

        def backward(self, dy: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
            a, b = self.saved()
            slope = 3.0 * dy * (a + b) ** 2
            return slope, slope

    return CubedSum


def make_split() -> type[tg.Op]:
    @tg.register
    class MeanAndRest(tg.Op):
        """The mean, and the distances from it."""

        formula = "m = mean x, r = x − m"
        rule = "x̄ = m̄ / n + r̄ − mean r̄"
        shapes = "x: n -> 1, n"

        def forward(self, kernels: tg.backends.Backend, x: Any) -> Any:
            mean = kernels.divide(kernels.sum(x, 0, True), len(x))
            return mean, kernels.subtract(x, mean)

        def backward(self, dm: tg.Tensor, dr: tg.Tensor) -> tg.Tensor:
            return dm / float(dr.size) + dr - dr.mean(0, keepdim=True)

    return MeanAndRest


def leaf(*shape: int, dtype: Any = np.float64) -> tg.Tensor:
    return tg.Tensor(np.random.default_rng(sum(shape)).uniform(0.5, 2, shape), True, dtype)


# -- one's own operation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", tg.available_backends())
def test_a_users_operation_has_all_that_ours_have(backend: str) -> None:
    cube = make_cube()
    assert registry["cubed_sum"] is cube
    with tg.use_backend(backend):
        a, b = leaf(2, 1, 3), leaf(4, 1)
        assert gradcheck(lambda a, b: cube()(a, b), [a, b])
        assert gradgradcheck(lambda a, b: cube()(a, b), [a, b], fast_mode=True)
        y = cube()(tg.Tensor([1.0, 2.0], True), 1)
        assert (y.dtype, y.tolist()) == (np.float32, [8.0, 27.0])
        assert "made by cubed_sum" in repr(y)
        with pytest.raises(TypeError, match="cubed_sum: a holds int64 numbers"):
            cube()(tg.Tensor([1]), 2)
        with pytest.raises(TypeError, match="cubed_sum: b is a str"):
            cube()(tg.Tensor([1.0]), "x")


def test_several_results_of_which_some_are_used() -> None:
    split = make_split()
    x = leaf(4)
    assert gradcheck(lambda x: split()(x), x)
    assert gradcheck(lambda x: split()(x)[0], x)
    assert gradcheck(lambda x: split()(x)[1] ** 2, x)
    mean, rest = split()(x)
    assert mean.node is rest.node
    rest.retain_grad()
    (mean * 2.0 + rest[0]).backward()
    assert (mean.grad, rest.grad.tolist()) == (None, [1.0, 0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"mean_and_rest: x must have 1 axes \(n\), but has 2"):
        split()(leaf(2, 2))


def test_saved_results_are_linked_for_the_second_gradient() -> None:
    class Inverse(tg.Op):
        name, formula, rule, shapes = "inverse", "y = 1 / x", "x̄ = −ȳ y²", "x: ... -> ..."

        def forward(self, kernels: Any, x: Any) -> Any:
            y = kernels.divide(1.0, x)
            self.save(y)
            return y

        def backward(self, dy: tg.Tensor) -> tg.Tensor:
            (y,) = self.saved()
            return -dy * y * y

    Inverse.contract = tg.op.Contract(Inverse.shapes)
    for shape in ((3,), ()):
        assert gradgradcheck(lambda x: Inverse()(x), leaf(*shape))


def test_a_rule_may_be_a_composition() -> None:
    @tg.register
    class SoftSquare(tg.Op):
        formula, rule, shapes = "y = x² tanh(x w)", "by differentiating the formula", "x: n, w: n -> n"

        def composed(self, x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
            return x * x * (x * w).tanh()

        def forward(self, kernels: Any, x: Any, w: Any) -> Any:
            self.save(x, w)
            return x * x * np.tanh(x * w)

        def backward(self, dy: tg.Tensor) -> Any:
            return differentiate(self.composed, self.saved(), [dy])

    f = lambda x, w: SoftSquare()(x, w)  # noqa: E731
    assert gradcheck(f, [leaf(3), leaf(3)])
    assert gradgradcheck(f, [leaf(3), leaf(3)])
    # one input is made of the other: the rule must give the partial derivatives
    assert gradgradcheck(lambda x: SoftSquare()(x, x.exp()), leaf(3))
    assert gradgradcheck(lambda x: SoftSquare()(x, x), leaf(3))


def test_names_come_from_the_class() -> None:
    assert {"silu", "silu_grad", "relu6", "leaky_relu", "gelu", "conv2d_input_grad", "batch_norm"} <= set(registry)


def test_an_operation_is_used_once() -> None:
    cube = make_cube()()
    y = cube(leaf(2), leaf(2))
    with pytest.raises(RuntimeError, match="CubedSum was used before"):
        cube(y, leaf(2))


def test_what_was_not_written_is_said() -> None:
    class Empty(tg.Op):
        name, shapes, contract = "empty", "x: ... -> ...", tg.op.Contract("x: ... -> ...")

    class OneWay(Empty):
        def forward(self, kernels: Any, x: Any) -> Any:
            return x * 2

    with pytest.raises(TypeError, match="Empty does not say how it is computed"):
        Empty()(leaf(2))
    with pytest.raises(TypeError, match="OneWay has no derivative"):
        OneWay()(leaf(2)).sum().backward()


# -- what the engine does for every operation ----------------------------------------------------------------------


def test_gradients_are_given_their_inputs_shape_and_dtype() -> None:
    cube = make_cube()
    a, b = leaf(2, 1, 3, dtype=np.float32), leaf(4, 1)
    y = cube()(a, b)
    y.backward(np.random.default_rng(0).standard_normal(y.shape))
    assert (y.shape, y.dtype) == ((2, 4, 3), np.float64)
    assert (a.grad.shape, a.grad.dtype) == ((2, 1, 3), np.float32)
    assert (b.grad.shape, b.grad.dtype) == ((4, 1), np.float64)


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (("f4", "f4"), "f4"),
        (("f4", "f8"), "f8"),
        (("f4", int), "f4"),
        (("f4", float), "f4"),
        (("f8", bool), "f8"),
        (("i8", "f4"), "f4"),
        (("i8", float), "f4"),
        (("i8", np.float64), "f4"),
        (("u1", int), "u1"),
        (("i4", "u1"), "i4"),
        (("?", int), "i8"),
        (("?", bool), "?"),
        (("?", "?"), "?"),
        (("?", "f4"), "f4"),
        ((int, int), "i8"),
        ((int, float), "f4"),
        ((bool, bool), "?"),
    ],
)
def test_the_dtype_rule(dtypes: tuple[Any, ...], expected: str) -> None:
    given = [np.dtype(d) if isinstance(d, str) else d for d in dtypes]
    assert common_dtype(given) == common_dtype(given[::-1]) == np.dtype(expected)


def test_errors_in_rules_name_the_operation_and_the_line_that_made_it() -> None:
    class Broken(tg.Op):
        name, shapes, contract = "broken", "x: ... -> ...", tg.op.Contract("x: ... -> ...")

        def forward(self, kernels: Any, x: Any) -> Any:
            return x * 2

        def backward(self, dy: tg.Tensor) -> tg.Tensor:
            raise ArithmeticError("lost count")

    y = Broken()(  # the line
        leaf(2)
    ).sum()
    line = next(i for i, text in enumerate(open(__file__), 1) if text.rstrip().endswith("# the line"))
    with pytest.raises(ArithmeticError, match="lost count") as caught:
        y.backward()
    assert caught.value.__notes__ == [f"in the backward pass of broken, which was made at {__file__}:{line}"]


def test_a_rule_may_widen_and_the_gradient_is_narrowed_again() -> None:
    class Wide(tg.Op):
        name, shapes, contract = "wide", "x: ... -> ...", tg.op.Contract("x: ... -> ...")

        def forward(self, kernels: Any, x: Any) -> Any:
            return x * np.float32(2)

        def backward(self, dy: tg.Tensor) -> tg.Tensor:
            return dy * np.array([2.0, 2.0])

    x = leaf(2, dtype=np.float32)
    h = x * 1.0
    h.retain_grad()
    Wide()(h).backward([0.5, -1.0])
    assert (h.grad.dtype, x.grad.dtype, x.grad.tolist()) == (np.float32, np.float32, [1.0, -2.0])


@pytest.mark.parametrize("wrong", [lambda dy: dy[:1, :1, None, None], lambda dy: (dy, dy)])
def test_rules_that_give_the_wrong_shape_or_number(wrong: Any) -> None:
    class Wrong(tg.Op):
        name, shapes, contract = "wrong", "x: ... -> ...", tg.op.Contract("x: ... -> ...")

        def forward(self, kernels: Any, x: Any) -> Any:
            return x * 2

        def backward(self, dy: tg.Tensor) -> Any:
            return wrong(dy)

    with pytest.raises(ValueError) as caught:
        Wrong()(leaf(3, 2)).sum().backward()
    assert "in the backward pass of wrong" in caught.value.__notes__[0]


def test_where_points_at_users_code() -> None:
    y = tg.ops.cross_entropy(leaf(2, 3), [0, 1])
    here = re.escape(__file__)
    assert re.fullmatch(rf"{here}:\d+", y.node.where())
    assert re.match(rf"<mul made at {here}:\d+>", repr((y * 2.0).node))


def test_watchers_see_every_operation() -> None:
    seen: list[tuple[str, list[tuple[int, ...]], list[tuple[int, ...]]]] = []
    x = leaf(2, 3)
    with watch(
        lambda op, inputs, outputs: seen.append((op.name, [a.shape for a in inputs], [a.shape for a in outputs]))
    ):
        y = (x * 2.0).sum()
    (y * 3.0).backward()
    assert seen == [("mul", [(2, 3), ()], [(2, 3)]), ("sum", [(2, 3)], [()])]


def test_saved_bytes_count_what_is_held() -> None:
    assert leaf(2, 3).exp().node.saved_bytes == 6 * 8
    assert (leaf(2, 3) + leaf(2, 3)).node.saved_bytes == 0
    assert tg.ops.relu(leaf(5, dtype=np.float32)).node.saved_bytes == 20


def test_symbols_are_those_of_the_formula() -> None:
    named = {name: op for name, op in registry.items() if op.symbols}
    assert {"conv2d", "depthwise_conv2d", "linear", "batch_norm", "scale_shift"} <= named.keys()
    for op in named.values():
        inputs = {name for name, _ in op.contract.operands}
        for pair in op.symbols.split(", "):
            argument, symbol = pair.split(": ")
            assert argument in inputs
            assert re.search(rf"(?<![^\W_]){symbol}(?![^\W_])", op.formula), (op.formula, symbol)
