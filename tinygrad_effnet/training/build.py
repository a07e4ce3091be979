"""What a configuration asks for: data, loaders, model, optimiser."""

from __future__ import annotations

from functools import partial

from .. import nn, optim
from ..data import (
    Compose,
    DataLoader,
    Dataset,
    DataSplit,
    FileCache,
    MemoryCache,
    MixBatch,
    eval_transform,
    open_data,
    train_transform,
)
from ..ops import manual_seed
from .config import TrainConfig
from .progress import Progress

CACHE_MARGIN = 1.25  # pictures are kept this much larger than the images, so that crops still have detail


def open_split(config: TrainConfig) -> DataSplit:
    """The pictures to learn from and to check with."""
    return open_data(
        config.data,
        config.size,
        config.seed,
        crop_boxes=config.crop_boxes,
        strict=config.strict,
        fraction=config.fraction,
    )


def make_loaders(data: DataSplit, config: TrainConfig, progress: Progress) -> tuple[DataLoader, DataLoader]:
    """Batches to learn from and to check with; each picture is decoded once."""
    loader = partial(
        DataLoader,
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.workers,
        processes=config.processes,
    )
    mix = None
    if config.mixup or config.cutmix:
        mix = MixBatch(len(data.class_names), config.mixup, config.cutmix)
    return (
        loader(
            _kept(data.train, config, progress),
            transform=augmentation(config),
            shuffle=True,
            # a last batch of few images gives poor batch statistics; a set smaller than a batch has no other
            drop_last=len(data.train) >= config.batch_size,
            mix=mix,
        ),
        loader(_kept(data.val, config, progress), transform=eval_transform(config.size)),
    )


def augmentation(config: TrainConfig) -> Compose:
    """How training images are changed."""
    return train_transform(
        config.size,
        scale=(config.crop, 1.0),
        flip=config.flip,
        jitter=config.jitter,
        rotate=config.rotate,
        shear=config.shear,
        erasing=config.erasing,
        randaugment=config.randaugment,
    )


def _kept(pictures: Dataset, config: TrainConfig, progress: Progress) -> Dataset:
    side = round(config.size * CACHE_MARGIN)
    if config.cache is None:
        return MemoryCache(pictures, side)
    return FileCache(pictures, config.cache, side, max(1, config.workers), progress.decoded)


def make_model(config: TrainConfig, classes: int) -> nn.StagedNet:
    """The network, with weights drawn from the configuration's seed."""
    manual_seed(config.seed)
    model = nn.create_model(config.model, classes, dropout=config.dropout, stochastic_depth=config.stochastic_depth)
    # a classifier that starts near 0 starts with the loss of a guess, ln K, whatever the number of classes
    if model.classifier is not None:
        nn.init.normal_(model.classifier.weight, std=0.01)
    return model


def make_optimizer(model: nn.Module, config: TrainConfig) -> optim.Optimizer:
    """Weight decay goes to weights with several axes only: biases and batch norms have no business being small."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    lr = config.learning_rate
    if config.optimizer == "nadam":
        return optim.NAdam(groups, lr=lr, decoupled_weight_decay=True)
    if config.optimizer == "sgd":
        return optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    return {"adam": optim.Adam, "adamw": optim.AdamW}[config.optimizer](groups, lr=lr)
