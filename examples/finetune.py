#!/usr/bin/env python3
"""Teach a network that has learnt something else to tell your photographs apart.

    python examples/finetune.py --data DIR                           # begins with the fictional cars, as a first step
    python examples/finetune.py --data DIR --weights runs/x          # with another run
    python examples/finetune.py --data DIR --weights efficientnet_b0_rwightman-7f5810bc.pth --size 224

DIR holds a folder of photographs for each class. First a new classifier is fitted to what the network already sees,
everything else frozen; then the rest learns as well, with --weights the early stages slowest. Each step is a run of
its own, in a folder below --out. ``--from-scratch`` trains once more with as many epochs and no head start, to compare.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a source tree, installed or not

from tinygrad_effnet import training
from tinygrad_effnet.commands.flags import add_settings, settings_of


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", default="runs", metavar="DIR", help="folder of all runs (default: runs)")
    add("--first-epochs", type=int, default=6, metavar="N", help="on the fictional cars, if any (default: 6)")
    add("--head-epochs", type=int, default=3, metavar="N", help="of the classifier alone (default: 3)")
    add("--from-scratch", action="store_true", help="train without a head start as well")
    add_settings(parser)
    given = vars(parser.parse_args(arguments))
    try:
        settings = settings_of(given)
        if settings.get("data") is None:
            parser.error("--data DIR is needed: a folder of photographs for each class")
        config = training.fine_tuning(settings)
        steps = training.fine_tune(config, given["first_epochs"], given["head_epochs"], given["out"])
        if given["from_scratch"]:
            steps["from scratch"] = training.train(
                training.without_head_start(config, given["head_epochs"]), given["out"]
            )
    except training.EXPECTED_ERRORS as error:
        print(f"finetune: {error}", file=sys.stderr)
        return 1
    for step, result in steps.items():
        best = result.history.best("val_f1")
        found = "nothing measured" if best is None else f"macro F1 {best.val_f1:.3f}, accuracy {best.val_accuracy:.3f}"
        print(f"{step:<16} {found:<36} {result.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
