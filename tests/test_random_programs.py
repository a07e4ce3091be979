"""Random programs on the real tape and on a naive one: same numbers, same gradients, same refusals."""

from __future__ import annotations

import itertools
from typing import Any

import naive_graph
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from naive_graph import Value

import tinygrad_effnet as tg

SIZE = 3
REAL_UNARY = {
    "sin": lambda x: x.sin(),
    "tanh": lambda x: x.tanh(),
    "neg": lambda x: -x,
    "sum": lambda x: x.sum(),
    "transposed": lambda x: x.T,
    "reversed": lambda x: x[::-1],
}
REAL_BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "matmul": lambda a, b: a @ b,
}
seeds = st.integers(0, 10**6)
mostly = st.sampled_from([True, True, True, False])


def numbers(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.uniform(0.3, 1.2, shape) * rng.choice([-1.0, 1.0], shape))


class Pair:
    """The same tensor in both worlds."""

    def __init__(self, real: tg.Tensor, naive: Value) -> None:
        self.real, self.naive = real, naive

    def __repr__(self) -> str:
        return f"<{self.real.shape}{' recorded' if self.real.requires_grad else ''}>"


class Programs(RuleBasedStateMachine):
    pairs = Bundle("pairs")
    hooks = Bundle("hooks")

    @initialize()
    def start(self) -> None:
        naive_graph.memory.clear()
        self.everything: list[Pair] = []

    def keep(self, real: tg.Tensor, naive: Value) -> Pair:
        pair = Pair(real, naive)
        self.everything.append(pair)
        return pair

    # -- building --------------------------------------------------------------------------------------------------
    @precondition(lambda self: len(self.everything) < 12)
    @rule(target=pairs, seed=seeds, scalar=st.booleans(), requires_grad=mostly)
    def make(self, seed: int, scalar: bool, requires_grad: bool) -> Pair:
        data = numbers(seed, () if scalar else (SIZE, SIZE))
        naive = Value(data.copy())
        naive.requires_grad = requires_grad
        return self.keep(tg.Tensor(data, requires_grad=requires_grad), naive)

    @rule(target=pairs, x=pairs, name=st.sampled_from(sorted(REAL_UNARY)), recording=mostly)
    def unary(self, x: Pair, name: str, recording: bool) -> Pair:
        if x.real.ndim == 0 and name == "reversed":
            name = "sin"
        with tg.enable_grad() if recording else tg.no_grad():
            real = REAL_UNARY[name](x.real)
        return self.keep(real, naive_graph.recorded(naive_graph.UNARY[name](x.naive), recording))

    @rule(target=pairs, a=pairs, b=pairs, name=st.sampled_from(sorted(REAL_BINARY)), recording=mostly)
    def use_two(self, a: Pair, b: Pair, name: str, recording: bool) -> Pair:
        return self.binary(a, b, name, recording)

    def binary(self, a: Pair, b: Pair, name: str, recording: bool) -> Pair:
        if name == "matmul" and 0 in (a.real.ndim, b.real.ndim):
            name = "mul"
        if max(np.abs(x.naive.data).max() for x in (a, b)) > 100:  # a program of products soon leaves every range
            name = "add"
        with tg.enable_grad() if recording else tg.no_grad():
            real = REAL_BINARY[name](a.real, b.real)
        return self.keep(real, naive_graph.recorded(naive_graph.BINARY[name](a.naive, b.naive), recording))

    @rule(target=pairs, xs=st.lists(pairs, min_size=2, max_size=5))
    def join(self, xs: list[Pair]) -> Pair:
        """x₀ · x₁ + x₁ · x₂ + …: every tensor used twice, and diamonds where one was made of another."""
        joined = self.keep(tg.Tensor(np.zeros(())), Value(np.zeros(())))
        for a, b in itertools.pairwise(xs):
            joined = self.binary(joined, self.binary(a, b, "mul", True), "add", True)
        return joined

    @rule(target=pairs, x=pairs)
    def detach(self, x: Pair) -> Pair:
        return self.keep(x.real.detach(), Value(x.naive.data))

    @rule(target=pairs, x=pairs)
    def use_a_gradient_as_a_constant(self, x: Pair) -> Pair:
        if x.real.grad is None or x.naive.grad is None:
            return x
        return self.keep(x.real.grad, x.naive.grad)

    # -- what is asked of a tensor -----------------------------------------------------------------------------------
    @rule(target=hooks, x=pairs, factors=st.lists(st.sampled_from([-2.0, 0.5, None]), min_size=1, max_size=3))
    def register_hooks(self, x: Pair, factors: list[float | None]) -> Any:
        if not x.real.requires_grad:
            with pytest.raises(ValueError, match="does not require a gradient"):
                x.real.register_hook(lambda g: g)
            return multiple()
        return multiple(*[self._register_hook(x, factor) for factor in factors])

    @staticmethod
    def _register_hook(x: Pair, factor: float | None) -> tuple[Pair, Any, Any]:
        def naive_hook(g: np.ndarray) -> np.ndarray:
            return g if factor is None else g * factor

        x.naive.hooks.append(naive_hook)
        return x, naive_hook, x.real.register_hook(lambda g: None if factor is None else g * factor)

    @rule(hook=consumes(hooks))
    def remove_hook(self, hook: tuple[Pair, Any, Any]) -> None:
        x, naive_hook, real_hook = hook
        x.naive.hooks.remove(naive_hook)
        real_hook.remove()

    @rule(x=pairs)
    def retain_grad(self, x: Pair) -> None:
        if x.real.requires_grad:
            x.real.retain_grad()
            x.naive.retains = True

    @rule(x=pairs)
    def zero_grad(self, x: Pair) -> None:
        x.real.grad = x.naive.grad = None

    @rule(x=pairs, seed=seeds, recording=st.booleans())
    def write(self, x: Pair, seed: int, recording: bool) -> None:
        values = numbers(seed, x.real.shape)
        if recording and x.real.requires_grad:
            with pytest.raises(ValueError, match="no_grad"):
                x.real[...] = values
            return
        with tg.no_grad():
            x.real[...] = values
        naive_graph.write(x.naive.data, values)

    # -- walking back ------------------------------------------------------------------------------------------------
    @precondition(lambda self: self.everything)
    @rule(seed=seeds, retain_graph=mostly)
    def walk_back_from_the_latest(self, seed: int, retain_graph: bool) -> None:
        self.backward(self.everything[-1], seed, retain_graph)

    @rule(x=pairs, seed=seeds, retain_graph=mostly)
    def walk_back(self, x: Pair, seed: int, retain_graph: bool) -> None:
        self.backward(x, seed, retain_graph)

    def backward(self, x: Pair, seed: int, retain_graph: bool) -> None:
        upstream = numbers(seed, x.real.shape)
        if not x.real.requires_grad:
            with pytest.raises(ValueError, match="nothing here requires a gradient"):
                x.real.backward(upstream)
        elif x.naive.refuses():
            # kept, so that what the refused walk passed is not freed
            with pytest.raises(RuntimeError, match="a second time|has written to its memory"):
                x.real.backward(upstream, retain_graph=True)
        else:
            x.real.backward(upstream, retain_graph=retain_graph)
            x.naive.backward(upstream, retain_graph)

    @rule(y=pairs, x=pairs, seed=seeds)
    def grad(self, y: Pair, x: Pair, seed: int) -> None:
        if not (x.real.requires_grad and y.real.requires_grad) or y.naive.refuses():
            return
        upstream = numbers(seed, y.real.shape)
        (found,) = tg.grad(y.real, x.real, tg.Tensor(upstream), retain_graph=True, allow_unused=True)
        expected = y.naive.gradients(upstream).get(id(x.naive))
        assert (found is None) == (expected is None)
        if found is not None:
            self.agree(found.numpy(), expected)

    # -- what must hold ----------------------------------------------------------------------------------------------
    @staticmethod
    def agree(real: np.ndarray, naive: Any) -> None:
        assert real.shape == np.shape(naive)
        np.testing.assert_allclose(real, naive, rtol=1e-9, atol=1e-9 * (1 + float(np.abs(naive).max(initial=0.0))))

    @invariant()
    def both_worlds_agree(self) -> None:
        for pair in getattr(self, "everything", ()):
            assert pair.real.requires_grad == pair.naive.requires_grad
            assert pair.real.is_leaf == pair.naive.is_leaf
            self.agree(pair.real.numpy(), pair.naive.data)
            assert (pair.real.grad is None) == (pair.naive.grad is None)
            if pair.real.grad is not None:
                self.agree(pair.real.grad.numpy(), pair.naive.grad.data)


@pytest.fixture(autouse=True)
def _on_numpy() -> Any:
    with tg.use_backend("numpy"):  # whose results lie in memory as the naive ones do
        yield


class TestRandomPrograms(Programs.TestCase):
    settings = settings(max_examples=4 * settings().max_examples, stateful_step_count=40, deadline=None)
