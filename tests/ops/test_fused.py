"""Fused operations against their plain compositions: values, every gradient, running statistics, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet import ops
from tinygrad_effnet.backends import Window
from tinygrad_effnet.op import Op
from tinygrad_effnet.ops.fused import NormAdd, NormSiLU, NormSiLUDepthwise, NormSiLUSqueezeExcite

BACKENDS = [name for name in tg.available_backends() if name != "loops"]
KINDS = ("norm_silu", "norm_silu_depthwise", "norm_silu_squeeze_excite", "norm_add")
Case = tuple[Callable[[], Op], list[np.ndarray]]


def case(kind: str, shape: tuple[int, ...], k: int, stride: int, fixed: bool, seed: int) -> Case:
    """A maker of the operation, and inputs for it."""
    rng = np.random.default_rng(seed)
    n, channels = shape[:2]
    inputs = [rng.standard_normal(shape) * 2 + 1, rng.standard_normal(channels), rng.standard_normal(channels)]
    given = (rng.standard_normal(channels), rng.uniform(0.5, 2, channels)) if fixed else None
    if kind == "norm_silu":
        return (lambda: NormSiLU(1e-3, given)), inputs
    if kind == "norm_silu_depthwise":
        window = Window((k, k), (stride, stride), ((k // 2, k // 2), (k // 2, k // 2)))
        return (lambda: NormSiLUDepthwise(window, 1e-3, given)), [*inputs, rng.standard_normal((channels, 1, k, k))]
    if kind == "norm_add":
        mask = rng.integers(0, 2, n) * 1.25 if stride == 2 else None
        return (lambda: NormAdd(mask, 1e-3, given)), [*inputs, rng.standard_normal(shape)]
    squeezed = k // 2
    weights = (squeezed, channels, 1, 1), (squeezed,), (channels, squeezed, 1, 1), (channels,)
    return (lambda: NormSiLUSqueezeExcite(1e-3, given)), [*inputs, *[rng.standard_normal(s) for s in weights]]


def run(backend: str, f: Callable[..., tg.Tensor], arrays: list[np.ndarray]) -> list[np.ndarray]:
    with tg.use_backend(backend):
        x = [tg.from_numpy(a).requires_grad_() for a in arrays]
        y = f(*x)
        upstream = np.random.default_rng(3).standard_normal(y.shape).astype(y.dtype)
        return [y.numpy(), *[g.numpy() for g in tg.grad(y, x, tg.from_numpy(upstream))]]


sizes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 19), st.integers(1, 19))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-11), ("float32", 3e-4)])
def test_equals_the_composition(
    kind: str, backend: str, dtype: str, rounding: float, layouts: st.SearchStrategy[Callable]
) -> None:
    @given(sizes, st.sampled_from([3, 5]), st.sampled_from([1, 2]), st.booleans(), st.integers(0, 10**6), layouts)
    def check(shape: Any, k: int, stride: int, fixed: bool, seed: int, layout: Callable) -> None:
        make, inputs = case(kind, shape, k, stride, fixed, seed)
        arrays = [layout(a.astype(dtype)) for a in inputs]
        found = run(backend, make(), arrays)
        expected = run("numpy", make().composed, [a.astype("float64") for a in arrays])
        for i, (got, want) in enumerate(zip(found, expected, strict=True)):
            assert got.dtype == dtype
            assert got.shape == want.shape
            # of few numbers, the gradient of x is the small rest of large terms: so a bound of all gradients' largest
            largest = max(1.0, *[float(np.abs(w).max()) for w in (expected[:1] if i == 0 else expected[1:])])
            np.testing.assert_allclose(got, want, rtol=0, atol=rounding * largest, err_msg=f"output {i}")

    check()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(2, 2, 64, 64), (1, 3, 63, 97), (17, 2, 7, 7), (40, 1, 14, 13)])
def test_equals_the_composition_where_a_channel_takes_several_blocks(kind: str, backend: str, shape: Any) -> None:
    for k, stride in ((3, 2), (5, 1), (3, 1), (5, 2)):
        make, inputs = case(kind, shape, k, stride, False, 1)
        for got, want in zip(run(backend, make(), inputs), run("numpy", make().composed, inputs), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-10 * max(1.0, np.abs(want).max()))


def norms(training: bool, channels: int = 3) -> list[ops.Norm]:
    """Two norms with the same numbers and memory of their own."""
    rng = np.random.default_rng(2)
    vectors = [rng.uniform(0.5, 2, channels).astype("float32") for _ in range(4)]
    return [ops.Norm(*[tg.Tensor(v) for v in vectors], training, 0.3, 1e-4) for _ in range(2)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("training", [True, False])
def test_functions_equal_batch_norm_and_what_follows(backend: str, training: bool) -> None:
    rng = np.random.default_rng(4)
    t = lambda *shape: tg.Tensor(rng.standard_normal(shape).astype("float32"))  # noqa: E731
    x, w, skip, se = t(4, 3, 6, 5), t(3, 1, 3, 3), t(4, 3, 6, 5), (t(2, 3, 1, 1), t(2), t(3, 2, 1, 1), t(3))

    def gate(h: tg.Tensor) -> tg.Tensor:
        squeezed = ops.conv2d(ops.mean(h, (2, 3), keepdim=True), *se[:2])
        return ops.conv2d(squeezed.silu(), *se[2:]).sigmoid()

    pairs: list[tuple[Callable[[ops.Norm], tg.Tensor], Callable[[tg.Tensor], tg.Tensor]]] = [
        (lambda norm: ops.norm_silu(x, norm), lambda y: y.silu()),
        (
            lambda norm: ops.norm_silu_depthwise(x, norm, w, 2, 1),
            lambda y: ops.depthwise_conv2d(y.silu(), w, None, 2, 1),
        ),
        (lambda norm: ops.norm_silu_squeeze_excite(x, norm, *se), lambda y: y.silu() * gate(y.silu())),
        (
            lambda norm: ops.norm_add(x, norm, skip, 0.5, True, np.random.default_rng(5)),
            lambda y: ops.stochastic_depth(y, 0.5, True, np.random.default_rng(5)) + skip,
        ),
    ]
    with tg.use_backend(backend):
        for fused, plain in pairs:
            ours, theirs = norms(training)
            before = ours.running_mean.numpy().copy()
            found, expected = fused(ours), plain(ops.batch_norm(x, *theirs))
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
            for a, b in zip(ours[:2], theirs[:2], strict=True):
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)
            assert np.array_equal(ours.running_mean.numpy(), before) != training


@pytest.mark.parametrize("kind", KINDS)
def test_only_inputs_are_saved(kind: str) -> None:
    make, inputs = case(kind, (2, 3, 6, 5), 3, 1, False, 1)
    op = make()
    op(*[tg.from_numpy(a).requires_grad_() for a in inputs])
    assert all(any(np.shares_memory(held, a) for a in inputs) for held in op.held)
    assert sum(held.size == inputs[0].size for held in op.held) == 1


@pytest.mark.parametrize("backend", tg.available_backends())
@pytest.mark.parametrize("kind", KINDS)
def test_a_second_derivative_is_refused_with_advice(kind: str, backend: str) -> None:
    make, inputs = case(kind, (2, 2, 3, 3), 3, 1, False, 1)
    with tg.use_backend(backend):
        x = [tg.from_numpy(a).requires_grad_() for a in inputs]
        y = make()(*x)
        with pytest.raises(RuntimeError, match="no second derivative.*fused=False"):
            tg.grad(y, x, tg.from_numpy(np.full(y.shape, 0.3)), create_graph=True)


def test_mistakes_are_named() -> None:
    x, (norm, _) = tg.Tensor(np.zeros((1, 3, 1, 1), "float32")), norms(True)
    with pytest.raises(ValueError, match="norm_silu: one value a channel"):
        ops.norm_silu(x, norm)
    with pytest.raises(ValueError, match=r"norm_add\(running_mean\): its shape is \(3,\); expected \(2,\)"):
        ops.norm_add(tg.Tensor(np.zeros((1, 2, 4, 4), "float32")), norm, x)
    with pytest.raises(ValueError, match="probability"):
        ops.norm_add(tg.Tensor(np.zeros((2, 3, 1, 1), "float32")), norm, x, 1.5)
    with pytest.raises(ValueError, match="the window covers 9x9 pixels"):
        ops.norm_silu_depthwise(tg.Tensor(np.zeros((2, 3, 4, 4), "float32")), norm, tg.Tensor(np.zeros((3, 1, 9, 9))))
    np.testing.assert_array_equal(norm.running_mean.numpy(), norms(True)[1].running_mean.numpy())
