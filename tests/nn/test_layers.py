from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn


@pytest.fixture(autouse=True)
def numpy_backend():
    with tg.use_backend("numpy"):
        yield


def pairs(torch):
    """Ours, PyTorch's, and the shape of an input."""
    t = torch.nn
    return [
        (nn.Linear(5, 3), t.Linear(5, 3), (4, 5)),
        (nn.Linear(5, 3, bias=False), t.Linear(5, 3, bias=False), (2, 4, 5)),
        (nn.Conv2d(4, 6, 3, 2, 1), t.Conv2d(4, 6, 3, 2, 1), (2, 4, 7, 8)),
        (nn.Conv2d(4, 6, (3, 1), dilation=2, groups=2), t.Conv2d(4, 6, (3, 1), dilation=2, groups=2), (2, 4, 7, 8)),
        (
            nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False),
            t.Conv2d(4, 4, 5, padding=2, groups=4, bias=False),
            (1, 4, 6, 6),
        ),
        (nn.BatchNorm2d(3), t.BatchNorm2d(3), (4, 3, 5, 2)),
        (nn.BatchNorm2d(3, eps=1e-2, momentum=0.4), t.BatchNorm2d(3, 1e-2, 0.4), (4, 3, 1, 2)),
        (nn.MaxPool2d(3, 2, 1), t.MaxPool2d(3, 2, 1), (2, 3, 8, 7)),
        (nn.AvgPool2d(2), t.AvgPool2d(2), (2, 3, 8, 7)),
        (nn.AvgPool2d(3, 2, 1, False), t.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 3, 8, 7)),
        (nn.AdaptiveAvgPool2d(1), t.AdaptiveAvgPool2d(1), (2, 3, 5, 7)),
        (nn.AdaptiveAvgPool2d((2, 3)), t.AdaptiveAvgPool2d((2, 3)), (2, 3, 5, 7)),
        (nn.ReLU(), t.ReLU(), (3, 4)),
        (nn.ReLU6(), t.ReLU6(), (3, 4)),
        (nn.LeakyReLU(0.2), t.LeakyReLU(0.2), (3, 4)),
        (nn.SiLU(), t.SiLU(), (3, 4)),
        (nn.Sigmoid(), t.Sigmoid(), (3, 4)),
        (nn.Hardsigmoid(), t.Hardsigmoid(), (3, 4)),
        (nn.Hardswish(), t.Hardswish(), (3, 4)),
        (nn.Tanh(), t.Tanh(), (3, 4)),
        (nn.GELU(), t.GELU(), (3, 4)),
        (nn.Softmax(1), t.Softmax(1), (3, 4)),
        (nn.Flatten(), t.Flatten(), (3, 4, 2)),
        (nn.Identity(), t.Identity(), (3,)),
    ]


def test_layers_equal_pytorchs():
    """Gradients to 1e-7 only: PyTorch's hard sigmoid keeps its 1/6 in float32."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for ours, theirs, shape in pairs(torch):
        ours.double(), theirs.double()
        values = [rng.standard_normal(tuple(p.shape)) for p in theirs.parameters()]
        with torch.no_grad():
            for p, q, v in zip(ours.parameters(), theirs.parameters(), values, strict=True):
                p.array[...] = v
                q.copy_(torch.from_numpy(v))
        for training in (True, False):
            ours.train(training), theirs.train(training)
            data = rng.standard_normal(shape) * 3
            x, y = tg.Tensor(data, requires_grad=True), torch.from_numpy(data).requires_grad_()
            out, expected = ours(x), theirs(y)
            np.testing.assert_allclose(
                out.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=repr(ours)
            )
            upstream = rng.standard_normal(out.shape)
            out.backward(upstream)
            expected.backward(torch.from_numpy(upstream))
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-7, atol=1e-11, err_msg=repr(ours))
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-9, atol=1e-11, err_msg=repr(ours))
        for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-10, err_msg=repr(ours))


def test_losses_equal_pytorchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits, labels, weight = rng.standard_normal((6, 4)), rng.integers(0, 4, 6), rng.random(4) + 0.5
    targets = rng.random((6, 4))
    f = torch.from_numpy
    for ours, theirs, target in (
        (
            nn.CrossEntropyLoss(weight, label_smoothing=0.1),
            torch.nn.CrossEntropyLoss(f(weight), label_smoothing=0.1),
            labels,
        ),
        (nn.MSELoss("sum"), torch.nn.MSELoss(reduction="sum"), targets),
        (nn.BCEWithLogitsLoss(pos_weight=weight), torch.nn.BCEWithLogitsLoss(pos_weight=f(weight)), targets),
    ):
        assert ours(tg.Tensor(logits), target).item() == pytest.approx(theirs(f(logits), f(target)).item(), rel=1e-12)


def test_initialisation_has_pytorchs_bounds():
    tg.manual_seed(1)
    linear, conv = nn.Linear(64, 300), nn.Conv2d(8, 64, 3, groups=2)
    assert np.abs(linear.weight.numpy()).max() == pytest.approx(1 / 8, rel=0.01)
    assert np.abs(conv.weight.numpy()).max() == pytest.approx(1 / 6, rel=0.01)
    tg.manual_seed(1)
    np.testing.assert_array_equal(nn.Linear(64, 300).weight.numpy(), linear.weight.numpy())


def test_containers():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3
    assert isinstance(net[-1], nn.Linear)
    assert [type(m).__name__ for m in net[1:]] == ["ReLU", "Linear"]
    assert net[:1](tg.Tensor([[1.0, 2.0]])).shape == (1, 3)
    several = nn.ModuleList([nn.ReLU()])
    several.append(nn.Linear(1, 1))
    assert [name for name, _ in several.named_parameters()] == ["1.weight", "1.bias"]
    assert len(several[:]) == 2
    with pytest.raises(TypeError, match="item 1 is a int; expected a Module"):
        nn.Sequential(nn.ReLU(), 3)


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean():
    tg.manual_seed(0)
    layer = nn.StochasticDepth(0.25)
    y = layer(tg.Tensor(np.ones((4000, 2, 3)))).numpy()
    assert set(np.unique(y)) == {0.0, 1 / 0.75}
    assert (y == y[:, :1, :1]).all()
    assert y.mean() == pytest.approx(1, abs=0.05)
    assert layer.eval()(tg.Tensor([1.0])).item() == 1.0


def test_squeeze_excitation_is_its_formula():
    rng = np.random.default_rng(0)
    se = nn.SqueezeExcitation(6, 2).double()
    x = rng.standard_normal((3, 6, 4, 5))
    reduce, expand = se.reduce.weight.numpy()[:, :, 0, 0], se.expand.weight.numpy()[:, :, 0, 0]
    squeezed = x.mean((2, 3)) @ reduce.T + se.reduce.bias.numpy()
    squeezed = squeezed / (1 + np.exp(-squeezed))
    gate = 1 / (1 + np.exp(-(squeezed @ expand.T + se.expand.bias.numpy())))
    np.testing.assert_allclose(se(tg.Tensor(x)).numpy(), x * gate[:, :, None, None], rtol=1e-12)


def test_mbconv_is_the_sum_of_its_parts():
    rng = np.random.default_rng(0)
    block = nn.MBConv(8, 8, 5, stochastic_depth=0.5).double().eval()
    x = tg.Tensor(rng.standard_normal((2, 8, 6, 6)))
    y = block.project(block.squeeze_excite(block.depthwise(block.expand(x))))
    np.testing.assert_allclose(block(x).numpy(), (x + y).numpy(), rtol=1e-12)
    assert nn.MBConv(8, 8, stride=2).has_skip is False
    assert nn.MBConv(8, 16).has_skip is False
    narrow = nn.MBConv(8, 8, expand_ratio=1, se_ratio=0)
    assert narrow.expand is None
    assert narrow.squeeze_excite is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.Conv2d(4, 6, 3, groups=3), "groups.*3 must divide in_channels = 4"),
        (lambda: nn.Conv2d(4, 6, 0), "kernel_size"),
        (lambda: nn.Conv2d(4, 6, 3, stride=0), r"Conv2d\(stride\): 0"),
        (lambda: nn.Conv2d(4, 6, 3, padding=-1), r"Conv2d\(padding\): -1"),
        (lambda: nn.MaxPool2d(2, stride=0), r"MaxPool2d\(stride\): 0"),
        (lambda: nn.MaxPool2d(2, dilation=(1, 0)), r"MaxPool2d\(dilation\): \(1, 0\)"),
        (lambda: nn.AvgPool2d(0), r"AvgPool2d\(kernel_size\): 0"),
        (lambda: nn.AvgPool2d(2, padding="most"), r"AvgPool2d\(padding\): 'most'"),
        (lambda: nn.AdaptiveAvgPool2d(0), r"AdaptiveAvgPool2d\(output_size\): 0"),
        (lambda: nn.Dropout(2.0), r"Dropout\(p\): 2.0; expected a probability"),
        (lambda: nn.Dropout(float("nan")), r"Dropout\(p\): nan"),
        (lambda: nn.StochasticDepth(-0.1), r"StochasticDepth\(p\): -0.1"),
        (lambda: nn.MBConv(8, 8, stochastic_depth=1.5), r"StochasticDepth\(p\): 1.5"),
        (lambda: nn.BatchNorm2d(3, eps=-1e-5), r"BatchNorm2d\(eps\): -1e-05"),
        (lambda: nn.BatchNorm2d(3, momentum=99), r"BatchNorm2d\(momentum\): 99"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=1.1), r"CrossEntropyLoss\(label_smoothing\): 1.1"),
        (lambda: nn.CrossEntropyLoss(reduction="avg"), r"CrossEntropyLoss\(reduction\): 'avg'"),
        (lambda: nn.MSELoss("max"), r"MSELoss\(reduction\): 'max'"),
        (lambda: nn.BCEWithLogitsLoss(reduction="max"), r"BCEWithLogitsLoss\(reduction\): 'max'"),
        (lambda: nn.BatchNorm2d(3)(tg.Tensor(np.zeros((2, 3)))), "4 axes"),
        (lambda: nn.BatchNorm2d(3)(tg.Tensor(np.zeros((1, 3, 1, 1)))), "no variance to train with"),
        (lambda: nn.Linear(3, 2)(tg.Tensor(np.zeros((2, 4)))), r"weight \(2, 3\)"),
    ],
)
def test_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()
