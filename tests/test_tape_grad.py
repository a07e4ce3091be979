"""`grad`, gradients of gradients, and hooks."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.op import registry


def leaf(*values: float) -> tg.Tensor:
    return tg.Tensor(np.array(values), requires_grad=True)


# -- grad ----------------------------------------------------------------------------------------------------------


def test_grad_of_leaves_and_of_results_on_the_way_leaves_every_grad_alone() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = x * w
    y = h * h
    dx, dh, dw, again = tg.grad(y, [x, h, w, x], np.array([1.0, -1.0]))
    np.testing.assert_array_equal(dh.numpy(), [6.0, -16.0])
    np.testing.assert_array_equal(dx.numpy(), [18.0, -64.0])
    np.testing.assert_array_equal(dw.numpy(), [6.0, -32.0])
    np.testing.assert_array_equal(again.numpy(), dx.numpy())
    assert x.grad is w.grad is h.grad is None
    assert not dx.requires_grad


def test_grad_of_several_outputs_is_that_of_their_sum() -> None:
    x = leaf(1.0, 2.0)
    (dx,) = tg.grad([x * 2.0, (x * x).sum(), x], x, [np.array([1.0, 10.0]), None, np.array([0.5, 0.25])])
    np.testing.assert_array_equal(dx.numpy(), [2 + 2 + 0.5, 20 + 4 + 0.25])


def test_grad_walks_only_what_leads_to_the_inputs(pulls: list[str]) -> None:
    x, w = leaf(1.0), leaf(2.0)
    h = x.exp()
    y = (h.sin() * w.cos().tanh()).exp()
    tg.grad(y, w, retain_graph=True)
    assert pulls == ["exp", "mul", "tanh", "cos"]
    pulls.clear()
    tg.grad(y, h)
    assert pulls == ["exp", "mul", "sin"]


def test_gradients_on_the_way_are_let_go_as_soon_as_they_are_passed_on() -> None:
    x = leaf(0.3, -0.7)
    alive: list[int] = []
    passed: list[weakref.ref[np.ndarray]] = []

    def look(gradient: tg.Tensor) -> None:
        alive.append(sum(array() is not None for array in passed))
        passed.append(weakref.ref(gradient.array))

    y = x
    for _ in range(8):
        y = y.sin()
        y.register_hook(look)
    upstream = np.array([1.3, -0.4])
    (dx,) = tg.grad(y, x, upstream)
    assert len(alive) == 8
    assert max(alive) <= 2  # what came in, which belongs to the caller, and the last
    expected, value = upstream, x.array
    for _ in range(8):
        expected, value = expected * np.cos(value), np.sin(value)
    np.testing.assert_allclose(dx.array, expected)


def test_only_the_needed_gradients_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, ...]] = []
    backward = registry["matmul"].backward
    monkeypatch.setattr(
        registry["matmul"],
        "backward",
        lambda self, dy: (seen.append(tuple(map(bool, self.needed))), backward(self, dy))[1],
    )
    a, b = tg.Tensor(np.ones((2, 2)), True), tg.Tensor(np.ones((2, 2)), True)
    y = (a @ b).sum()
    tg.grad(y, a, retain_graph=True)
    tg.grad(y, b, retain_graph=True)
    y.backward()
    (a @ b.detach()).sum().backward()
    assert seen == [(True, False), (False, True), (True, True), (True, False)]


def test_an_input_that_was_not_used() -> None:
    x, unused = leaf(1.0), leaf(2.0)
    y = x * 3.0
    with pytest.raises(ValueError, match=r"do not depend on inputs\[1\].*allow_unused=True"):
        tg.grad(y, [x, unused], retain_graph=True)
    dx, none = tg.grad(y, [x, unused], allow_unused=True)
    assert (dx.item(), none) == (3.0, None)
    assert tg.grad(leaf(1.0) * 2.0, x, allow_unused=True) == (None,)
    assert tg.grad(tg.Tensor([1.0]), x, allow_unused=True) == (None,)
    np.testing.assert_array_equal(tg.grad(x, x)[0].numpy(), [1.0])


def test_grad_checks_its_arguments() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2.0
    with pytest.raises(ValueError, match=r"the tensor has shape \(2,\), so its gradient is not simply 1"):
        tg.grad(y, x)
    with pytest.raises(ValueError, match=r"2 gradients for 1 outputs"):
        tg.grad(y, x, [np.ones(2), np.ones(2)])
    with pytest.raises(ValueError, match=r"has shape \(3,\).*\(2,\)"):
        tg.grad(y, x, np.ones(3))
    with pytest.raises(ValueError, match=r"inputs\[0\] does not require a gradient"):
        tg.grad(y, tg.Tensor([1.0]), np.ones(2))


# -- higher orders -------------------------------------------------------------------------------------------------


def test_hessian_vector_products_have_their_closed_form() -> None:
    rng = np.random.default_rng(0)
    a, x, v = rng.standard_normal((4, 4)), rng.standard_normal(4), rng.standard_normal(4)
    leaf_x = tg.Tensor(x, requires_grad=True)
    # f = sum exp(A x) + (x·x)², H = Aᵀ diag(exp(A x)) A + 4 (x·x) I + 8 x xᵀ
    f = (tg.Tensor(a) @ leaf_x).exp().sum() + (leaf_x * leaf_x).sum() ** 2
    (g,) = tg.grad(f, leaf_x, create_graph=True)
    (hv,) = tg.grad(g, leaf_x, v)
    hessian = a.T @ np.diag(np.exp(a @ x)) @ a + 4 * (x @ x) * np.eye(4) + 8 * np.outer(x, x)
    np.testing.assert_allclose(hv.numpy(), hessian @ v, rtol=1e-12)


def test_derivatives_of_a_polynomial() -> None:
    x = leaf(2.0)
    y = x**5 - 3.0 * x * x * x + x
    found = []
    for _ in range(6):
        (y,) = tg.grad(y, x, create_graph=True)
        found.append(y.item())
    assert found == pytest.approx([80 - 36 + 1, 160 - 36, 240 - 18, 240, 120, 0])


def test_a_number_saved_twice_is_told_apart_from_its_detached_twin() -> None:
    for f in (lambda x: x * x.detach(), lambda x: x.detach() * x):
        x = leaf(3.0)
        (g,) = tg.grad(f(x), x, create_graph=True)
        assert g.item() == 3.0
        assert tg.grad(g, x, allow_unused=True) == (None,)


def test_backward_with_create_graph_gives_a_grad_that_can_be_differentiated() -> None:
    x = leaf(3.0)
    (x * x * x).backward(create_graph=True)
    first = x.grad
    assert (first.item(), first.requires_grad) == (27.0, True)
    (second,) = tg.grad(first, x)
    assert second.item() == 18.0
    x.grad = None


# -- hooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["leaf", "result"])
def test_hooks_see_the_complete_gradient_once_and_may_replace_it(on: str) -> None:
    x = leaf(1.0, 2.0)
    h = x * 2.0
    seen: list[np.ndarray] = []
    target = x if on == "leaf" else h
    first = target.register_hook(lambda g: seen.append(g.numpy().copy()))
    second = target.register_hook(lambda g: g * 10.0)
    third = target.register_hook(lambda g: seen.append(g.numpy().copy()))
    y = h + h * 3.0
    y.backward(np.array([1.0, -1.0]), retain_graph=True)
    arrived = np.array([8.0, -8.0]) if on == "leaf" else np.array([4.0, -4.0])
    np.testing.assert_array_equal(seen, [arrived, arrived * 10])
    np.testing.assert_array_equal(x.grad.numpy(), [80.0, -80.0])
    for hook in (first, second, third, third):
        hook.remove()
    x.grad = None
    y.backward(np.array([1.0, -1.0]))
    assert len(seen) == 2
    np.testing.assert_array_equal(x.grad.numpy(), [8.0, -8.0])


def test_hooks_run_in_grad_too() -> None:
    x = leaf(1.0)
    h = x * 2.0
    h.register_hook(lambda g: g * 5.0)
    dx, dh = tg.grad(h * 3.0, [x, h])
    assert (dx.item(), dh.item()) == (30.0, 15.0)


def test_what_a_hook_returns_is_checked_and_converted() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    hook = x.register_hook(lambda g: np.array([0.1, 0.2]))
    (x * 2.0).sum().backward()
    assert isinstance(x.grad, tg.Tensor)
    assert x.grad.dtype == np.float32
    hook.remove()
    h = x * 2.0
    h.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"hook of mul .*test_tape_grad\.py:\d+.*has shape \(\).*\(2,\)"):
        h.backward(np.ones(2) * 0.5)


def test_a_hook_may_remove_itself() -> None:
    x = leaf(1.0)
    calls: list[float] = []

    def once(g: tg.Tensor) -> None:
        calls.append(g.item())
        handle.remove()

    handle = x.register_hook(once)
    for _ in range(2):
        (x * 2.0).backward()
    assert calls == [2.0]


def test_retain_grad_keeps_the_gradient_of_a_result() -> None:
    x = leaf(1.0, 2.0)
    h = x * 3.0
    h.retain_grad()
    x.retain_grad()
    y = h * h
    y.backward(np.array([1.0, 0.5]))
    np.testing.assert_array_equal(h.grad.numpy(), [6.0, 6.0])
    assert y.grad is None
    for f in (tg.Tensor.retain_grad, lambda t: t.register_hook(print)):
        with pytest.raises(ValueError, match="does not require a gradient"):
            f(tg.Tensor([1.0]))
