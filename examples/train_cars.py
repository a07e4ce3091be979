#!/usr/bin/env python3
"""Train EfficientNet to tell car models apart.

    python examples/train_cars.py                          # ten fictional cars, drawn by the program
    python examples/train_cars.py --data DIR               # photographs, such as DIR/<class>/<image>
    python examples/train_cars.py --resume runs/<name>     # go on where a run stopped

Results go to a new folder below ``runs``: weights, history.csv, the curves, the confusion matrix.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a source tree, installed or not

from tinygrad_effnet import training
from tinygrad_effnet.training import MODELS, OPTIMIZERS, TrainConfig

DEFAULT = TrainConfig()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS
    )
    add = parser.add_argument
    add("--data", metavar="DIR", help="folder of photographs, one folder a class or Stanford Cars in any form")
    add("--crop-boxes", action="store_true", help="cut pictures to the box around the car, where the data have boxes")
    add("--strict", action="store_true", help="refuse data with unreadable files instead of leaving them out")
    add("--fraction", type=float, help="learn from this part of each class only, for a quick try (default: 1)")
    add("--model", metavar="NAME", help=f"{', '.join(MODELS)} (default: {DEFAULT.model})")
    add("--size", type=int, metavar="PIXELS", help=f"side of the images (default: {DEFAULT.size})")
    add("--epochs", type=int, help=f"passes over the training images (default: {DEFAULT.epochs})")
    add("--batch-size", type=int, help=f"images a step (default: {DEFAULT.batch_size})")
    add("--optimizer", choices=OPTIMIZERS, help=f"default: {DEFAULT.optimizer}")
    add("--lr", type=float, help=f"highest learning rate (default: {DEFAULT.learning_rate}; sgd: 0.1)")
    add("--ema", type=float, metavar="DECAY", help=f"moving average of weights, 0 for none (default: {DEFAULT.ema})")
    add("--seed", type=int, help=f"of everything random (default: {DEFAULT.seed})")
    add("--backend", help="loops, numpy or numba (default: the fastest installed)")
    add("--workers", type=int, help=f"threads that prepare images (default: {DEFAULT.workers})")
    add("--limit-batches", type=int, metavar="N", help="at most N batches an epoch, for a quick try")
    add("--minutes", type=float, help="stop, resumable, after this time")
    add("--out", metavar="DIR", default="runs", help="folder of all runs (default: runs)")
    add("--name", default=None, help="name of this run (default: the model's, numbered)")
    add("--resume", metavar="RUN", default=None, help="folder of a run to go on with")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = vars(parse(arguments))
    settings = {field.name: given[field.name] for field in fields(TrainConfig) if field.name in given}
    try:
        if given["resume"] is not None:
            training.resume(given["resume"], **settings)
        else:
            training.train(TrainConfig(**settings), given["out"], given["name"])
    except training.EXPECTED_ERRORS as error:
        print(f"train_cars: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
