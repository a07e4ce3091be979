"""Everything about a run's best weights, written into its folder when it ends."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ...data import Dataset
from ...files import atomic_write
from ..history import History
from ..inference import Predictions
from ..metrics import ConfusionMatrix
from ..progress import duration
from .mistakes import confused_pairs, pairs_sheet, worst_sheet
from .page import Page, write_page
from .tables import per_class_table, predictions_table, sources_of


def write_report(
    folder: Path,
    title: str,
    predictions: Predictions,
    dataset: Dataset,
    history: History | None = None,
    settings: Mapping[str, object] | None = None,
    found: str = "",
) -> Path:
    """Write ``per_class.csv``, ``predictions.csv``, the sheets of mistakes and ``report.html``.

    Parameters
    ----------
    folder
        Where to; its curves and confusion matrix are put into the page if they are there.
    title
        Heading of the page.
    predictions
        Of the first pictures of ``dataset``.
    dataset
        The pictures; names of classes and files.
    history, settings, found
        The epochs, the settings and the report on the data, where there are such.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OSError
        A file cannot be written.
    """
    names = dataset.class_names
    confusion = predictions.confusion()
    pairs = confused_pairs(confusion)
    per_class_table(confusion, names, folder / "per_class.csv")
    sources = sources_of(dataset, len(predictions.labels))
    predictions_table(predictions, sources, names, folder / "predictions.csv")
    # One without mistakes leaves no sheet of an earlier one behind.
    for name, sheet in (
        ("confused_pairs.png", pairs_sheet(predictions, dataset, pairs)),
        ("worst_mistakes.png", worst_sheet(predictions, dataset)),
    ):
        _save_sheet(sheet, folder / name)

    page = Page(title)
    page.facts(_facts(predictions, confusion, history))
    if history is not None and len(history):
        page.heading("Curves")
        page.picture(folder / "curves.png", "loss and macro F1 over the epochs")
        page.picture(folder / "accuracy.png", "accuracy over the epochs")
    page.heading("Confusion matrix")
    page.picture(folder / "confusion_matrix.png", "confusion matrix of the validation images")
    page.heading("Scores of each class, lowest F1 first")
    page.table(("class", "precision", "recall", "F1", "images"), _class_rows(confusion, names))
    if pairs:
        page.heading("Most confused pairs")
        page.table(
            ("class, taken for", "times"), [(f"{names[p.label]}, {names[p.predicted]}", str(p.count)) for p in pairs]
        )
        page.text("The number below a picture is the probability that the wrong class was given.")
        page.picture(folder / "confused_pairs.png", "pictures of the most confused pairs")
        page.heading("Worst mistakes")
        page.picture(folder / "worst_mistakes.png", "mistakes with the highest probability of the wrong class")
    if history is not None and len(history):
        page.heading("Epochs")
        page.table(*_epoch_rows(history))
    if found:
        page.heading("Data")
        page.plain(found)
    if settings:
        page.heading("Settings")
        page.facts({key: str(value) for key, value in settings.items()})
    return write_page(page, folder / "report.html")


def _facts(predictions: Predictions, confusion: ConfusionMatrix, history: History | None) -> dict[str, str]:
    facts = {
        "Macro F1": f"{confusion.macro_f1():.4f}",
        "Accuracy": f"{confusion.accuracy():.4f}",
        "Loss": f"{predictions.loss:.4f} nats",
        "Images checked with": str(confusion.total),
    }
    best = None if history is None else history.best("val_f1")
    if history is not None and best is not None:
        facts["Best epoch"] = f"{best.epoch} of {len(history)}"
        facts["Time of all epochs"] = duration(sum(history.column("seconds")))
    return facts


def _class_rows(confusion: ConfusionMatrix, names: list[str]) -> list[tuple[str, ...]]:
    scores = zip(confusion.f1(), names, confusion.precision(), confusion.recall(), confusion.support, strict=True)
    here = sorted((s for s, present in zip(scores, confusion.present, strict=True) if present), key=lambda s: s[0])
    return [(name, f"{p:.3f}", f"{r:.3f}", f"{f:.3f}", str(int(n))) for f, name, p, r, n in here]


def _epoch_rows(history: History) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    head = (
        "epoch",
        "train loss",
        "val loss",
        "train F1",
        "val F1",
        "val acc.",
        "learning rate",
        "images/s",
        "time",
    )
    rows = [
        (
            str(r.epoch),
            *(f"{v:.4f}" for v in (r.train_loss, r.val_loss, r.train_f1, r.val_f1, r.val_accuracy)),
            f"{r.learning_rate:.2e}",
            f"{r.images_per_second:.1f}",
            duration(r.seconds),
        )
        for r in history
    ]
    return head, rows


def _save_sheet(sheet: Image.Image | None, path: Path) -> None:
    if sheet is None:
        path.unlink(missing_ok=True)
        return
    data = io.BytesIO()
    sheet.save(data, "PNG", optimize=True)
    atomic_write(path, lambda file: file.write(data.getvalue()))
