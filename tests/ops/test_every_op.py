"""What must hold for every operation of the registry, tested on its samples."""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from arena import neighbours
from counted import count_operations
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet.op import Op, registry, watch
from tinygrad_effnet.testing import Sample, gradcheck, gradgradcheck, samples

NAMES = sorted(registry)
TWICE = [name for name in NAMES if not registry[name].once_differentiable]
FAST = [name for name in tg.available_backends() if name != "loops"]
DRAWS = {"dropout", "stochastic_depth"}  # other random numbers for each dtype

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # means of nothing, in empty samples

every_op = pytest.mark.parametrize("name", NAMES)
every_fast_backend = pytest.mark.parametrize("backend", FAST)


@functools.cache
def samples_of_op(name: str) -> list[Sample]:
    return samples(name, np.random.default_rng(zlib.crc32(name.encode())))


def as_tuple(result: tg.Tensor | tuple[tg.Tensor, ...]) -> tuple[tg.Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def upstream(outputs: Sequence[tg.Tensor]) -> list[tg.Tensor]:
    rng = np.random.default_rng(5)
    return [tg.Tensor(rng.standard_normal(y.shape), dtype=y.dtype) for y in outputs]


def values_and_gradients(
    backend: str, sample: Sample, arrays: Sequence[np.ndarray], needed: Sequence[bool] | None = None
) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    with tg.use_backend(backend):
        x = [tg.from_numpy(a) for a in arrays]
        for tensor, need in zip(x, needed or [True] * len(x), strict=True):
            tensor.requires_grad = need
        outputs = as_tuple(sample(*x))
        wanted = [tensor for tensor in x if tensor.requires_grad]
        found = iter(tg.grad(outputs, wanted, upstream(outputs)))
        gradients = [next(found).numpy() if tensor.requires_grad else None for tensor in x]
        return [y.numpy() for y in outputs], gradients


def rounding(sample: Sample, arrays: Sequence[np.ndarray], dtype: str) -> Callable[[np.ndarray], float]:
    """How far a result may be off: a rounding for each operation that went into an entry, of the largest numbers.

    The operations are those that the cost model counts, forward and backward: so a sum of n terms may gather n.
    """
    flops = 0

    def count(op: Op, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        nonlocal flops
        flops += op.flops([x.shape for x in inputs], [y.shape for y in outputs])

    with watch(count):
        values, gradients = values_and_gradients("numpy", sample, arrays)
    everything = [*arrays, *values, *gradients, np.array([3.0])]  # the last for the upstream gradient
    largest = max(float(np.abs(x[np.isfinite(x)]).max(initial=0.0)) for x in everything)
    return lambda result: (4 + flops / max(1, result.size)) * float(np.finfo(dtype).eps) * largest


@every_op
@every_fast_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients_are_those_of_loops(name: str, backend: str, dtype: str) -> None:
    for sample in samples_of_op(name):
        arrays = [a.astype(dtype) for a in sample.arrays]
        exact = [a.astype("float64") for a in arrays]
        values, gradients = values_and_gradients(backend, sample, arrays)
        reference = arrays if name in DRAWS else exact
        expected_values, expected_gradients = values_and_gradients("loops", sample, reference)
        allowed = rounding(sample, exact, dtype)
        for got, expected in zip(values, expected_values, strict=True):
            assert got.dtype == (np.float64 if name == "cast" else dtype), sample.label
            assert got.shape == expected.shape, sample.label
            np.testing.assert_allclose(got, expected, rtol=0, atol=allowed(got), err_msg=sample.label)
        for x, got, expected in zip(arrays, gradients, expected_gradients, strict=True):
            assert (got.shape, got.dtype) == (x.shape, x.dtype), sample.label
            np.testing.assert_allclose(got, expected, rtol=0, atol=allowed(got), err_msg=sample.label)


@every_op
@pytest.mark.parametrize("backend, dtype", [("loops", "float64"), *itertools.product(FAST, ["float32", "float64"])])
def test_the_same_call_gives_the_same_bits(name: str, backend: str, dtype: str) -> None:
    """Wherever operands and results lie: right behind one another, compiled loops take another path."""
    for sample in samples_of_op(name):
        arrays = [a.astype(dtype) for a in sample.arrays]
        first = values_and_gradients(backend, sample, arrays)
        for gap in (0, 16):
            with neighbours(gap) as arena:
                again = values_and_gradients(backend, sample, [arena.copy(a) for a in arrays])
            for a, b in zip((*first[0], *first[1]), (*again[0], *again[1]), strict=True):
                assert a.tobytes() == b.tobytes(), f"{sample.label}, {gap} bytes apart"


@pytest.mark.parametrize("name", TWICE)  # forward mode is the derivative of reverse mode
@every_fast_backend
def test_forward_and_reverse_mode_are_each_others_transpose(name: str, backend: str) -> None:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩."""
    rng = np.random.default_rng(8)
    with tg.use_backend(backend):
        for sample in samples_of_op(name):
            x = [tg.from_numpy(a) for a in sample.arrays]
            v = [rng.standard_normal(a.shape) for a in sample.arrays]
            _, forward = tg.jvp(sample, x, v)
            u = upstream(as_tuple(forward))
            _, gradients = values_and_gradients(backend, sample, sample.arrays)
            left = [float(np.vdot(a.numpy(), b.numpy())) for a, b in zip(u, as_tuple(forward), strict=True)]
            right = [float(np.vdot(g, b)) for g, b in zip(gradients, v, strict=True)]
            scale = (
                1.0 + sum(map(abs, left)) + sum(float(np.abs(g * b).sum()) for g, b in zip(gradients, v, strict=True))
            )
            assert abs(sum(left) - sum(right)) < 1e-12 * scale, sample.label


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cast"])  # to float64, so the step would be lost
def test_gradients_are_exact_by_complex_step(name: str, leaves: Callable) -> None:
    for sample in samples_of_op(name):
        assert gradcheck(sample, leaves(*sample.arrays), method="complex"), sample.label
        if name in TWICE:
            assert gradgradcheck(sample, leaves(*sample.arrays), method="complex", fast_mode=True), sample.label


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cast"])  # what numbers count, NumPy converts
def test_the_cost_model_is_what_numbers_count(name: str) -> None:
    flops = counted = outputs = 0
    for sample in samples_of_op(name):
        if any(a.ndim == 0 for a in sample.arrays):  # of which NumPy makes plain objects
            continue
        op = sample.make(*sample.arrays)
        results, operations = count_operations(op, sample.arrays)
        flops += op.flops([a.shape for a in sample.arrays], [np.shape(y) for y in results])
        counted += operations
        outputs += sum(np.size(y) for y in results)
    # a sum of n terms is counted as n additions, and takes one less; what is done once a channel is not counted
    assert counted <= 1.25 * flops, f"{counted} operations, {flops} by flops()"
    assert flops <= 1.25 * counted + outputs, f"{counted} operations, {flops} by flops()"


@every_op
@every_fast_backend
def test_first_and_second_gradients_are_what_differences_say(name: str, backend: str, leaves: Callable) -> None:
    with tg.use_backend(backend):
        for sample in samples_of_op(name):
            assert gradcheck(sample, leaves(*sample.arrays)), sample.label
            if name in TWICE:
                assert gradgradcheck(sample, leaves(*sample.arrays), fast_mode=backend != "numpy"), sample.label


@every_op
def test_a_rule_that_is_off_by_a_thousandth_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch, leaves: Callable
) -> None:
    rule = registry[name].backward

    def wrong(self: tg.Op, *gradients: tg.Tensor) -> tuple[tg.Tensor | None, ...]:
        found = rule(self, *gradients)
        return tuple(dx if dx is None else dx * 1.001 for dx in (found if isinstance(found, tuple) else (found,)))

    monkeypatch.setattr(registry[name], "backward", wrong)
    assert not all(gradcheck(s, leaves(*s.arrays), raise_exception=False) for s in samples_of_op(name))


@pytest.mark.parametrize("name", [name for name in NAMES if len(samples_of_op(name)[0].arrays) > 1])
def test_a_gradient_is_the_same_whether_or_not_others_are_asked_for(name: str) -> None:
    for sample in samples_of_op(name):
        _, together = values_and_gradients("numpy", sample, sample.arrays)
        for i in range(len(sample.arrays)):
            needed = [j == i for j in range(len(sample.arrays))]
            _, alone = values_and_gradients("numpy", sample, sample.arrays, needed)
            np.testing.assert_allclose(alone[i], together[i], rtol=1e-13, err_msg=f"{sample.label}, input {i}")


@every_op
@every_fast_backend
def test_memory_layout_does_not_matter(
    name: str, backend: str, layouts: st.SearchStrategy[Callable[[np.ndarray], np.ndarray]]
) -> None:
    @given(st.data())
    def check(data: st.DataObject) -> None:
        sample = data.draw(st.sampled_from(samples_of_op(name)), label="sample")
        arrays = [data.draw(layouts)(a) for a in sample.arrays]
        values, gradients = values_and_gradients(backend, sample, arrays)
        expected_values, expected_gradients = values_and_gradients(backend, sample, sample.arrays)
        for got, expected in zip([*values, *gradients], [*expected_values, *expected_gradients], strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)

    check()


@every_op
def test_inputs_are_left_alone(name: str) -> None:
    for sample in samples_of_op(name):
        arrays = [a.copy() for a in sample.arrays]
        for array in arrays:
            array.flags.writeable = False
        for backend in tg.available_backends():
            values_and_gradients(backend, sample, arrays)
        for array, before in zip(arrays, sample.arrays, strict=True):
            np.testing.assert_array_equal(array, before)


@every_op
def test_nothing_is_recorded_where_nothing_is_asked_for(name: str) -> None:
    sample = samples_of_op(name)[0]
    assert all(y.node is None for y in as_tuple(sample(*[tg.from_numpy(a) for a in sample.arrays])))
    with tg.no_grad():
        leaves = [tg.from_numpy(a).requires_grad_() for a in sample.arrays]
        assert all(y.node is None for y in as_tuple(sample(*leaves)))
