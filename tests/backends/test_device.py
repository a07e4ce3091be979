"""Where arrays lie and how they move, on the stand-in for CuPy with its two devices; no kernel of ours runs here."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from backends.cupy.standin import available, standin_cupy, traffic

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim
from tinygrad_effnet.backends.cupy.memory import DeviceMemoryError
from tinygrad_effnet.backends.device import MixedDevicesError, explaining_shortage, on_host, place_named


@pytest.fixture(autouse=True)
def cupy() -> Iterator[Any]:
    with standin_cupy(runs_kernels=False) as module:
        yield module


def host(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.random.default_rng(1).standard_normal(shape), dtype="float32")


def there(*shape: int) -> tg.Tensor:
    return host(*shape).to("cupy")


# -- moving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["cupy", "cuda", "cuda:0", "cupy:0"])
def test_there_and_back(word: str) -> None:
    x = host(2, 3)
    y = x.to(word)
    assert (x.device, y.device, y.cpu().device) == ("cpu", "cuda:0", "cpu")
    assert y.to(word) is y
    assert y.cuda() is y
    assert x.to("numpy") is x
    assert x.cpu() is x
    np.testing.assert_array_equal(y.cpu().numpy(), x.numpy())
    y[...] = 0.0
    assert x.numpy().any()


def test_another_device_is_chosen_by_number_or_by_a_block(cupy: Any) -> None:
    assert host(2).to("cuda:1").device == host(2).cuda(1).device == "cuda:1"
    assert there(2).to("cuda:1").device == "cuda:1"
    with cupy.cuda.Device(1):
        x = host(2).to("cupy")
        assert (x * 2.0 + x).device == "cuda:1"
    with pytest.raises(ValueError, match=r"to\('cuda:2'\): there is no such device; this machine has 2, num"):
        host(2).to("cuda:2")


@pytest.mark.parametrize("word", ["cpu:0", "cuda:", "cuda:x", "cuda:-1"])
def test_words_that_look_like_places(word: str) -> None:
    with pytest.raises(ValueError, match=r"is no place; expected 'cpu', 'cuda' or 'cuda:<number of the device>'"):
        host(1).to(word)


def test_other_words_are_dtypes() -> None:
    assert place_named("float64") is None
    assert place_named(np.float64) is None
    assert there(2).to("float64").dtype == np.float64
    assert there(2).double().device == "cuda:0"


@pytest.mark.parametrize("place", ["cupy", "cpu"])
def test_layout_stays_and_one_copy_is_made(place: str) -> None:
    major = np.zeros((3, 2, 4, 5), np.float32).swapaxes(0, 1)
    traffic.clear()
    x = tg.from_numpy(major).to("cupy")
    assert traffic.counts == {"to device": 1, "to host": 0, "waits": 0}
    assert traffic.bytes["to device"] == major.nbytes
    assert x.array.swapaxes(0, 1).flags.c_contiguous


def test_gradients_move_back() -> None:
    x = host(2, 3).requires_grad_()
    y = x.to("cupy") * 3.0
    up = host(2, 3)
    y.backward(up.to("cupy"))
    assert x.grad is not None
    assert x.grad.device == "cpu"
    np.testing.assert_allclose(x.grad.numpy(), 3 * up.numpy(), rtol=1e-6)


def test_a_copy_on_the_host_shares_nothing() -> None:
    array = np.arange(6.0).reshape(2, 3).T
    copied = on_host(array)
    assert copied.flags.c_contiguous
    assert not np.shares_memory(copied, array)
    np.testing.assert_array_equal(copied, array)
    np.testing.assert_array_equal(on_host(there(2, 3).array.T), host(2, 3).numpy().T)


# -- no room ---------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_said_outside_of_operations_too() -> None:
    weights = tg.Tensor(np.zeros((64, 100), np.float32))
    with standin_cupy(memory=90_000, runs_kernels=False):
        with pytest.raises(DeviceMemoryError, match=r"^to\('cuda:0'\): the device has no room for 97\.7 KiB more; its"):
            host(250, 100).to("cupy")
        x = weights.cuda().requires_grad_()
        x.grad = weights.cuda()
        with pytest.raises(DeviceMemoryError, match=r"^EMA: the device has no room for 25\.0 KiB"):
            assert [optim.EMA({"x": x}, 0.9) for _ in range(2)]
        with pytest.raises(DeviceMemoryError, match=r"^optimizer\.step\(\): the device has no room for 25\.0 KiB"):
            optim.Adam([x], lr=0.1).step()
        del x
    with standin_cupy(memory=60_000, runs_kernels=False), pytest.raises(MemoryError, match="^the host's own$"):
        with explaining_shortage("nobody"):
            raise MemoryError("the host's own")


def test_a_module_that_does_not_fit_stays_where_it_was() -> None:
    with standin_cupy(memory=60_000, runs_kernels=False):
        net = nn.Sequential(nn.Linear(100, 100), nn.Linear(100, 100))
        before = [p.array for p in net.parameters()]
        with pytest.raises(DeviceMemoryError, match=r"^to\('cuda:0'\): .*Its arguments have the shapes \(100, 100\)"):
            net.cuda()
        assert [p.array is array for p, array in zip(net.parameters(), before, strict=True)] == [True] * 4
        assert net.cpu()(host(2, 100)).device == "cpu"


# -- mixing ----------------------------------------------------------------------------------------------------------

MIXED: dict[str, tuple[Callable[[], Any], str]] = {
    "operator": (
        lambda: there(2) + host(2),
        r"^add: its arguments lie in different memories: a \(shape \(2,\)\) on cuda:0, b \(shape \(2,\)\) on cpu\. "
        r"Nothing is moved unseen, so move one: a\.to\('cpu'\) or b\.to\('cuda:0'\)$",
    ),
    "ndarray": (lambda: there(2) * np.ones(2, np.float32), r"^mul: .* a .* on cuda:0, b .* on cpu"),
    "list": (lambda: there(2) * [1.0, 2.0], r"^mul: .* a .* on cuda:0, b .* on cpu"),
    "matmul": (lambda: host(2, 3) @ there(3, 2), r"^matmul: .* a .* on cpu, b .* on cuda:0"),
    "conv2d": (lambda: tg.conv2d(there(1, 1, 4, 4), host(1, 1, 3, 3)), r"^conv2d: .* x .* on cuda:0, weight .* on cpu"),
    "comparison": (lambda: there(2) > host(2), r"^gt: .* a .* on cuda:0, b .* on cpu"),
    "where": (lambda: tg.where(np.ones(2, bool), there(2), 0.0), r"^where: .* condition .* on cpu, a .* on cuda:0"),
    "labels": (
        lambda: tg.cross_entropy(there(2, 3), [0, 1]),
        r"^cross_entropy: .* logits .* on cuda:0, target .* on cpu",
    ),
    "class weights": (
        lambda: tg.cross_entropy(there(2, 3), tg.from_numpy(np.zeros(2, int)).to("cupy"), weight=np.ones(3)),
        r"^cross_entropy: .* weight \(shape \(3,\)\) on cpu",
    ),
    "seed": (
        lambda: (there(2).requires_grad_() * 2.0).backward(host(2)),
        r"^backward\(gradient\): .* gradient .* on cpu",
    ),
    "devices": (lambda: there(2) + host(2).cuda(1), r"^add: .* on cuda:0, b .* on cuda:1.*a\.to\('cuda:1'\)"),
    "write": (lambda: there(2).__setitem__(..., host(2)), r"^tensor\[\.\.\.\] = value: .* value .* on cpu"),
    "layer": (lambda: nn.Linear(3, 2)(there(4, 3)), r"on cuda:0, .*on cpu"),
    "batch norm": (lambda: nn.BatchNorm2d(3)(there(2, 3, 4, 4)), r"^batch_norm: .* x .* on cuda:0, gamma .* on cpu"),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixing_names_the_arguments_and_the_move(name: str) -> None:
    mistake, words = MIXED[name]
    with pytest.raises(MixedDevicesError, match=words):
        mistake()


def test_the_host_s_arrays_are_not_read_from_a_device() -> None:
    x = there(2, 3)
    with pytest.raises(
        TypeError, match=r"numpy\(\): the tensor \(shape \(2, 3\)\) lies on cuda:0.*x\.cpu\(\)\.numpy\(\)"
    ):
        x.numpy()
    with pytest.raises(TypeError, match=r"x\.cpu\(\)\.numpy\(\)"):
        np.asarray(x)
    with pytest.raises(TypeError, match=r"cpu"):
        np.ones((2, 3), np.float32) * x


# -- reading, writing, showing ---------------------------------------------------------------------------------------


def test_reading_is_asked_for() -> None:
    x = there(2, 2)
    traffic.clear()
    y = (x * 2.0 + 1.0).sum()
    assert not any(traffic.counts.values())
    assert y.item() == pytest.approx(float((host(2, 2) * 2.0 + 1.0).sum()), rel=1e-5)
    assert traffic.counts["to host"] == 1
    assert x.tolist() == host(2, 2).tolist()
    assert float(y) == y.item()


def test_repr_says_where() -> None:
    x = tg.Tensor([1.0, 2.0]).to("cupy")
    assert repr(x) == "Tensor([1., 2.], device='cuda:0')"
    assert repr(x.requires_grad_()) == "Tensor([1., 2.], device='cuda:0', requires_grad=True)"


def test_writing_stays_there() -> None:
    x = there(3)
    x[0] = 5.0
    x[1:] = there(3)[1:] * 0.0
    assert x.tolist() == [5.0, 0.0, 0.0]


def test_a_write_to_what_was_saved_is_noticed() -> None:
    x = there(3).requires_grad_()
    y = x * x.exp()
    with tg.no_grad():
        x[0] = 1.0
    with pytest.raises(RuntimeError, match=r"saved input .* has written to its memory since"):
        y.sum().backward()


def test_dlpack_both_ways(cupy: Any) -> None:
    x = there(2, 3)
    theirs = cupy.from_dlpack(x)
    theirs[0, 0] = 7.0
    assert float(x[0, 0]) == 7.0
    back = tg.from_dlpack(theirs)
    assert back.device == "cuda:0"
    back[1, 1] = 8.0
    assert float(x[1, 1]) == 8.0
    with pytest.raises(BufferError, match=r"requires a gradient"):
        cupy.from_dlpack(x.requires_grad_())


def test_jvp_on_a_device() -> None:
    x, v = there(4), there(4)
    value, moved = tg.jvp(lambda t: t * t, x, v)
    assert value.device == moved.device == "cuda:0"
    np.testing.assert_allclose(moved.cpu().numpy(), 2 * host(4).numpy() * host(4).numpy(), rtol=1e-6)


# -- where new tensors are made --------------------------------------------------------------------------------------


def test_the_chosen_backend_is_where_new_tensors_are_made() -> None:
    with tg.use_backend("cupy") as backend:
        assert backend.name == "cupy"
        assert tg.Tensor([1.0]).device == "cuda:0"
        assert tg.Tensor(np.ones(2)).device == "cuda:0"
        assert {t.device for t in nn.EfficientNet("b0", 3).state_dict().values()} == {"cuda:0"}
        x = tg.from_numpy(np.ones(2, np.float32))
        assert (x.device, (x + x).device) == ("cpu", "cpu")
        assert copy.deepcopy(tg.Tensor([1.0])).device == "cuda:0"
    assert tg.Tensor([1.0]).device == "cpu"


def test_the_same_seed_makes_the_same_network_anywhere() -> None:
    states = []
    for name in ("numpy", "cupy"):
        with tg.use_backend(name):
            tg.manual_seed(3)
            states.append([t.cpu().numpy() for t in nn.Linear(5, 4).state_dict().values()])
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a, b)


# -- modules, optimisers, averages -----------------------------------------------------------------------------------


def test_a_module_moves_whole_and_its_optimiser_follows() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    ema = optim.EMA(net.state_dict(), 0.9)
    for place in ("cpu", "cuda:0", "cpu"):
        assert net.to(place) is net
        assert {t.device for t in net.state_dict().values()} == {place}
        net(host(5, 3).to(place)).sum().backward()
        assert all(p.grad is not None and p.grad.device == place for p in net.parameters())
        with pytest.MonkeyPatch.context() as patch:  # the updates of many at once are kernels, which do not run here
            patch.setattr(tg.backends._get("cupy"), "updates", None)
            sgd.step()
            ema.update(net.state_dict())
        assert {tg.Tensor(s["momentum_buffer"]).device for s in sgd.state.values()} == {place}
        assert {tg.Tensor(a).device for a in ema.average.values()} == {place}
    assert net.cuda().cpu() is not None


def test_gradients_move_with_their_parameters() -> None:
    net = nn.Linear(3, 2)
    net(host(4, 3)).sum().backward()
    net.cuda()
    assert {p.grad.device for p in net.parameters() if p.grad is not None} == {"cuda:0"}


def test_states_load_from_either_side_to_either() -> None:
    tg.manual_seed(1)
    ours, theirs = nn.BatchNorm2d(3), nn.BatchNorm2d(3).cuda()
    tg.nn.init.normal_(ours.weight)
    theirs.load_state_dict(ours.state_dict())
    np.testing.assert_array_equal(theirs.weight.cpu().numpy(), ours.weight.numpy())
    assert theirs.weight.device == "cuda:0"
    tg.nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    np.testing.assert_array_equal(theirs.bias.cpu().numpy(), ours.bias.numpy())
    ours.load_state_dict({name: t.cpu().numpy() for name, t in theirs.state_dict().items()})


@pytest.mark.parametrize(("first", "second"), [("cupy", "cpu"), ("cpu", "cupy")])
def test_an_optimiser_s_state_is_kept_across(first: str, second: str) -> None:
    net = nn.Linear(3, 2).to(first)
    for p in net.parameters():
        p.grad = host(*p.shape).to(first)
    sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tg.backends._get("cupy"), "updates", None)
        sgd.step()
    arrays, values = sgd.state_arrays(), sgd.state_values()
    assert all(type(a) is np.ndarray for a in arrays.values())
    other = nn.Linear(3, 2).to(second)
    restored = optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    restored.load(arrays, values)
    for name, array in restored.state_arrays().items():
        np.testing.assert_array_equal(array, arrays[name])
    buffers = [s["momentum_buffer"] for s in restored.state.values()]
    assert {tg.Tensor(b).device for b in buffers} == {other.weight.device}


@pytest.mark.parametrize("p", [2.0, 1.0, float("inf")])
def test_clipping_reads_nothing_and_agrees_with_the_host(p: float) -> None:
    if p == 2.0 and not available():
        pytest.skip("kernels run on the CPU by way of g++, which is not installed")
    grads = []
    with standin_cupy(runs_kernels=p == 2.0):
        for place in ("cpu", "cupy"):
            t = there(3, 4).to(place).requires_grad_()
            t.grad = host(3, 4).to(place) * 4.0
            traffic.clear()
            norm = optim.clip_grad_norm_([t], 1.0, p)
            assert not traffic.counts["to host"]
            assert not traffic.counts["waits"]
            grads.append((float(norm), t.grad.cpu().numpy()))
    assert grads[0][0] == pytest.approx(grads[1][0], rel=1e-6)
    np.testing.assert_allclose(grads[0][1], grads[1][1], rtol=1e-5)


def test_a_wrong_label_on_a_device_makes_the_loss_nan() -> None:
    labels = tg.from_numpy(np.array([0, 3])).to("cupy")
    assert np.isnan(tg.cross_entropy(there(2, 3), labels).item())
    with pytest.raises(ValueError, match="outside 0..2"):
        tg.cross_entropy(host(2, 3), labels.cpu())
