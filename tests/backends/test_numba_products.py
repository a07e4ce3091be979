"""Matrix products on threads of our own: the numbers of NumPy, and NumPy's own threads left as they were."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from tinygrad_effnet.backends.numba import products

sizes = st.integers(1, 40)


@pytest.fixture(autouse=True)
def split_everything(monkeypatch):
    monkeypatch.setattr(products, "WORTH_SPLITTING", 0)


def random(rng, *shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


@given(
    st.tuples(sizes, sizes, sizes),
    st.integers(2, 5),
    st.sampled_from(["float32", "float64"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_the_product_is_numpys(shape, threads, dtype, flip_a, flip_b, batch, seed):
    rng = np.random.default_rng(seed)
    n, k, m = shape
    a = random(rng, k, n, dtype=dtype).T if flip_a else random(rng, n, k, dtype=dtype)
    b = random(rng, m, k, dtype=dtype).T if flip_b else random(rng, k, m, dtype=dtype)
    if batch:
        a, b = a[None], b[None]
    y = products.matmul(a, b, threads)
    if max(n, m) < threads:
        assert y is None
        return
    assert y.dtype == dtype
    assert y.shape == (a @ b).shape
    exact = a.astype(np.float64) @ b.astype(np.float64)
    bound = 2 * k * np.finfo(dtype).eps * (np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64))
    assert (np.abs(y - exact) <= bound).all()


@pytest.mark.parametrize(
    ("a", "b", "threads"),
    [
        (np.ones((4, 3)), np.ones((3, 5)), 1),
        (np.ones((2, 4, 3)), np.ones((2, 3, 5)), 2),
        (np.ones((4, 3), np.float32), np.ones((3, 5)), 2),
        (np.ones((4, 3), int), np.ones((3, 5), int), 2),
    ],
)
def test_what_is_left_to_numpy(a, b, threads):
    assert products.matmul(a, b, threads) is None


def test_small_products_are_left_to_numpy(monkeypatch):
    monkeypatch.setattr(products, "WORTH_SPLITTING", 1000)
    assert products.matmul(np.ones((9, 10)), np.ones((10, 11)), 2) is None
    assert products.matmul(np.ones((10, 10)), np.ones((10, 11)), 2) is not None


def blas_threads():
    controller = pytest.importorskip("threadpoolctl").ThreadpoolController()
    return [library.num_threads for library in controller.select(user_api="blas").lib_controllers]


def test_numpys_threads_are_as_before_when_products_have_run_side_by_side():
    before = blas_threads()
    rng = np.random.default_rng(0)
    a, b = rng.random((300, 200)), rng.random((200, 400))
    wrong = []

    def work():
        for _ in range(20):
            if not np.allclose(products.matmul(a, b, 3), expected):
                wrong.append(1)

    expected = a @ b
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert blas_threads() == before


def test_an_error_in_a_block_reaches_the_caller_and_the_threads_are_put_back(monkeypatch):
    before = blas_threads()
    real = np.matmul

    def failing(a, b, out):
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no room")
        return real(a, b, out)

    monkeypatch.setattr(products.np, "matmul", failing)
    with pytest.raises(MemoryError, match="no room"):
        products.matmul(np.ones((8, 8)), np.ones((8, 8)), 2)
    assert blas_threads() == before
