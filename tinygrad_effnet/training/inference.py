"""Using what was trained: a network with everything that belongs to it, and its answers for whole data sets."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import nn, tape, weights
from ..data import Compose, DataLoader, Dataset, Preprocessing
from ..nn.module import place_of
from ..tensor import from_numpy
from .batches import logits_of
from .metrics import ConfusionMatrix


@dataclass(frozen=True, slots=True)
class Classifier:
    """A network in eval mode, and what is needed to use it.

    Attributes
    ----------
    kind : str
        The network, as `nn.create_model` names it.
    model : StagedNet
    class_names : list of str
        What its outputs stand for.
    preprocessing : Preprocessing
        How pictures are prepared for it.
    settings : dict
        What `nn.create_model` was told beyond the number of classes.
    """

    kind: str
    model: nn.StagedNet
    class_names: list[str]
    preprocessing: Preprocessing
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], model: str | None = None, class_names: Sequence[str] | None = None
    ) -> Classifier:
        """Read ``best.safetensors`` of a run's folder, or any other file that `weights.load` reads.

        Parameters
        ----------
        path : path
        model : str, optional
            The network. Files that a run wrote, and public files under their own names, tell it.
        class_names : sequence of str, optional
            What the outputs stand for. A run's files tell it; those of others get "class 0", "class 1", ... without.

        Raises
        ------
        WeightsError
            The file is missing, damaged or of another network, or lacks what is needed to use it.
        """
        source = Path(path)
        if source.is_dir():
            source = source / "best.safetensors"
        found = weights.describe(source, model)
        if found.model is None:
            raise weights.WeightsError(
                f"{source}: nothing in it tells which network it is of; name it with --model, such as efficientnet_b0"
            )
        names = list(class_names) if class_names is not None else found.class_names
        if names is None:
            names = [f"class {i}" for i in range(found.num_classes)]
        # sizes are compared before anything of the file's choosing is allocated
        if not names or len(names) != found.num_classes:
            raise weights.WeightsError(
                f"{source}: {len(names)} class names for {found.num_classes} outputs; give as many, in the order in "
                "which it was trained"
            )
        network = nn.create_model(found.model, len(names), **found.settings)
        weights.load(network, source)
        network.eval()
        return cls(found.model, network, names, found.preprocessing, found.settings)

    def mirrored(self, mirror: bool | None = True) -> Classifier:
        """The same, judging images with or without their mirror images; None leaves that as it is."""
        return self if mirror is None else replace(self, preprocessing=self.preprocessing.changed(mirror=mirror))

    def notes(self) -> dict[str, str]:
        """What is written beside its weights, so that `load` finds it again."""
        return weights.notes_of(self.kind, self.class_names, self.preprocessing, self.settings)

    @property
    def size(self) -> int:
        """Side of the network's input, pixels."""
        return self.preprocessing.size

    @property
    def transform(self) -> Compose:
        """What turns a picture into the network's input."""
        return self.preprocessing.transform()

    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, 3, H, W) normalised images to (N, K) probabilities; mirror images count as `preprocessing` says."""
        with tape.no_grad():
            shown = from_numpy(images).to(place_of(self.model))
            logits = logits_of(self.model, shown, self.preprocessing.mirror).cpu().numpy().astype(np.float64)
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
