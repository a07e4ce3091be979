"""NumPy, DLPack, copy and pickle: what a tensor is to other libraries."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn

# -- arithmetic with arrays ----------------------------------------------------------------------------------------

BOTH = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.matmul]
COMPARE = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("f", BOTH, ids=lambda f: f.__name__)
def test_an_array_and_a_tensor_make_a_tensor_from_either_side(f: Callable[[Any, Any], Any]) -> None:
    rng = np.random.default_rng(3)
    a, b, upstream = rng.uniform(0.5, 2, (3, 2, 2))
    for left in (False, True):
        x = tg.Tensor(b, requires_grad=True)
        y = f(x, a) if left else f(a, x)
        assert type(y) is tg.Tensor
        np.testing.assert_allclose(y.numpy(), f(b, a) if left else f(a, b), rtol=1e-14)
        y.backward(upstream)
        twin = tg.Tensor(b, requires_grad=True)
        (f(twin, tg.Tensor(a)) if left else f(tg.Tensor(a), twin)).backward(upstream)
        np.testing.assert_array_equal(x.grad.numpy(), twin.grad.numpy())


@pytest.mark.parametrize("f", COMPARE, ids=lambda f: f.__name__)
def test_comparisons_from_either_side(f: Callable[[Any, Any], Any]) -> None:
    a, x = np.array([1.0, 2.0, 3.0]), tg.Tensor([2.0, 2.0, 2.0])
    for ours, theirs in ((f(a, x), f(a, x.numpy())), (f(x, a), f(x.numpy(), a))):
        assert type(ours) is tg.Tensor
        np.testing.assert_array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize("number", [np.float64(2.0), np.float32(2.0), np.int64(2), np.array(2.0, np.float32)])
def test_numpys_numbers(number: Any) -> None:
    x = tg.Tensor([1.0, 3.0], requires_grad=True)
    for y in (number * x, x * number):
        assert type(y) is tg.Tensor
        assert (y.dtype, y.tolist()) == (np.float32, [2.0, 6.0])
    (number - x).backward([1.0, 2.0])
    assert x.grad.tolist() == [-1.0, -2.0]


@pytest.mark.parametrize("name", ["negative", "absolute", "exp", "log", "sqrt", "sin", "cos", "tanh"])
def test_numpys_functions_are_recorded(name: str) -> None:
    x = tg.Tensor(np.array([0.5, 2.0]), requires_grad=True)
    y = getattr(np, name)(x)
    assert type(y) is tg.Tensor
    np.testing.assert_allclose(y.numpy(), getattr(np, name)(x.numpy()), rtol=1e-14)
    assert y.requires_grad


def test_what_numpy_cannot_do_to_a_tensor_says_what_to_do() -> None:
    x, a = tg.Tensor([1.0, 2.0], requires_grad=True), np.ones(2)
    with pytest.raises(TypeError, match=r"`ndarray \*= Tensor`: an array cannot hold .* \(a = a \* x\).*a \*= x.numpy"):
        a *= x
    with pytest.raises(TypeError, match=r"`ndarray \+= Tensor`"):
        a += x
    assert a.tolist() == [1.0, 1.0]
    with pytest.raises(
        TypeError, match=r"np\.arctan\(Tensor\): the tape does not record it.*np\.arctan\(x\.numpy\(\)\)"
    ):
        np.arctan(x)
    with pytest.raises(TypeError, match=r"np\.add\.reduce\(Tensor\)"):
        np.add.reduce(x)
    with pytest.raises(TypeError, match=r"np\.exp\(Tensor\): the tape does not record it"):
        np.exp(x, where=np.array([True, False]))


def test_as_an_array() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    assert np.shares_memory(np.asarray(x), x.array)
    assert not np.asarray(x).flags.writeable
    assert not np.shares_memory(np.array(x), x.array)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype=np.float64, copy=False)


# -- DLPack --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_dlpack_shares_memory_both_ways(library: str, dtype: str) -> None:
    other = pytest.importorskip(library)
    ours = tg.Tensor(np.array([[0, 1, 1], [1, 0, 1]], dtype=dtype))
    for x in (ours, ours.T, ours[:, 1:]):
        theirs = other.from_dlpack(x)
        assert tuple(theirs.shape) == x.shape
        assert np.asarray(theirs).dtype == dtype
        assert np.shares_memory(np.asarray(theirs), x.array)
        with tg.no_grad():
            x[0, 0] = 1
            assert theirs[0, 0] == 1
            x[0, 0] = 0
            assert theirs[0, 0] == 0
    theirs = other.zeros((2, 3), dtype=getattr(other, dtype))
    x = tg.from_dlpack(theirs)
    assert (type(x), x.shape, x.dtype) == (tg.Tensor, (2, 3), dtype)
    theirs[1, 2] = 1
    assert x.tolist() == [[0, 0, 0], [0, 0, 1]]
    x[0, 0] = 1
    assert theirs[0, 0] == 1


def test_dlpack_between_tensors_knows_of_writes() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = tg.from_dlpack(x.detach())
    assert np.shares_memory(x.array, y.array)
    assert x.detach().__dlpack_device__() == (1, 0)
    assert y.requires_grad_().requires_grad


def test_dlpack_keeps_memory_alive() -> None:
    theirs = np.from_dlpack(tg.Tensor(np.arange(1000.0)))
    back = tg.from_dlpack(np.arange(1000.0))
    assert theirs.sum() == back.sum().item() == 499500.0


class OnDevice:
    def __dlpack__(self, **options: Any) -> Any:
        raise AssertionError("not asked for")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 10, 1


def test_dlpack_refuses_what_would_go_wrong() -> None:
    with pytest.raises(BufferError, match=r"requires a gradient, which another library cannot pass on; lend x\.detach"):
        np.from_dlpack(tg.Tensor([1.0], requires_grad=True))
    with pytest.raises(TypeError, match=r"from_dlpack\(x\): a list does not speak DLPack .* use Tensor\(x\)"):
        tg.from_dlpack([1.0])
    with pytest.raises(TypeError, match=r"this OnDevice lies on device 1 of DLPack's kind 10, neither the"):
        tg.from_dlpack(OnDevice())
    torch = pytest.importorskip("torch")
    with pytest.raises(BufferError, match="require grad"):
        tg.from_dlpack(torch.ones(2, requires_grad=True))
    with pytest.raises(BufferError, match="requires a gradient"):
        torch.from_dlpack(tg.Tensor([1.0], requires_grad=True))


# -- copies --------------------------------------------------------------------------------------------------------


def test_deepcopy_of_a_module() -> None:
    shared = nn.Linear(3, 3)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), shared, nn.SiLU(), shared)
    twin = copy.deepcopy(model)
    names = [name for name, _ in model.named_parameters()]
    assert [name for name, _ in twin.named_parameters()] == names
    assert [name for name, _ in twin.named_buffers()] == [name for name, _ in model.named_buffers()]
    for (name, mine), (_, other) in zip(model.named_parameters(), twin.named_parameters(), strict=True):
        assert type(other) is nn.Parameter
        assert other.requires_grad
        assert not np.shares_memory(mine.array, other.array), name
    x = tg.Tensor(np.random.default_rng(0).standard_normal((4, 3, 1, 1)).astype(np.float32))
    expected = model(x).numpy()
    np.testing.assert_array_equal(twin(x).numpy(), expected)
    twin(x).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    tg.optim.SGD(twin.parameters(), lr=0.1).step()
    np.testing.assert_array_equal(model(x).numpy(), expected)


def test_deepcopy_keeps_kinds_dtypes_and_frozen_parameters() -> None:
    for x in (nn.Parameter(np.ones(2), requires_grad=False), nn.Buffer(np.zeros((), np.int64)), tg.Tensor([1, 2])):
        y = copy.deepcopy(x)
        assert (type(y), y.dtype, y.requires_grad) == (type(x), x.dtype, False)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused_whatever_the_protocol(protocol: int) -> None:
    for x in (tg.Tensor([1.0]), nn.Parameter([1.0]), nn.Linear(1, 1)):
        with pytest.raises(TypeError, match=r"cannot be pickled; save \.numpy\(\), or a module's state_dict\(\)"):
            pickle.dumps(x, protocol)
