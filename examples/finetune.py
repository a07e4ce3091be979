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

# Of weights that know photographs the early stages are kept: they see edges and colours, which are everywhere the same.
# From drawings it is a longer way, and everything must go it. Flags count for more than either.
CLOSE = {"freeze": "stem", "lr_scale": 0.3, "lr_scales": "stages.0=0.03,stages.1=0.1,stages.2=0.1"}


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
        config = training.TrainConfig(**{"epochs": 8, **(CLOSE if settings.get("weights") else {}), **settings})
        if config.data is None:
            parser.error("--data DIR is needed: a folder of photographs for each class")
        steps = fine_tune(config, given["first_epochs"], given["head_epochs"], given["out"])
        if given["from_scratch"]:
            epochs = config.epochs + given["head_epochs"]
            plain = config.changed(weights=None, freeze="", lr_scale=1.0, lr_scales="", epochs=epochs)
            steps["from scratch"] = training.train(plain, given["out"])
    except training.EXPECTED_ERRORS as error:
        print(f"finetune: {error}", file=sys.stderr)
        return 1
    for step, result in steps.items():
        best = result.history.best("val_f1")
        found = "nothing measured" if best is None else f"macro F1 {best.val_f1:.3f}, accuracy {best.val_accuracy:.3f}"
        print(f"{step:<16} {found:<36} {result.folder}")
    return 0


def fine_tune(config: training.TrainConfig, first: int, head: int, out: str) -> dict[str, training.Result]:
    """The runs, by what they are; each begins with the best weights of the one before."""
    steps = {}
    start = config.weights
    if start is None:
        same = {name: getattr(config, name) for name in ("model", "size", "seed", "backend", "limit_batches")}
        steps["fictional cars"] = training.train(training.TrainConfig(**same, epochs=first), out)
        start = str(steps["fictional cars"].folder / "best.safetensors")
    # the network's body as it is; the classifier, for other classes, begins anew
    classifier = config.changed(weights=start, freeze="all", epochs=head)
    steps["classifier"] = training.train(classifier, out)
    start = str(steps["classifier"].folder / "best.safetensors")
    steps["everything"] = training.train(config.changed(weights=start), out)
    return steps


if __name__ == "__main__":
    sys.exit(main())
