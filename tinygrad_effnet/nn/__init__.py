"""Networks and what they are built from: modules, layers, EfficientNet, EfficientNetV2, MobileNetV2."""

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
from .efficientnet import EfficientNet, EfficientNetV2
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
from .mbconv import ConvNormAct, FusedMBConv, MBConv, SqueezeExcitation
from .mobilenet import MobileNetV2
from .models import create_model, list_models
from .module import Buffer, Module, Parameter
from .recorded import Recorded
from .staged import StagedNet
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
    "EfficientNetV2",
    "Flatten",
    "FusedMBConv",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LeakyReLU",
    "Linear",
    "MBConv",
    "MSELoss",
    "MaxPool2d",
    "MobileNetV2",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Recorded",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SqueezeExcitation",
    "StagedNet",
    "StochasticDepth",
    "Summary",
    "Tanh",
    "create_model",
    "init",
    "list_models",
]
