"""Recording launches and replaying them, on a stand-in that records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from backends.cupy.standin import machine, standin_cupy, streams, traffic

from tinygrad_effnet.backends.cupy.graph import Graph, RecordingError


def sum_of_squares(x: Any, y: Any) -> Any:
    square = x * x
    square += y * y
    return square


def arrays(cupy: Any, *shapes: Any) -> list[Any]:
    rng = np.random.default_rng(8)
    return [cupy.asarray(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]


def test_a_replay_computes_with_what_it_is_given() -> None:
    with standin_cupy() as cupy:
        x, y, z = arrays(cupy, (3, 2), (3, 2), (3, 2))
        calls = []
        graph = Graph(lambda *given: calls.append(1) or sum_of_squares(*given), x, y)
        first = graph(x, y)
        second = graph(z, x)
        third = graph(x.T.copy().T, y)  # in another layout
        expected = [(a.get() ** 2 + b.get() ** 2) for a, b in ((x, y), (z, x), (x, y))]
        for found, values in zip((first, second, third), expected, strict=True):
            np.testing.assert_allclose(found.get(), values, rtol=1e-6)
        assert len(calls) == 2  # to compile, and to record


def test_replays_on_other_streams_take_turns() -> None:
    with standin_cupy() as cupy:
        x, y, z = arrays(cupy, (40,), (40,), (40,))
        graph = Graph(sum_of_squares, x, y)
        one, other = (streams.Stream(non_blocking=True) for _ in range(2))
        with one:
            first = graph(x, y)
        with other:
            second = graph(z, y)
            np.testing.assert_allclose(second.get(), z._there**2 + y._there**2, rtol=1e-6)
        with one:
            np.testing.assert_allclose(first.get(), x._there**2 + y._there**2, rtol=1e-6)


def test_it_waits_for_what_its_examples_wait_for() -> None:
    with standin_cupy() as cupy:
        (x,) = arrays(cupy, (4,))
        kept: list[Any] = []
        with streams.Stream(non_blocking=True):
            late = x + 1.0
            graph = Graph(lambda a: kept.append(late * 2.0) or a * 3.0, late)
            np.testing.assert_allclose(graph(late).get(), 3 * (x._there + 1), rtol=1e-6)
            np.testing.assert_allclose(kept[0].get(), 2 * (x._there + 1), rtol=1e-6)  # computed when it was compiled


def test_its_memory_is_its_own_and_comes_back() -> None:
    with standin_cupy() as cupy:
        x, y = arrays(cupy, (100,), (100,))
        before = machine.pools[0].used
        graph = Graph(sum_of_squares, x, y)
        assert machine.pools[0].used == before
        assert graph.nbytes >= 3 * x.nbytes  # two arguments, a result
        result = graph(x, y)
        assert machine.pools[0].used == before + result.nbytes
        traffic.clear()
        del graph
        assert traffic.counts["waits"] == 1  # for the replay
        np.testing.assert_allclose(result.get(), x._there**2 + y._there**2, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, cupy: x * float(x.sum()), "operation not permitted"),
        (lambda x, cupy: x + cupy.asarray(np.ones(4, np.float32)), "H2D transfers are disallowed"),
        (lambda x, cupy: cupy.matmul(x[None], x[:, None]), "calling cuBLAS API during stream capture"),
        (lambda x, cupy: x[x > 0], "operation not permitted"),
    ],
    ids=["reads a number", "sends numbers", "calls cuBLAS", "counts a mask"],
)
def test_what_cannot_be_recorded_is_named(function: Any, words: str) -> None:
    with standin_cupy() as cupy:
        (x,) = arrays(cupy, (4,))
        with pytest.raises(
            RecordingError, match=rf"^the launches cannot be recorded: .*{words}.*may not read a number"
        ):
            Graph(lambda a: function(a, cupy), x)
        assert not streams.current().is_capturing()
        Graph(lambda a: a + 1.0, x)(x)  # another may


def test_a_full_device_is_no_fault_of_the_function() -> None:
    with standin_cupy() as cupy:
        (x,) = arrays(cupy, (4,))
        calls = []

        def greedy(a: Any) -> Any:
            calls.append(1)
            if len(calls) == 2:
                raise machine.OutOfMemoryError(1, 1)
            return a

        with pytest.raises(machine.OutOfMemoryError):
            Graph(greedy, x)


def test_arguments_are_what_was_recorded() -> None:
    with standin_cupy() as cupy:
        x, y, z = arrays(cupy, (4,), (4,), (5,))
        graph = Graph(sum_of_squares, x, y)
        with pytest.raises(TypeError, match=r"^Graph: got 1 arguments, recorded with 2"):
            graph(x)
        with pytest.raises(
            ValueError, match=r"^Graph, argument 1: got float32 of shape \(5,\) on device 0, recorded wit"
        ):
            graph(x, z)
        with pytest.raises(ValueError, match=r"^Graph, argument 0: got float64 of .* record another graph$"):
            graph(x.astype(np.float64), y)
        with machine.Device(1):
            (far,) = arrays(cupy, (4,))
        with pytest.raises(ValueError, match="on device 1, recorded with float32 of"):
            graph(far, y)
