"""The networks of this package by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from typing import Any

from .efficientnet import VARIANTS, VARIANTS_V2, EfficientNet, EfficientNetV2
from .mobilenet import MobileNetV2
from .staged import StagedNet

_MODELS: dict[str, Callable[..., StagedNet]] = {
    **{f"efficientnet_{variant}": partial(EfficientNet, variant) for variant in VARIANTS},
    **{f"efficientnet_v2_{variant}": partial(EfficientNetV2, variant) for variant in VARIANTS_V2},
    "mobilenet_v2": MobileNetV2,
}


def list_models(pattern: str = "*") -> list[str]:
    """The names that `create_model` takes; with a pattern such as ``"efficientnet_v2_*"`` those that match it.

    >>> list_models("*v2_b*")
    ['efficientnet_v2_b0', 'efficientnet_v2_b1', 'efficientnet_v2_b2', 'efficientnet_v2_b3']
    """
    return [name for name in _MODELS if fnmatch(name, pattern)]


def create_model(name: str, num_classes: int = 1000, **settings: Any) -> StagedNet:
    """A new network, with random weights.

    Parameters
    ----------
    name : str
        One of `list_models`.
    num_classes : int
        0 for embeddings, without a classifier.
    **settings
        What the network's class takes: ``in_channels``, ``dropout``, ``stochastic_depth``, ``padding``, ``width``,
        ``depth``, ``norm_eps``, ``norm_momentum``, ``features_only``, ``fused``.

    Raises
    ------
    ValueError
        There is no such network (the nearest names are listed), or a setting makes no sense.
    """
    if name not in _MODELS:
        near = difflib.get_close_matches(str(name), _MODELS, 3, 0.4) or list(_MODELS)
        raise ValueError(f"create_model(name): there is no {name!r}; the nearest are {', '.join(near)}")
    return _MODELS[name](num_classes=num_classes, **settings)
