"""What the engine says to a user's mistake, word for word.

``errors.txt`` holds the texts, each under the name of the mistake, for reading as much as for testing. A text must name
the operation and the argument, say what came and what was expected, and what to do. Who changes one changes it there.
"""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn, optim


def floats(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.ones(shape, np.float32))


def whole(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.ones(shape, np.uint8))


def leaf(*shape: int) -> tg.Tensor:
    return tg.Tensor(np.ones(shape, np.float32), requires_grad=True)


def into(array: np.ndarray, x: tg.Tensor) -> None:
    array *= x


MISTAKES: dict[str, Callable[[], Any]] = {
    # entry by entry
    "add, shapes": lambda: tg.add(floats(2, 3), floats(4)),
    "mul, leading axes": lambda: floats(2, 3) * floats(2),
    "sub, transposed": lambda: floats(2, 3) - floats(3, 2),
    "pow, an array": lambda: floats(2) ** np.ones(3),
    "maximum, shapes": lambda: tg.maximum(floats(2), floats(3)),
    "eq, shapes": lambda: floats(2) == floats(3),
    "where, shapes": lambda: tg.where(floats(3) > 0, floats(2), 0.0),
    "where, condition": lambda: tg.where(floats(3), floats(3), 0.0),
    "add, a string": lambda: floats(2) + "x",
    "exp, integers": lambda: whole(3).exp(),
    "div, integers": lambda: tg.Tensor([1, 2]) / 2,
    "clip, limits": lambda: tg.clip(floats(2), 2, 1),
    # products
    "matmul, vectors": lambda: floats(2) @ floats(3),
    "matmul, inner sizes": lambda: floats(2, 3) @ floats(4, 5),
    "matmul, transposed": lambda: floats(2, 3) @ floats(4, 3),
    "matmul, batches": lambda: floats(2, 2, 3) @ floats(3, 3, 2),
    "matmul, a number": lambda: tg.matmul(2.0, floats(2)),
    "matmul, integers": lambda: whole(2, 3) @ floats(3, 2),
    "linear, weight transposed": lambda: tg.linear(floats(2, 3), floats(3, 4)),
    "linear, bias": lambda: tg.linear(floats(2, 3), floats(4, 3), floats(3)),
    "Linear, features": lambda: nn.Linear(3, 4)(floats(2, 5)),
    # convolution
    "conv2d, channels": lambda: tg.conv2d(floats(2, 3, 8, 8), floats(6, 4, 3, 3)),
    "conv2d, NHWC images": lambda: tg.conv2d(floats(2, 8, 8, 3), floats(6, 3, 3, 3)),
    "conv2d, one image": lambda: tg.conv2d(floats(3, 8, 8), floats(6, 3, 3, 3)),
    "conv2d, weight of two axes": lambda: tg.conv2d(floats(2, 3, 8, 8), floats(6, 3)),
    "conv2d, weight transposed": lambda: tg.conv2d(floats(2, 3, 8, 8), floats(3, 6, 3, 3)),
    "conv2d, groups and channels": lambda: tg.conv2d(floats(2, 4, 8, 8), floats(6, 2, 3, 3), groups=3),
    "conv2d, groups and filters": lambda: tg.conv2d(floats(2, 4, 8, 8), floats(6, 2, 3, 3), groups=4),
    "conv2d, meant depthwise": lambda: tg.conv2d(floats(2, 3, 8, 8), floats(3, 1, 3, 3)),
    "conv2d, small image": lambda: tg.conv2d(floats(2, 3, 2, 2), floats(6, 3, 5, 5)),
    "conv2d, bias": lambda: tg.conv2d(floats(2, 3, 8, 8), floats(6, 3, 3, 3), floats(5)),
    "conv2d, stride": lambda: tg.conv2d(floats(2, 3, 8, 8), floats(6, 3, 3, 3), stride=0),
    "conv2d, padding": lambda: tg.conv2d(floats(2, 3, 8, 8), floats(6, 3, 3, 3), padding="full"),
    "conv2d, uint8 images": lambda: tg.conv2d(whole(2, 3, 8, 8), floats(6, 3, 3, 3)),
    "conv2d, a list": lambda: tg.conv2d([1.0], floats(6, 3, 3, 3)),
    "depthwise_conv2d, channels": lambda: tg.depthwise_conv2d(floats(2, 3, 8, 8), floats(4, 1, 3, 3)),
    "depthwise_conv2d, full weight": lambda: tg.depthwise_conv2d(floats(2, 3, 8, 8), floats(3, 3, 3, 3)),
    # normalisation and pooling
    "batch_norm, weight": lambda: tg.batch_norm(floats(2, 3, 4, 4), None, None, floats(4), floats(3), training=True),
    "batch_norm, one sample": lambda: tg.batch_norm(floats(2), None, None),
    "batch_norm, one value": lambda: tg.batch_norm(floats(1, 3, 1, 1), floats(3), floats(3), training=True),
    "batch_norm, uint8 images": lambda: tg.batch_norm(whole(2, 3, 4, 4), None, None, training=True),
    "BatchNorm2d, one image": lambda: nn.BatchNorm2d(3)(floats(3, 4, 4)),
    "max_pool2d, one image": lambda: tg.max_pool2d(floats(3, 4, 4), 2),
    "max_pool2d, large window": lambda: tg.max_pool2d(floats(1, 3, 4, 4), 5),
    "max_pool2d, padding": lambda: tg.max_pool2d(floats(1, 3, 4, 4), 2, padding=2),
    "max_pool2d, uint8 images": lambda: tg.max_pool2d(whole(1, 3, 4, 4), 2),
    "avg_pool2d, kernel": lambda: tg.avg_pool2d(floats(1, 3, 4, 4), (2, 0)),
    "adaptive_avg_pool2d, one image": lambda: tg.adaptive_avg_pool2d(floats(3, 4, 4), 1),
    # losses
    "cross_entropy, labels from 1": lambda: tg.cross_entropy(floats(2, 3), [1, 3]),
    "cross_entropy, float labels": lambda: tg.cross_entropy(floats(2, 3), [1.0, 2.0]),
    "cross_entropy, number of labels": lambda: tg.cross_entropy(floats(2, 3), [0, 1, 2]),
    "cross_entropy, one sample": lambda: tg.cross_entropy(floats(3), [0]),
    "cross_entropy, label_smoothing": lambda: tg.cross_entropy(floats(2, 3), [0, 1], label_smoothing=2),
    "cross_entropy, reduction": lambda: tg.cross_entropy(floats(2, 3), [0, 1], reduction="avg"),
    "cross_entropy, weight": lambda: tg.cross_entropy(floats(2, 3), [0, 1], weight=[1.0]),
    "nll_loss, label": lambda: tg.nll_loss(floats(2, 3), [0, -1]),
    "nll_loss, one sample": lambda: tg.nll_loss(floats(3), [0]),
    "mse_loss, shapes": lambda: tg.mse_loss(floats(2, 1), floats(2)),
    "binary_cross_entropy, targets": lambda: tg.binary_cross_entropy_with_logits(floats(2), [0.0, 2.0]),
    # axes and shapes
    "sum, dim": lambda: floats(2, 3).sum(2),
    "sum, dim twice": lambda: floats(2, 3).sum((0, -2)),
    "softmax, dim": lambda: floats(2, 3).softmax(2),
    "softmax, a list": lambda: tg.softmax([1.0], 0),
    "max, nothing": lambda: floats(0).max(),
    "var, one entry": lambda: floats(1).var(),
    "reshape, count": lambda: floats(2, 3).reshape(4, 2),
    "permute, dims": lambda: floats(2, 3).permute(0, 0),
    "transpose, dim": lambda: floats(2, 3).transpose(0, 2),
    "unsqueeze, dim": lambda: floats(2, 3).unsqueeze(5),
    "flatten, order": lambda: floats(2, 3).flatten(1, 0),
    "broadcast_to, shape": lambda: floats(2, 3).broadcast_to(3, 2),
    "sum_to, shape": lambda: floats(2, 3).sum_to((3, 2)),
    "getitem, outside": lambda: floats(2, 3)[2],
    "cat, shapes": lambda: tg.cat([floats(2, 3), floats(3, 4)]),
    "cat, nothing": lambda: tg.cat([]),
    "cat, one tensor": lambda: tg.cat(floats(2, 3)),
    "cat, a list": lambda: tg.cat([floats(2), [1.0]]),
    "stack, shapes": lambda: tg.stack([floats(2), floats(3)]),
    "stack, dim": lambda: tg.stack([floats(2)], 3),
    "pad, odd": lambda: tg.pad(floats(2, 3), (1,)),
    # random numbers
    "dropout, p": lambda: tg.dropout(floats(2), 1.5),
    "stochastic_depth, p": lambda: tg.stochastic_depth(floats(2), -0.1),
    "manual_seed, seed": lambda: tg.manual_seed(-1),
    # the tape
    "backward, not a number": lambda: leaf(2).backward(),
    "backward, nothing recorded": lambda: floats(2).backward(),
    "backward, gradient": lambda: leaf(2).sum().backward(np.ones(2)),
    "grad, unused": lambda: tg.grad(leaf(2).sum(), leaf(3)),
    "grad, no gradient": lambda: tg.grad(leaf(2).sum(), floats(3)),
    "requires_grad, integers": lambda: tg.Tensor([1, 2], requires_grad=True),
    "requires_grad, of a result": lambda: (leaf(2) * 2.0).requires_grad_(False),
    "setitem, recorded": lambda: leaf(2).__setitem__(0, 1.0),
    "setitem, read-only": lambda: floats(2).broadcast_to(2, 2).__setitem__(0, 1.0),
    "register_hook, no gradient": lambda: floats(2).register_hook(print),
    # making tensors, and other libraries
    "Tensor, a string": lambda: tg.Tensor("abc"),
    "Tensor, masked": lambda: tg.Tensor(np.ma.ones(2)),
    "from_numpy, a list": lambda: tg.from_numpy([1.0]),
    "from_dlpack, a list": lambda: tg.from_dlpack([1.0]),
    "bool, many entries": lambda: bool(floats(2)),
    "item, many entries": lambda: floats(2).item(),
    "len, no axis": lambda: len(floats()),
    "ndarray *= Tensor": lambda: into(np.ones(2), floats(2)),
    "ufunc": lambda: np.arctan(floats(2)),
    "deepcopy, of a result": lambda: copy.deepcopy(leaf(2) * 2.0),
    "pickle": lambda: pickle.dumps(floats(2)),
    "load_state_dict, names and shapes": lambda: nn.Linear(2, 2).load_state_dict({"weight": np.ones((2, 3))}),
    "Conv2d, groups": lambda: nn.Conv2d(3, 8, 3, groups=2),
    "SGD, no parameters": lambda: optim.SGD([], 0.1),
}


def texts() -> dict[str, str]:
    """``errors.txt``: a line "[name]", and below it the error's type and text."""
    parts = re.split(r"^\[(.*)\]\n", (Path(__file__).parent / "errors.txt").read_text("utf-8"), flags=re.MULTILINE)
    return {name: text.strip("\n") for name, text in zip(parts[1::2], parts[2::2], strict=True)}


TEXTS = texts()


@pytest.mark.parametrize("name", MISTAKES)
def test_the_words(name: str) -> None:
    with pytest.raises((ValueError, TypeError, IndexError)) as caught:
        MISTAKES[name]()
    assert f"{caught.type.__name__}: {caught.value}" == TEXTS[name]


def test_every_text_is_tested_and_no_two_are_one() -> None:
    assert list(TEXTS) == list(MISTAKES)
    assert len(set(TEXTS.values())) == len(TEXTS) > 40


@pytest.mark.parametrize("backend", tg.available_backends())
@pytest.mark.parametrize("name", ["add, shapes", "conv2d, channels", "matmul, batches", "max_pool2d, large window"])
def test_the_backend_does_not_matter(name: str, backend: str) -> None:
    with tg.use_backend(backend):
        test_the_words(name)


@pytest.mark.parametrize(
    ("name", "words"), [("cuda", "'cuda' is not a backend"), ("Numpy", "'Numpy' is not a backend")]
)
def test_unknown_backends(name: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        tg.use_backend(name)
    assert str(caught.value) == f"use_backend(name): {words}; choose one of ['loops', 'numpy', 'numba', 'cupy']"


def test_a_second_backward() -> None:
    y = (leaf(2) * leaf(2)).sum()
    y.backward()
    with pytest.raises(RuntimeError) as caught:
        y.backward()
    assert re.fullmatch(
        rf"backward reached sum \(made at {re.escape(__file__)}:\d+\) a second time, after its saved arrays were "
        r"freed\. Pass retain_graph=True to the first backward, or compute the result anew\.",
        str(caught.value),
    )
