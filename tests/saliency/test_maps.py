"""Grad-CAM lights where the evidence is; the input's gradient equals a difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet import nn
from tinygrad_effnet.saliency import enlarged, grad_cam, input_gradient, last_maps


class Spots(nn.Module):
    """Two maps, of red and of green brightness; class 0 is for red and against green, class 1 the other way."""

    def __init__(self) -> None:
        self.maps = nn.Conv2d(3, 2, 4, stride=4, bias=False)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(2, 2)
        self.dropout = nn.Dropout(0.5)
        weight = np.zeros((2, 3, 4, 4), np.float32)
        weight[0, 0], weight[1, 1] = 1, 1
        matrix = np.array([[1, -1], [-1, 1]], np.float32)
        self.load_state_dict({"maps.weight": weight, "classifier.weight": matrix, "classifier.bias": np.zeros(2)})

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.classifier(self.dropout(self.pool(self.maps(x))))


@given(top=st.booleans(), left=st.booleans(), colour=st.integers(0, 1), seed=st.integers(0, 99))
def test_the_quadrant_with_the_evidence_lights_up(top: bool, left: bool, colour: int, seed: int):
    rng = np.random.default_rng(seed)
    image = np.zeros((3, 16, 16), np.float32)
    rows, columns = slice(0, 8) if top else slice(8, 16), slice(0, 8) if left else slice(8, 16)
    other_rows, other_columns = slice(8, 16) if top else slice(0, 8), slice(8, 16) if left else slice(0, 8)
    image[colour, rows, columns] = rng.uniform(0.5, 1, (8, 8))
    image[1 - colour, other_rows, other_columns] = rng.uniform(0.5, 1, (8, 8))
    [cam] = grad_cam(Spots(), image[None], [colour], layer="maps")
    assert cam.shape == (4, 4)
    quadrant = np.zeros((4, 4), bool)
    quadrant[slice(0, 2) if top else slice(2, 4), slice(0, 2) if left else slice(2, 4)] = True
    assert (cam[quadrant] > 0).all()
    assert (cam[~quadrant] == 0).all()  # the other colour speaks against this class, and is cut off
    # by hand: each map's weight is the class's weight over the 16 places of the pooling
    expected = image[colour].reshape(4, 4, 4, 4).sum(axis=(1, 3)) / 16
    np.testing.assert_allclose(cam[quadrant], expected[quadrant], rtol=1e-5)


def test_each_image_of_a_batch_is_asked_about_its_own_class():
    images = np.random.default_rng(0).random((3, 3, 16, 16)).astype(np.float32)
    model = Spots()
    for ask in (lambda x, c: grad_cam(model, x, c, "maps"), lambda x, c: input_gradient(model, x, c)):
        together = ask(images, [0, 1, 0])
        for i, chosen in enumerate([0, 1, 0]):
            np.testing.assert_allclose(together[i : i + 1], ask(images[i : i + 1], [chosen]), rtol=1e-6)


def test_the_gradient_of_the_input_equals_a_difference():
    with tg.use_backend("numpy"):
        tg.manual_seed(3)
        model = nn.EfficientNet("b0", 4, width=0.25, depth=0.3, stochastic_depth=0.0).double().eval()
        rng = np.random.default_rng(0)
        x, direction = rng.standard_normal((2, 2, 3, 32, 32))
        slopes = input_gradient(model, x, np.array([1, 3]))
        step = 1e-5

        def scores(at: np.ndarray) -> np.ndarray:
            with tg.no_grad():
                return model(tg.from_numpy(at)).numpy()[[0, 1], [1, 3]]

        expected = (scores(x + step * direction) - scores(x - step * direction)) / (2 * step)
        np.testing.assert_allclose((slopes * direction).sum(axis=(1, 2, 3)), expected, rtol=1e-5)


def test_compiled_kernels_find_the_same():
    tg.manual_seed(3)
    model = nn.EfficientNet("b0", 4, width=0.25, depth=0.3)
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    found = input_gradient(model, x, [1, 3]), grad_cam(model, x, [1, 3])
    with tg.use_backend("numpy"):
        np.testing.assert_allclose(found[0], input_gradient(model, x, [1, 3]), atol=1e-5, rtol=1e-3)
        np.testing.assert_allclose(found[1], grad_cam(model, x, [1, 3]), atol=1e-5, rtol=1e-3)


def test_grad_cam_equals_its_formula_on_a_real_network():
    tg.manual_seed(0)
    model = nn.EfficientNet("b0", 4, width=0.25, depth=0.3, fused=False).eval()
    x = np.random.default_rng(1).standard_normal((2, 3, 64, 64)).astype(np.float32)
    found = grad_cam(model, x, [2, 0])
    with tg.no_grad():
        maps = model.forward_features(tg.from_numpy(x)).numpy()
    # behind the pooling there is only the classifier, so that the weights of the maps are known
    weights = model.classifier.weight.numpy()[[2, 0]] / (maps.shape[2] * maps.shape[3])
    expected = np.maximum(np.einsum("nc,nchw->nhw", weights, maps), 0)
    assert found.shape == (2, 2, 2)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-4)
    assert grad_cam(model, x, [2, 0], layer="stages.4").shape == (2, 4, 4)


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_v2_b0", "mobilenet_v2"])
@pytest.mark.parametrize("size", [33, 64, 97, 128])
def test_the_layer_that_still_says_where(name: str, size: int):
    model = nn.create_model(name, 3, width=0.25, depth=0.1)
    x = np.random.default_rng(0).random((1, 3, size, size)).astype(np.float32)
    layer = last_maps(model, size)
    shape = grad_cam(model, x, [0], layer).shape
    assert min(shape[1:]) >= 4
    assert shape == grad_cam(model, x, [0], last_maps(model, size, shape[1])).shape
    deeper = last_maps(model, size, 1)
    assert deeper == "head"
    assert layer == "head" or min(grad_cam(model, x, [0], deeper).shape[1:]) < 4


def test_the_network_is_left_as_it_was():
    model = Spots().train()
    model.maps.eval()
    model.classifier.weight.requires_grad = False
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    images = np.ones((1, 3, 16, 16), np.float32)
    with tg.no_grad():  # whoever has switched recording off gets his answer too
        grad_cam(model, images, [0], "maps")
    input_gradient(model, images, [0])
    with pytest.raises(ValueError, match="expected numbers below 2"):
        grad_cam(model, images, [2], "maps")
    assert (model.training, model.maps.training, model.dropout.training) == (True, False, True)
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["classifier.weight"]
    assert all(p.grad is None for p in model.parameters())
    assert not model.maps.__dict__.get("_forward_hooks")
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])


@pytest.mark.parametrize(
    ("layer", "classes", "words"),
    [
        ("head", [0], "there is no 'head'"),
        ("classifier", [0], r"'classifier' gives \(1, 2\), expected maps"),
        ("maps", [0, 1], r"classes\): got shape \(2,\)"),
        ("maps", [0.0], "of float64"),
        ("maps", [-1], "expected numbers below 2"),
    ],
)
def test_wrong_questions(layer: str, classes, words: str):
    with pytest.raises(ValueError, match=words):
        grad_cam(Spots(), np.ones((1, 3, 16, 16), np.float32), classes, layer)


def test_enlarging_keeps_middles_and_extremes():
    values = np.array([[0.0, 1.0], [2.0, 4.0]])
    large = enlarged(values, 6, 6)
    assert (large.shape, large.min(), large.max()) == ((6, 6), 0, 4)
    np.testing.assert_allclose(large[1::3, 1::3], values, atol=1e-6)
