"""A network in use: whole blocks in one kernel, with nothing kept for gradients."""

from .kernels import run_block, run_layer
from .pack import pack_block, pack_layer, takes_block, takes_layer

__all__ = ["pack_block", "pack_layer", "run_block", "run_layer", "takes_block", "takes_layer"]
