"""Writes between forward and backward: an error that names both lines, or the right gradient; never a wrong one."""

from __future__ import annotations

import ast
import gc
import inspect
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim, versions


def leaf(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.random.default_rng(sum(shape)).uniform(0.5, 2, shape), True)


def line_of(marker: str) -> str:
    """``file:line`` of the line of this file that ends in a comment with the marker."""
    lines = Path(__file__).read_text().splitlines()
    return f"{__file__}:{1 + next(i for i, line in enumerate(lines) if line.endswith('# ' + marker))}"


def test_the_error_names_both_lines_and_the_way_out() -> None:
    x = leaf(3)
    y = (x * x).sum()  # saves
    with tg.no_grad():
        x[1] = 5.0  # writes
    with pytest.raises(RuntimeError) as caught:
        y.backward()
    assert str(caught.value) == (
        f"mul (made at {line_of('saves')}) saved input a, of shape (3,), for the backward pass, and "
        f"tensor[...] = value at {line_of('writes')} has written to its memory since; the gradient would be wrong. "
        "Make a new tensor instead of writing (x = x * 0.9, not x[...] = x * 0.9), write after backward(), or give the "
        "operation a copy"
    )
    assert x.grad is None


def write(x: tg.Tensor) -> None:
    with tg.no_grad():
        x[...] = x.numpy() * 0.9


def through_reshape(x: tg.Tensor) -> None:
    x.detach().reshape(-1)[:1] = 7.0


def through_indexing(x: tg.Tensor) -> None:
    x.detach()[1:][0] = 7.0


def through_transposition(x: tg.Tensor) -> None:
    x.detach().T[0] = 7.0


def through_numpy_again(x: tg.Tensor) -> None:
    tg.from_numpy(x.array)[0] = 7.0


def step(x: tg.Tensor) -> None:
    x.grad = tg.Tensor(np.ones(x.shape))
    optim.SGD([x], lr=0.1).step()


def step_adam(x: tg.Tensor) -> None:
    x.grad = tg.Tensor(np.ones(x.shape))
    optim.Adam([x], lr=0.1).step()


def load(x: tg.Tensor) -> None:
    module = nn.Module()
    module.weight = nn.Parameter([0.0])  # type: ignore[attr-defined]
    module.weight.array = x.array  # type: ignore[attr-defined]
    module.load_state_dict({"weight": np.zeros(x.shape)})


def average(x: tg.Tensor) -> None:
    with optim.EMA({"x": x}, 0.9).applied():
        pass


WRITERS: list[tuple[Callable[[tg.Tensor], Any], str]] = [
    (write, r"tensor\[\.\.\.\] = value"),
    (through_reshape, r"tensor\[\.\.\.\] = value"),
    (through_indexing, r"tensor\[\.\.\.\] = value"),
    (through_transposition, r"tensor\[\.\.\.\] = value"),
    (through_numpy_again, r"tensor\[\.\.\.\] = value"),
    (step, r"SGD\.step\(\)"),
    (step_adam, r"Adam\.step\(\)"),
    (load, r"load_state_dict\(\)"),
    (average, r"EMA\.applied\(\), at its end,"),
    (nn.init.zeros_, r"constant_\(\)"),
    (nn.init.normal_, r"normal_\(\)"),
    (nn.init.uniform_, r"uniform_\(\)"),
    (nn.init.trunc_normal_, r"trunc_normal_\(\)"),
]


@pytest.mark.parametrize(("writer", "name"), WRITERS)
def test_every_public_way_to_write_is_noticed(writer: Callable[[tg.Tensor], Any], name: str) -> None:
    x = leaf(4)
    y = (x * x).sum()
    writer(x)
    with pytest.raises(RuntimeError, match=rf"saved input a.* and {name} at {re.escape(__file__)}:\d+ has written"):
        y.backward()


def test_what_is_not_saved_may_be_written_to() -> None:
    x, other = leaf(3), leaf(3)
    y = (x + other).sum()  # the rule of a sum needs neither
    write(x)
    y.backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    z = (x * 2.0).sum()
    write(other)  # memory of its own
    z.backward()
    assert x.grad.tolist() == [3.0, 3.0, 3.0]


def test_writes_before_the_save_or_after_the_walk_do_no_harm() -> None:
    x = leaf(3)
    for _ in range(3):
        write(x)
        expected = 2 * x.numpy()
        x.grad = None
        (x * x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), expected)
        write(x)


def test_results_that_are_saved_count_as_well() -> None:
    y = leaf(3).exp()
    total = y.sum()
    with tg.no_grad():
        y[0] = 0.0
    with pytest.raises(RuntimeError, match=r"exp \(made at .* saved the result, of shape \(3,\)"):
        total.backward()


def test_a_condition_that_is_written_to() -> None:
    x, condition = leaf(3), tg.Tensor([True, False, True])
    y = tg.where(condition, x, 0.0).sum()
    condition[0] = False
    with pytest.raises(RuntimeError, match=r"where \(made at .* saved an array, of shape \(3,\)"):
        y.backward()


def test_an_index_may_be_written_to_since_the_tape_has_its_own() -> None:
    x, index = leaf(3), tg.Tensor([0, 2])
    y = x[index]
    index[0] = 1
    y.backward([1.0, 5.0])
    assert x.grad.tolist() == [1.0, 0.0, 5.0]
    mask = np.array([True, False, True])
    y = x[mask,]
    mask[:] = [False, True, True]
    y.backward([1.0, 5.0])
    assert x.grad.tolist() == [2.0, 0.0, 10.0]


def test_second_order_walks_are_guarded() -> None:
    x = leaf(3)
    (slope,) = tg.grad((x * x * x).sum(), x, create_graph=True)
    write(x)
    with pytest.raises(RuntimeError, match="has written to its memory since"):
        slope.sum().backward()


def test_a_retained_tape_is_refused_once_a_parameter_has_moved() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.SiLU(), nn.Linear(3, 1))
    optimiser = optim.NAdam(model.parameters(), lr=0.1)
    loss = model(tg.Tensor([[1.0, 2.0]])).sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    optimiser.step()
    with pytest.raises(RuntimeError, match=r"NAdam\.step\(\) at "):
        loss.backward()


def test_running_statistics_are_writes() -> None:
    norm = nn.BatchNorm2d(3)
    x = leaf(2, 3, 2, 2)
    norm.eval()
    y = (norm(x) * norm.running_mean.reshape(1, 3, 1, 1)).sum()
    norm.train()
    norm(x)
    with pytest.raises(RuntimeError, match=r"batch_norm\(\), moving its running statistics, at "):
        y.backward()
    counted = (tg.Tensor(2.0, True) * norm.num_batches_tracked).sum()
    counted.backward()
    norm.train()
    total = sum([norm(x).sum() for _ in range(3)], tg.Tensor(0.0))  # training moves them between forward and backward
    total.backward()
    assert norm.weight.grad is not None


def test_gradients_that_are_saved_and_then_added_to_or_clipped() -> None:
    def saved_gradient() -> tuple[tg.Tensor, tg.Tensor]:
        x = leaf(3)
        (x * x).sum().backward()
        return x, (x.grad * leaf(3)).sum()

    x, y = saved_gradient()
    (x * 3.0).sum().backward()
    with pytest.raises(RuntimeError, match=r"and backward\(\), adding to \.grad, at "):
        y.backward()
    for clip, name in ((optim.clip_grad_norm_, "norm"), (optim.clip_grad_value_, "value")):
        x, y = saved_gradient()
        clip([x], 0.1)
        with pytest.raises(RuntimeError, match=rf"and clip_grad_{name}_\(\) at "):
            y.backward()


def test_writes_of_another_thread_are_noticed() -> None:
    x = leaf(3)
    y = (x * x).sum()
    thread = threading.Thread(target=write, args=(x,))
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="has written to its memory since"):
        y.backward()


def test_memory_that_is_gone_is_forgotten() -> None:
    x = leaf(3)
    key = id(x.array)
    write(x)
    write(x)
    assert key in versions._writes
    del x
    gc.collect()
    assert key not in versions._writes


def test_views_made_by_stride_tricks_belong_to_their_owner() -> None:
    x = leaf(6)
    windows = tg.from_numpy(np.lib.stride_tricks.sliding_window_view(x.array, 2)).requires_grad_()
    y = (windows * windows).sum()
    write(x)
    with pytest.raises(RuntimeError, match="has written to its memory since"):
        y.backward()


def test_read_only_memory_is_not_written_to() -> None:
    x = tg.Tensor([1.0]).broadcast_to(3)
    with pytest.raises(ValueError, match=r"this tensor \(shape \(3,\)\) is read-only.*write to a copy, Tensor\(x\)"):
        x[0] = 2.0


@given(st.data())
def test_random_programs_give_the_right_gradient_or_an_error(data: st.DataObject) -> None:
    """Write somewhere at a random time; if no error comes, the gradient is that of the program without the write."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    arrays = [rng.uniform(0.5, 1.5, 3) for _ in range(3)]
    names = data.draw(
        st.lists(st.sampled_from(["add", "mul", "exp", "maximum", "sub", "silu"]), min_size=1, max_size=6)
    )
    picks = data.draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=6, max_size=6))
    when, whom = data.draw(st.integers(0, len(names))), data.draw(st.integers(0, 99))

    def run(disturbed: bool) -> list[np.ndarray | None]:
        leaves = [tg.Tensor(a, True) for a in arrays]
        made = list(leaves)
        written = None
        for time, (name, (i, j)) in enumerate(zip(names, picks, strict=False)):
            if time == when:
                written = made[whom % len(made)]
            a, b = made[i % len(made)], made[j % len(made)]
            made.append(getattr(tg, name)(a) if name in ("exp", "silu") else getattr(tg, name)(a, b))
        if disturbed:
            write(made[-1] if written is None else written)
        made[-1].backward(np.array([0.3, -1.0, 2.0]))
        return [None if x.grad is None else x.grad.numpy() for x in leaves]

    expected = run(False)
    try:
        found = run(True)
    except RuntimeError as error:
        assert "has written to its memory since" in str(error)
    else:
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_array_equal(got, want)


def test_whatever_writes_into_a_tensors_array_says_so() -> None:
    """Each function of the package that assigns into ``.array`` calls `versions.wrote`, or owns the memory alone."""
    owners = {"seed_gradient", "deliver"}  # tensors that nobody else has seen yet
    silent = []
    for path in Path(inspect.getfile(tg)).parent.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and function.name not in owners:
                if any(map(_writes_into_an_array, ast.walk(function))) and "wrote(" not in ast.unparse(function):
                    silent.append(f"{path.name}: {function.name}")
    assert silent == ["tape.py: _walk"]  # whose inner function deliver() is the owner


def _writes_into_an_array(node: ast.AST) -> bool:
    if isinstance(node, ast.AugAssign):
        target = node.target.value if isinstance(node.target, ast.Subscript) else node.target
        return isinstance(target, ast.Attribute) and target.attr == "array"
    return isinstance(node, ast.Assign) and any(
        isinstance(t, ast.Subscript) and isinstance(t.value, ast.Attribute) and t.value.attr == "array"
        for t in node.targets
    )
