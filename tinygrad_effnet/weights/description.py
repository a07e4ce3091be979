"""What belongs to a file of weights: which network it is of, what that is to be shown, what its answers mean."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import nn
from ..data import Preprocessing
from ..nn.efficientnet import VARIANTS, VARIANTS_V2
from .errors import WeightsError
from .public_files import public_file, settings_of, urls
from .reading import Arrays, read_arrays, shortened
from .safetensors_files import read_notes
from .settings import noted_settings

# Of each dialect the first convolution and the classifier: whoever has both, or the first alone, is of that dialect
_SIGNS = {
    "native": ("stem.conv.weight", "classifier.weight"),
    "torchvision": ("features.0.0.weight", "classifier.1.weight"),
    "timm": ("conv_stem.weight", "classifier.weight"),
    "lukemelas": ("_conv_stem.weight", "_fc.weight"),
}
_LARGEST_SIDE = 1 << 13  # pixels; the largest network that was published wants a tenth


@dataclass(frozen=True)
class Description:
    """What belongs to a file of weights.

    Attributes
    ----------
    model : str or None
        The network, as `nn.create_model` names it; None if nothing tells.
    dialect : str
        Whose names the weights have.
    num_classes : int
        0 for a network without a classifier.
    class_names : list of str or None
        What its outputs stand for, where it is noted.
    preprocessing : Preprocessing
    settings : dict
        What `nn.create_model` is to be told, such as ``padding``.
    """

    model: str | None
    dialect: str
    num_classes: int
    class_names: list[str] | None
    preprocessing: Preprocessing
    settings: dict[str, Any] = field(default_factory=dict)


def preprocessing(model: str, dialect: str = "native") -> Preprocessing:
    """How pictures are prepared for a network.

    Parameters
    ----------
    model : str
        A name as `nn.create_model` has it.
    dialect : "native", "torchvision", "timm" or "lukemelas"
        Whose weights it has. Theirs are as their public file wants it, the first of `urls` where there are several.
        Networks of this package's own, and those that the project publishes no weights for, get pictures of the
        variant's size, whole, with ImageNet's normalisation; a run notes in its files what it was shown.

    Raises
    ------
    ValueError
        There is no such network or dialect.

    Examples
    --------
    >>> seen = preprocessing("efficientnet_b1", "torchvision")
    >>> seen.size, seen.resize, seen.interpolation
    (240, 255, 'bilinear')
    """
    if model not in nn.list_models():
        raise ValueError(f"preprocessing(model): {model!r}; choose one of {', '.join(nn.list_models())}")
    if dialect not in _SIGNS:
        raise ValueError(f"preprocessing(dialect): {dialect!r}; choose one of {', '.join(_SIGNS)}")
    public = urls(model, dialect)
    return public[0].preprocessing if public else Preprocessing(_SIZES[model], _SIZES[model])


_SIZES = {
    **{f"efficientnet_{name}": variant.size for name, variant in VARIANTS.items()},
    **{f"efficientnet_v2_{name}": variant.size for name, variant in VARIANTS_V2.items()},
    "mobilenet_v2": 224,
}


def describe(path: str | os.PathLike[str], model: str | None = None) -> Description:
    """What belongs to a file of weights: from its notes, or, for a public file, from its name.

    Parameters
    ----------
    path : path
        As in `load`.
    model : str, optional
        The network, where the file does not tell; counts for more than what it tells.

    Raises
    ------
    WeightsError
        The file cannot be read, has the names of no known network, or notes that make no sense.
    """
    path = Path(path)
    arrays = read_arrays(path)
    dialect = _dialect_of(arrays, path)
    notes, public = read_notes(path), public_file(path.name)
    if public is not None:
        model = public.model if model is None else model
        seen, settings = public.preprocessing, public.settings
        return Description(model, dialect, _classes_in(arrays, dialect), None, seen, dict(settings))
    try:
        if dialect == "native" and "size" in notes:
            return _from_notes(notes, _classes_in(arrays, dialect), model)
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise WeightsError(
            f"{path}: what it notes beside its weights makes no sense ({error}); give the folder of a run, or its "
            "best.safetensors"
        ) from error
    seen = preprocessing(model or "efficientnet_b0", dialect)
    first = urls(model, dialect)[:1] if model else []
    settings = first[0].settings if first else settings_of(dialect)
    with contextlib.suppress(ValueError, RecursionError):  # another program's note, perhaps
        settings = noted_settings(notes) or settings
    return Description(model, dialect, _classes_in(arrays, dialect), None, seen, dict(settings))


def notes_of(
    model: str, class_names: Sequence[str], seen: Preprocessing, settings: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """What `describe` reads again: notes for the header of a safetensors file, which keeps texts only."""
    return {
        "model": model,
        "class_names": json.dumps(list(class_names)),
        "size": str(seen.size),
        "resize": str(seen.resize),
        "mean": json.dumps(list(seen.mean)),
        "std": json.dumps(list(seen.std)),
        "interpolation": seen.interpolation,
        "squash": json.dumps(seen.squash),
        "mirror": json.dumps(seen.mirror),
        "settings": json.dumps(dict(settings or {})),
    }


def _dialect_of(arrays: Arrays, path: Path) -> str:
    for dialect, (stem, _) in _SIGNS.items():
        if stem in arrays:
            return dialect
    raise WeightsError(
        f"{path} has none of the names of an EfficientNet or MobileNetV2 in any dialect ({', '.join(_SIGNS)}); its "
        f"first are {shortened(sorted(arrays), 4)}"
    )


def _classes_in(arrays: Arrays, dialect: str) -> int:
    classifier = arrays.get(_SIGNS[dialect][1])
    return 0 if classifier is None or not classifier.ndim else int(classifier.shape[0])


def _from_notes(notes: Mapping[str, str], classes: int, model: str | None) -> Description:
    model = notes["model"] if model is None else model
    if model not in nn.list_models():
        raise ValueError(f"model {model!r}")
    names = [str(name) for name in json.loads(notes["class_names"])] if "class_names" in notes else None
    if names is not None and len(names) != classes:
        raise ValueError(f"{len(names)} class names for {classes} outputs")
    mean, std = (tuple(float(v) for v in json.loads(notes[key])) for key in ("mean", "std"))
    size = int(notes["size"])
    if max(size, int(notes.get("resize", size))) > _LARGEST_SIDE:  # pictures are made so large
        raise ValueError(f"pictures of more than {_LARGEST_SIDE} pixels a side")
    # files of earlier versions have no more than that: the whole picture was seen
    seen = Preprocessing(
        size,
        int(notes.get("resize", size)),
        mean,  # type: ignore[arg-type]
        std,  # type: ignore[arg-type]
        notes.get("interpolation", "bilinear"),
        bool(json.loads(notes.get("squash", "false"))),
        bool(json.loads(notes.get("mirror", "false"))),
    )
    return Description(model, "native", classes, names, seen, noted_settings(notes) or {})
