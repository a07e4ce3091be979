"""``export``: a run's best weights, or the whole network, for other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import training, weights
from ..training import Classifier, save_weights

ENDINGS = {".safetensors": "safetensors", ".pth": "pth", ".pt": "pth", ".onnx": "onnx"}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tinygrad_effnet export",
        description="Write a run's best weights, or with ONNX the whole network, for other programs.",
    )
    add = made.add_argument
    add("run", metavar="RUN", help="folder of a run, or a weights file that one wrote")
    add("file", type=Path, metavar="FILE", help=".safetensors; .pth or .pt as torch.load reads it; or .onnx")
    add(
        "--format",
        choices=sorted(set(ENDINGS.values())),
        help="what to write (default: what FILE's ending says, which must agree)",
    )
    add(
        "--names",
        choices=("native", *weights.DIALECTS),
        default="native",
        help="whose names the weights get (default: this package's); not for ONNX",
    )
    add("--batch", type=int, metavar="N", help="ONNX: take N images at a time (default: any number)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    given = parser().parse_args(arguments)
    try:
        kind = _format(given)
        classifier = Classifier.load(given.run)
        if kind == "onnx":
            weights.export_onnx(
                classifier.model,
                given.file,
                (given.batch or 1, 3, classifier.size, classifier.size),
                dynamic_batch=given.batch is None,
                class_names=classifier.class_names,
                preprocessing=preprocessing(classifier),
            )
        elif kind == "safetensors" and given.names == "native":
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


def _format(given: argparse.Namespace) -> str:
    """What to write, by the file's ending."""
    kind = ENDINGS.get(given.file.suffix)
    if kind is None or given.format not in (None, kind):
        wanted = [ending for ending, k in ENDINGS.items() if given.format in (None, k)]
        raise weights.WeightsError(f"FILE: {given.file.name!r}; expected a name that ends in {' or '.join(wanted)}")
    for flag, is_given, fits in (
        ("--names", given.names != "native", kind != "onnx"),
        ("--batch", given.batch, kind == "onnx"),
    ):
        if is_given and not fits:
            raise weights.WeightsError(f"{flag}: it means nothing for {kind} files; leave it out")
    if given.batch is not None and given.batch < 1:
        raise weights.WeightsError(f"--batch: {given.batch}; expected at least 1")
    return kind


def preprocessing(classifier: Classifier) -> dict[str, Any]:
    """What `Classifier.transform` does to a photograph, for those who have to do it again elsewhere."""
    return {**asdict(classifier.preprocessing), "channels": "RGB", "scale": "0 to 1", "layout": "NCHW"}
