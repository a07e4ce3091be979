"""Tensor: what it is made of, what it refuses, how it shows itself."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

import tinygrad_effnet as tg

# -- making --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.0, np.float32),
        (1, np.int64),
        (True, np.bool_),
        ([1.0, 2], np.float32),
        ([[1], [2]], np.int64),
        (np.float64(1), np.float64),
        (np.float32(1), np.float32),
        (np.ones(2), np.float64),
        (np.ones(2, np.float32), np.float32),
        (np.ones(2, np.uint8), np.uint8),
        ([np.float64(0.5)], np.float32),
        ([], np.float32),
    ],
)
def test_dtypes_of_data(data: Any, dtype: Any) -> None:
    x = tg.Tensor(data)
    assert (x.dtype, x.shape) == (dtype, np.shape(data))
    assert type(x.array) is np.ndarray
    assert tg.Tensor(data, dtype=np.float64).dtype == np.float64


@given(hnp.arrays(hnp.floating_dtypes(sizes=(32, 64)), hnp.array_shapes(min_dims=0, min_side=0)))
def test_data_are_copied_and_come_back(data: np.ndarray) -> None:
    x = tg.Tensor(data)
    assert not np.shares_memory(x.array, data)
    np.testing.assert_array_equal(x.numpy(), data)
    np.testing.assert_array_equal(np.asarray(x), data)
    assert (x.ndim, x.dim(), x.size, x.numel()) == (data.ndim, data.ndim, data.size, data.size)
    assert tg.Tensor(x).array is not x.array
    shared = tg.from_numpy(data)
    assert shared.array is data


def test_what_is_no_data() -> None:
    for data in ("abc", [object()], np.array(["a"]), None):
        with pytest.raises(TypeError, match="numbers expected"):
            tg.Tensor(data)
    with pytest.raises(TypeError, match=r"from_numpy\(array\): expected a numpy.ndarray, got list"):
        tg.from_numpy([1.0])
    with pytest.raises(TypeError, match="only floating-point tensors have gradients, and this one is int64"):
        tg.Tensor([1, 2], requires_grad=True)
    with pytest.raises(ValueError, match="inhomogeneous"):
        tg.Tensor([[1.0], [1.0, 2.0]])


def test_tensors_inside_lists() -> None:
    np.testing.assert_array_equal(tg.Tensor([tg.Tensor([1.0, 2.0]), [3.0, 4.0]]).numpy(), [[1, 2], [3, 4]])


# -- numbers out ---------------------------------------------------------------------------------------------------


def test_numpy_is_a_read_only_view() -> None:
    x = tg.Tensor([1.0, 2.0])
    view = x.numpy()
    assert np.shares_memory(view, x.array)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5.0
    assert x.array.flags.writeable
    view.copy()[0] = 5.0
    assert np.array(x).flags.writeable


def test_single_numbers() -> None:
    for x in (tg.Tensor(2.5), tg.Tensor([2.5]), tg.Tensor([[2.5]])):
        assert (x.item(), float(x), int(x), bool(x)) == (2.5, 2.5, 2, True)
        assert type(x.item()) is float
    assert not tg.Tensor([0.0])
    assert tg.Tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    for f in (tg.Tensor.item, float, int, bool):
        with pytest.raises(ValueError, match=r"shape \(2,\)"):
            f(tg.Tensor([1.0, 2.0]))
    with pytest.raises(TypeError, match="no first axis"):
        len(tg.Tensor(1.0))


def test_how_it_shows_itself() -> None:
    assert repr(tg.Tensor([1.0, 2.5])) == "Tensor([1. , 2.5])"
    assert repr(tg.Tensor([1, 2])) == "Tensor([1, 2])"
    assert repr(tg.Tensor(np.ones(1))) == "Tensor([1.], dtype=float64)"
    assert repr(tg.Tensor(1.0, requires_grad=True)) == "Tensor(1., requires_grad=True)"
    assert repr(tg.Tensor([1.0], requires_grad=True) * 2.0) == "Tensor([2.], made by mul)"
    assert "..." in repr(tg.Tensor(np.ones(1000)))


# -- leaf or result ------------------------------------------------------------------------------------------------


def test_leaves_and_results() -> None:
    x = tg.Tensor([1.0, 2.0])
    assert (x.requires_grad, x.is_leaf, x.grad) == (False, True, None)
    assert x.requires_grad_() is x
    y = x * 2.0
    assert (x.requires_grad, x.is_leaf, y.requires_grad, y.is_leaf) == (True, True, True, False)
    x.requires_grad = True
    node = x.node
    x.requires_grad = True
    assert x.node is node
    with pytest.raises(ValueError, match=r"result of an operation; use \.detach\(\)"):
        y.requires_grad = False
    x.requires_grad_(False)
    assert not (x * 2.0).requires_grad


def test_detach_shares_numbers_and_not_the_tape() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = (x * 3.0).detach()
    assert (y.requires_grad, y.is_leaf) == (False, True)
    assert x.detach().array is x.array
    (x * y).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 6.0])


def test_backward_checks_its_gradient() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = x * 2.0
    with pytest.raises(ValueError, match=r"backward\(gradient\): the tensor has shape \(2,\).*reduce"):
        y.backward()
    with pytest.raises(ValueError, match=r"backward\(gradient\): the gradient has shape \(3,\), but the tensor \(2,\)"):
        y.backward(np.ones(3))
    with pytest.raises(ValueError, match="nothing here requires a gradient"):
        tg.Tensor([1.0]).backward()
    with tg.no_grad(), pytest.raises(ValueError, match="nothing here requires a gradient"):
        (x * 2.0).sum().backward()
    y.backward([0.5, -2])  # lists and integers are taken as well
    np.testing.assert_array_equal(x.grad.numpy(), [1.0, -4.0])
    x.grad = None
    x.backward(tg.Tensor(np.array([3, 4])))
    assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [3.0, 4.0])


def test_single_entries_start_from_one() -> None:
    for shape in ((), (1,), (1, 1)):
        x = tg.Tensor(np.full(shape, 3.0), requires_grad=True)
        (x * x).backward()
        assert (x.grad.shape, x.grad.item()) == (shape, 6.0)


# -- changing ------------------------------------------------------------------------------------------------------


def test_writing_into_a_tensor() -> None:
    x = tg.Tensor(np.zeros((2, 3)))
    x[0] = 1.0
    x[:, tg.Tensor([0, 2])] = tg.Tensor([[5.0, 6.0], [7.0, 8.0]])
    np.testing.assert_array_equal(x.numpy(), [[5, 1, 6], [7, 0, 8]])
    leaf = tg.Tensor([1.0, 2.0], requires_grad=True)
    for recorded in (leaf, leaf * 2.0):
        with pytest.raises(ValueError, match=r"numbers that the tape has recorded.*no_grad\(\)"):
            recorded[0] = 5.0
    with tg.no_grad():
        leaf[0] = 5.0
    assert leaf.tolist() == [5.0, 2.0]
    assert leaf.requires_grad


# -- copies --------------------------------------------------------------------------------------------------------


def test_pickling_is_refused_with_advice() -> None:
    for x in (tg.Tensor([1.0]), tg.Tensor([1.0], requires_grad=True) * 2.0):
        with pytest.raises(TypeError, match=r"cannot be pickled; save .numpy\(\)"):
            pickle.dumps(x)
        with pytest.raises(TypeError, match="cannot be pickled"):
            copy.copy(x)


def test_deepcopy_of_leaves() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = copy.deepcopy({"weight": x})["weight"]
    assert y.requires_grad
    assert y.node is not x.node
    assert not np.shares_memory(x.array, y.array)
    with pytest.raises(ValueError, match="only leaves can be copied"):
        copy.deepcopy(x * 2.0)


def test_tensors_are_hashed_by_identity() -> None:
    a, b = tg.Tensor([1.0]), tg.Tensor([1.0])
    assert len({a, b, a}) == 2
    assert {a: 1}[a] == 1


# -- methods -------------------------------------------------------------------------------------------------------


def test_methods_are_the_functions_of_that_name() -> None:
    x = tg.Tensor(np.array([[0.3, 0.6], [0.5, 0.9]]))
    for name in (
        "exp",
        "log",
        "sqrt",
        "abs",
        "sin",
        "cos",
        "tanh",
        "relu",
        "sigmoid",
        "silu",
        "gelu",
        "mean",
        "std",
        "amax",
    ):
        np.testing.assert_array_equal(getattr(x, name)().numpy(), getattr(tg.ops, name)(x).numpy())
        assert name in getattr(tg.Tensor, name).__doc__
    assert x.max().item() == 0.9
    assert x.min(1).tolist() == [0.3, 0.5]
    assert x.clamp(0.4, 0.6).tolist() == x.clip(0.4, 0.6).tolist() == [[0.4, 0.6], [0.5, 0.6]]
    assert (x.float().dtype, x.float().double().dtype) == (np.float32, np.float64)
    assert tg.Tensor([3, 4]).argmax().item() == 1
