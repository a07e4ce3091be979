"""What a configuration asks for: data, loaders, model, optimiser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from .. import nn, optim, weights
from ..backends import current_backend
from ..data import (
    Compose,
    DataLoader,
    Dataset,
    DataSplit,
    FileCache,
    MemoryCache,
    MixBatch,
    Preprocessing,
    open_data,
    train_transform,
)
from ..ops import manual_seed
from .config import ConfigError, TrainConfig
from .progress import Progress

CACHE_MARGIN = 1.25  # pictures are kept this much larger than the images, so that crops still have detail


def open_split(config: TrainConfig) -> DataSplit:
    """The pictures to learn from and to check with."""
    return open_data(
        config.data,
        config.size,
        config.data_seed,
        crop_boxes=config.crop_boxes,
        strict=config.strict,
        fraction=config.fraction,
    )


def make_loaders(data: DataSplit, config: TrainConfig, progress: Progress) -> tuple[DataLoader, DataLoader]:
    """Batches to learn from and to check with; each picture is decoded once. A GPU gets bytes, and finishes them."""
    loader = partial(
        DataLoader,
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.workers,
        processes=config.processes,
    )
    seen = starting_point(config).preprocessing
    mix = None
    if config.mixup or config.cutmix:
        mix = MixBatch(len(data.class_names), config.mixup, config.cutmix)
    on_device = current_backend().name == "cupy" and not config.processes
    return (
        loader(
            _kept(data.train, config, progress),
            transform=augmentation(config, seen),
            shuffle=True,
            # a last batch of few images gives poor batch statistics; a set smaller than a batch has no other
            drop_last=len(data.train) >= config.batch_size,
            mix=mix,
            as_bytes=on_device and mix is None,
        ),
        loader(_kept(data.val, config, progress), transform=seen.transform(), as_bytes=on_device),
    )


def augmentation(config: TrainConfig, seen: Preprocessing) -> Compose:
    """How training images are changed; their size and normalisation are as the network is to see them."""
    return train_transform(
        seen.size,
        scale=(config.crop, 1.0),
        flip=config.flip,
        jitter=config.jitter,
        rotate=config.rotate,
        shear=config.shear,
        erasing=config.erasing,
        randaugment=config.randaugment,
        mean=seen.mean,
        std=seen.std,
    )


def _kept(pictures: Dataset, config: TrainConfig, progress: Progress) -> Dataset:
    side = round(config.size * CACHE_MARGIN)
    if config.cache is None:
        return MemoryCache(pictures, side)
    return FileCache(pictures, config.cache, side, max(1, config.workers), progress.decoded)


def starting_point(config: TrainConfig) -> weights.Description:
    """How pictures are prepared, and how the network is built: as the file to start from wants it, where there is one.

    Raises
    ------
    WeightsError
        The file cannot be read.
    """
    if config.weights is None:
        seen = Preprocessing(config.size, config.size, mirror=config.mirror)
        return weights.Description(config.model, "native", 0, None, seen)
    found = weights.describe(config.weights, config.model)
    seen = found.preprocessing.changed(size=config.size, resize=config.size, squash=False, mirror=config.mirror)
    return replace(found, preprocessing=seen)


def make_model(config: TrainConfig, classes: int) -> nn.StagedNet:
    """The network, with weights drawn from the configuration's seed, or those of its file.

    A classifier of another number of classes than the file's begins anew.

    Raises
    ------
    ConfigError
        ``freeze`` names no module.
    WeightsError
        The file cannot be read, or its weights are of another network.
    """
    manual_seed(config.seed)
    model = nn.create_model(
        config.model,
        classes,
        dropout=config.dropout,
        stochastic_depth=config.stochastic_depth,
        norm_momentum=config.norm_momentum,
        **starting_point(config).settings,
    )
    # a classifier that starts near 0 starts with the loss of a guess, ln K, whatever the number of classes
    if model.classifier is not None:
        nn.init.normal_(model.classifier.weight, std=0.01)
    if config.weights is not None:
        weights.load(model, config.weights)
    for name, parameter in model.named_parameters():
        if _inside(name, frozen_parts(model, config)):
            parameter.requires_grad = False
    return model


def frozen_parts(model: nn.Module, config: TrainConfig) -> tuple[str, ...]:
    """The beginnings of module names that ``freeze`` asks for.

    Raises
    ------
    ConfigError
        There is no such module, or nothing would be left to learn.
    """
    if config.freeze == "all":
        return tuple(name for name, _ in model.named_children() if name != "classifier")
    parts = tuple(part.strip() for part in config.freeze.split(",") if part.strip())
    _check_modules(model, parts, "freeze")
    if parts and all(_inside(name, parts) for name, _ in model.named_parameters()):
        raise ConfigError(f"freeze: {config.freeze!r} leaves nothing to learn; leave the classifier out")
    return parts


def _check_modules(model: nn.Module, named: Iterable[str], setting: str) -> None:
    names = [name for name, _ in model.named_modules()]
    for part in named:
        if part not in names:
            children = ", ".join(name for name, _ in model.named_children())
            more = ", or all" if setting == "freeze" else ""
            raise ConfigError(f"{setting}: there is no module {part!r}; there are {children}, and what they hold{more}")


def _share(name: str, shares: Mapping[str, float]) -> float:
    """That of the longest name that holds the parameter."""
    return shares[max((part for part in shares if not part or _inside(name, (part,))), key=len)]


def _inside(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(part + ".") for part in parts)


def make_optimizer(model: nn.Module, config: TrainConfig) -> optim.Optimizer:
    """Parameters in groups by learning rate and weight decay.

    Weight decay goes to weights with several axes only: biases and batch norms have no business being small.

    Raises
    ------
    ConfigError
        ``lr_scales`` names no module.
    """
    lr = config.learning_rate
    shares = {"": config.lr_scale, "classifier": 1.0, **config.shares_by_module}
    _check_modules(model, config.shares_by_module, "lr_scales")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = _share(name, shares)
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((lr * scale, decay), []).append(parameter)
    params = [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]
    if config.optimizer == "nadam":
        return optim.NAdam(params, lr=lr, decoupled_weight_decay=True)
    if config.optimizer == "sgd":
        return optim.SGD(params, lr=lr, momentum=0.9, nesterov=True)
    return {"adam": optim.Adam, "adamw": optim.AdamW}[config.optimizer](params, lr=lr)
