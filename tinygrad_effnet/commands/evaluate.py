"""``evaluate``: a run's best weights on pictures with labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import training
from ..data import Dataset, DatasetError, Subset, open_data
from ..training import Classifier, TrainConfig, classification_report, predict_all
from ..training.plots import plot_confusion_matrix
from ..training.report import write_report


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tinygrad_effnet evaluate",
        description="Measure a run's best weights on pictures, and show its mistakes.",
    )
    add = made.add_argument
    add("run", metavar="RUN", help="folder of a run, or a weights file that one wrote")
    add("--data", metavar="DIR", help="other pictures, with the run's classes; default its own, split as in the run")
    add("--part", choices=("val", "train", "all"), default="val", help="which part of them (default: %(default)s)")
    add("--out", metavar="DIR", help="folder for the tables, sheets and report.html (default: RUN/evaluation)")
    add(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        help="judge each image together with its mirror image (default: as the run did)",
    )
    add("--batch-size", type=int, default=32, metavar="N", help="images at once (default: %(default)s)")
    add("--workers", type=int, default=0, metavar="N", help="threads that prepare images (default: %(default)s)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    given = parser().parse_args(arguments)
    run = Path(given.run)
    try:
        classifier = Classifier.load(run).mirrored(given.mirror)
        config = TrainConfig.load(run / "config.json") if (run / "config.json").exists() else TrainConfig()
        data = given.data if given.data is not None else config.data
        boxes = config.crop_boxes and given.data is None
        split = open_data(data, config.size, config.data_seed, crop_boxes=boxes, strict=config.strict)
        parts = {"train": [split.train], "val": [split.val], "all": [split.train, split.val]}[given.part]
        pictures = Joined([Renamed(part, classifier.class_names) for part in parts])
        print(split.description)
        predictions = predict_all(classifier, pictures, given.batch_size, given.workers)
        folder = Path(given.out) if given.out else (run if run.is_dir() else run.parent) / "evaluation"
        folder.mkdir(parents=True, exist_ok=True)
        confusion = predictions.confusion()
        title = (
            f"{classifier.kind}, {run.name}, on {'synthetic cars' if data is None else Path(data).name} ({given.part})"
        )
        plot_confusion_matrix(confusion, folder / "confusion_matrix.png", classifier.class_names, title=given.part)
        page = write_report(folder, title, predictions, pictures, found=split.description)
    except training.EXPECTED_ERRORS as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    print(classification_report(confusion, classifier.class_names))
    print(f"\nmacro F1 {confusion.macro_f1():.4f}, accuracy {confusion.accuracy():.4f}, loss {predictions.loss:.4f}")
    print(f"tables and pictures are in {folder}; look at {page}")
    return 0


class Renamed(Subset):
    """A data set with its labels counted as a classifier counts them; classes are matched by name.

    Raises
    ------
    DatasetError
        It has pictures of a class that the classifier does not know.
    """

    def __init__(self, dataset: Dataset, class_names: list[str]) -> None:
        super().__init__(dataset, np.arange(len(dataset)))
        used = np.unique(dataset.labels).tolist()
        unknown = [dataset.class_names[i] for i in used if dataset.class_names[i] not in class_names]
        if unknown:
            raise DatasetError(
                f"data: it has the class {unknown[0]!r}, which the run did not learn; it learnt "
                f"{', '.join(class_names)}"
            )
        places = [class_names.index(name) if name in class_names else -1 for name in dataset.class_names]
        self.class_names = class_names
        self.labels = np.array(places, np.int64)[dataset.labels]

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.dataset[index][0], int(self.labels[index])


class Joined:
    """Data sets of the same classes, one after the other."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts, self.class_names = parts, parts[0].class_names
        self.labels = np.concatenate([part.labels for part in parts])
        self._ends = np.cumsum([len(part) for part in parts])

    def _find(self, index: int) -> tuple[Dataset, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[number], index - int(self._ends[number] - len(self.parts[number]))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        part, inside = self._find(index)
        return part[inside]

    def source(self, index: int) -> str:
        part, inside = self._find(index)
        return part.source(inside)

    def describe(self) -> str:
        return "\n".join(part.describe() for part in self.parts)
