"""Weights and checkpoints on disk: safetensors for arrays, JSON for the rest, whole or not at all.

A checkpoint is one file, so that it is never half old and half new: arrays in groups ("model/stem.conv.weight",
"optimizer/...", "ema/..."), and the JSON state (epoch, step, random states, configuration) in the file's metadata.
Nothing here can run code on loading. Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from ..files import atomic_write
from .files import plain_name

__all__ = [
    "CheckpointDamagedError",
    "CheckpointError",
    "has_checkpoint",
    "load_checkpoint",
    "load_weights",
    "restore_rng",
    "rng_state",
    "save_checkpoint",
    "save_weights",
]

Arrays = Mapping[str, NDArray[Any]]

_SUFFIX = ".safetensors"
_FORMAT = "tinygrad_effnet.checkpoint"
_VERSION = 1
# Element types which both NumPy and safetensors have; also the reader's guard against types NumPy would misread.
_DTYPES = {
    "BOOL": "bool", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8", "U16": "uint16",
    "U32": "uint32", "U64": "uint64", "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip


class CheckpointError(RuntimeError):
    """A checkpoint or weights file cannot be used; the message names the file, the reason and what to do."""


class CheckpointDamagedError(CheckpointError):
    """The file is there, but its contents are not what was written: truncated, altered or of another format."""


def save_weights(path: str | os.PathLike[str], arrays: Arrays, metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays as a plain safetensors file, atomically.

    Parameters
    ----------
    path
        The file to write; its folder must exist.
    arrays
        NumPy arrays by name, any shape and layout; bool, integers, float16, float32 or float64.
    metadata
        Strings kept in the file's header, for people and other programs.

    Raises
    ------
    TypeError
        If a value is not a NumPy array of such a type, or a name or metadata entry is not a string.
    """
    notes = dict(metadata or {})
    for key, value in notes.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(
                f"metadata[{key!r}]: expected a string, got {type(value).__name__}. Use str() or json.dumps."
            )
    # No metadata is None to safetensors: for an empty dictionary without arrays 0.8 writes a header it cannot read.
    data = safetensors.numpy.save(_checked(arrays, "arrays"), metadata=notes or None)
    atomic_write(path, lambda file: file.write(data))


def load_weights(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read a safetensors file: arrays by name (writable copies), and the metadata strings.

    Raises
    ------
    CheckpointError
        If the file is missing, not safetensors, truncated, or holds a type NumPy lacks (bfloat16, float8).
    """
    return _decode(Path(path))


def save_checkpoint(
    folder: str | os.PathLike[str], name: str, arrays: Mapping[str, Arrays], state: Mapping[str, Any]
) -> Path:
    """Write `folder/name.safetensors` atomically, and keep the file it replaces as `name.previous.safetensors`.

    Parameters
    ----------
    folder
        An existing folder.
    name
        File name without suffix, such as "last".
    arrays
        Groups of named arrays: `{"model": {...}, "optimizer": {...}}`. A group name holds no "/". A group may be empty.
    state
        Everything else, as JSON has it: string keys, numbers, strings, booleans, None, lists, dictionaries. NumPy
        scalars become Python numbers and tuples become lists; NaN and infinities survive.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    TypeError, ValueError
        If an array or a state value cannot be kept exactly; the message names it. Nothing is written then.
    OSError
        If the folder is missing or the disk full. The last good checkpoint stays.
    """
    target = Path(folder) / f"{plain_name(name, 'name')}{_SUFFIX}"
    flat: dict[str, NDArray[Any]] = {}
    for group, members in arrays.items():
        if not isinstance(group, str) or not group or "/" in group:
            raise ValueError(f"arrays: group names must be non-empty strings without '/', got {group!r}.")
        flat |= {f"{group}/{key}": array for key, array in _checked(members, f"arrays[{group!r}]").items()}
    text = json.dumps({"groups": sorted(arrays), "state": _plain(state, "state")}, sort_keys=True)
    metadata = {"format": _FORMAT, "version": str(_VERSION), "state": text, "sha256": _digest(flat, text)}
    data = safetensors.numpy.save(flat, metadata=metadata)
    # The old file gets a second name first and becomes "previous" last, so that at every instant there is a whole
    # checkpoint under the main name, and a good "previous" is never lost before the new file is in place.
    keeper = _second_name(target) if target.exists() else None
    try:
        atomic_write(target, lambda file: file.write(data))
        if keeper is not None:
            os.replace(keeper, _previous(target))
    finally:
        if keeper is not None:
            keeper.unlink(missing_ok=True)
    return target


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, dict[str, NDArray[Any]]], dict[str, Any]]:
    """Read a checkpoint and check it against its own SHA-256; returns (arrays by group, state).

    If the file is missing or damaged and the one before it is sound, that one is returned with a `UserWarning`.

    Raises
    ------
    CheckpointDamagedError
        If neither file is sound.
    CheckpointError
        If there is no such file, it is not a checkpoint, or another version of the package wrote it.
    """
    target = Path(path)
    try:
        return _read_checkpoint(target)
    except CheckpointDamagedError as error:
        failure: CheckpointError = error
    except CheckpointError as error:
        if target.exists():
            raise
        failure = error
    previous = _previous(target)
    if not previous.exists():
        raise failure
    try:
        result = _read_checkpoint(previous)
    except CheckpointError as error:
        raise type(failure)(f"{failure} The checkpoint before it cannot be used either: {error}") from error
    warnings.warn(f"{failure} Going on from the checkpoint before it, {previous}.", UserWarning, stacklevel=2)
    return result


def has_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether there is such a checkpoint, or the one before it, sound or not."""
    return Path(path).exists() or _previous(Path(path)).exists()


def rng_state(generator: np.random.Generator) -> dict[str, Any]:
    """Return the generator's whole state as JSON-able values; see `restore_rng`."""
    state: dict[str, Any] = _json_rng(generator.bit_generator.state)
    return state


def restore_rng(state: Mapping[str, Any]) -> np.random.Generator:
    """Return a generator that goes on exactly where `rng_state` was taken.

    Raises
    ------
    CheckpointError
        If `state` is not one of NumPy's bit generators' (PCG64, PCG64DXSM, MT19937, Philox, SFC64).
    """
    known = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
    kind = state.get("bit_generator") if isinstance(state, Mapping) else None
    if kind not in known:
        raise CheckpointError(f"state: expected the state of one of {', '.join(known)}, got {kind!r}. Seed a new one.")
    bits = getattr(np.random, kind)()
    try:
        bits.state = _numpy_rng(state)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"state: not a whole {kind} state ({error!r}). Seed a new generator instead.") from error
    return np.random.Generator(bits)


def _previous(target: Path) -> Path:
    return target.with_name(f"{target.name.removesuffix(_SUFFIX)}.previous{_SUFFIX}")


def _second_name(target: Path) -> Path:
    """Give the file a second name beside it: a hard link, or a copy on file systems without links."""
    keeper = target.with_name(f".{target.name}.keep")
    keeper.unlink(missing_ok=True)
    try:
        os.link(target, keeper)
    except OSError:
        with open(target, "rb") as source:
            atomic_write(keeper, lambda file: shutil.copyfileobj(source, file))
    return keeper


def _checked(arrays: Arrays, where: str) -> dict[str, NDArray[Any]]:
    """Return C-ordered little-endian copies or views; safetensors would write strided memory as it lies."""
    checked = {}
    for key, array in arrays.items():
        if not isinstance(key, str) or not key:
            raise TypeError(f"{where}: expected names to be non-empty strings, got {key!r}.")
        if not isinstance(array, np.ndarray):
            raise TypeError(
                f"{where}[{key!r}]: expected a NumPy array, got {type(array).__name__}. "
                "Use np.asarray(value) for a number, .get() for an array on a GPU, .numpy() for a Tensor."
            )
        if array.dtype.name not in _DTYPES.values():
            raise TypeError(f"{where}[{key!r}]: expected one of {', '.join(_DTYPES.values())}, got {array.dtype}.")
        checked[key] = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return checked


def _digest(flat: Arrays, text: str) -> str:
    """SHA-256 over every array's name, type, shape and bytes in name order, then the state."""
    digest = hashlib.sha256()
    for key in sorted(flat):
        array = flat[key]
        digest.update(json.dumps([key, array.dtype.name, array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    digest.update(text.encode())
    return digest.hexdigest()


def _decode(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    if path.is_dir():
        files = ", ".join(sorted(entry.name for entry in path.glob(f"*{_SUFFIX}"))) or "none"
        raise CheckpointError(f"{path} is a folder. Name a file in it; {_SUFFIX} files there: {files}.")
    if not path.exists():
        raise CheckpointError(f"{path} does not exist. Check the path; checkpoints end in {_SUFFIX}.")
    arrays = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            for key in file.keys():
                kind = file.get_slice(key).get_dtype()
                if kind not in _DTYPES:
                    raise CheckpointError(
                        f"{path}: {key!r} has type {kind}, which NumPy lacks. Convert it to F32 where it was made."
                    )
                arrays[key] = file.get_tensor(key)
            return arrays, dict(file.metadata() or {})
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Check its permissions and the disk.") from error
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise CheckpointDamagedError(
            f"{path} is truncated, damaged or not a safetensors file ({error}). Use another copy or train again."
        ) from error


def _read_checkpoint(path: Path) -> tuple[dict[str, dict[str, NDArray[Any]]], dict[str, Any]]:
    flat, metadata = _decode(path)
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} is a safetensors file but not a checkpoint: it has no training state. "
            "Give the run's checkpoint to resume; weights alone are read with load_weights."
        )
    if metadata.get("version") != str(_VERSION):
        raise CheckpointError(
            f"{path} has checkpoint version {metadata.get('version')!r}; this package reads version {_VERSION}. "
            "Resume with the version of tinygrad_effnet that wrote it."
        )
    text = metadata.get("state", "")
    if _digest(flat, text) != metadata.get("sha256"):
        raise CheckpointDamagedError(
            f"{path} does not match its checksum: it was altered after writing. Use another copy."
        )
    try:
        stored = json.loads(text)
        groups: dict[str, dict[str, NDArray[Any]]] = {group: {} for group in stored["groups"]}
        for key, array in flat.items():
            group, _, member = key.partition("/")
            groups[group][member] = array
        return groups, stored["state"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointDamagedError(
            f"{path}: its training state cannot be read ({error!r}). Use another copy."
        ) from error


def _plain(value: Any, where: str) -> Any:
    """Return `value` as JSON gives it back, or say which part would not come back as it was."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(
                    f"{where}: JSON keys are strings, got {key!r}, which would come back as text. Use str()."
                )
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    hint = "Keep it in `arrays`." if isinstance(value, np.ndarray) else "Turn it into numbers, strings or lists."
    raise TypeError(f"{where}: JSON has no {type(value).__name__}. {hint}")


def _json_rng(value: Any) -> Any:
    """Spell out the arrays which some bit generators keep."""
    if isinstance(value, Mapping):
        return {key: _json_rng(item) for key, item in value.items()}
    return (
        {"array": value.tolist(), "dtype": value.dtype.name} if isinstance(value, np.ndarray) else _plain(value, "rng")
    )


def _numpy_rng(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"array", "dtype"}:
        return np.array(value["array"], dtype=value["dtype"])
    return {key: _numpy_rng(item) for key, item in value.items()}
