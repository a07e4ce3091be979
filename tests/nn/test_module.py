from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn


@pytest.fixture(autouse=True)
def numpy_backend():
    with tg.use_backend("numpy"):
        yield


class Pair(nn.Module):
    def __init__(self):
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(np.float32(2.0))
        self.note = "not a part"

    def forward(self, x):
        return self.first(x) * self.scale


def test_parts_are_found_by_type_in_order():
    pair = Pair()
    assert [name for name, _ in pair.named_parameters()] == [
        "scale",
        "first.weight",
        "first.bias",
        "norm.weight",
        "norm.bias",
    ]
    assert [name for name, _ in pair.named_buffers()] == [
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    ]
    assert [name for name, _ in pair.named_modules()] == ["", "first", "norm"]
    assert [type(m).__name__ for m in pair.children()] == ["Linear", "BatchNorm2d"]
    assert pair.get_submodule("first") is pair.first
    with pytest.raises(ValueError, match=r"there is no 'first.x'; first holds nothing"):
        pair.get_submodule("first.x")


def test_a_shared_parameter_counts_once():
    pair = Pair()
    pair.again = pair.first
    assert len(list(pair.parameters())) == 5


def test_state_is_live_and_loads_back():
    a, b = Pair(), Pair()
    state = a.state_dict()
    a.first.weight.array += 1
    np.testing.assert_array_equal(state["first.weight"].numpy(), a.first.weight.numpy())
    b.load_state_dict({name: t.numpy() for name, t in a.state_dict().items()})
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy(), err_msg=name)
    assert b.first.weight.requires_grad


def test_every_difference_is_listed_and_nothing_is_loaded():
    pair = Pair()
    before = pair.first.bias.numpy().copy()
    state = {name: t.numpy() + 1 for name, t in pair.state_dict().items()}
    del state["scale"]
    state["first.weight"] = np.zeros((3, 4))
    state["head.weight"] = np.zeros(1)
    with pytest.raises(ValueError, match="in 3 places, and nothing was loaded") as caught:
        pair.load_state_dict(state)
    text = str(caught.value)
    for line in (
        "first.weight: shape (3, 4) given, (4, 3) expected",
        "scale: missing",
        "head.weight: not a name of this module",
        "strict=False",
    ):
        assert line in text
    np.testing.assert_array_equal(pair.first.bias.numpy(), before)
    del state["first.weight"]
    differences = pair.load_state_dict(state, strict=False)
    assert differences.missing_keys == ["scale", "first.weight"]
    assert differences.unexpected_keys == ["head.weight"]
    np.testing.assert_array_equal(pair.first.bias.numpy(), before + 1)


def test_modes_reach_every_module():
    net = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    x = tg.Tensor(np.ones((50, 50)))
    assert (net(x).numpy() == 0).any()
    assert net.eval() is net
    assert (net(x).numpy() == 1).all()
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())


def test_freezing_and_forgetting_gradients():
    pair = Pair()
    pair.first.requires_grad_(False)
    pair(tg.Tensor(np.ones((2, 3), np.float32))).backward(np.random.default_rng(0).random((2, 4)))
    assert pair.first.weight.grad is None
    assert pair.scale.grad is not None
    assert "first.weight" in dict(pair.named_parameters())
    pair.zero_grad()
    assert pair.scale.grad is None


def test_dtype_of_a_whole_module():
    pair = Pair().double()
    assert {t.dtype for t in pair.parameters()} == {np.dtype("float64")}
    assert pair.norm.num_batches_tracked.dtype == np.int64
    assert all(p.requires_grad for p in pair.parameters())
    assert pair.float().first.weight.dtype == np.float32


def test_a_plain_tensor_never_takes_a_parameter_s_place():
    layer, norm = nn.Linear(3, 2), nn.BatchNorm2d(4)
    weight = layer.weight
    with tg.no_grad():
        with pytest.raises(
            TypeError, match=r"Linear.weight: got a plain Tensor in place of a Parameter.*weight\[:\] ="
        ):
            layer.weight *= 2.0
        with pytest.raises(TypeError, match=r"BatchNorm2d.running_var: .* in place of a Buffer"):
            norm.running_var = norm.running_var + 1.0
    assert layer.weight is weight
    layer.weight = nn.Parameter(np.ones((2, 3)))
    layer.bias = None  # a layer may do without
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_apply_visits_children_first():
    seen = []
    nn.Sequential(nn.ReLU(), nn.Sequential(nn.SiLU())).apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["ReLU", "SiLU", "Sequential", "Sequential"]


def test_forward_hooks():
    net = nn.Sequential(nn.Identity())
    calls = []
    handle = net[0].register_forward_hook(
        lambda module, inputs, output: calls.append((type(module).__name__, inputs[0]))
    )
    doubled = net.register_forward_hook(lambda module, inputs, output: output * 2)
    assert net(tg.Tensor([1.5])).item() == 3.0
    assert calls[0][0] == "Identity"
    handle.remove()
    doubled.remove()
    assert net(tg.Tensor([1.5])).item() == 1.5
    assert len(calls) == 1


def test_repr_shows_the_tree():
    text = repr(nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.Sequential(nn.Dropout(0.25))))
    assert "(0): Conv2d(3, 8, kernel_size=(3, 3), stride=2, padding=0, bias=False)" in text
    assert "    (0): Dropout(p=0.25)" in text


def test_a_module_without_forward_says_so():
    with pytest.raises(TypeError, match="define forward"):
        nn.Module()(1)


def test_summary_counts_and_leaves_no_trace():
    class Net(nn.Module):
        def __init__(self):
            self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
            self.linear, self.unused = nn.Linear(8 * 16, 5), nn.Linear(2, 2)

        def forward(self, x):
            return self.linear(self.norm(self.conv(x)).flatten(1))

    net = Net()
    summary = net.summary((2, 3, 4, 4))
    assert summary.parameters == 216 + 16 + 645 + 6
    assert summary.multiply_adds == 2 * (16 * 8 * 27 + 128 * 5)
    rows = {row.name: row for row in summary.rows}
    assert rows["conv"].output_shape == (2, 8, 4, 4)
    assert rows["linear"].multiply_adds == 2 * 128 * 5
    text = str(summary)
    assert "2x8x4x4" in text
    assert "not used" in text
    assert f"{summary.parameters:,} parameters" in text
    assert net.training
    assert "forward" not in vars(net.conv)
    assert not net.norm.running_mean.numpy().any()
    assert net.norm.num_batches_tracked.item() == 0


def test_summary_with_a_wrong_shape_leaves_no_trace_either():
    net = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(ValueError, match="linear"):
        net.summary((1, 5))
    assert "forward" not in vars(net[0])
    assert net.training
