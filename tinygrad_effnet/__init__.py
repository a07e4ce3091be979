"""tinygrad_effnet: an autograd engine to learn from, quick enough to train EfficientNet with.

>>> import tinygrad_effnet as tg
>>> x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
Tensor([2., 4., 6.])
"""

import importlib
from typing import Any

from . import memory, nn, ops, optim
from .anomaly import detect_anomaly
from .backends import available_backends, current_backend, set_num_threads, use_backend
from .functional import hvp, jvp
from .op import Op, register
from .ops import *  # noqa: F403
from .tape import enable_grad, grad, is_grad_enabled, no_grad
from .tensor import Tensor, from_dlpack, from_numpy

__version__ = "0.1.0"

_LAZY = (
    "data",
    "saliency",
    "stepper",
    "testing",
    "training",
    "weights",
)  # they bring Pillow, matplotlib and others along


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
