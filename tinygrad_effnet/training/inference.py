"""Using what was trained: a network with everything that belongs to it, and its answers for whole data sets."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import nn, tape
from ..data import Compose, DataLoader, Dataset, eval_transform
from ..nn.module import place_of
from ..tensor import from_numpy
from .checkpoint import CheckpointError, load_weights
from .metrics import ConfusionMatrix


@dataclass(frozen=True, slots=True)
class Classifier:
    """A network in eval mode, and what is needed to use it: its name, class names, image size, normalisation."""

    kind: str
    model: nn.StagedNet
    class_names: list[str]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Classifier:
        """Read ``best.safetensors`` of a run's folder, or another weights file that a run wrote.

        Raises
        ------
        CheckpointError
            The file is missing or damaged, or lacks what runs note in it.
        """
        source = Path(path)
        if source.is_dir():
            source = source / "best.safetensors"
        arrays, notes = load_weights(source)
        try:
            kind = notes["model"]
            names = [str(name) for name in json.loads(notes["class_names"])]
            size = int(notes["size"])
            mean, std = (tuple(float(v) for v in json.loads(notes[key])) for key in ("mean", "std"))
            if kind not in nn.list_models() or size < 1 or not names:
                raise ValueError(f"model {kind!r}, size {size}, {len(names)} classes")
            # Sizes are compared before anything of the file's choosing is allocated.
            if arrays["classifier.weight"].shape[0] != len(names):
                raise ValueError(f"{len(names)} class names for {arrays['classifier.weight'].shape[0]} outputs")
            model = nn.create_model(kind, len(names))
            model.load_state_dict(arrays)
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"{source}: it lacks what a run notes beside its weights, or does not fit it ({error}); give the "
                "folder of a run, or its best.safetensors"
            ) from error
        model.eval()
        return cls(kind, model, names, size, mean, std)

    @property
    def transform(self) -> Compose:
        """What turns a picture into the network's input."""
        return eval_transform(self.size, mean=self.mean, std=self.std)

    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, 3, H, W) normalised images to (N, K) probabilities."""
        with tape.no_grad():
            logits = self.model(from_numpy(images).to(place_of(self.model))).cpu().numpy().astype(np.float64)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
        return shares


@dataclass(frozen=True, slots=True)
class Predictions:
    """Probabilities (N, K) of the first N pictures of a data set, and their labels (N,)."""

    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most likely class of each picture."""
        return self.probabilities.argmax(axis=1)

    @property
    def loss(self) -> float:
        """Mean cross-entropy, nats."""
        own = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(own, np.finfo(np.float64).tiny)).mean())

    def confusion(self) -> ConfusionMatrix:
        """Counts of (label, predicted)."""
        matrix = ConfusionMatrix(self.probabilities.shape[1])
        matrix.update(self.labels, self.predicted)
        return matrix


def predict_all(
    classifier: Classifier, dataset: Dataset, batch_size: int = 32, workers: int = 0, limit: int | None = None
) -> Predictions:
    """The network's answers for a data set whose labels count as the classifier's do.

    Parameters
    ----------
    limit
        At most so many batches.

    Raises
    ------
    DataLoadingError
        A picture cannot be read.
    """
    loader = DataLoader(dataset, batch_size, classifier.transform, workers=workers)
    answers = [(classifier.probabilities(x), y) for x, y in itertools.islice(loader.epoch(0), limit)]
    return Predictions(np.concatenate([p for p, _ in answers]), np.concatenate([y for _, y in answers]))
