"""Networks and what they are built from: modules, layers, EfficientNet."""

from . import init
from .activations import (
    GELU,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Flatten,
    Hardsigmoid,
    Hardswish,
    Identity,
    LeakyReLU,
    MSELoss,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from .efficientnet import EfficientNet
from .layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Linear,
    MaxPool2d,
    ModuleList,
    Sequential,
    StochasticDepth,
)
from .mbconv import ConvNormAct, MBConv, SqueezeExcitation
from .module import Buffer, Module, Parameter
from .summary import Summary

__all__ = [
    "GELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "ConvNormAct",
    "CrossEntropyLoss",
    "Dropout",
    "EfficientNet",
    "Flatten",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LeakyReLU",
    "Linear",
    "MBConv",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SqueezeExcitation",
    "StochasticDepth",
    "Summary",
    "Tanh",
    "init",
]
