"""Batch norm kernels against `loops`."""

from __future__ import annotations

from typing import Any

import numpy as np
from backends.cupy.comparing import ORACLE, Data, dtypes, near, pieces, seeds, small_pieces
from backends.cupy.emulator.device import asarray, kernel_device
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends.cupy import normalization

shapes = st.one_of(
    st.tuples(*[st.integers(1, 6)] * 2), st.tuples(*[st.integers(1, 4)] * 4), st.just((4, 2, 8, 8)), st.just((8, 3, 4))
)


@given(seeds, dtypes, shapes, pieces)
def test_batch_norm(seed: int, dtype: str, shape: tuple[int, ...], piece: Any) -> None:
    draw = Data(seed, dtype)
    with kernel_device(), small_pieces(*piece):
        (x, x_exact), (gamma, gamma_exact), (beta, beta_exact) = draw(*shape), draw(shape[1]), draw(shape[1])
        found = normalization.batch_norm(x, gamma, beta, 0.1)
        expected = ORACLE.batch_norm(x_exact, gamma_exact, beta_exact, 0.1)
        for name, got, want in zip(("y", "mean", "var"), found, expected, strict=True):
            near(got, want, dtype, x_exact.size, name)


@given(seeds, dtypes, shapes, pieces)
def test_batch_norm_grad(seed: int, dtype: str, shape: tuple[int, ...], piece: Any) -> None:
    draw = Data(seed, dtype)
    with kernel_device(), small_pieces(*piece):
        (x, x_exact), (gamma, gamma_exact), (dy, dy_exact) = draw(*shape), draw(shape[1]), draw(*shape)
        (mean, mean_exact), (var, var_exact) = draw(shape[1]), draw(shape[1], positive=True)
        found = normalization.batch_norm_grad(x, gamma, dy, mean, var, 0.1)
        expected = ORACLE.batch_norm_grad(x_exact, gamma_exact, dy_exact, mean_exact, var_exact, 0.1)
        for name, got, want in zip(("dx", "dgamma", "dbeta"), found, expected, strict=True):
            near(got, want, dtype, x_exact.size, name)


@given(seeds, dtypes, shapes, pieces)
def test_scale_shift(seed: int, dtype: str, shape: tuple[int, ...], piece: Any) -> None:
    draw = Data(seed, dtype)
    with kernel_device(), small_pieces(*piece):
        (x, x_exact), (scale, scale_exact), (shift, shift_exact) = draw(*shape), draw(shape[1]), draw(shape[1])
        near(
            normalization.scale_shift(x, scale, shift),
            ORACLE.scale_shift(x_exact, scale_exact, shift_exact),
            dtype,
        )


def test_statistics_are_accurate_far_from_zero() -> None:
    """Mean 1000, standard deviation 1, in float32: a sum of squares would leave nothing of the variance."""
    x = (np.random.default_rng(0).standard_normal((4, 3, 60, 60)) + 1000).astype(np.float32)
    wide = x.astype(np.float64)
    with kernel_device():
        ones, zeros = asarray(np.ones(3, np.float32)), asarray(np.zeros(3, np.float32))
        y, mean, var = normalization.batch_norm(asarray(x), ones, zeros, 1e-3)
        np.testing.assert_allclose(mean, wide.mean((0, 2, 3)), rtol=1e-7)
        np.testing.assert_allclose(var, wide.var((0, 2, 3)), rtol=1e-6)
        expected = (wide - wide.mean((0, 2, 3), keepdims=True)) / np.sqrt(wide.var((0, 2, 3), keepdims=True) + 1e-3)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


def test_the_order_of_blocks_and_threads_does_not_matter() -> None:
    """Every launch of the emulator has another order; a sum in the order of arrival would differ in its last bits."""
    draw = Data(3, "float32")
    with kernel_device(), small_pieces(16, 4096, 64, 1024):
        (x, _), (gamma, _), (dy, _) = draw(4, 3, 9, 16), draw(3), draw(4, 3, 9, 16)
        _, mean, var = normalization.batch_norm(x, gamma, gamma, 1e-3)
        runs = [normalization.batch_norm_grad(x, gamma, dy, mean, var, 1e-3) for _ in range(4)]
        for run in runs[1:]:
            for a, b in zip(runs[0], run, strict=True):
                assert a.tobytes() == b.tobytes()


def test_a_nan_reaches_its_channel_and_no_other() -> None:
    with kernel_device():
        x, _ = Data(1, "float32")(3, 2, 5, 4)
        gamma, _ = Data(2, "float32")(2)
        x[1, 1, 2, 2] = np.nan
        y, mean, var = normalization.batch_norm(x, gamma, gamma, 1e-3)
        for array, axis in ((y, 1), (mean, 0), (var, 0)):
            assert np.isnan(np.take(array, 1, axis)).all()
            assert not np.isnan(np.take(array, 0, axis)).any()


@given(seeds, dtypes, st.sampled_from([1, 5, 300]))
def test_running_statistics_are_moved(seed: int, dtype: str, channels: int) -> None:
    draw = Data(seed, dtype)
    with kernel_device():
        there, exact = zip(*[draw(channels) for _ in range(4)], strict=True)
        ORACLE.move_statistics(*exact, 0.1, 4 / 3)
        normalization.move_statistics(*there, 0.1, 4 / 3)
        for name, got, want in zip(("running_mean", "running_var"), there[:2], exact[:2], strict=True):
            near(got, want, dtype, 4, name)
