#!/usr/bin/env python3
"""Say what is on photographs.

    python examples/predict.py car.jpg photographs/ --weights runs/efficientnet_b0-1/best.safetensors
    python examples/predict.py car.jpg --weights runs/efficientnet_b0-1 --explain        # and show what was looked at
    python examples/predict.py car.jpg --weights efficientnet_b0_rwightman-7f5810bc.pth  # torchvision's, fetched by you

The same as ``python -m tinygrad_effnet predict``; ``--help`` names every flag. From Python it is

    classifier = training.Classifier.load("runs/efficientnet_b0-1")
    for answer in training.look_at(classifier, training.photographs_in(["photographs"])):
        print(answer.path, answer.best(5))
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a source tree, installed or not

from tinygrad_effnet.commands import predict


def main(arguments: list[str] | None = None) -> int:
    return predict.main(arguments, prog="predict")


if __name__ == "__main__":
    sys.exit(main())
