"""What the compiled fused kernels promise beyond equality with their composition (tests/ops/test_fused.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_effnet.backends import Statistics, Window, available_backends, use_backend

if "numba" not in available_backends():
    pytest.skip("Numba is not installed", allow_module_level=True)

from tinygrad_effnet.backends.numba import get_num_threads, set_num_threads

with use_backend("numba") as KERNELS:
    pass
WINDOW = Window((3, 3), (2, 2), ((1, 1), (1, 1)))
RNG = np.random.default_rng(0)


def arrays(*shapes: tuple[int, ...], dtype: Any = np.float32) -> list[np.ndarray]:
    return [RNG.standard_normal(shape).astype(dtype) for shape in shapes]


def everything(x: np.ndarray, seed: int = 1) -> dict[str, np.ndarray]:
    """Every result of every fused kernel, for channels of x."""
    rng = np.random.default_rng(seed)
    n, channels, height, width = x.shape
    draw = lambda *shape: rng.standard_normal(shape).astype(x.dtype)  # noqa: E731
    gamma, beta, w = draw(channels), draw(channels), draw(channels, 1, 3, 3)
    squeeze = draw(2, channels, 1, 1), draw(2), draw(channels, 2, 1, 1), draw(channels)
    dy, dh, mask = draw(*x.shape), draw(n, channels, *WINDOW.output_size(height, width)), draw(n)
    y, statistics = KERNELS.norm_silu(x, gamma, beta, 1e-3, None)
    found = {"norm_silu": y, "mean": statistics.mean, "var": statistics.var}
    found["depthwise"] = KERNELS.norm_silu_depthwise(x, gamma, beta, w, WINDOW, 1e-3, None)[0]
    found["squeeze_excite"] = KERNELS.norm_silu_squeeze_excite(x, gamma, beta, squeeze, 1e-3, None)[0]
    found["add"] = KERNELS.norm_add(x, gamma, beta, dy, mask, 1e-3, None)[0]
    gradients: dict[str, Callable[[], Any]] = {
        "norm_silu_grad": lambda: KERNELS.norm_silu_grad(x, gamma, beta, dy, statistics),
        "depthwise_grad": lambda: KERNELS.norm_silu_depthwise_grad(x, gamma, beta, w, dh, WINDOW, statistics),
        "squeeze_excite_grad": lambda: KERNELS.norm_silu_squeeze_excite_grad(x, gamma, beta, squeeze, dy, statistics),
        "add_grad": lambda: KERNELS.norm_add_grad(x, gamma, dy, mask, statistics),
    }
    for name, gradient in gradients.items():
        found.update({f"{name} {i}": g for i, g in enumerate(gradient())})
    return found


def test_any_number_of_threads_gives_the_same_bits(dtype: Any) -> None:
    (x,) = arrays((5, 7, 19, 18), dtype=dtype)
    threads, found = get_num_threads(), []
    try:
        for count in (1, threads, max(1, threads - 1)):
            set_num_threads(count)
            found.append(everything(x))
    finally:
        set_num_threads(threads)
    for other in found[1:]:
        for name, value in found[0].items():
            assert value.tobytes() == other[name].tobytes(), name


def test_statistics_are_accurate_far_from_zero() -> None:
    """Mean 1000, standard deviation 1, in float32: a sum of squares would leave nothing of the variance."""
    x = (RNG.standard_normal((16, 3, 40, 40)) + 1000).astype(np.float32)
    wide = x.astype(np.float64)
    found = everything(x)
    np.testing.assert_allclose(found["mean"], wide.mean((0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(found["var"], wide.var((0, 2, 3)), rtol=1e-6)
    expected = everything(wide)
    for name, value in found.items():
        largest = np.abs(expected[name]).max()
        # a rounding of x is 3e-5 of its standard deviation
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-3 * largest, err_msg=name)


def test_a_nan_reaches_everything_of_its_channel_and_nothing_else() -> None:
    (x,) = arrays((3, 4, 9, 8))
    clean = everything(x)
    x[1, 2, 3, 4] = np.nan
    found = everything(x)
    for name, value in found.items():
        axis = 1 if value.ndim == 4 and value.shape[0] == 3 else 0
        # a gate is made of all channels' means, so there it reaches all
        if name.startswith("squeeze"):
            assert np.isnan(np.take(value, 2, axis) if value.ndim == 4 and axis else value).any(), name
            continue
        assert np.isnan(np.take(value, 2, axis)).all() or "grad" in name, name
        others = [c for c in range(4) if c != 2]
        np.testing.assert_array_equal(np.take(value, others, axis), np.take(clean[name], others, axis), err_msg=name)
    for name in ("norm_silu_grad 0", "depthwise_grad 0", "add_grad 0"):
        assert np.isnan(found[name][:, 2]).all(), name


def test_given_statistics_leave_pixels_to_themselves() -> None:
    (x,) = arrays((3, 4, 9, 8))
    gamma, beta = arrays((4,), (4,))
    given = np.zeros(4, np.float32), np.ones(4, np.float32)
    clean, statistics = KERNELS.norm_silu(x, gamma, beta, 1e-3, given)
    assert statistics == Statistics(statistics.mean, statistics.var, 1e-3, True)
    x[1, 2, 3, 4] = np.nan
    found, _ = KERNELS.norm_silu(x, gamma, beta, 1e-3, given)
    assert np.argwhere(np.isnan(found)).tolist() == [[1, 2, 3, 4]]
    rest = ~np.isnan(found)
    np.testing.assert_array_equal(found[rest], clean[rest])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gamma": np.ones(3, np.float32)}, "a channel's parameter: got an array of shape"),
        ({"w": np.ones((4, 1, 5, 5), np.float32)}, "w: got an array of shape"),
        ({"given": (np.zeros(4, np.float32), np.ones(2, np.float32))}, "var: got an array of shape"),
    ],
)
def test_wrong_shapes_never_reach_compiled_code(change: dict[str, Any], words: str) -> None:
    (x,) = arrays((2, 4, 6, 6))
    good: dict[str, Any] = {"gamma": np.ones(4, np.float32), "w": np.ones((4, 1, 3, 3), np.float32), "given": None}
    settings = {**good, **change}
    with pytest.raises(ValueError, match=words):
        KERNELS.norm_silu_depthwise(x, settings["gamma"], good["gamma"], settings["w"], WINDOW, 1e-3, settings["given"])
