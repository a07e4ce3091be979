"""Augmentation and normalisation: uint8 pictures in, float32 network input out."""

from .affine import RandomAffine
from .base import Compose, Transform
from .colour import IMAGENET_MEAN, IMAGENET_STD, ColorJitter, Normalize, RandomErasing
from .geometry import CenterCrop, RandomHorizontalFlip, RandomResizedCrop, Resize
from .mixing import MixBatch
from .plan import Planner
from .preprocessing import Preprocessing
from .randaugment import RandAugment
from .recipes import eval_transform, train_transform

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "MixBatch",
    "Normalize",
    "Planner",
    "Preprocessing",
    "RandAugment",
    "RandomAffine",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "Transform",
    "eval_transform",
    "train_transform",
]
