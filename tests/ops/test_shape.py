"""What only moves numbers: reshaping, indexing of every kind, joining, padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_effnet as tg
from tinygrad_effnet.testing import gradcheck

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)


def numbers(shape: Any) -> np.ndarray:
    return np.arange(float(np.prod(shape))).reshape(shape)


def check_gather(f: Callable[[Any], Any], x: np.ndarray, g: Callable[[Any], Any] | None = None) -> None:
    """The result is NumPy's, and each entry's gradient the sum of what arrives at the places it was moved to."""
    leaf = tg.from_numpy(x).requires_grad_()
    y, expected = f(leaf), (g or f)(x)
    np.testing.assert_array_equal(y.numpy(), expected)
    upstream = np.asarray(np.random.default_rng(0).standard_normal(y.shape))
    y.backward(upstream)
    places = (g or f)(np.arange(x.size).reshape(x.shape))
    counted = np.zeros(x.size)
    np.add.at(counted, np.asarray(places).ravel(), upstream.ravel())
    np.testing.assert_allclose(leaf.grad.numpy(), counted.reshape(x.shape), atol=1e-14)


@given(st.data(), SHAPES)
def test_any_index(data: st.DataObject, shape: tuple[int, ...]) -> None:
    index = data.draw(
        st.one_of(
            hnp.basic_indices(shape, allow_newaxis=True, max_dims=6),
            hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4)),
            hnp.arrays(bool, shape),
        )
    )
    check_gather(lambda x: x[index], numbers(shape))


@pytest.mark.parametrize(
    "index",
    [
        2,
        -1,
        np.int64(1),
        True,
        slice(None, None, -1),
        (slice(3, 0, -2), slice(None, None, 2)),
        (Ellipsis, 0),
        (None, 1, Ellipsis, None),
        [0, 2, 2],
        (np.array([0, 0, 3]), np.array([1, 1, 0])),
        (slice(None), [0, 0, 2]),
        (np.array([[True], [False], [True], [True]])[:, 0], 1),
        (slice(0, 0),),
        (),
    ],
)
def test_these_indices(index: Any) -> None:
    check_gather(lambda x: x[index], numbers((4, 3)))


def test_tensors_as_index() -> None:
    x, rows = numbers((4, 3)), np.array([3, 0, 3])
    check_gather(lambda x: x[tg.Tensor(rows)], x, lambda x: x[rows])
    check_gather(lambda x: x[tg.Tensor(rows), [0, 1, 1]], x, lambda x: x[rows, [0, 1, 1]])
    leaf = tg.Tensor(x, requires_grad=True)
    np.testing.assert_array_equal(leaf[leaf > 5.0].numpy(), x[x > 5])


def test_second_gradients_through_repeated_indices() -> None:
    rows = np.array([1, 1, 0])
    leaf = tg.Tensor(np.array([0.5, -1.0, 2.0]), requires_grad=True)
    assert gradcheck(lambda x: tg.grad((x[rows] ** 3).sum(), x, create_graph=True), leaf)


def test_indices_outside() -> None:
    x = tg.Tensor(np.ones((2, 3)))
    with pytest.raises(IndexError, match=r"tensor\[index\]: .*out of bounds.*the tensor has shape \(2, 3\)"):
        x[2]
    with pytest.raises(IndexError, match="too many indices"):
        x[0, 0, 0]
    with pytest.raises(IndexError):
        x[1.5]


def test_iteration() -> None:
    x = tg.Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    first, second, third = x
    (first * 2.0 + third).backward(np.array([1.0, -2.0]))
    np.testing.assert_array_equal(x.grad.numpy(), [[2.0, -4.0], [0.0, 0.0], [1.0, -2.0]])
    np.testing.assert_array_equal(second.numpy(), [2.0, 3.0])
    assert len(x) == 3


@given(st.data(), SHAPES)
def test_moving_axes(data: st.DataObject, shape: tuple[int, ...]) -> None:
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    check_gather(lambda x: x.permute(order), numbers(shape), lambda x: x.transpose(order))
    check_gather(lambda x: x.permute(*[d - len(shape) for d in order]), numbers(shape), lambda x: x.transpose(order))
    i, j = (data.draw(st.integers(-len(shape), len(shape) - 1)) for _ in "ij")
    check_gather(lambda x: x.transpose(i, j), numbers(shape), lambda x: np.swapaxes(x, i, j))
    check_gather(lambda x: x.T, numbers(shape))


@given(st.data(), SHAPES)
def test_reshaping(data: st.DataObject, shape: tuple[int, ...]) -> None:
    x = numbers(shape)
    split = data.draw(st.integers(0, len(shape)))
    target = (int(np.prod(shape[:split])), -1)
    check_gather(lambda x: x.reshape(target), x)
    check_gather(lambda x: x.reshape(*target), x)
    start = data.draw(st.integers(0, len(shape) - 1))
    check_gather(lambda x: x.flatten(start), x, lambda x: x.reshape(*shape[:start], -1))
    place = data.draw(st.integers(-len(shape) - 1, len(shape)))
    check_gather(lambda x: x.unsqueeze(place), x, lambda x: np.expand_dims(x, place))
    check_gather(lambda x: x.unsqueeze(place).squeeze(place), x, lambda x: x)
    assert tg.Tensor(np.ones((2, 3))).squeeze(0).shape == (2, 3)
    assert tg.Tensor(1.0).flatten().shape == (1,)


@given(hnp.mutually_broadcastable_shapes(num_shapes=1, base_shape=(2, 3, 2), max_dims=5), st.integers(0, 99))
def test_broadcasting_and_its_transpose(shapes: Any, seed: int) -> None:
    small, large = shapes.input_shapes[0], shapes.result_shape
    check_gather(lambda x: x.broadcast_to(large), numbers(small), lambda x: np.broadcast_to(x, large))
    rng = np.random.default_rng(seed)
    a, b = np.asarray(rng.standard_normal(small)), rng.standard_normal(large)
    # <broadcast a, b> = <a, sum_to b>
    left, right = np.vdot(np.broadcast_to(a, large), b), np.vdot(a, tg.Tensor(b).sum_to(small).numpy())
    np.testing.assert_allclose(left, right, atol=1e-12)


@given(st.data(), SHAPES, st.integers(1, 3))
def test_joining(data: st.DataObject, shape: tuple[int, ...], count: int) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    rng = np.random.default_rng(0)
    arrays = []
    for _ in range(count):
        sizes = list(shape)
        sizes[dim] = data.draw(st.integers(0, 3))
        arrays.append(rng.standard_normal(sizes))
    leaves = [tg.Tensor(a, requires_grad=True) for a in arrays]
    joined = tg.ops.cat(leaves, dim)
    np.testing.assert_array_equal(joined.numpy(), np.concatenate(arrays, dim))
    upstream = rng.standard_normal(joined.shape)
    joined.backward(upstream)
    ends = np.cumsum([a.shape[dim] for a in arrays])[:-1]
    for leaf, part in zip(leaves, np.split(upstream, ends, dim), strict=True):
        np.testing.assert_array_equal(leaf.grad.numpy(), part)


def test_stacking(like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    a, b = np.random.default_rng(0).standard_normal((2, 3, 4))
    for dim in (0, 1, 2, -1, -3):
        like_torch(lambda a, b, d=dim: tg.ops.stack([a, b, a], d), lambda a, b, d=dim: torch.stack([a, b, a], d), a, b)
    assert tg.ops.concat is tg.ops.cat


@pytest.mark.parametrize("widths", [(1, 2), (0, 1, 2, 0), (1, 1, 0, 0, 2, 1), ()])
def test_padding(widths: tuple[int, ...], like_torch: Callable) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 3, 2))
    like_torch(lambda x: tg.ops.pad(x, widths, -1.5), lambda x: torch.nn.functional.pad(x, widths, value=-1.5), x)


def test_dtypes_are_kept() -> None:
    for dtype in (np.float32, np.int64, bool):
        x = tg.Tensor(np.ones((2, 3)), dtype=dtype)
        for y in (x.T, x[0], x.flatten(), x.broadcast_to(4, 2, 3), tg.ops.cat([x, x]), tg.ops.pad(x, (1, 1))):
            assert y.dtype == dtype


def test_errors_name_shape_and_argument() -> None:
    x = tg.Tensor(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"reshape\(shape\): \(4, -1\) does not hold the 6 entries .* \(2, 3\)"):
        x.reshape(4, -1)
    for shape in ((-1, -1), (-2, 3), (5,), (0, -1)):
        with pytest.raises(ValueError, match="reshape"):
            x.reshape(shape)
    with pytest.raises(ValueError, match=r"permute\(dims\): \(0, 0\) must name each of the 2 axes"):
        x.permute(0, 0)
    with pytest.raises(ValueError, match=r"transpose\(dim\): axis 2 does not exist in a tensor of shape \(2, 3\)"):
        x.transpose(0, 2)
    with pytest.raises(ValueError, match=r"flatten\(start_dim, end_dim\): axis 1 comes after axis 0"):
        x.flatten(1, 0)
    with pytest.raises(ValueError, match="unsqueeze"):
        x.unsqueeze(3)
    with pytest.raises(ValueError, match=r"broadcast_to\(shape\): \(2, 3\) cannot be repeated to \(3, 2\)"):
        x.broadcast_to(3, 2)
    with pytest.raises(ValueError, match="sum_to"):
        x.sum_to((4,))
    with pytest.raises(ValueError, match=r"tensors\[1\] has shape \(2, 4\) and tensors\[0\] \(2, 3\); only axis 0 may"):
        tg.ops.cat([x, tg.Tensor(np.ones((2, 4)))])
    for join in (tg.ops.cat, tg.ops.stack):
        with pytest.raises(ValueError, match="nothing to join"):
            join([])
    with pytest.raises(ValueError, match=r"pad\(pad\): \(1, -1\) must be pairs of widths >= 0"):
        tg.ops.pad(x, (1, -1))
