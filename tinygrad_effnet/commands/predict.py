"""``predict``: what is on photographs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .. import training
from ..data import ImageReadError, read_image
from ..data.folder import image_files
from ..training import Classifier
from ..training.report.tables import write_csv


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tinygrad_effnet predict", description="Say what is on photographs.")
    add = made.add_argument
    add("run", metavar="RUN", help="folder of a run, or a weights file that one wrote")
    add("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    add("--top", type=int, default=3, metavar="K", help="classes to name for each (default: %(default)s)")
    add("--csv", type=Path, metavar="FILE", help="also write picture, class and probability, K rows a picture, there")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 if any image could not be read."""
    given = parser().parse_args(arguments)
    rows: list[tuple[str, str, str]] = []
    failed = False
    try:
        classifier = Classifier.load(given.run)
        for path in _files(given.images):
            try:
                answers = classify(classifier, path, given.top)
            except ImageReadError as error:
                print(f"predict: {error}", file=sys.stderr)
                failed = True
                continue
            rows += [(str(path), name, f"{share:.6f}") for name, share in answers]
            print(f"{path}: " + ", ".join(f"{name} {share:.3f}" for name, share in answers))
        if given.csv is not None:
            write_csv(given.csv, ("picture", "class", "probability"), rows)
    except training.EXPECTED_ERRORS as error:
        print(f"predict: {error}", file=sys.stderr)
        return 1
    return 1 if failed or not rows else 0


def classify(classifier: Classifier, path: Path, top: int) -> list[tuple[str, float]]:
    """The ``top`` likeliest classes of one photograph, with their probabilities."""
    picture = read_image(path, 2 * classifier.size)
    image = classifier.transform(picture, np.random.default_rng(0))
    shares = classifier.probabilities(image[None])[0]
    order = np.argsort(-shares, kind="stable")[: max(top, 1)]
    return [(classifier.class_names[i], float(shares[i])) for i in order]


def _files(named: Sequence[str]) -> Iterator[Path]:
    for name in named:
        path = Path(name)
        if path.is_dir():
            found = image_files(path)
            if not found:
                print(f"predict: {path} has no images", file=sys.stderr)
            yield from found
        else:
            yield path
