"""Steps and clipping of all parameters at once: the bits of the optimisers' own formulas, which run on NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_effnet as tg
from tinygrad_effnet.backends import use_backend
from tinygrad_effnet.optim import EMA, SGD, Adam, AdamW, NAdam, clip, clip_grad_norm_
from tinygrad_effnet.tensor import wrap

pytest.importorskip("numba")

from tinygrad_effnet.backends.numba import optimiser

SHAPES = [(3,), (), (40, 30), (optimiser.PIECE + 5,), (7, 1, 3, 3), (0, 4)]
MAKERS = {
    "SGD": lambda p: SGD(p, lr=0.1, weight_decay=0.01),
    "SGD, momentum": lambda p: SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "SGD, Nesterov": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "Adam": lambda p: Adam(p, lr=0.01),
    "Adam, all": lambda p: Adam(p, lr=0.01, amsgrad=True, weight_decay=0.01, maximize=True),
    "AdamW": lambda p: AdamW(p, lr=0.01),
    "NAdam": lambda p: NAdam(p, lr=0.01, weight_decay=0.1),
    "NAdam, decoupled": lambda p: NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
}


def tensors(seed: int, dtypes: tuple = (np.float32, np.float64)) -> list[tg.Tensor]:
    rng = np.random.default_rng(seed)
    return [
        tg.Tensor(rng.standard_normal(shape).astype(dtypes[i % len(dtypes)]), requires_grad=True)
        for i, shape in enumerate(SHAPES)
    ]


def train(make, backend: str, steps: int = 4) -> list[np.ndarray]:
    """Parameters and all that the optimiser remembers, after some steps in which some parameters have no gradient."""
    with use_backend(backend):
        params = tensors(0)
        optimizer = make(params)
        for step in range(steps):
            for i, (p, g) in enumerate(zip(params, tensors(step + 1), strict=True)):
                p.grad = None if (i + step) % 3 == 0 else tg.Tensor(g.array)
                if i == 2 and p.grad is not None:
                    p.grad = tg.Tensor(np.ascontiguousarray(g.array.T).T)  # as a product may leave it
            optimizer.step()
        return [p.array for p in params] + list(optimizer.state_arrays().values())


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_bits_are_those_of_the_formula(make):
    for ours, formula in zip(train(make, "numba"), train(make, "numpy"), strict=True):
        assert ours.dtype == formula.dtype
        np.testing.assert_array_equal(ours, formula)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_one_kernel_does_all_parameters_of_a_dtype(make, monkeypatch):
    calls = []
    real = optimiser._run
    monkeypatch.setattr(optimiser, "_run", lambda *args: calls.append(args) or real(*args))
    with use_backend("numba"):
        params = tensors(0)
        optimizer = make(params)
        monkeypatch.setattr(type(optimizer), "update", lambda *args: pytest.fail("a parameter by itself"))
        for p, g in zip(params, tensors(1), strict=True):
            p.grad = tg.Tensor(g.array)
        optimizer.step()
    assert len(calls) == 1


def test_nan_and_infinity_are_seen():
    for bad in (np.nan, np.inf):
        results = []
        for backend in ("numba", "numpy"):
            with use_backend(backend), np.errstate(invalid="ignore"):
                p = tg.Tensor(np.ones(40, np.float32), requires_grad=True)
                optimizer = Adam([p], amsgrad=True)
                for value in (1.0, bad, 1.0):
                    p.grad = tg.Tensor(np.full(40, value, np.float32))
                    optimizer.step()
                results.append([p.array, *optimizer.state_arrays().values()])
        for ours, formula in zip(*results, strict=True):
            np.testing.assert_array_equal(ours, formula)


def test_arrays_with_gaps_are_updated_where_they_lie():
    strided = np.zeros((4, 4), np.float32)
    optimiser.ema([strided[:, ::2]], [np.ones((2, 4), np.float32).T], 0.5)
    np.testing.assert_array_equal(strided, [[0.5, 0, 0.5, 0]] * 4)


def test_arrays_unlike_their_parameter_are_refused():
    plain = np.zeros((4, 2), np.float32)
    for other in (np.ones((4, 2)), np.ones((2, 4), np.float32), np.ones((4, 2), np.float16)):
        with pytest.raises(ValueError, match="beside a parameter of float32 and shape"):
            optimiser.ema([plain], [other], 0.5)
    assert not plain.any()


def test_half_precision_is_left_to_the_formula():
    with use_backend("numba"):
        p = tg.Tensor(np.ones(3, np.float16), requires_grad=True)
        p.grad = tg.Tensor(np.ones(3, np.float16))
        SGD([p], lr=0.5).step()
    np.testing.assert_array_equal(p.array, np.full(3, 0.5, np.float16))


def test_averages_have_the_bits_of_the_formula():
    results = []
    for backend in ("numba", "numpy"):
        with use_backend(backend):
            state = {str(i): p.detach() for i, p in enumerate(tensors(0))} | {"count": np.array(3)}
            ema = EMA(state)
            for step in range(3):
                for i, p in enumerate(tensors(step + 1)):
                    state[str(i)].array[...] = p.array
                state["count"] += 1
                ema.update()
            results.append(ema.state_arrays())
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_bits(threads, monkeypatch):
    from tinygrad_effnet.backends.numba import get_num_threads, set_num_threads

    before = get_num_threads()
    if threads > before:
        pytest.skip("one thread is all there is")
    try:
        set_num_threads(threads)
        ours = train(MAKERS["NAdam"], "numba")
    finally:
        set_num_threads(before)
    for one, other in zip(ours, train(MAKERS["NAdam"], "numpy"), strict=True):
        np.testing.assert_array_equal(one, other)


@given(
    st.lists(st.tuples(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6), st.booleans()), max_size=6),
    st.sampled_from([1.0, 2.0, 0.5, 3.5, np.inf]),
    st.sampled_from([np.float32, np.float64]),
    st.floats(1e-3, 1e3),
    st.sampled_from([0.0, 0.0, np.nan, np.inf, -np.inf]),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_gradients_are_clipped_as_one_by_one(shapes, p, dtype, max_norm, odd, seed):
    norms, clipped = [], []
    for backend in ("numba", "numpy"):
        rng = np.random.default_rng(seed)
        params = []
        for shape, transposed in [*shapes, ((optimiser.PIECE + 7,), False), ((3, 5), True)]:
            g = rng.standard_normal(shape).astype(dtype)
            params.append(tg.Tensor(np.zeros(g.T.shape if transposed else shape, dtype), requires_grad=True))
            params[-1].grad = wrap(g.T if transposed else g)
        if odd:
            params[-1].grad.array[1, 2] = odd
        with use_backend(backend), np.errstate(invalid="ignore"):
            norms.append(clip_grad_norm_(params, max_norm, p))
        clipped.append([q.grad.array for q in params])
    np.testing.assert_allclose(*norms, rtol=1e-12)
    for ours, formula in zip(*clipped, strict=True):
        assert ours.dtype == formula.dtype
        np.testing.assert_allclose(ours, formula, rtol=2 * np.finfo(dtype).eps)


def test_clipping_takes_one_pass_to_measure_and_one_to_scale(monkeypatch):
    monkeypatch.setattr(clip, "blocks", lambda *arrays: pytest.fail("a gradient by itself"))
    rng = np.random.default_rng(0)
    params = tensors(0)
    for q in params:
        q.grad = tg.Tensor(rng.standard_normal(q.shape).astype(q.dtype))
    whole = np.concatenate([q.grad.array.astype(np.float64).ravel() for q in params])
    with use_backend("numba"):
        assert clip_grad_norm_(params, 0.25) == pytest.approx(np.linalg.norm(whole), rel=1e-12)
    clipped = np.concatenate([q.grad.array.astype(np.float64).ravel() for q in params])
    assert np.linalg.norm(clipped) == pytest.approx(0.25, rel=1e-6)


def test_a_norm_has_the_same_bits_for_any_number_of_threads():
    from tinygrad_effnet.backends.numba import get_num_threads, set_num_threads

    arrays = [np.random.default_rng(0).standard_normal(5 * optimiser.PIECE + 3).astype(np.float32)]
    before = get_num_threads()
    try:
        found = []
        for threads in range(1, before + 1):
            set_num_threads(threads)
            found.append([optimiser.norms(arrays, p) for p in (1.0, 2.0, 3.0)])
    finally:
        set_num_threads(before)
    assert all(norms == found[0] for norms in found)


def test_half_precision_is_clipped_by_the_formula():
    q = tg.Tensor(np.ones(4, np.float16), requires_grad=True)
    q.grad = tg.Tensor(np.full(4, 2, np.float16))
    with use_backend("numba"):
        assert clip_grad_norm_([q, *tensors(0)], 2.0) == 4.0
    np.testing.assert_allclose(q.grad.array, np.ones(4), rtol=1e-3)
