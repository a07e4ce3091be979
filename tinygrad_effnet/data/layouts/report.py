"""What was found, in a few lines: classes, counts, sizes, files left out, files that are in both parts."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..datasets import Dataset, Subset
from ..listed import ImageList


def same_files(train: Sequence[Path], val: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pairs (training file, validation file) with the same bytes: pictures that would be learnt by heart."""
    by_length: dict[int, list[Path]] = defaultdict(list)
    for path in train:
        by_length[path.stat().st_size].append(path)
    pairs = []
    digests: dict[Path, bytes] = {}
    for path in val:
        # Only files of equal length need be read.
        for other in by_length.get(path.stat().st_size, ()):
            if _digest(path, digests) == _digest(other, digests):
                pairs.append((other, path))
                break
    return pairs


def _digest(path: Path, known: dict[Path, bytes]) -> bytes:
    if path not in known:
        with path.open("rb") as file:
            known[path] = hashlib.file_digest(file, "sha256").digest()
    return known[path]


def report(layout: str, root: Path, train: Dataset, val: Dataset) -> str:
    """The lines which a run begins with."""
    lines = [f"{layout} in {root}", f"  {len(train)} for training, {len(val)} held out for validation"]
    whole = train.dataset if isinstance(train, Subset) else train
    lines += ["  " + line.strip() for line in _described(whole)[:1]] + _described(whole)[1:]
    if not isinstance(val, Subset):
        lines.append(f"  validation: {_described(val)[0]}")
    for part, labels in (("training", train.labels), ("validation", val.labels)):
        missing = np.flatnonzero(np.bincount(labels, minlength=len(train.class_names)) == 0)
        if len(missing):
            named = ", ".join(train.class_names[i] for i in missing[:3]) + (", ..." if len(missing) > 3 else "")
            lines.append(f"  {len(missing)} class(es) without images for {part}: {named}")
    pairs = same_files(_paths(train), _paths(val))
    if pairs:
        lines.append(
            f"  {len(pairs)} file(s) for validation are among the training files as well, so the results will "
            f"flatter: {pairs[0][1]} is {pairs[0][0]}"
        )
    return "\n".join(lines)


def _described(dataset: Dataset) -> list[str]:
    # A folder's own description begins with its path, which is said already.
    return (ImageList.describe(dataset) if isinstance(dataset, ImageList) else dataset.describe()).splitlines()


def _paths(dataset: Dataset) -> list[Path]:
    if isinstance(dataset, Subset):
        whole = _paths(dataset.dataset)
        return [whole[i] for i in dataset.indices] if whole else []
    return dataset.paths if isinstance(dataset, ImageList) else []
