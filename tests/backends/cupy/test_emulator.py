"""The emulator shows what is wrong with a kernel, and runs what is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends.cupy.emulator import device, emulator

HELP = """
constexpr unsigned ALL = 0xffffffffu;
template <typename T> __global__ void reverse(const T *x, T *y) {
    __shared__ T all[256];
    all[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    BARRIER;
    y[blockIdx.x * blockDim.x + threadIdx.x] = all[blockDim.x - 1 - threadIdx.x];
}
__global__ void shuffles(int *y) {
    const int lane = threadIdx.x % 32;
    y[threadIdx.x] = __shfl_xor_sync(ALL, threadIdx.x, 1);
    y[64 + threadIdx.x] = __shfl_down_sync(ALL, threadIdx.x, 5);
    y[128 + threadIdx.x] = __shfl_sync(ALL, threadIdx.x, 7);
    double x = threadIdx.x;
    for (int step = 16; step; step /= 2) x += __shfl_xor_sync(ALL, x, step);
    y[192 + threadIdx.x] = (int)x;
}
__global__ void uneven() { if (threadIdx.x) __syncthreads(); }
__global__ void half_a_warp(int *y) { if (threadIdx.x < 16) y[0] = __shfl_sync(ALL, 1, 0); }
__global__ void count(int *y) { atomicAdd(y, 1); }
__global__ void where(int *y) {
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    y[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 1000 + thread;
}
__global__ void dynamic(float *y) { DYNAMIC_SHARED(float, all); y[threadIdx.x] = all[threadIdx.x]; }
"""
NAMES = ["reverse<float>", "shuffles", "uneven", "half_a_warp", "count", "where", "dynamic"]


def built(barrier: str = "__syncthreads()") -> dict[str, emulator.Call]:
    return emulator.build(HELP.replace("BARRIER", barrier), ["-std=c++17"], NAMES)


def reversed_by(calls: dict[str, emulator.Call], seed: int) -> bool:
    x = np.arange(768, dtype=np.float32)
    y = np.zeros_like(x)
    calls["reverse<float>"]((3,), (256,), [x, y], seed=seed)
    return bool((y.reshape(3, 256) == x.reshape(3, 256)[:, ::-1]).all())


def test_threads_meet_at_a_barrier() -> None:
    assert all(reversed_by(built(), seed) for seed in range(5))


def test_a_forgotten_barrier_gives_a_wrong_result() -> None:
    assert not any(reversed_by(built("(void)0"), seed) for seed in range(5))


def test_shuffles() -> None:
    y = np.zeros(256, np.int32)
    built()["shuffles"]((1,), (64,), [y])
    lanes = np.arange(64)
    np.testing.assert_array_equal(y[:64], lanes ^ 1)
    np.testing.assert_array_equal(y[64:128], np.where(lanes % 32 < 27, lanes + 5, lanes))
    np.testing.assert_array_equal(y[128:192], lanes // 32 * 32 + 7)
    np.testing.assert_array_equal(y[192:], np.where(lanes < 32, np.arange(32).sum(), np.arange(32, 64).sum()))


@pytest.mark.parametrize(("name", "args"), [("uneven", 0), ("half_a_warp", 1)])
def test_what_would_hang_is_an_error_and_leaves_the_emulator_usable(name: str, args: int) -> None:
    calls = built()
    with pytest.raises(emulator.LaunchError, match=rf"{name}: block \(0, 0, 0\): .* a device would hang"):
        calls[name]((1,), (32,), [np.zeros(1, np.int32)][:args])
    assert reversed_by(calls, 0)


def test_atomics_and_all_indices() -> None:
    y = np.zeros(1, np.int32)
    built()["count"]((7, 3), (33, 2), [y])
    assert y[0] == 7 * 3 * 33 * 2
    y = np.zeros((24, 30), np.int32)
    built()["where"]((4, 3, 2), (5, 3, 2), [y])
    np.testing.assert_array_equal(y, np.arange(24)[:, None] * 1000 + np.arange(30))


def test_shared_memory_begins_as_nan() -> None:
    y = np.zeros(32, np.float32)
    built()["dynamic"]((1,), (32,), [y], shared=128)
    assert np.isnan(y).all()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([np.zeros(2, np.float32)], "1 arguments passed, 2 declared"),
        ([np.int32(1)] * 2, "argument 0 has 4 bytes, 8 "),
    ],
)
def test_arguments_that_do_not_fit_the_declaration(args: list[Any], words: str) -> None:
    with pytest.raises(emulator.LaunchError, match=words):
        built()["reverse<float>"]((1,), (32,), args)


def test_what_does_not_compile() -> None:
    with pytest.raises(emulator.CompileError, match="nonsense"):
        emulator.build("__global__ void f() { nonsense(); }", [], ["f"])


def test_a_kernel_that_writes_beside_its_array_is_caught() -> None:
    call = emulator.build("__global__ void f(float *y) { y[4] = 0; }", [], ["f"])["f"]
    with pytest.raises(AssertionError, match="a kernel wrote beside an array, of 16 bytes"), device.kernel_device():
        call((1,), (1,), [device.empty(4, "float32")])
