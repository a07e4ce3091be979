"""Grad-CAM and the gradient of the input, as arrays.

Both ask the tape for the gradient of one output, the score of a class, with respect to something on the way there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..nn import Module
from ..nn.module import place_of
from ..nn.staged import StagedNet
from ..tape import enable_grad, grad
from ..tensor import Tensor, from_numpy


def grad_cam(
    model: Module, images: NDArray[Any], classes: Sequence[int] | NDArray[Any], layer: str = "head"
) -> NDArray[Any]:
    """Where the evidence for a class lies: Grad-CAM (Selvaraju et al. 2017, section 3).

    The layer's feature maps are weighted by the mean gradient of the class's score with respect to each, and summed;
    what speaks against the class is cut off.

    Parameters
    ----------
    model : Module
        Images (N, C, H, W) -> scores (N, K). It is used in eval mode, and left as it was.
    images : array
        (N, C, H, W), prepared for the network.
    classes : sequence of int
        The class that is asked about, for each image.
    layer : str
        Name of the module whose result is looked at, (N, channels, h, w). The paper takes the last before pooling,
        which is ``head`` in the networks of `nn.create_model`. Its maps have 1/32 of the image's side; see
        `last_maps` for small images.

    Returns
    -------
    array
        (N, h, w), at least 0, in the unit of the scores; all 0 where nothing speaks for the class.

    Raises
    ------
    ValueError
        There is no such layer, its result is no stack of maps, or a class is none of the outputs.
    """
    maps: list[Tensor] = []

    def begin_here(module: Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        # what comes before the layer need not be recorded
        leaf = output.detach()
        leaf.requires_grad = True
        maps.append(leaf)
        return leaf

    hook = model.get_submodule(layer).register_forward_hook(begin_here)
    try:
        with _as_used(model), enable_grad():
            scores = model(from_numpy(images).to(place_of(model)))
            if len(maps) != 1 or maps[0].ndim != 4:
                shapes = " and ".join(str(found.shape) for found in maps) or "nothing"
                raise ValueError(f"grad_cam(layer): {layer!r} gives {shapes}, expected maps (N, channels, h, w), once")
            slopes = _slopes(_chosen(scores, classes, "grad_cam"), maps[0])
    finally:
        hook.remove()
    values, weights = maps[0].detach().cpu().numpy(), slopes.mean(axis=(2, 3), keepdims=True)
    evidence: NDArray[Any] = np.maximum((weights * values).sum(axis=1), 0)
    return evidence


def last_maps(model: StagedNet, size: int, least: int = 4) -> str:
    """The layer for `grad_cam`: the last whose maps have at least ``least`` places a side.

    Of small images little is left at the end: one of 64 pixels has 2 x 2 places there, which tell nothing of where. The
    layers before show more finely what means less.

    Parameters
    ----------
    model : StagedNet
    size : int
        Side of the images, pixels.

    Examples
    --------
    >>> from tinygrad_effnet import nn
    >>> model = nn.create_model("efficientnet_b0", 10)
    >>> last_maps(model, 224), last_maps(model, 96)
    ('head', 'stages.4')
    """
    side, last = -(-size // 2), "stem"
    for number, stage in enumerate(model.plan.stages):
        side = -(-side // stage.stride)
        if side < least:
            return last
        last = f"stages.{number}"
    return "head" if model.head is not None else last


def input_gradient(model: Module, images: NDArray[Any], classes: Sequence[int] | NDArray[Any]) -> NDArray[Any]:
    """How much each pixel would change the score of a class (Simonyan et al. 2013, section 3).

    Parameters
    ----------
    model, images, classes
        As in `grad_cam`.

    Returns
    -------
    array
        Of the images' shape: the derivative of the score by each number of the prepared image.

    Raises
    ------
    ValueError
        A class is none of the outputs.
    """
    with _as_used(model), enable_grad():
        x = from_numpy(images).to(place_of(model)).detach()
        x.requires_grad = True
        return _slopes(_chosen(model(x), classes, "input_gradient"), x)


def _slopes(score: Tensor, x: Tensor) -> NDArray[Any]:
    [found] = grad(score, x)
    return cast(Tensor, found).cpu().numpy()


def _chosen(scores: Tensor, classes: Sequence[int] | NDArray[Any], asker: str) -> Tensor:
    """The sum of one score an image: images do not touch each other, so its gradient is each one's own."""
    wanted = np.asarray(classes)
    if scores.ndim != 2 or wanted.shape != scores.shape[:1] or wanted.dtype.kind not in "iu":
        raise ValueError(
            f"{asker}(classes): got shape {wanted.shape} of {wanted.dtype} for scores of shape {scores.shape}; "
            "expected one class number an image"
        )
    if wanted.size and not (0 <= wanted.min() and wanted.max() < scores.shape[1]):
        raise ValueError(f"{asker}(classes): got {wanted.tolist()}, expected numbers below {scores.shape[1]}")
    mask = np.zeros(scores.shape, scores.dtype)
    mask[np.arange(len(wanted)), wanted] = 1
    return (scores * from_numpy(mask).to(scores.device)).sum()


@contextmanager
def _as_used(model: Module) -> Iterator[None]:
    """In eval mode, with the parameters as constants; everything is put back."""
    modes = [(module, module.training) for module in model.modules()]
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval()
        for parameter in learnt:
            parameter.requires_grad = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter in learnt:
            parameter.requires_grad = True
