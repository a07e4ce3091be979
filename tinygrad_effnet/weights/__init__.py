"""Weights in and out: this package's files, safetensors and PyTorch's, in the names of four projects."""

from .errors import WeightsError
from .key_maps import DIALECTS, key_map
from .transfer import Loaded, load, save

__all__ = ["DIALECTS", "Loaded", "WeightsError", "key_map", "load", "save"]
