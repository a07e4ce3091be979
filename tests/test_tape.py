"""The walk backwards: what it costs, what it leaves behind, and that it is right on any graph."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet import tape


def leaf(*values: float) -> tg.Tensor:
    return tg.Tensor(np.array(values), requires_grad=True)


@pytest.fixture
def without_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# -- size ----------------------------------------------------------------------------------------------------------


def test_diamonds_are_walked_once_each(pulls: list[str]) -> None:
    x = leaf(1.0, 2.0)
    y, depth = x, 10_000
    for _ in range(depth):
        y = y * 0.5 + y * 0.5
    y.backward([3.0, -5.0])
    assert len(pulls) == 3 * depth
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, -5.0])


def test_a_chain_of_a_hundred_thousand() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1e-5
    y.backward([2.5])
    assert x.grad.item() == 2.5


def test_a_long_chain_is_dropped_without_being_walked(without_gc: None) -> None:
    x = leaf(1.0)
    first = y = -x
    for _ in range(100_000):
        y = -y
    watched = weakref.ref(first.node)
    del first
    assert watched() is not None
    del y
    assert watched() is None


# -- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["backward", "grad", "dropped", "twice", "second order"])
def test_everything_dies_without_the_garbage_collector(how: str, without_gc: None) -> None:
    x, w = leaf(0.5, 1.0, 2.0), leaf(1.0, -1.0, 0.5)
    hidden = (x * w).tanh()
    hidden.retain_grad()
    hidden.register_hook(lambda g: None)
    y = (hidden.exp() * hidden + x[[0, 0, 1]]).sum()
    watched = [weakref.ref(t) for t in (hidden, hidden.node, hidden.array, y, y.node, x.node)]
    if how == "backward":
        y.backward()
    elif how == "twice":
        y.backward(retain_graph=True)
        y.backward()
    elif how == "grad":
        tg.grad(y, [x, hidden])
    elif how == "second order":
        (g,) = tg.grad(y, x, create_graph=True)
        (g * g).sum().backward()
        watched.append(weakref.ref(g.node))
        del g
    del hidden, y, x, w
    assert [r() for r in watched] == [None] * len(watched)
    assert gc.collect() == 0


def test_a_walk_frees_what_was_saved_while_the_result_lives(without_gc: None) -> None:
    x = leaf(0.5, 1.0)
    hidden = x.exp()
    saved, node = weakref.ref(hidden.array), hidden.node
    y = (hidden * 2.0).sum()
    del hidden
    assert saved() is not None
    assert node.saved_bytes == 16
    y.backward()
    assert saved() is None
    assert node.saved_bytes == 0
    assert y.node.edges == ()


# -- again ---------------------------------------------------------------------------------------------------------


def test_a_second_walk_is_an_error_that_names_operation_and_line() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp().sum()  # the line
    y.backward()
    line = next(i for i, text in enumerate(open(__file__), 1) if text.rstrip().endswith("# the line"))
    for again in (y.backward, lambda: tg.grad(y, x), lambda: tg.grad(y * 2.0, x)):
        with pytest.raises(RuntimeError, match="retain_graph=True") as caught:
            again()
        assert f"reached sum (made at {__file__}:{line}) a second time" in str(caught.value)
    np.testing.assert_allclose(x.grad.numpy(), np.exp([1.0, 2.0]))


def test_a_part_that_was_walked_before_is_an_error_not_a_wrong_number() -> None:
    x = leaf(2.0)
    shared = x * x
    (shared * 3.0).backward()
    for redo in (
        lambda: (shared + x).backward(),
        lambda: tg.grad(shared + x, x),
        lambda: tg.grad(shared + x, [shared, x]),
    ):
        with pytest.raises(RuntimeError, match="reached mul"):
            redo()
    np.testing.assert_array_equal(tg.grad(shared * 5.0, shared)[0].numpy(), [5.0])  # what lies beyond is not walked


def test_retain_graph_allows_any_number_of_walks() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    for times in (1, 2, 3):
        y.backward(retain_graph=times < 3)
        np.testing.assert_array_equal(x.grad.numpy(), times * np.array([2.0, 4.0]))


def test_grad_of_a_result_on_the_way_leaves_the_rest_to_be_walked() -> None:
    x = leaf(2.0)
    h = x * x
    y = h * h
    (dh,) = tg.grad(y, h)
    h.backward(dh)
    assert (dh.item(), x.grad.item()) == (8.0, 32.0)


# -- sums ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("f", "slope"), [(lambda x: x + x, 2.0), (lambda x: x + x + x, 3.0), (lambda x: x - x, 0.0)])
def test_a_tensor_used_often_receives_all(f: Callable, slope: float) -> None:
    x, upstream = leaf(1.0, 2.0), np.array([0.3, -0.7])
    f(x).backward(upstream)
    np.testing.assert_allclose(x.grad.numpy(), slope * upstream, rtol=1e-15)


def test_grad_accumulates_until_it_is_set_to_none() -> None:
    x = leaf(1.0)
    for expected in (3.0, 6.0):
        (x * 3.0).backward()
        assert x.grad.item() == expected
    x.grad = None
    (x * 2.0).backward()
    assert x.grad.item() == 2.0


def test_gradients_share_no_memory() -> None:
    a, b, c = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(5.0, 6.0)
    upstream = tg.Tensor(np.array([0.3, -0.7]))
    y = a + b + c.reshape(2)
    y.retain_grad()
    y.backward(upstream)
    arrays = [t.grad.array for t in (a, b, c, y)] + [upstream.array]
    for i, one in enumerate(arrays):
        assert not any(np.shares_memory(one, other) for other in arrays[:i])
    a.grad.array *= 100
    (a + b).backward(upstream)
    np.testing.assert_allclose(b.grad.numpy(), [0.6, -1.4])
    np.testing.assert_array_equal(upstream.numpy(), [0.3, -0.7])


def test_adding_in_place_never_touches_a_borrowed_gradient() -> None:
    x = leaf(1.0, 2.0)
    seen: list[np.ndarray] = []
    p, q, r = x * 1.0, x * 1.0, x * 1.0
    for t in (p, q, r):
        t.register_hook(lambda g: seen.append(g.array))
    upstream = np.array([1.5, -2.5])
    (p + q + r).backward(upstream)
    for array in seen:
        np.testing.assert_array_equal(array, upstream)
    np.testing.assert_array_equal(x.grad.numpy(), 3 * upstream)


# -- on and off ----------------------------------------------------------------------------------------------------


def test_recording_is_switched_by_blocks_that_nest() -> None:
    x, states = leaf(1.0), []
    states.append(tg.is_grad_enabled())
    with tg.no_grad():
        states.append((x * 2.0).requires_grad)
        with tg.enable_grad():
            states.append((x * 2.0).requires_grad)
            with tg.no_grad():
                states.append(tg.is_grad_enabled())
            states.append(tg.is_grad_enabled())
        states.append(tg.is_grad_enabled())
    states.append(tg.is_grad_enabled())
    assert states == [True, False, True, False, True, False, True]
    with pytest.raises(OSError), tg.no_grad():
        raise OSError
    assert tg.is_grad_enabled()
    block = tg.no_grad()
    with block, block:
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()


def test_recording_is_switched_by_decorators_that_recurse() -> None:
    @tg.no_grad()
    def off(depth: int) -> list[bool]:
        return [tg.is_grad_enabled(), *(on(depth - 1) if depth else []), tg.is_grad_enabled()]

    @tg.enable_grad()
    def on(depth: int) -> list[bool]:
        return [tg.is_grad_enabled(), *(off(depth - 1) if depth else []), tg.is_grad_enabled()]

    assert off(3) == [False, True, False, True, True, False, True, False]
    assert tg.is_grad_enabled()
    assert off.__name__ == "off"


def test_recording_is_switched_for_one_thread() -> None:
    inside, done = threading.Event(), threading.Event()
    states: list[bool] = []

    def other() -> None:
        states.append(tg.is_grad_enabled())
        with tg.no_grad():
            inside.set()
            done.wait(10)
            states.append(tg.is_grad_enabled())

    thread = threading.Thread(target=other)
    with tg.no_grad():
        thread.start()
        assert inside.wait(10)
    assert tg.is_grad_enabled()
    done.set()
    thread.join()
    assert states == [True, False]


def test_a_decorated_function_may_run_in_several_threads() -> None:
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    left: dict[str, bool] = {}

    @tg.no_grad()
    def work(entered: threading.Event, until: threading.Event) -> None:
        entered.set()
        until.wait(10)

    def first() -> None:
        work(first_in, second_in)
        left["first"] = tg.is_grad_enabled()
        first_out.set()

    def second() -> None:
        with tg.no_grad():
            first_in.wait(10)
            work(second_in, first_out)
            left["second"] = tg.is_grad_enabled()

    threads = [threading.Thread(target=f) for f in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == {"first": True, "second": False}


# -- any graph -----------------------------------------------------------------------------------------------------


def step(name: str, a: tg.Tensor, b: tg.Tensor, da: np.ndarray, db: np.ndarray) -> tuple[tg.Tensor, np.ndarray]:
    """One operation, and its slopes by the chain rule written out."""
    u, v = a.item(), b.item()
    made = {
        "add": lambda: (a + b, da + db),
        "sub": lambda: (a - b, da - db),
        "mul": lambda: (a * b, da * v + u * db),
        "sin": lambda: (a.sin(), da * np.cos(u)),
        "tanh": lambda: (a.tanh(), da * (1 - np.tanh(u) ** 2)),
        "detach": lambda: (a.detach() + 0.0, da * 0.0),
        "scale": lambda: (a * -1.5, da * -1.5),
    }
    return made[name]()


@given(st.data())
def test_any_graph_agrees_with_the_sum_over_its_paths(data: st.DataObject) -> None:
    """The gradient is the sum over all paths of the product of the slopes along it; here it is computed forwards."""
    leaves = data.draw(st.integers(1, 3), label="leaves")
    rng = np.random.default_rng(data.draw(st.integers(0, 999), label="seed"))
    x = [leaf(float(v)) for v in rng.uniform(0.5, 1.5, leaves)]
    nodes, slopes = list(x), list(np.eye(leaves))  # slopes[i][k] = d nodes[i] / d x[k]
    for _ in range(data.draw(st.integers(1, 12), label="operations")):
        i, j = (data.draw(st.integers(0, len(nodes) - 1)) for _ in "ij")
        a, b, da, db = nodes[i], nodes[j], slopes[i], slopes[j]
        name = data.draw(st.sampled_from(["add", "sub", "mul", "sin", "tanh", "detach", "scale"]))
        y, dy = step(name, a, b, da, db)
        nodes.append(y)
        slopes.append(dy)
    tips = [i for i, node in enumerate(nodes) if node.requires_grad and data.draw(st.booleans())] or [0]
    seeds = rng.standard_normal(len(tips))
    expected = sum(s * slopes[i] for s, i in zip(seeds, tips, strict=True))
    found = tg.grad([nodes[i] for i in tips], x, [np.array([s]) for s in seeds], retain_graph=True, allow_unused=True)
    np.testing.assert_allclose([0.0 if g is None else g.item() for g in found], expected, rtol=1e-9, atol=1e-12)
    tape.backward([nodes[i] for i in tips], [tg.Tensor(np.array([s])) for s in seeds])
    np.testing.assert_allclose([0.0 if t.grad is None else t.grad.item() for t in x], expected, rtol=1e-9, atol=1e-12)


def test_a_walk_that_fails_changes_no_gradient() -> None:
    x, w = leaf(1.5), leaf(2.0)
    (x * 3).backward()
    before = x.grad.numpy().copy()
    middle = w.sin()
    middle.backward(retain_graph=False)  # frees what the next walk needs of w, after x has been delivered to
    w.grad = None
    with pytest.raises(RuntimeError, match="a second time"):
        (middle * x.exp()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), before)
    assert w.grad is None

    def refuse(_: tg.Tensor) -> None:
        raise ZeroDivisionError

    product = (y := w.cos()) * x
    y.register_hook(refuse)
    with pytest.raises(ZeroDivisionError):
        product.backward()
    np.testing.assert_array_equal(x.grad.numpy(), before)
