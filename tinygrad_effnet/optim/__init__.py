"""Optimisers (SGD, Adam, AdamW, NAdam), learning-rate schedules, gradient clipping, and averaging of weights."""

from .adam import Adam, AdamW
from .clip import clip_grad_norm_, clip_grad_value_
from .ema import EMA
from .nadam import NAdam
from .optimizer import Optimizer
from .schedule import Constant, OneCycle, Schedule, StepLR, WarmupCosine
from .sgd import SGD

__all__ = [
    "EMA",
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "NAdam",
    "OneCycle",
    "Optimizer",
    "Schedule",
    "StepLR",
    "WarmupCosine",
    "clip_grad_norm_",
    "clip_grad_value_",
]
