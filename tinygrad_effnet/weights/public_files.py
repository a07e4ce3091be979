"""The weights that others published for these networks: where they are, and what they want to be shown.

Nothing here opens a connection. The table is copied from torchvision's ``models/efficientnet.py`` and
``mobilenetv2.py``, from timm's ``models/efficientnet.py``, and from ``utils.py`` of lukemelas's EfficientNet-PyTorch
(how its pictures are prepared: ``examples/imagenet/main.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from ..data import Preprocessing


@dataclass(frozen=True)
class PublicFile:
    """One file of weights, trained on ImageNet's 1000 classes.

    Attributes
    ----------
    model : str
        The network, as `nn.create_model` names it.
    dialect : str
        Whose names it has.
    url : str
    preprocessing : Preprocessing
        How pictures are prepared for it.
    settings : dict
        What `nn.create_model` must be told, so that the network computes what the published one does: TensorFlow's
        padding and epsilon, where the weights come from there.
    """

    model: str
    dialect: str
    url: str
    preprocessing: Preprocessing
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]

    @property
    def sha256(self) -> str:
        """The first digits of its SHA-256, which are a part of its name; lower-case hexadecimal."""
        return digits_in(self.name)

    def __str__(self) -> str:
        return f"{self.model:<20} {self.dialect:<11} {self.url}"


TENSORFLOW: dict[str, Any] = {"padding": "same", "norm_eps": 1e-3}
"""Settings of a network whose weights were trained in TensorFlow."""
_DIGITS = re.compile(r"-([0-9a-f]{8,})\.")  # as torch.hub has it
_HALF = (0.5, 0.5, 0.5)
_TORCHVISION = "https://download.pytorch.org/models/"
_LUKEMELAS = "https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0/"
_TIMM = "https://github.com/huggingface/pytorch-image-models/releases/download/"
_SIZES = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600, "b8": 672}

# Network, file, size, side before the cut, interpolation; the first of a network is its project's default.
_FROM_TORCHVISION = (
    ("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", 224, 256, "bicubic"),
    ("efficientnet_b1", "efficientnet_b1-c27df63c.pth", 240, 255, "bilinear"),
    ("efficientnet_b1", "efficientnet_b1_rwightman-bac287d4.pth", 240, 256, "bicubic"),
    ("efficientnet_b2", "efficientnet_b2_rwightman-c35c1473.pth", 288, 288, "bicubic"),
    ("efficientnet_b3", "efficientnet_b3_rwightman-b3899882.pth", 300, 320, "bicubic"),
    ("efficientnet_b4", "efficientnet_b4_rwightman-23ab8bcd.pth", 380, 384, "bicubic"),
    ("efficientnet_b5", "efficientnet_b5_lukemelas-1a07897c.pth", 456, 456, "bicubic"),
    ("efficientnet_b6", "efficientnet_b6_lukemelas-24a108a5.pth", 528, 528, "bicubic"),
    ("efficientnet_b7", "efficientnet_b7_lukemelas-c5b4e57e.pth", 600, 600, "bicubic"),
    ("efficientnet_v2_s", "efficientnet_v2_s-dd5fe13b.pth", 384, 384, "bilinear"),
    ("efficientnet_v2_m", "efficientnet_v2_m-dc08266a.pth", 480, 480, "bilinear"),
    ("efficientnet_v2_l", "efficientnet_v2_l-59c71312.pth", 480, 480, "bicubic"),
    ("mobilenet_v2", "mobilenet_v2-7ebf99e0.pth", 224, 232, "bilinear"),
    ("mobilenet_v2", "mobilenet_v2-b0353104.pth", 224, 256, "bilinear"),
)

# Before version 0.17 torchvision named these files by the digits of the files that they were converted from
# (pytorch/vision, issue 7744); what is at the old address has the digits of the new one.
_FORMER_DIGITS = {
    "7f5810bc": "3dd342df", "bac287d4": "533bc792", "c35c1473": "bcdf34b7", "b3899882": "cf984f9c",
    "23ab8bcd": "7eb33cd5", "1a07897c": "b6417697", "24a108a5": "c76e70fd", "c5b4e57e": "dcc49843",
}  # fmt: skip

# The digits of each variant's file: of the authors' weights (AutoAugment), and of those trained with AdvProp (Xie et
# al. 2020), which want pictures from -1 to 1.
_FROM_LUKEMELAS = {
    "b0": ("355c32eb", "b64d5a18"),
    "b1": ("f1951068", "0f3ce85a"),
    "b2": ("8bb594d6", "6e9d97e5"),
    "b3": ("5fb5a3c3", "cdd7c0f4"),
    "b4": ("6ed6700e", "44fb3a87"),
    "b5": ("b6417697", "86493f6b"),
    "b6": ("c76e70fd", "ac80338e"),
    "b7": ("dcc49843", "4652b6dd"),
    "b8": (None, "22a8fe65"),
}

# Trained in PyTorch by timm's authors: network, file, size and share that are used for evaluation.
_FROM_TIMM = (
    ("efficientnet_b0", "efficientnet_b0_ra-3dd342df.pth", 224, 0.875),
    ("efficientnet_b1", "efficientnet_b1-533bc792.pth", 256, 1.0),
    ("efficientnet_b2", "efficientnet_b2_ra-bcdf34b7.pth", 288, 1.0),
    ("efficientnet_b3", "efficientnet_b3_ra2-cf984f9c.pth", 320, 1.0),
    ("efficientnet_b4", "efficientnet_b4_ra2_320-7eb33cd5.pth", 384, 1.0),
    ("mobilenet_v2", "mobilenetv2_100_ra-b33bc2c4.pth", 224, 0.875),
)
# Converted from TensorFlow. First generation: AutoAugment, RandAugment, AdvProp ("ap") and Noisy Student ("ns").
_TF_SHARES = {
    "b0": 0.875, "b1": 0.882, "b2": 0.890, "b3": 0.904, "b4": 0.922, "b5": 0.934, "b6": 0.942, "b7": 0.949, "b8": 0.954,
}  # fmt: skip
_FROM_TIMM_TF = {
    "aa": "827b6e33 ea7a6ee0 60c94f97 84b4657e 818f208c 99018a74 80ba17e4 076e3472",
    "ns": "c0e6a31c 99dd0c41 00306e48 9d44bf68 d6313a46 6f26d0cf 51548356 1dbc32de",
    "ap": "f262efe1 44ef0a3d 2f8e7636 aad25bdd dedb23e6 9e82fae8 4ffb161f ddb28fec 00e169fa",
}
# Second generation: network, file, size, share, whether pictures go from -1 to 1, whether they are squashed.
_FROM_TIMM_V2 = (
    ("efficientnet_v2_s", "tf_efficientnetv2_s-eb54923e.pth", 384, 1.0, True, False),
    ("efficientnet_v2_m", "tf_efficientnetv2_m-cc09e0cd.pth", 480, 1.0, True, True),
    ("efficientnet_v2_l", "tf_efficientnetv2_l-d664b728.pth", 480, 1.0, True, True),
    ("efficientnet_v2_l", "tf_efficientnetv2_l_21ft1k-60127a9d.pth", 480, 1.0, True, True),
    ("efficientnet_v2_xl", "tf_efficientnetv2_xl_in21ft1k-06c35c48.pth", 512, 1.0, True, True),
    ("efficientnet_v2_b0", "tf_efficientnetv2_b0-c7cc451f.pth", 224, 0.875, False, False),
    ("efficientnet_v2_b1", "tf_efficientnetv2_b1-be6e41b0.pth", 240, 0.882, False, False),
    ("efficientnet_v2_b2", "tf_efficientnetv2_b2-847de54e.pth", 260, 0.890, False, False),
    ("efficientnet_v2_b3", "tf_efficientnetv2_b3-57773f13.pth", 300, 0.904, False, False),
)


def urls(model: str = "*", dialect: str = "*") -> list[PublicFile]:
    """The public files of weights; none is fetched, now or at any time: give `load` the path of what you fetched.

    Parameters
    ----------
    model : str
        A name as `nn.create_model` has it, or a pattern such as ``"efficientnet_v2_*"``.
    dialect : str
        "torchvision", "timm" or "lukemelas", or a pattern.

    Examples
    --------
    >>> [file] = urls("efficientnet_b0", "torchvision")
    >>> file.url
    'https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth'
    >>> file.sha256, file.preprocessing.size, file.preprocessing.crop_share
    ('7f5810bc', 224, 0.875)
    """
    return [file for file in PUBLIC_FILES if fnmatch(file.model, model) and fnmatch(file.dialect, dialect)]


def digits_in(name: str) -> str:
    """The first digits of a SHA-256 that a file's name ends with, as torch.hub has it; "" if it has none."""
    found = _DIGITS.search(name)
    return found[1] if found else ""


def public_file(name: str) -> PublicFile | None:
    """The public file of this name, or of the name that it had formerly."""
    return _BY_NAME.get(name)


def settings_of(dialect: str, name: str = "") -> dict[str, Any]:
    """What `nn.create_model` must be told for weights of a dialect, or for the public file of this name."""
    public = public_file(name)
    if public is not None:
        return public.settings
    return TENSORFLOW if dialect == "lukemelas" else {}


def _files() -> Iterator[PublicFile]:
    for model, name, size, resize, interpolation in _FROM_TORCHVISION:
        norm = (_HALF, _HALF) if name.startswith("efficientnet_v2_l") else ()
        pictures = Preprocessing(size, resize, *norm).changed(interpolation=interpolation)
        yield PublicFile(model, "torchvision", _TORCHVISION + name, pictures, {})
    for model, name, size, share in _FROM_TIMM:
        yield PublicFile(model, "timm", f"{_TIMM}v0.1-weights/{name}", _bicubic(size, share), {})
    for kind, digits in _FROM_TIMM_TF.items():
        for (variant, share), beginning in zip(_TF_SHARES.items(), digits.split(), strict=False):
            url = f"{_TIMM}v0.1-weights/tf_efficientnet_{variant}_{kind}-{beginning}.pth"
            pictures = _bicubic(_SIZES[variant], share, half=kind == "ap")
            yield PublicFile(f"efficientnet_{variant}", "timm", url, pictures, TENSORFLOW)
    for size, share, name in ((800, 0.96, "ns-df73bb44"), (475, 0.936, "ns_475-bebbd00a")):
        url = f"{_TIMM}v0.1-weights/tf_efficientnet_l2_{name}.pth"
        yield PublicFile("efficientnet_l2", "timm", url, _bicubic(size, share), TENSORFLOW)
    for model, name, size, share, half, squash in _FROM_TIMM_V2:
        pictures = _bicubic(size, share, half, squash)
        yield PublicFile(model, "timm", f"{_TIMM}v0.1-effv2-weights/{name}", pictures, TENSORFLOW)
    for prefix, number in (("", 0), ("adv-", 1)):
        for variant, beginnings in _FROM_LUKEMELAS.items():
            if beginnings[number] is not None:
                url = f"{_LUKEMELAS}{prefix}efficientnet-{variant}-{beginnings[number]}.pth"
                pictures = _bicubic(_SIZES[variant], 1.0, half=number == 1)
                yield PublicFile(f"efficientnet_{variant}", "lukemelas", url, pictures, TENSORFLOW)


def _bicubic(size: int, share: float, half: bool = False, squash: bool = False) -> Preprocessing:
    """As timm and lukemelas prepare pictures; timm rounds the side before the cut down."""
    norm = (_HALF, _HALF) if half else ()
    return Preprocessing(size, int(size / share), *norm).changed(interpolation="bicubic", squash=squash)


PUBLIC_FILES = tuple(_files())
_BY_NAME = {file.name: file for file in PUBLIC_FILES}
for _new, _former in _FORMER_DIGITS.items():
    [_file] = [file for file in PUBLIC_FILES if file.sha256 == _new]
    _BY_NAME[_file.name.replace(_new, _former)] = _file
