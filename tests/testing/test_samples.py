"""Every operation is documented, and has samples worth testing with."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.op import Op, registry
from tinygrad_effnet.testing import Sample, samples, samples_of

NAMES = sorted(registry)


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_states_what_it_is(name: str) -> None:
    op = registry[name]
    assert op.name == name
    for attribute in ("formula", "rule", "shapes", "kinks"):
        assert getattr(op, attribute, "").strip(), f"{op.__name__}.{attribute} is missing"
    assert "->" in op.shapes
    assert "bar" in op.rule or any(ord(c) > 127 for c in op.rule) or "differentiating" in op.rule
    assert op.__dict__.get("__doc__"), f"{op.__name__} has no docstring of its own"
    assert op.forward is not Op.forward
    assert op.backward is not Op.backward


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_has_samples_of_every_kind(name: str) -> None:
    made = samples(name, np.random.default_rng(0))
    assert len({s.label for s in made}) == len(made) >= 2
    shapes = [a.shape for s in made for a in s.arrays]
    assert all(a.dtype == np.float64 for s in made for a in s.arrays)
    assert any(len(shape) == 0 or 1 in shape for shape in shapes), "no axis of size 1"
    takes_empty = name not in {"batch_norm", "batch_norm_grad"}  # a mean over no sample is NaN
    assert any(0 in shape for shape in shapes) == takes_empty, "an empty axis"
    assert any(np.ptp(a) > 0 for s in made for a in s.arrays if a.size > 1)


@pytest.mark.parametrize("name", NAMES)
def test_samples_depend_on_the_generator_alone(name: str) -> None:
    first, again, other = (samples(name, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        assert a.label == b.label or "[" in a.label
        for x, y in zip(a.arrays, b.arrays, strict=True):
            np.testing.assert_array_equal(x, y)
    assert any(
        not np.array_equal(x, y)
        for a, b in zip(first, other, strict=True)
        for x, y in zip(a.arrays, b.arrays, strict=True)
    )


def test_an_operation_counts_what_it_computes() -> None:
    for name in NAMES:
        for sample in samples(name, np.random.default_rng(0)):
            op = sample.make(*sample.arrays)
            results = op.forward(tg.current_backend(), *sample.arrays)
            outputs = [np.shape(y) for y in (results if isinstance(results, tuple) else (results,))]
            assert op.flops([a.shape for a in sample.arrays], outputs) >= 0, sample.label


def test_no_samples_is_an_error_that_says_what_to_write() -> None:
    with pytest.raises(KeyError, match="@samples_of\\('brand_new'\\)"):
        samples("brand_new", np.random.default_rng(0))


def test_samples_can_be_added() -> None:
    from tinygrad_effnet.testing.samples import _makers

    @samples_of("brand_new")
    def maker(op: type[Op], rng: np.random.Generator) -> list[Sample]:
        return []

    assert _makers.pop("brand_new") is maker
