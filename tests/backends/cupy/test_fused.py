"""Fused kernels against their definition (backends/base.py) on `loops`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends.cupy.comparing import ORACLE, Data, dtypes, near, pieces, seeds, sizes, small_pieces, windows
from backends.cupy.emulator.device import kernel_device
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_effnet.backends import Statistics
from tinygrad_effnet.backends.cupy import fused

shapes = st.one_of(st.tuples(*[st.integers(1, 4)] * 4), st.just((4, 2, 8, 8)), st.just((9, 1, 4, 3)))
fixed = st.booleans()


class Case:
    """A raw image with its batch norm, on the device and exact."""

    def __init__(self, seed: int, dtype: str, shape: tuple[int, ...], fixed: bool) -> None:
        self.draw = draw = Data(seed, dtype)
        channels = shape[1]
        self.arrays = [draw(*shape), draw(channels), draw(channels)]
        given = [draw(channels), draw(channels, positive=True)]
        self.given = [tuple(v) if fixed else None for v in zip(*given, strict=True)]
        self.dtype, self.fixed, self.terms = dtype, fixed, 8 * self.arrays[0][1].size

    @property
    def found(self) -> tuple[Any, ...]:
        """x, gamma, beta on the device."""
        return tuple(a for a, _ in self.arrays)

    @property
    def exact(self) -> tuple[Any, ...]:
        return tuple(b for _, b in self.arrays)

    def both(self, eps: float = 0.1) -> tuple[Statistics, Statistics]:
        """The same statistics for both: those given, or made-up ones that count as the batch's."""
        (mean, mean_exact), (var, var_exact) = (
            self.draw(len(self.exact[1])),
            self.draw(len(self.exact[1]), positive=True),
        )
        return Statistics(mean, var, eps, self.fixed), Statistics(mean_exact, var_exact, eps, self.fixed)

    def near(self, found: Any, expected: Any) -> None:
        for i, (got, want) in enumerate(zip(found, expected, strict=True)):
            near(got, want, self.dtype, self.terms, f"result {i}")


@given(seeds, dtypes, shapes, fixed, pieces)
def test_norm_silu(seed: int, dtype: str, shape: tuple[int, ...], fixed: bool, piece: Any) -> None:
    with kernel_device(), small_pieces(*piece):
        case = Case(seed, dtype, shape, fixed)
        y, found = fused.norm_silu(*case.found, 0.1, case.given[0])
        expected, wanted = ORACLE.norm_silu(*case.exact, 0.1, case.given[1])
        assert (found.eps, found.fixed) == (wanted.eps, wanted.fixed) == (0.1, fixed)
        case.near((y, found.mean, found.var), (expected, wanted.mean, wanted.var))
        statistics, exact = case.both()
        dy, dy_exact = case.draw(*shape)
        case.near(
            fused.norm_silu_grad(*case.found, dy, statistics), ORACLE.norm_silu_grad(*case.exact, dy_exact, exact)
        )


@pytest.mark.parametrize("masked", [True, False])
@given(seeds, dtypes, shapes, fixed, pieces)
def test_norm_add(masked: bool, seed: int, dtype: str, shape: tuple[int, ...], fixed: bool, piece: Any) -> None:
    with kernel_device(), small_pieces(*piece):
        case = Case(seed, dtype, shape, fixed)
        (skip, skip_exact), (mask, mask_exact) = case.draw(*shape), case.draw(shape[0])
        if not masked:
            mask = mask_exact = None
        y, found = fused.norm_add(*case.found, skip, mask, 0.1, case.given[0])
        expected, wanted = ORACLE.norm_add(*case.exact, skip_exact, mask_exact, 0.1, case.given[1])
        case.near((y, found.mean, found.var), (expected, wanted.mean, wanted.var))
        statistics, exact = case.both()
        dy, dy_exact = case.draw(*shape)
        case.near(
            fused.norm_add_grad(*case.found[:2], dy, mask, statistics),
            ORACLE.norm_add_grad(*case.exact[:2], dy_exact, mask_exact, exact),
        )


@given(st.data(), seeds, dtypes, st.integers(1, 3), st.integers(1, 2), fixed, pieces)
def test_norm_silu_depthwise(data: Any, seed: int, dtype: str, n: int, channels: int, fixed: bool, piece: Any) -> None:
    window = data.draw(windows(data.draw(st.sampled_from([True, True, False]))))
    size = data.draw(sizes(window))
    if data.draw(st.booleans()):
        size = size[0], -(-size[1] // 4) * 4  # rows of whole accesses
    with kernel_device(), small_pieces(*piece):
        case = Case(seed, dtype, (n, channels, *size), fixed)
        w, w_exact = case.draw(channels, 1, *window.kernel)
        y, found = fused.norm_silu_depthwise(*case.found, w, window, 0.1, case.given[0])
        expected, wanted = ORACLE.norm_silu_depthwise(*case.exact, w_exact, window, 0.1, case.given[1])
        special = fused.depthwise.has_kernel(window)
        if dtype.endswith("16") and not special:  # h is rounded to what is stored on its way
            case.terms *= 2**12
        case.near((y, found.mean, found.var), (expected, wanted.mean, wanted.var))
        statistics, exact = case.both()
        dy, dy_exact = case.draw(n, channels, *window.output_size(*size))
        if dtype.endswith("16"):  # g is
            case.terms = max(case.terms, 2**16)
        case.near(
            fused.norm_silu_depthwise_grad(*case.found, w, dy, window, statistics),
            ORACLE.norm_silu_depthwise_grad(*case.exact, w_exact, dy_exact, window, exact),
        )


@given(seeds, dtypes, shapes, fixed, pieces)
def test_squeeze_excite(seed: int, dtype: str, shape: tuple[int, ...], fixed: bool, piece: Any) -> None:
    """Planes done by a warp, and by a block."""
    with kernel_device(), small_pieces(*piece):
        case = Case(seed, dtype, shape, fixed)
        h, wanted = ORACLE.norm_silu(*case.exact, 0.1, case.given[1])
        pooled, found = fused.pooled_activation(*case.found, 0.1, case.given[0])
        case.near((pooled, found.mean, found.var), (h.mean((2, 3)), wanted.mean, wanted.var))

        statistics, exact = case.both()
        h, _ = ORACLE.norm_silu(*case.exact, 0.1, exact[:2])
        (gate, gate_exact), (dz, dz_exact) = case.draw(*shape[:2]), case.draw(*shape)
        wide_gate = gate_exact[:, :, None, None]
        case.near([fused.excite(*case.found, gate, statistics)], [h * wide_gate])

        sums = fused.excite_sums(*case.found, dz, statistics)
        planes = [h.sum((2, 3)).T, (dz_exact * h).sum((2, 3)).T]
        case.near([sums[:, :, 0], sums[:, :, 1]], planes)
        dpooled, dpooled_exact = case.draw(*shape[:2])
        dh = dz_exact * wide_gate + dpooled_exact[:, :, None, None] / (shape[2] * shape[3])
        case.near(
            fused.excite_grad(*case.found, gate, dpooled, dz, sums, statistics),
            ORACLE.norm_silu_grad(*case.exact, dh, exact),
        )


def test_nothing_depends_on_the_order_of_blocks_and_threads() -> None:
    with kernel_device(), small_pieces(16, 200, 3, 1024):
        case = Case(5, "float32", (3, 2, 9, 8), False)
        statistics, _ = case.both()
        w, _ = case.draw(2, 1, 3, 3)
        window = fused.Window((3, 3), (1, 1), ((1, 1), (1, 1)))
        dy, _ = case.draw(3, 2, 9, 8)
        runs = [fused.norm_silu_depthwise_grad(*case.found, w, dy, window, statistics) for _ in range(4)]
        for run in runs[1:]:
            for a, b in zip(runs[0], run, strict=True):
                assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gamma": 3}, r"a channel's parameter: got an array of shape \(3,\), expected \(2,\)"),
        ({"mask": 3}, r"mask: got an array of shape \(3,\), expected \(4,\)"),
    ],
)
def test_wrong_shapes_never_reach_a_kernel(change: dict[str, int], words: str) -> None:
    lengths = {"gamma": 2, "mask": 4, **change}
    with kernel_device():
        draw = Data(0, "float32")
        (v, _), (skip, _) = draw(4, 2, 3, 3), draw(4, 2, 3, 3)
        gamma, mask, beta = draw(lengths["gamma"])[0], draw(lengths["mask"])[0], draw(2)[0]
        with pytest.raises(ValueError, match=words):
            fused.norm_add(v, gamma, beta, skip, mask, 0.1, None)


def test_a_nan_reaches_its_channel_only() -> None:
    with kernel_device():
        case = Case(2, "float32", (2, 2, 5, 4), False)
        x, gamma, beta = case.found
        x[0, 1, 1, 1] = np.nan
        y, statistics = fused.norm_silu(x, gamma, beta, 0.1, None)
        assert np.isnan(y[:, 1]).all() and not np.isnan(y[:, 0]).any()
        assert np.isnan(statistics.mean[1]) and not np.isnan(statistics.mean[0])
