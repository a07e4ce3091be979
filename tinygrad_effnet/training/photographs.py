"""What a trained network says to photographs: whatever files they are, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data import ImageReadError, read_image
from ..data.folder import image_files
from ..saliency import draw_explanation, grad_cam, input_gradient, last_maps
from .inference import Classifier

EXPLAINED = ".explained.png"
"""What the names of drawn explanations end with; `photographs_in` passes them over."""

_SHOWN = 384  # side of the photograph in an explanation, pixels


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the network says to one photograph, or why nothing.

    Attributes
    ----------
    path : Path
    probabilities : array or None
        (K,); None where the file could not be read.
    image : array or None
        (3, size, size) float32: the photograph as the network was given it.
    error : str
        Why the file could not be read; empty where it could.
    """

    path: Path
    probabilities: NDArray[np.float64] | None
    image: NDArray[np.float32] | None
    error: str = ""

    def best(self, count: int) -> list[int]:
        """The ``count`` likeliest classes, likeliest first."""
        if self.probabilities is None:
            return []
        order: list[int] = np.argsort(-self.probabilities, kind="stable")[:count].tolist()
        return order


def photographs_in(named: Iterable[str | Path]) -> list[Path]:
    """Files as they are named; of folders, and the folders in them, the images, without drawn explanations."""
    found = []
    for path in map(Path, named):
        if path.is_dir():
            folders = [path, *sorted(p for p in path.rglob("*") if p.is_dir() and not p.name.startswith("."))]
            found += [file for folder in folders for file in image_files(folder) if not file.name.endswith(EXPLAINED)]
        else:
            found.append(path)
    return found


def look_at(classifier: Classifier, paths: Sequence[Path], batch_size: int = 32) -> Iterator[Answer]:
    """Answers for photographs, in their order; a file that cannot be read gets one that says why.

    Parameters
    ----------
    batch_size
        Photographs that are in memory, and go through the network, at a time.

    Raises
    ------
    ValueError
        ``batch_size`` is less than 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}, expected at least 1")
    rest = iter(paths)
    while batch := list(islice(rest, batch_size)):
        read = [_read(classifier, path) for path in batch]
        images = [answer.image for answer in read if answer.image is not None]
        shares = iter(classifier.probabilities(np.stack(images)) if images else ())
        for answer in read:
            yield answer if answer.error else Answer(answer.path, next(shares), answer.image)


def _read(classifier: Classifier, path: Path) -> Answer:
    try:
        # twice the size that is needed leaves the last reduction enough to average over
        picture = read_image(path, 2 * classifier.preprocessing.resize)
    except ImageReadError as error:
        return Answer(path, None, None, str(error))
    return Answer(path, None, classifier.transform(picture, np.random.default_rng(0)))


def explain(classifier: Classifier, answer: Answer, path: Path, layer: str | None = None, top: int = 5) -> Path:
    """Draw what the network looked at for its likeliest class; see `saliency.draw_explanation`.

    Parameters
    ----------
    answer : Answer
        To a photograph that could be read, and still can.
    path : path
        The PNG to write.
    layer : str, optional
        As in `saliency.grad_cam`; when left out the last that still says where, see `saliency.last_maps`.
    top : int
        Likeliest classes that are named.

    Raises
    ------
    ImageReadError
        The photograph cannot be read any more.
    ValueError
        There is no such layer, or there is no answer.
    """
    if answer.image is None or answer.probabilities is None:
        raise ValueError(f"explain(answer): {answer.path} could not be read ({answer.error})")
    best = answer.best(top)
    images, classes = answer.image[None], best[:1]
    layer = last_maps(classifier.model, classifier.size) if layer is None else layer
    [cam], [gradient] = (
        grad_cam(classifier.model, images, classes, layer),
        input_gradient(classifier.model, images, classes),
    )
    seen = classifier.preprocessing
    large = seen.at(max(_SHOWN, seen.size))
    shown = large.view()(read_image(answer.path, 2 * large.resize), np.random.default_rng(0))
    answers = [(classifier.class_names[i], float(answer.probabilities[i])) for i in best]
    return draw_explanation(path, shown, cam, gradient, answers)
