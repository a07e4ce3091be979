"""How a network must be built for the weights that it is given: padding, and what batch norm adds to the variance.

Neither shows in the names or shapes of weights, and a network with the wrong ones answers a little wrong, or wholly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..nn import EfficientNetV2, Module
from ..nn.staged import StagedNet
from .public_files import TENSORFLOW, public_file, settings_of
from .safetensors_files import read_notes

# timm's name for networks whose weights come from TensorFlow, be it in that of the file or of a folder of a cache
_FROM_TENSORFLOW = re.compile(r"(?<![a-z0-9])tf_(efficientnet|mobilenet)")


def noted_settings(notes: Mapping[str, str]) -> dict[str, Any] | None:
    """What the notes of a file say of how its network is built, None if nothing; ValueError if it makes no sense."""
    if "settings" not in notes:
        return None
    noted = json.loads(notes["settings"])
    if not isinstance(noted, dict) or any(not _may_be(name, value) for name, value in noted.items()):
        raise ValueError(f"settings {noted!r}")
    return noted


def _may_be(name: str, value: Any) -> bool:
    if name == "padding":
        return value in ("same", "symmetric")
    return name == "norm_eps" and isinstance(value, float) and 0 < value < 1


def settings_in(model: Module) -> dict[str, Any]:
    """What a network was built with; empty for other modules than this package's networks."""
    if not isinstance(model, StagedNet):
        return {}
    padding = "same" if model.stem.conv.padding == "same" else "symmetric"
    return {"padding": padding, "norm_eps": model.stem.norm.eps}


def settings_wanted(model: Module, dialect: str, path: Path) -> dict[str, Any]:
    """What the network in a file was built with, as far as anything tells; empty where nothing does.

    What is noted in the file counts, as `save` and runs do; else what is known of a public file by its name; else
    whose names the weights have.
    """
    if not isinstance(model, StagedNet):
        return {}
    usual = {"padding": "symmetric", "norm_eps": model.plan.norm_eps}
    try:
        noted = noted_settings(read_notes(path))
    except (ValueError, RecursionError):  # another program's, perhaps
        noted = None
    if noted is not None:
        return usual | noted
    if public_file(path.name) is not None or dialect == "torchvision":
        return usual | settings_of(dialect, path.name)
    if dialect == "timm" and (isinstance(model, EfficientNetV2) or _FROM_TENSORFLOW.search(path.as_posix())):
        return TENSORFLOW  # of EfficientNetV2, timm has no other weights
    return settings_of(dialect)
