"""Every operation's form in ONNX computes what the operation does, on its samples; the others are refused by name."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import agrees, run_file, run_ours, settled

import tinygrad_effnet as tg
from tinygrad_effnet import nn, weights
from tinygrad_effnet.op import registry
from tinygrad_effnet.testing import Sample, samples
from tinygrad_effnet.weights.onnx.forms import FORMS
from tinygrad_effnet.weights.onnx.trace import trace_twice

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # logarithms of the negative numbers of a trace


class OneOperation(nn.Module):
    """A sample's operation, of an input in one place and constants in the others."""

    def __init__(self, sample: Sample, place: int) -> None:
        self.sample, self.place = sample, place

    def forward(self, x):
        arrays = [a.astype(np.float32) for a in self.sample.arrays]
        y = self.sample(*[x if i == self.place else tg.Tensor(a) for i, a in enumerate(arrays)])
        return y[0] if isinstance(y, tuple) else y  # of several results, some may not depend on x


def uses(name: str) -> list[tuple[Sample, int]]:
    """Samples with a place in them that can be an input: not a single number, and nothing empty."""
    found = samples(name, np.random.default_rng(zlib.crc32(name.encode())))
    found = [sample for sample in found if all(a.size for a in sample.arrays)]
    return [(sample, i) for sample in found for i, a in enumerate(sample.arrays) if a.ndim]


@pytest.mark.parametrize("name", FORMS)
def test_a_form_computes_what_the_operation_does(tmp_path, name):
    tried = 0
    for sample, place in uses(name):
        if name == "scale_shift" and place:
            continue  # numbers a channel that depend on the input would be another network
        model = OneOperation(sample, place)
        path = tmp_path / f"{tried}.onnx"
        x = sample.arrays[place].astype(np.float32)
        weights.export_onnx(model, path, x.shape, dynamic_batch=False)
        (found,), (expected,) = run_file(path, x), run_ours(model, x)
        assert found.shape == expected.shape, sample.label
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=sample.label)
        tried += 1
    assert tried


@pytest.mark.parametrize("name", sorted(set(registry) - set(FORMS)))
def test_other_operations_are_refused_by_name_or_are_made_of_small_ones(tmp_path, name):
    sample, place = next((s, i) for s, i in uses(name) if getattr(s.make(*s.arrays), "given", ()) is not None)
    model, path = OneOperation(sample, place), tmp_path / "model.onnx"
    x = sample.arrays[place].astype(np.float32)
    if hasattr(registry[name], "composed"):
        weights.export_onnx(model, path, x.shape, dynamic_batch=False)
        np.testing.assert_allclose(run_file(path, x)[0], run_ours(model, x)[0], rtol=1e-4, atol=1e-4)
        return
    with pytest.raises(weights.WeightsError, match=f"uses {name}, which has no form in ONNX here"):
        weights.export_onnx(model, path, x.shape, dynamic_batch=False)
    assert not path.exists()


def test_every_operation_that_the_networks_use_has_a_form():
    used = set()
    for name in nn.list_models():
        for settings_ in ({}, {"padding": "same", "num_classes": 0}, {"features_only": True}):
            net = nn.create_model(name, width=0.25, depth=0.1, **settings_)
            used |= {step.op.name for step in trace_twice(net, (1, 3, 33, 33), True)[0].steps}
    assert used
    assert used <= set(FORMS)


ACTIVATIONS = [
    *(nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.SiLU(), nn.Sigmoid(), nn.Hardsigmoid(), nn.Hardswish(), nn.Tanh()),
    *(nn.GELU(), nn.Softmax(1), nn.Identity(), nn.Dropout(0.5), nn.StochasticDepth(0.5)),
]
LAYERS = [
    nn.MaxPool2d(3, 2, 1),
    nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AvgPool2d((2, 3), padding="same"),
    nn.AdaptiveAvgPool2d(3),
    nn.AdaptiveAvgPool2d((4, 2)),
    nn.BatchNorm2d(3),
    nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 9, 2, bias=False)),
    nn.Linear(9, 2),
    nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)),
    nn.SqueezeExcitation(3, 2),
]


@pytest.mark.parametrize("layer", [*ACTIVATIONS, *LAYERS], ids=lambda m: f"{type(m).__name__}({m.extra_repr()})")
def test_layers(tmp_path, layer):
    agrees(layer, tmp_path, 3, 8, 9)


@given(data=st.data())
@settings(max_examples=25)
def test_convolutions_of_every_kind_with_what_is_folded_into_them(tmp_path_factory, data):
    draw = data.draw
    groups = draw(st.sampled_from([1, 3]))
    channels = 3 * draw(st.integers(1, 2))
    conv = nn.Conv2d(
        3,
        channels,
        (draw(st.integers(1, 3)), draw(st.integers(1, 5))),
        (draw(st.integers(1, 2)), draw(st.integers(1, 3))),
        draw(st.sampled_from(["same", "valid", 1, (2, 0)])),
        draw(st.integers(1, 2)),
        groups,
        draw(st.booleans()),
    )
    norm = nn.BatchNorm2d(channels, draw(st.sampled_from([1e-5, 1e-3, 0.3])))
    after = draw(st.sampled_from([nn.SiLU(), nn.ReLU6(), nn.Identity()]))
    model = settled(nn.Sequential(conv, norm, after), draw(st.integers(9, 13)))
    agrees(model, tmp_path_factory.mktemp("o"), 3, draw(st.integers(9, 14)), 11)
