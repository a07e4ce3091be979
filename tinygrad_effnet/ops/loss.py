"""Losses: the one of classifiers as an operation of its own, the others composed. ``reduction`` is as in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import tape
from ..backends import Array, Backend, backend_of
from ..backends.device import is_array, is_on_device, require_one_place
from ..contract import expect_arrays
from ..op import Op, Shape, function, register
from ..tensor import Tensor, wrap
from .activation import log_softmax, softmax, softplus
from .reduction import mean, sum
from .shape import unsqueeze


@register
class SoftmaxCrossEntropy(Op):
    """Cross-entropy of each row's softmax and its goal, which need not sum to 1. x, goal: N K -> N."""

    formula = "y = −Σₖ goalₖ · ln softmax(x)ₖ"
    rule = "x̄ = ȳ · (softmax(x) · Σ goal − goal),  goal's gradient = −ȳ · ln softmax(x)"
    shapes = "x: N K, goal: N K -> N"

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        """Of log-softmax, of the slope, and of two sums."""
        return 9 * math.prod(inputs[0])

    def forward(self, kernels: Backend, x: Array, goal: Array) -> Array:
        y, slope = kernels.softmax_cross_entropy(x, goal)
        self.save(x, goal, slope)
        return y

    def backward(self, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, goal, slope = self.saved()
        if tape.is_grad_enabled():  # then the slope has to be a function of x, not the numbers that came with y
            slope = softmax(x, 1) * sum(goal, 1, keepdim=True) - goal
        dy = unsqueeze(dy, 1)
        return (dy * slope if self.needed[0] else None, -dy * log_softmax(x, 1) if self.needed[1] else None)


@register
class LabelCrossEntropy(Op):
    """Cross-entropy of each row's softmax and its class: the goal is a label, l, of which ``smoothing``, s, is spread.

    x: N K -> N, or (), their sum times ``scale``, c. A row whose label is negative counts for nothing.
    """

    formula = "yₙ = −(1 − s) · ln softmax(x)ₙₗ − s/K · Σₖ ln softmax(x)ₙₖ, or c · Σₙ yₙ"
    rule = "x̄ₙₖ = ȳₙ · (softmax(x)ₙₖ − (1 − s) · [k = lₙ] − s/K), or ȳ · c times that"
    shapes = "x: N K -> N"

    def __init__(self, labels: Array, smoothing: float = 0.0, scale: float | None = None) -> None:
        self.labels, self.smoothing, self.scale = labels, smoothing, scale

    def flops(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        """Of log-softmax, and of the slope."""
        return 7 * math.prod(inputs[0])

    def forward(self, kernels: Backend, x: Array) -> Array:
        y, slope = kernels.label_cross_entropy(x, self.labels, self.smoothing, self.scale)
        self.save(x, slope)
        return y

    def backward(self, dy: Tensor) -> Tensor:
        x, slope = self.saved()
        if tape.is_grad_enabled():  # then the slope has to be a function of x, not the numbers that came with y
            slope = (softmax(x, 1) - self._goal(x)) * self._counted(x)
        return (dy if self.scale is not None else unsqueeze(dy, 1)) * slope

    def _goal(self, x: Tensor) -> Tensor:
        classes = x.shape[1]
        hot = self.labels[:, None] == backend_of([x.array]).xp.arange(classes)
        return wrap(((1 - self.smoothing) * hot + self.smoothing / max(1, classes)).astype(x.dtype))

    def _counted(self, x: Tensor) -> Tensor:
        """N 1: what a row's loss counts."""
        return wrap(((self.labels >= 0)[:, None] * (1.0 if self.scale is None else self.scale)).astype(x.dtype))


def checked_reduction(name: str, reduction: str) -> str:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}(reduction): {reduction!r}; expected 'mean', 'sum' or 'none'")
    return reduction


def checked_smoothing(name: str, label_smoothing: float) -> float:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}(label_smoothing): {label_smoothing}; expected a number between 0 and 1")
    return label_smoothing


def _reduce(name: str, loss: Tensor, reduction: str, divisor: Any = None) -> Tensor:
    if checked_reduction(name, reduction) == "none":
        return loss
    if reduction == "sum":
        return sum(loss)
    return mean(loss) if divisor is None else sum(loss) / divisor


def _same_shape(name: str, x: Tensor, target: Any) -> Tensor:
    target = target if isinstance(target, Tensor) else Tensor(target)
    if x.shape != target.shape:
        raise ValueError(
            f"{name}: input has shape {x.shape} and target {target.shape}; they must agree, so reshape one of them "
            "(broadcasting would compare every entry with every other)"
        )
    return target


@function
def cross_entropy(
    logits: Tensor,
    target: Any,
    weight: Any = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy between softmax(logits) and the labels, by way of log-softmax, so that nothing overflows.

    Parameters
    ----------
    logits : Tensor (N, K)
        Scores of K classes, not probabilities.
    target : integers (N,) in 0..K-1, or probabilities (N, K)
    weight : (K,), optional
        How much each class counts. "mean" then divides by the weights of the targets, as PyTorch does.
    label_smoothing : float
        This much of each target is spread evenly over all K classes (Szegedy et al. 2016, section 7).
    ignore_index : int
        Samples with this label count for nothing.

    ``target`` and ``weight`` lie where the logits do. On a GPU a label outside 0..K-1 is no error, since seeing it
    would stop the device: the loss becomes NaN.

    Returns
    -------
    Tensor () or, with ``reduction="none"``, (N,)

    Raises
    ------
    ValueError
        A shape, a label or an option does not fit.
    TypeError
        The labels are not whole numbers.
    """
    expect_arrays("cross_entropy", logits=logits)
    if logits.ndim != 2:
        raise ValueError(
            f"cross_entropy(logits): expected (N, K), samples by classes, got shape {logits.shape}; reshape them, with "
            "unsqueeze(0) for one sample of its own"
        )
    checked_smoothing("cross_entropy", label_smoothing)
    labels, classes = _plain(target), logits.shape[1]
    if weight is None and classes and labels.dtype.kind in "iu" and not is_on_device(labels):
        return _of_labels(logits, labels, label_smoothing, checked_reduction("cross_entropy", reduction), ignore_index)
    xp = backend_of([logits.array]).xp
    weights = xp.ones(classes, logits.dtype) if weight is None else _plain(weight).astype(logits.dtype)
    if weights.shape != (classes,):
        raise ValueError(f"cross_entropy(weight): shape {weights.shape}; expected ({classes},), one weight a class")
    require_one_place("cross_entropy", logits=logits.array, target=labels, weight=weights)
    if labels.dtype.kind == "f" and labels.shape == logits.shape:
        hard, divisor = labels, float(len(labels))
    else:
        hard = _one_hot("cross_entropy", labels, logits, ignore_index)
        divisor = _total(hard @ weights)
    spread = hard.sum(axis=1, keepdims=True) * (label_smoothing / classes)  # nothing for an ignored sample
    goal = ((1 - label_smoothing) * hard + spread) * weights
    loss = SoftmaxCrossEntropy()(logits, wrap(goal.astype(logits.dtype, copy=False)))
    return _reduce("cross_entropy", loss, reduction, divisor)


def _of_labels(logits: Tensor, labels: Array, smoothing: float, reduction: str, ignore_index: int) -> Tensor:
    """Cross-entropy with whole numbers on the host: no row of zeros with a one in it is made."""
    require_one_place("cross_entropy", logits=logits.array, target=labels)
    classes = _class_numbers("cross_entropy", labels, logits.shape, ignore_index)
    scale = None if reduction == "none" else 1.0
    if reduction == "mean":
        counted = int(np.count_nonzero(classes >= 0))
        scale = 1.0 / counted if counted else math.nan
    return LabelCrossEntropy(classes, smoothing, scale)(logits)


def _plain(values: Any) -> Array:
    values = values.array if isinstance(values, Tensor) else values
    return values if is_array(values) else np.asarray(values)


def _total(counted: Array) -> Any:
    """The sum as a divisor: a number on the host; on a device it stays there, since reading it would wait for all."""
    return wrap(counted.sum()) if is_on_device(counted) else float(counted.sum())


def _require_class_numbers(name: str, labels: Array, shape: Shape) -> None:
    if labels.shape != shape[:1]:
        raise ValueError(
            f"{name}(target): shape {labels.shape} does not fit logits {shape}; expected ({shape[0]},) class numbers, "
            f"or {shape} probabilities (floating-point)"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{name}(target): class numbers must be integers, got {labels.dtype} of shape {labels.shape}; "
            "convert them with .astype(int), or give probabilities of the logits' shape"
        )


def _class_numbers(name: str, labels: Array, shape: Shape, ignore_index: int) -> Array:
    """(N,) int64, a copy: each sample's class, or -1 where it is ignored; for logits of this shape, on the host."""
    _require_class_numbers(name, labels, shape)
    numbers = labels.astype(np.int64)
    # read as unsigned, negative numbers are the largest: one look finds all that is out of range
    if len(numbers) and (numbers.view(np.uint64).max() >= shape[1] or ignore_index >= 0):
        ignored = labels == ignore_index
        wrong = ~ignored & ((labels < 0) | (labels >= shape[1]))
        if wrong.any():
            raise ValueError(_wrong_label(name, labels, int(np.argmax(wrong)), shape))
        numbers[ignored] = -1
    return numbers


def _wrong_label(name: str, labels: Array, first: int, shape: Shape) -> str:
    classes = shape[1]
    hint = " Are the labels counted from 1? Subtract 1." if labels.min() >= 1 and labels.max() == classes else ""
    return (
        f"{name}(target): target[{first}] = {labels[first]} is outside 0..{classes - 1}, the classes of "
        f"logits {shape}.{hint}"
    )


def _one_hot(name: str, labels: Array, logits: Tensor, ignore_index: int) -> Array:
    """(N, K): 1 at each sample's class; a row of zeros where the sample is ignored.

    On a device labels cannot be looked at without waiting for it: the row of a wrong one is NaN, and so is the loss.
    """
    shape, xp = logits.shape, backend_of([logits.array]).xp
    if not is_on_device(labels):
        return (_class_numbers(name, labels, shape, ignore_index)[:, None] == np.arange(shape[1])).astype(logits.dtype)
    _require_class_numbers(name, labels, shape)
    ignored = labels == ignore_index
    wrong = ~ignored & ((labels < 0) | (labels >= shape[1]))
    hot = (labels[:, None] == xp.arange(shape[1])) & ~ignored[:, None]
    return xp.where(wrong[:, None], math.nan, hot.astype(logits.dtype)).astype(logits.dtype, copy=False)


@function
def mse_loss(x: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Squared difference of two tensors of one shape; ValueError where the shapes differ."""
    difference = x - _same_shape("mse_loss", x, target)
    return _reduce("mse_loss", difference * difference, reduction)


@function
def binary_cross_entropy_with_logits(
    logits: Tensor, target: Any, weight: Any = None, pos_weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Cross-entropy of sigmoid(logits) and targets between 0 and 1, as softplus, so that nothing overflows.

    ``weight`` multiplies each entry's loss and ``pos_weight`` what comes from the targets' share; both broadcast.
    ValueError where shapes differ or a target is outside 0..1.
    """
    goal = _same_shape("binary_cross_entropy_with_logits", logits, target)
    # on a device the look would wait for all that is under way
    if goal.array.size and not is_on_device(goal.array) and (goal.array.min() < 0 or goal.array.max() > 1):
        low, high = goal.array.min(), goal.array.max()
        raise ValueError(
            f"binary_cross_entropy_with_logits(target): entries from {low} to {high}; expected probabilities from 0 to "
            "1, so scale them, or use mse_loss"
        )
    # -t log σ(x) - (1 - t) log(1 - σ(x)), with log σ(x) = -softplus(-x) and log(1 - σ(x)) = -softplus(x)
    positive = goal * softplus(-logits)
    if pos_weight is not None:
        positive = positive * pos_weight
    loss = positive + (1.0 - goal) * softplus(logits)
    if weight is not None:
        loss = loss * weight
    return _reduce("binary_cross_entropy_with_logits", loss, reduction)


@function
def nll_loss(log_probabilities: Tensor, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """Negative log-likelihood: minus the entry of ``log_probabilities`` (N, K) at each sample's class (N,)."""
    expect_arrays("nll_loss", log_probabilities=log_probabilities)
    if log_probabilities.ndim != 2:
        raise ValueError(
            f"nll_loss(log_probabilities): expected (N, K), samples by classes, got shape {log_probabilities.shape}; "
            "reshape them"
        )
    labels = _plain(target)
    require_one_place("nll_loss", log_probabilities=log_probabilities.array, target=labels)
    hot = _one_hot("nll_loss", labels, log_probabilities, -100)
    goal = hot if weight is None else hot * _plain(weight).astype(hot.dtype)
    loss = -sum(log_probabilities * wrap(goal), 1)
    return _reduce("nll_loss", loss, reduction, _total(goal))
