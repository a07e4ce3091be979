"""Scores of each class and answers for each picture, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...data import Dataset
from ...files import atomic_write
from ..inference import Predictions
from ..metrics import ConfusionMatrix


def per_class_table(confusion: ConfusionMatrix, class_names: Sequence[str], path: Path) -> Path:
    """Write class, precision, recall, F1 and support, one row a class."""
    scores = zip(class_names, confusion.precision(), confusion.recall(), confusion.f1(), confusion.support, strict=True)
    rows = [(name, *(repr(float(v)) for v in (p, r, f)), int(n)) for name, p, r, f, n in scores]
    return write_csv(path, ("class", "precision", "recall", "f1", "support"), rows)


def predictions_table(predictions: Predictions, sources: Sequence[str], class_names: Sequence[str], path: Path) -> Path:
    """Write picture, label, prediction and its probability, one row a picture."""
    rows = [
        (source, class_names[label], class_names[predicted], f"{shares[predicted]:.6f}")
        for source, label, predicted, shares in zip(
            sources, predictions.labels, predictions.predicted, predictions.probabilities, strict=True
        )
    ]
    return write_csv(path, ("picture", "class", "predicted", "probability"), rows)


def sources_of(dataset: Dataset, count: int) -> list[str]:
    """What the first ``count`` pictures are called."""
    return [dataset.source(i) for i in range(count)]


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a table, atomically."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    atomic_write(path, lambda file: file.write(text.getvalue().encode()))
    return path
