"""Weights from a file into a network, and out again, in the names of this package or of others."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from ..files import atomic_write
from ..nn import Module
from .checksums import verify
from .errors import WeightsError, WeightsWarning
from .key_maps import DIALECTS, key_map, knows
from .public_files import public_file
from .reading import CONTAINERS, Arrays, read_arrays, shortened
from .settings import settings_in, settings_wanted
from .torch_writer import write_torch_file

_COUNTER = "num_batches_tracked"  # of batch norm: files from before PyTorch 0.4.1 lack it, and only training needs it


@dataclass
class Loaded:
    """What `load` did.

    Attributes
    ----------
    dialect : str
        Whose names the file has.
    fresh : list of str
        Parameters that were left as they were: the classifier's, where the file has another number of classes, and
        with ``strict=False`` whatever the file lacks.
    unused : list of str
        With ``strict=False``: what the file has and the network has no place for.
    settings : dict
        What the network that the weights were trained in was built with and this one is not, padding or epsilon: it
        gives other numbers without.
    """

    dialect: str
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        text = f"loaded weights with {self.dialect} names"
        if self.fresh:
            text += f"; left as they were: {shortened(self.fresh)}"
        text += f"; not used: {shortened(self.unused)}" if self.unused else ""
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return text + (f"; the published network has {settings}: build this one so" if settings else "")


def load(model: Module, path: str | os.PathLike[str], strict: bool = True, *, entry: str | None = None) -> Loaded:
    """Copy the weights in a file into a network.

    Parameters
    ----------
    model : Module
        Any module for names of this package; an EfficientNet, EfficientNetV2 or MobileNetV2 for those of others.
    path : path
        A ``.safetensors`` file, a checkpoint of this package, or a ``.pth`` or ``.pt`` file of PyTorch's, which is
        read without PyTorch and without running it. What it is is told from its contents, and whose names it has from
        the names: this package's, torchvision's, timm's or those of lukemelas's EfficientNet-PyTorch.
    strict : bool
        Refuse unless file and network have the same entries. A classifier for another number of classes is no
        difference: the network keeps its own, and the result says so.
    entry : str, optional
        Of a file with several sets of weights, the one to take, such as ``"state_dict_ema"``; by default the first of
        {containers}.

    Returns
    -------
    Loaded
        ``print`` it for a sentence.

    Raises
    ------
    WeightsError
        The file cannot be read, or does not fit; all differences are listed, and the network is as it was. Or it has
        the name of one of `urls`, and is another file.

    Warns
    -----
    WeightsWarning
        The network has another padding or epsilon of batch norm than the one that the weights were trained in, as
        far as the file, its name or whose names it has tell: it will answer otherwise.
    """
    if public_file(Path(path).name) is not None:
        verify(path)
    arrays = read_arrays(Path(path), entry)
    dialect, names = _recognise(model, arrays, Path(path))
    own = model.state_dict()
    report = Loaded(dialect)
    chosen: Arrays = {}
    problems = []
    for name, theirs in names.items():
        if theirs not in arrays:
            if not theirs.endswith(_COUNTER):
                report.fresh.append(name)
        elif arrays[theirs].shape == own[name].shape:
            chosen[name] = arrays[theirs]
        elif name in ("classifier.weight", "classifier.bias"):
            report.fresh.append(name)
        else:
            problems.append(f"{theirs}: shape {arrays[theirs].shape} in the file, {own[name].shape} expected")
    classifier = [name for name in report.fresh if name.startswith("classifier.") and names[name] in arrays]
    report.unused = sorted(set(arrays) - set(names.values()))
    if strict:
        problems += [f"{names[name]}: missing" for name in report.fresh if name not in classifier]
        problems += [f"{name}: not a part of this network" for name in report.unused]
    for name, array in chosen.items():
        if array.dtype.kind not in "fiu" or array.dtype.kind != own[name].dtype.kind:
            problems.append(f"{names[name]}: {array.dtype} numbers in the file, {own[name].dtype} expected")
    if problems:
        raise WeightsError(_differences(Path(path), model, dialect, problems, strict))
    model.load_state_dict(chosen, strict=False)
    own_settings, wanted = settings_in(model), settings_wanted(model, dialect, Path(path))
    report.settings = {name: value for name, value in wanted.items() if own_settings[name] != value}
    if report.settings:
        _warn(model, Path(path), dialect, report.settings)
    return report


load.__doc__ = (load.__doc__ or "").format(containers=", ".join(f'``"{name}"``' for name in CONTAINERS))


def save(
    model: Module, path: str | os.PathLike[str], dialect: str = "native", notes: Mapping[str, str] | None = None
) -> None:
    """Write a network's weights, atomically.

    Parameters
    ----------
    model : Module
        As in `load`.
    path : path
        ``.safetensors``, or ``.pth`` or ``.pt`` for a file that ``torch.load`` reads.
    dialect : "native", "torchvision", "timm" or "lukemelas"
        Whose names to write, so that their network's ``load_state_dict`` takes them.
    notes : mapping of str to str, optional
        What `describe` is to find there, such as `notes_of` gives; only ``.safetensors`` keeps it. Padding and
        epsilon are noted in any case.

    Raises
    ------
    WeightsError
        The file's name has another ending, or the dialect has no such network. Nothing is written.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise WeightsError(f"save(path): {path.name!r}; expected a name that ends in .safetensors, .pth or .pt")
    if dialect not in DIALECTS:
        raise WeightsError(f"save(dialect): {dialect!r}; choose one of {', '.join(DIALECTS)}")
    own = {name: np.asarray(tensor.array, order="C") for name, tensor in model.state_dict().items()}
    try:
        names = {name: name for name in own} if dialect == "native" else key_map(model, dialect)  # type: ignore[arg-type]
    except ValueError as error:
        raise WeightsError(f"save(dialect): {error}") from error
    arrays = {names[name]: array for name, array in own.items()}
    if path.suffix == ".safetensors":
        kept = {"format": "pt", "settings": json.dumps(settings_in(model))}  # readers elsewhere ask for the format
        data = safetensors.numpy.save(arrays, kept | dict(notes or {}))
        atomic_write(path, lambda file: file.write(data))
    else:
        write_torch_file(path, arrays)


def _warn(model: Module, path: Path, dialect: str, missed: dict[str, Any]) -> None:
    """Say which settings the network has, and should have."""
    own = settings_in(model)
    has, wants = (", ".join(f"{name}={s[name]!r}" for name in missed) for s in (own, missed))
    warnings.warn(
        f"{path}: weights with {dialect} names, by the notes or name of their file, come from a network with {wants}; "
        f"this {type(model).__name__} has {has}, and will answer otherwise. Build it with {wants}.",
        WeightsWarning,
        stacklevel=3,
    )


def _recognise(model: Module, arrays: Arrays, path: Path) -> tuple[str, dict[str, str]]:
    """The dialect most of whose names are in the file, and its names by ours."""
    best: tuple[int, str, dict[str, str]] = (0, "", {})
    for dialect in DIALECTS:
        if not knows(dialect, model):
            continue
        own = list(model.state_dict())
        names = {name: name for name in own} if dialect == "native" else key_map(model, dialect)  # type: ignore[arg-type]
        shared = sum(theirs in arrays for theirs in names.values())
        if shared > best[0]:
            best = shared, dialect, names
    if not best[0]:
        raise WeightsError(
            f"{path} has none of the names of a {type(model).__name__} in any dialect ({', '.join(DIALECTS)}); its "
            f"first are {shortened(list(arrays), 4)}. Build the network that the file was made for."
        )
    return best[1], best[2]


def _differences(path: Path, model: Module, dialect: str, problems: list[str], strict: bool) -> str:
    kind = f"{type(model).__name__}({model.extra_repr()})"
    lines = [f"  {line}" for line in problems[:20]]
    if len(problems) > len(lines):
        lines.append(f"  ... and {len(problems) - len(lines)} more")
    advice = "Build the variant that the file was made for"
    advice += ", or load what agrees with strict=False." if strict else "."
    return (
        f"{path} ({dialect} names) does not fit {kind} in {len(problems)} places, and nothing was loaded:\n"
        + "\n".join(lines)
        + f"\n{advice}"
    )
