"""``export``: a run's best weights for other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import training, weights
from ..training import Classifier, save_weights


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tinygrad_effnet export", description="Write a run's best weights for other programs."
    )
    add = made.add_argument
    add("run", metavar="RUN", help="folder of a run, or a weights file that one wrote")
    add("file", type=Path, metavar="FILE", help=".safetensors, or .pth or .pt as torch.load reads it")
    add(
        "--names",
        choices=("native", *weights.DIALECTS),
        default="native",
        help="whose names the weights get (default: this package's)",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    given = parser().parse_args(arguments)
    try:
        classifier = Classifier.load(given.run)
        if given.names == "native" and given.file.suffix == ".safetensors":
            arrays = {name: tensor.cpu().numpy() for name, tensor in classifier.model.state_dict().items()}
            save_weights(given.file, arrays, classifier.notes())
        else:
            weights.save(classifier.model, given.file, given.names)
    except training.EXPECTED_ERRORS as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    seen = classifier.preprocessing
    print(
        f"{given.file}: {classifier.kind}, {len(classifier.class_names)} classes, images of {classifier.size} pixels, "
        f"mean {seen.mean}, std {seen.std}, names: {given.names}"
    )
    return 0
