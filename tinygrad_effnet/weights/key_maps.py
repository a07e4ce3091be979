"""What other projects call the parameters of the same networks.

A dialect is a table of what each *role* is called: the convolution and the batch norm of each part of a block. The
names follow from the table and the network's stages, so that every variant has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..nn import FusedMBConv, MBConv, MobileNetV2
from ..nn.staged import StagedNet

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
Pairs = Iterator[tuple[str, str]]  # our name, their name
Block = MBConv | FusedMBConv


class Place(NamedTuple):
    """Where a block stands: stage, position in it, and position among all blocks, each from 0."""

    stage: int
    position: int
    number: int


def key_map(model: StagedNet, dialect: str) -> dict[str, str]:
    """Our name of every parameter and buffer, and that of the dialect, in the model's order.

    Parameters
    ----------
    model : EfficientNet, EfficientNetV2 or MobileNetV2
    dialect : "native", "torchvision", "timm" or "lukemelas"

    Raises
    ------
    ValueError
        There is no such dialect, or it has no such network.
    """
    if dialect not in DIALECTS:
        raise ValueError(f"key_map(dialect): {dialect!r}; choose one of {', '.join(DIALECTS)}")
    if not isinstance(model, StagedNet):
        raise ValueError(
            f"key_map(model): a {type(model).__name__} has no names in other dialects; give an EfficientNet, "
            "EfficientNetV2 or MobileNetV2, or use the native dialect, which takes any module"
        )
    theirs = dict(DIALECTS[dialect](model))
    return {name: theirs[name] for name in model.state_dict()}


def knows(dialect: str, model: object) -> bool:
    """Whether a dialect has names for this network."""
    if dialect == "native":
        return True
    fused = isinstance(model, StagedNet) and any(stage.block == "fused" for stage in model.plan.stages)
    return isinstance(model, StagedNet) and not (dialect == "lukemelas" and (fused or isinstance(model, MobileNetV2)))


def _native(model: StagedNet) -> Pairs:
    return ((name, name) for name in model.state_dict())


def _torchvision(model: StagedNet) -> Pairs:
    yield from _layer("stem", "features.0.0", "features.0.1")
    block_names = _torchvision_mobilenet_block if isinstance(model, MobileNetV2) else _torchvision_block
    last = 0
    for own, place, block in _blocks(model):
        yield from block_names(own, place, block)
        last = place.number if isinstance(model, MobileNetV2) else place.stage
    yield from _layer("head", f"features.{last + 2}.0", f"features.{last + 2}.1")
    yield from _biased("classifier", "classifier.1")


def _torchvision_block(own: str, place: Place, block: Block) -> Pairs:
    for i, (part, _) in enumerate(_parts(block)):
        prefix = f"features.{place.stage + 1}.{place.position}.block.{i}"
        if part == "squeeze_excite":
            yield from _biased(f"{own}.{part}.reduce", f"{prefix}.fc1")
            yield from _biased(f"{own}.{part}.expand", f"{prefix}.fc2")
        else:
            yield from _layer(f"{own}.{part}", f"{prefix}.0", f"{prefix}.1")


def _torchvision_mobilenet_block(own: str, place: Place, block: Block) -> Pairs:
    prefix = f"features.{place.number + 1}.conv"
    for i, (part, _) in enumerate(_parts(block)):
        if part == "project":  # its convolution and batch norm are not in a folder of their own
            yield from _layer(f"{own}.{part}", f"{prefix}.{i}", f"{prefix}.{i + 1}")
        else:
            yield from _layer(f"{own}.{part}", f"{prefix}.{i}.0", f"{prefix}.{i}.1")


# timm counts the batch norms of a block, and calls "pw" whichever 1x1 convolution of the block comes first
_TIMM = {
    ("mbconv", True): {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"},
    ("mbconv", False): {"depthwise": "conv_dw", "project": "conv_pw"},
    ("fused", True): {"expand": "conv_exp", "project": "conv_pwl"},
    ("fused", False): {"expand": "conv"},
}


def _timm(model: StagedNet) -> Pairs:
    yield from _layer("stem", "conv_stem", "bn1")
    for own, place, block in _blocks(model):
        prefix = f"blocks.{place.stage}.{place.position}"
        parts = [part for part, _ in _parts(block)]
        wide = block.expand is not None if isinstance(block, MBConv) else block.project is not None
        names = _TIMM["mbconv" if isinstance(block, MBConv) else "fused", wide]
        layers = [part for part in parts if part != "squeeze_excite"]
        for i, part in enumerate(layers):
            yield from _layer(f"{own}.{part}", f"{prefix}.{names[part]}", f"{prefix}.bn{i + 1}")
        if "squeeze_excite" in parts:
            yield from _biased(f"{own}.squeeze_excite.reduce", f"{prefix}.se.conv_reduce")
            yield from _biased(f"{own}.squeeze_excite.expand", f"{prefix}.se.conv_expand")
    yield from _layer("head", "conv_head", "bn2")
    yield from _biased("classifier", "classifier")


def _lukemelas(model: StagedNet) -> Pairs:
    if not knows("lukemelas", model):
        raise ValueError(
            f"key_map(dialect): lukemelas's EfficientNet-PyTorch has no {type(model).__name__}; use 'torchvision' or "
            "'timm'"
        )
    yield from _layer("stem", "_conv_stem", "_bn0")
    # the batch norm before the depthwise convolution is number 0, whether there is one or not
    names = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
    names["project"] = ("_project_conv", "_bn2")
    for own, place, block in _blocks(model):
        prefix = f"_blocks.{place.number}"
        for part, _ in _parts(block):
            if part == "squeeze_excite":
                yield from _biased(f"{own}.{part}.reduce", f"{prefix}._se_reduce")
                yield from _biased(f"{own}.{part}.expand", f"{prefix}._se_expand")
            else:
                conv, norm = names[part]
                yield from _layer(f"{own}.{part}", f"{prefix}.{conv}", f"{prefix}.{norm}")
    yield from _layer("head", "_conv_head", "_bn1")
    yield from _biased("classifier", "_fc")


DIALECTS: dict[str, Callable[[StagedNet], Pairs]] = {
    "native": _native,
    "torchvision": _torchvision,
    "timm": _timm,
    "lukemelas": _lukemelas,
}


def _blocks(model: StagedNet) -> Iterator[tuple[str, Place, Block]]:
    number = 0
    block: Any
    for s, stage in enumerate(model.stages):
        for j, block in enumerate(stage.children()):
            yield f"stages.{s}.{j}", Place(s, j, number), block
            number += 1


def _parts(block: Block) -> Iterator[tuple[str, object]]:
    """The block's layers and its squeeze-and-excitation, in the order in which they are computed."""
    for name in ("expand", "depthwise", "squeeze_excite", "project"):
        part = getattr(block, name, None)
        if part is not None:
            yield name, part


def _layer(own: str, conv: str, norm: str) -> Pairs:
    yield f"{own}.conv.weight", f"{conv}.weight"
    yield from ((f"{own}.norm.{entry}", f"{norm}.{entry}") for entry in NORM)


def _biased(own: str, theirs: str) -> Pairs:
    yield from ((f"{own}.{entry}", f"{theirs}.{entry}") for entry in ("weight", "bias"))
