"""One flag for every field of `TrainConfig`, so that none is forgotten, and settings from a file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from ..training import MODELS, OPTIMIZERS, TrainConfig

# field: (placeholder, what it does); the defaults are added
HELP: dict[str, tuple[str | None, str]] = {
    "data": ("DIR", "photographs: class folders, or Stanford Cars in any form; without it, synthetic cars"),
    "crop_boxes": (None, "cut pictures to the box around the car, where the data have boxes"),
    "strict": (None, "refuse data with unreadable files instead of leaving them out"),
    "fraction": ("SHARE", "learn from this share of each class only, for a quick try"),
    "model": ("NAME", f"{', '.join(MODELS)}; b0 is efficientnet_b0"),
    "size": ("PIXELS", "side of the images"),
    "progressive": ("PIXELS", "side of the training images at first; it grows to the whole in four stages"),
    "epochs": ("N", "passes over the training images"),
    "batch_size": ("N", "images a batch"),
    "optimizer": (None, "how weights are changed"),
    "lr": ("RATE", "highest learning rate (default: 0.003, sgd 0.1)"),
    "weight_decay": ("SHARE", "on weights of convolutions and linear layers"),
    "warmup": ("SHARE", "of all steps in which the rate rises; after them it falls along a cosine"),
    "norm_momentum": (
        "SHARE",
        "of each batch in the running statistics; larger for short runs (default: its own)",
    ),
    "accumulate": ("N", "batches that make one step together"),
    "weights": ("FILE", "weights to start from: another run's best.safetensors, or others', of any origin"),
    "freeze": ("MODULES", 'what stays as it is: "stem,stages.0", or "all" but the classifier'),
    "lr_scale": ("SHARE", "rate of everything but the classifier"),
    "lr_scales": ("MODULES", 'rates of modules by name: "stages.0=0.01,stages.1=0.1"'),
    "label_smoothing": ("SHARE", "of each label that is spread over all classes"),
    "dropout": ("SHARE", "before the classifier"),
    "stochastic_depth": ("SHARE", "how often the last block is skipped in training"),
    "max_grad_norm": ("NORM", "gradients are scaled down to this norm, 0 for never"),
    "ema": ("DECAY", "moving average of weights that is evaluated and kept, 0 for none"),
    "crop": ("SHARE", "least part of a picture's area that a training image shows"),
    "flip": ("SHARE", "how often images are mirrored"),
    "jitter": ("AMOUNT", "change of brightness, contrast and saturation"),
    "rotate": ("DEGREES", "greatest angle by which images are turned"),
    "shear": ("DEGREES", "greatest angle by which images are slanted"),
    "erasing": ("SHARE", "how often a rectangle is covered"),
    "randaugment": ("MAGNITUDE", "of two of RandAugment's changes, 0 for none, at most 30"),
    "mixup": ("ALPHA", "blend images of a batch, 0 for never"),
    "cutmix": ("ALPHA", "paste parts of one image into another, 0 for never"),
    "mirror": (None, "judge each image together with its mirror image, in validation and in use"),
    "seed": ("N", "of everything random but the data"),
    "data_seed": ("N", "of what is held out, and of the synthetic cars"),
    "backend": ("NAME", "loops, numpy, numba, or cupy for a GPU (default: the host's fastest)"),
    "precision": ("KIND", "float32, tf32, bfloat16 or float16; all but the first need --backend cupy"),
    "workers": ("N", "threads that prepare images"),
    "processes": (None, "prepare images in processes instead of threads"),
    "cache": ("DIR", "keep decoded pictures in a file there, for later runs too"),
    "tensorboard": (None, "write the epochs for TensorBoard as well"),
    "patience": ("N", "stop after so many epochs without a better macro F1"),
    "checkpoint_minutes": ("MINUTES", "write a checkpoint within an epoch when the last one is as old as this"),
    "limit_batches": ("N", "at most N batches an epoch, for a quick try"),
    "minutes": ("MINUTES", "stop, resumable, after this time"),
}
_KINDS: dict[str, type] = {"str": str, "int": int, "float": float}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """A flag for each setting; those that are not given leave nothing behind."""
    group = parser.add_argument_group("settings")
    for field in fields(TrainConfig):
        placeholder, text = HELP.get(field.name, (field.name.upper(), ""))
        kind = str(field.type).removesuffix(" | None")
        flag, options = f"--{field.name.replace('_', '-')}", {"default": argparse.SUPPRESS}
        if kind == "bool":
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text, **options)  # type: ignore[arg-type]
            continue
        if field.default is not MISSING and field.default not in (None, "") and "default:" not in text:
            text += f" (default: {field.default})"
        choices = OPTIMIZERS if field.name == "optimizer" else None
        group.add_argument(
            flag,
            type=_KINDS[kind],
            choices=choices,
            metavar=placeholder,
            help=text,
            **options,  # type: ignore[arg-type]
        )


def settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among parsed arguments."""
    return {field.name: given[field.name] for field in fields(TrainConfig) if field.name in given}
