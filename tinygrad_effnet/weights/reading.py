"""From a file of any known format to arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import WeightsError
from .safetensors_files import read_safetensors
from .torch_files import read_torch_file

Arrays = dict[str, NDArray[Any]]

# Under which key training scripts keep the weights, beside the optimiser's state and others
CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema")


def read_arrays(path: Path, entry: str | None = None) -> Arrays:
    """The weights in a file by name, without what wrappers and training scripts put around them.

    Raises
    ------
    WeightsError
        The file cannot be read, or holds no weights.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from error
    # safetensors: the length of the header in eight bytes, then the header, which is JSON
    content = read_safetensors(path) if start[8:] == b"{" else read_torch_file(path)
    return _plain_names(_state_in(content, path, entry), path)


def _state_in(content: Any, path: Path, entry: str | None) -> Mapping[str, Any]:
    """The dictionary of arrays that is asked for."""
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not named weights; save a state dictionary")
    if entry is not None:
        if entry not in content or not isinstance(content[entry], Mapping):
            held = ", ".join(repr(k) for k, v in content.items() if isinstance(v, Mapping)) or "none"
            raise WeightsError(f"load(entry): {path} has no weights under {entry!r}; those it has: {held}")
        return content[entry]
    for container in CONTAINERS:
        if isinstance(content.get(container), Mapping):
            return content[container]
    return content


def _plain_names(state: Mapping[str, Any], path: Path) -> Arrays:
    """Without the prefixes that wrappers put before every name."""
    arrays = {str(name): value for name, value in state.items() if isinstance(value, np.ndarray)}
    if not arrays:
        raise WeightsError(f"{path} holds no weights; its entries are {shortened(list(map(str, state))) or 'none'}")
    if any(name.startswith("model/") for name in arrays):  # a checkpoint of this package, with the optimiser's state
        return {name[len("model/") :]: value for name, value in arrays.items() if name.startswith("model/")}
    for prefix in ("module.", "_orig_mod.", "model."):  # of data-parallel, compiled and Lightning models
        if all(name.startswith(prefix) for name in arrays):
            arrays = {name[len(prefix) :]: value for name, value in arrays.items()}
    return arrays


def shortened(names: list[str], most: int = 6) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
