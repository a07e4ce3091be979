"""``predict``: what is on photographs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import training
from ..training import Answer, Classifier, explain, look_at, photographs_in
from ..training.photographs import EXPLAINED
from ..training.report.tables import write_csv

DESCRIPTION = """Say what is on photographs.

Exit code 1 means that some could not be read; the others are answered all the same."""


def parser(prog: str = "python -m tinygrad_effnet predict") -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    add("--weights", required=True, metavar="RUN", help="folder of a run, or a file of weights, of any origin")
    add("--model", metavar="NAME", help="the network, where the file does not tell it, such as efficientnet_b0")
    add("--classes", type=Path, metavar="FILE", help="names of the classes, one a line, where the weights lack them")
    add(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        help="judge each photograph together with its mirror image (default: as the weights were measured)",
    )
    add("--top", type=int, default=5, metavar="K", help="classes to name for each (default: %(default)s)")
    add("--batch-size", type=int, default=32, metavar="N", help="photographs at a time (default: %(default)s)")
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--csv", type=Path, metavar="FILE", help="also write picture, class and probability, K rows a picture, there")
    add("--explain", action="store_true", help=f"draw what was looked at, beside each photograph: NAME{EXPLAINED}")
    add("--explain-to", type=Path, metavar="DIR", help="draw it into this folder instead")
    add("--layer", metavar="NAME", help="whose maps Grad-CAM takes (default: the last that has 4 x 4 places)")
    return made


def main(arguments: Sequence[str] | None = None, prog: str = "python -m tinygrad_effnet predict") -> int:
    """Run the command; returns the exit status: 1 if any image could not be read."""
    given = parser(prog).parse_args(arguments)
    asked = prog.split()[-1]
    printed: list[dict[str, Any]] = []
    try:
        names = given.classes.read_text(encoding="utf-8").splitlines() if given.classes is not None else None
        classifier = Classifier.load(given.weights, given.model, names).mirrored(given.mirror)
        paths = photographs_in(given.images)
        if not paths:
            print(f"{asked}: there are no images in {', '.join(given.images)}", file=sys.stderr)
        for answer in look_at(classifier, paths, max(1, given.batch_size)):
            printed.append(_told(classifier, answer, max(1, given.top)))
            if answer.error:
                print(f"{asked}: {answer.error}", file=sys.stderr)
            elif not given.json:
                print(_as_table(printed[-1], first=all("error" in told for told in printed[:-1])), flush=True)
            if not answer.error and (given.explain or given.explain_to is not None):
                _draw(classifier, answer, given, printed[-1])
        if given.json:
            print(json.dumps(printed, indent=1, ensure_ascii=False))
        if given.csv is not None:
            write_csv(given.csv, ("picture", "class", "probability"), _rows(printed))
    except training.EXPECTED_ERRORS as error:
        print(f"{asked}: {error}", file=sys.stderr)
        return 1
    return 1 if not printed or any("error" in told for told in printed) else 0


def _told(classifier: Classifier, answer: Answer, top: int) -> dict[str, Any]:
    if answer.probabilities is None:
        return {"picture": str(answer.path), "error": answer.error}
    best = [
        {"class": classifier.class_names[i], "probability": round(float(answer.probabilities[i]), 6)}
        for i in answer.best(top)
    ]
    return {"picture": str(answer.path), "classes": best}


def _as_table(told: dict[str, Any], first: bool) -> str:
    heading = [f"{'probability':>11}  class"] if first else []
    classes = [f"{100 * c['probability']:9.2f} %  {c['class']}" for c in told["classes"]]
    return "\n".join([*heading, told["picture"], *classes])


def _rows(printed: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (told["picture"], best["class"], f"{best['probability']:.6f}")
        for told in printed
        for best in told.get("classes", ())
    ]


def _draw(classifier: Classifier, answer: Answer, given: argparse.Namespace, told: dict[str, Any]) -> None:
    folder = answer.path.parent if given.explain_to is None else given.explain_to
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (answer.path.name + EXPLAINED)
    try:
        explain(classifier, answer, path, given.layer, max(1, given.top))
    except ValueError as error:  # of all that may be wrong only the layer comes from the user
        raise training.ConfigError(f"layer: {error}") from error
    told["explanation"] = str(path)
