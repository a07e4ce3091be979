"""Classification metrics: confusion matrix, precision, recall, F1, top-k accuracy, and a running mean for losses.

Every score is computed once over the whole set. A macro F1 averaged over batches is another, lower number: a batch of
32 holds at most 32 of 196 classes, so its macro F1 over all classes cannot pass 32/196.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ConfusionMatrix", "RunningMean", "accuracy", "classification_report", "macro_f1", "top_k_accuracy"]

Labels = NDArray[np.int64]


def _class_indices(values: ArrayLike, name: str, num_classes: int | None = None) -> Labels:
    """Return `values` as a flat int64 array, or say what is wrong with them."""
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(array.shape, dtype=np.int64).reshape(-1)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: expected integer class indices, got dtype {array.dtype}. "
            "If these are logits or probabilities, pass their argmax over the class axis."
        )
    if array.ndim > 1:
        raise ValueError(
            f"{name}: expected one class index a sample, shape (N,), got shape {array.shape}. "
            "If the classes are one-hot or scores, pass their argmax over the class axis."
        )
    low, high = array.min(), array.max()
    if low < 0 or (num_classes is not None and high >= num_classes):
        worst = low if low < 0 else high
        limit = "0 or more" if num_classes is None else f"in 0..{num_classes - 1} ({num_classes} classes)"
        hint = "Negative labels often mark samples to leave out: remove them first."
        if worst == num_classes:
            hint = "Are the labels 1-based? Subtract 1."
        elif worst > 0:
            hint = "Are the labels 1-based, or is num_classes too small?"
        position = int(np.argmax(array.reshape(-1) == worst))
        raise ValueError(f"{name}: label {int(worst)} at position {position} must be {limit}. {hint}")
    return array.reshape(-1).astype(np.int64)


def _pair(targets: ArrayLike, predictions: ArrayLike, num_classes: int | None = None) -> tuple[Labels, Labels]:
    true = _class_indices(targets, "targets", num_classes)
    predicted = _class_indices(predictions, "predictions", num_classes)
    if true.size != predicted.size:
        raise ValueError(
            f"targets and predictions: expected the same number of samples, got {true.size} and {predicted.size}."
        )
    return true, predicted


def _ratio(numerator: Labels, denominator: Labels) -> NDArray[np.float64]:
    """Divide, with 0 where the denominator is 0 (scikit-learn's `zero_division=0`)."""
    result = np.zeros(len(numerator), dtype=np.float64)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


class ConfusionMatrix:
    """Counts of (true class, predicted class), gathered over any number of batches.

    Per-class scores are arrays of `num_classes` float64; a score whose denominator is 0 is 0. Averages over classes
    run over the classes present in the targets or in the predictions, which is what scikit-learn's
    `f1_score(..., average="macro", zero_division=0)` does when it is given no `labels`: a class that a short
    validation set does not hold, and that nobody predicted, neither helps nor harms.

    Parameters
    ----------
    num_classes
        Number of classes K; labels and predictions lie in 0..K-1.

    Raises
    ------
    ValueError
        If `num_classes` is less than 1; from the scores, if no sample has been counted.

    Notes
    -----
    Macro F1 is the mean of the classes' F1 scores, not the F1 of mean precision and mean recall
    (Opitz and Burst 2019, "Macro F1 and Macro F1", discuss the two).
    """

    def __init__(self, num_classes: int) -> None:
        if isinstance(num_classes, bool) or not isinstance(num_classes, int | np.integer):
            raise TypeError(f"num_classes: expected an integer, got {type(num_classes).__name__}.")
        if num_classes < 1:
            raise ValueError(f"num_classes: expected 1 or more, got {num_classes}.")
        self.num_classes = int(num_classes)
        self._counts = np.zeros((self.num_classes, self.num_classes), dtype=np.int64)

    @classmethod
    def from_matrix(cls, matrix: ArrayLike) -> ConfusionMatrix:
        """The counts in ``matrix`` (K, K), non-negative integers, taken up again; ValueError for anything else."""
        counts = np.asarray(matrix)
        square = counts.ndim == 2 and counts.shape[0] == counts.shape[1]
        if not square or counts.dtype.kind not in "iu" or (counts < 0).any():
            raise ValueError(
                f"matrix: expected counts (K, K), integers of 0 or more, got {counts.dtype} {counts.shape}."
            )
        confusion = cls(len(counts))
        confusion._counts += counts
        return confusion

    def __repr__(self) -> str:
        return f"ConfusionMatrix(num_classes={self.num_classes}, samples={self.total})"

    def update(self, targets: ArrayLike, predictions: ArrayLike) -> None:
        """Count one batch. targets, predictions: integer class indices, shape (N,); N may be 0.

        Raises
        ------
        TypeError
            If either does not hold integers.
        ValueError
            If a label is out of range or the lengths differ; nothing is counted then.
        """
        true, predicted = _pair(targets, predictions, self.num_classes)
        cells = np.bincount(true * self.num_classes + predicted, minlength=self.num_classes**2)
        self._counts += cells.reshape(self._counts.shape)

    def reset(self) -> None:
        """Forget everything counted so far."""
        self._counts[:] = 0

    @property
    def matrix(self) -> NDArray[np.int64]:
        """A copy of the counts, int64, shape (K, K): rows are true classes, columns predicted ones."""
        return self._counts.copy()

    @property
    def total(self) -> int:
        """Number of samples counted."""
        return int(self._counts.sum())

    @property
    def support(self) -> NDArray[np.int64]:
        """Samples of each true class, shape (K,)."""
        return np.asarray(self._counts.sum(axis=1))

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which classes occur in the targets or in the predictions, shape (K,)."""
        return np.asarray((self._counts.sum(axis=0) + self.support) > 0)

    def precision(self) -> NDArray[np.float64]:
        """True positives over everything predicted as the class, shape (K,)."""
        return _ratio(np.diagonal(self._counts), self._counts.sum(axis=0))

    def recall(self) -> NDArray[np.float64]:
        """True positives over everything that is the class, shape (K,)."""
        return _ratio(np.diagonal(self._counts), self.support)

    def f1(self) -> NDArray[np.float64]:
        """2 TP / (2 TP + FP + FN) of each class, shape (K,)."""
        return _ratio(2 * np.diagonal(self._counts), self._counts.sum(axis=0) + self.support)

    def accuracy(self) -> float:
        """Share of samples whose prediction is right."""
        self._require_samples()
        return float(np.trace(self._counts) / self.total)

    def macro_f1(self) -> float:
        """Mean F1 over the present classes, each class weighing the same."""
        self._require_samples()
        return float(self.f1()[self.present].mean())

    def _require_samples(self) -> None:
        if self.total == 0:
            raise ValueError("ConfusionMatrix: no samples counted, so there is no score. Call update() first.")


def accuracy(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Share of right predictions. targets, predictions: integer class indices, shape (N,), N at least 1."""
    true, predicted = _pair(targets, predictions)
    if true.size == 0:
        raise ValueError("targets: expected at least one sample, got none.")
    return float(np.mean(true == predicted))


def macro_f1(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Macro F1 over the classes present in either argument. Shapes (N,), N at least 1; see `ConfusionMatrix`."""
    true, predicted = _pair(targets, predictions)
    # Labels are renumbered so that one large label does not ask for a large matrix.
    names, codes = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    counts = ConfusionMatrix(max(len(names), 1))
    counts.update(codes[: true.size], codes[true.size :])
    return counts.macro_f1()


def top_k_accuracy(logits: ArrayLike, targets: ArrayLike, k: int = 5) -> float:
    """Share of samples whose true class is among the `k` highest scores.

    Among equal scores the lower class index comes first, so k = 1 equals the accuracy of `argmax` and an untrained
    network with all-equal scores earns chance, not 100 %. A row that holds NaN counts as a miss.

    Parameters
    ----------
    logits
        Scores, shape (N, K), real; logits or probabilities, the order is all that matters.
    targets
        Integer class indices in 0..K-1, shape (N,), N at least 1.
    k
        How many guesses a sample has, 1..K.

    Raises
    ------
    TypeError
        If `targets` are not integers or `logits` not real numbers.
    ValueError
        If shapes do not match, N is 0, a label is out of range, or `k` is not in 1..K.
    """
    scores = np.asarray(logits)
    if scores.dtype.kind not in "iuf":
        raise TypeError(f"logits: expected real numbers, got dtype {scores.dtype}.")
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"logits: expected shape (N, K) with N and K at least 1, got shape {scores.shape}.")
    count, num_classes = scores.shape
    if not 1 <= k <= num_classes:
        raise ValueError(f"k: expected 1..{num_classes} for logits of {num_classes} classes, got {k}.")
    true = _class_indices(targets, "targets", num_classes)
    if true.size != count:
        raise ValueError(f"targets: expected {count} labels, one a row of logits, got {true.size}.")
    own = scores[np.arange(count), true][:, None]
    ahead = (scores > own) | ((scores == own) & (np.arange(num_classes) < true[:, None]))
    hit = (ahead.sum(axis=1) < k) & ~np.isnan(scores).any(axis=1)
    return float(hit.mean())


class RunningMean:
    """Mean of per-batch means, weighted by batch size, so that a short last batch does not count as a whole one."""

    def __init__(self) -> None:
        self.reset()

    def __repr__(self) -> str:
        return f"RunningMean(count={self.count}, mean={self.mean if self.count else 'none yet'})"

    def update(self, value: float, count: int = 1) -> None:
        """Add a batch. value: the batch's mean, a number (NaN and infinity stay visible in the mean); count: its size.

        Raises
        ------
        ValueError
            If `value` is not a single number or `count` is not a positive integer.
        """
        if np.ndim(value) != 0:
            raise ValueError(f"value: expected one number, got shape {np.shape(value)}. Pass the mean over the batch.")
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"count: expected a positive integer (the batch size), got {count!r}.")
        self._sum += float(value) * int(count)
        self.count += int(count)

    def reset(self) -> None:
        """Forget everything added so far."""
        self._sum = 0.0
        self.count = 0

    @property
    def mean(self) -> float:
        """The mean over all samples added. Raises ValueError if there are none."""
        if self.count == 0:
            raise ValueError("RunningMean: nothing added, so there is no mean. Call update() first.")
        return self._sum / self.count


def classification_report(
    confusion: ConfusionMatrix, class_names: Sequence[str] | None = None, *, digits: int = 3
) -> str:
    """Return a text table of precision, recall, F1 and support by class, with accuracy and averages below.

    Parameters
    ----------
    confusion
        The counts; at least one sample.
    class_names
        One name a class, in index order; the indices themselves when not given.
    digits
        Decimals of a score.

    Returns
    -------
    str
        Lines joined by newlines, without a last one. Classes that occur neither in the targets nor in the predictions
        are left out, as they are from the macro average; a last line says how many.

    Raises
    ------
    ValueError
        If the number of names is not the number of classes, or no sample has been counted.
    """
    names = [str(i) for i in range(confusion.num_classes)] if class_names is None else [str(n) for n in class_names]
    if len(names) != confusion.num_classes:
        raise ValueError(f"class_names: expected {confusion.num_classes} names, one a class, got {len(names)}.")
    overall = confusion.accuracy()
    present, support = confusion.present, confusion.support
    scores = np.stack([confusion.precision(), confusion.recall(), confusion.f1()], axis=1)
    macro = scores[present].mean(axis=0)
    weighted = support @ scores / support.sum()

    averages = ("accuracy", "macro average", "weighted average")
    wide = max(len(label) for label in [*averages, *(n for n, here in zip(names, present, strict=True) if here)])
    cell = max(9, digits + 2)

    def line(label: str, cells: Sequence[str]) -> str:
        return "  ".join([label.ljust(wide), *(text.rjust(cell) for text in cells)]).rstrip()

    def row(label: str, values: NDArray[np.float64], samples: int) -> str:
        return line(label, [*(f"{value:.{digits}f}" for value in values), str(int(samples))])

    lines = [line("class", ["precision", "recall", "F1", "support"])]
    lines += [row(names[i], scores[i], support[i]) for i in np.flatnonzero(present)]
    lines.append("")
    lines.append(line("accuracy", ["", "", f"{overall:.{digits}f}", str(confusion.total)]))
    lines.append(row("macro average", macro, confusion.total))
    lines.append(row("weighted average", weighted, confusion.total))
    absent = int((~present).sum())
    if absent:
        lines += ["", f"{absent} of {confusion.num_classes} classes left out: neither in the targets nor predicted."]
    return "\n".join(lines)
