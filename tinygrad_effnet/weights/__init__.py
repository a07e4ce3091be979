"""Weights in and out: this package's files, safetensors and PyTorch's, in the names of four projects."""

from .checksums import verify
from .description import Description, describe, notes_of, preprocessing
from .errors import WeightsError, WeightsWarning
from .key_maps import DIALECTS, key_map
from .onnx import export_onnx
from .public_files import PublicFile, urls
from .transfer import Loaded, load, save

__all__ = [
    "DIALECTS",
    "Description",
    "Loaded",
    "PublicFile",
    "WeightsError",
    "WeightsWarning",
    "describe",
    "export_onnx",
    "key_map",
    "load",
    "notes_of",
    "preprocessing",
    "save",
    "urls",
    "verify",
]
