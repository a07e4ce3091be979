"""Images in, batches out: data sets, transforms and the loader. NumPy and Pillow only; no Tensor anywhere."""

from .byte_batch import ByteBatch
from .cache import MemoryCache
from .datasets import Dataset, DataSplit, Subset, read_picture, stratified_split
from .file_cache import FileCache
from .folder import ImageFolder
from .images import ImageReadError, probe_image, read_image
from .layouts import open_data
from .listed import DatasetError, ImageList
from .loader import Batch, DataLoader, DataLoadingError
from .synthetic import SyntheticCars, contact_sheet, write_stanford_cars
from .transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CenterCrop,
    ColorJitter,
    Compose,
    MixBatch,
    Normalize,
    Planner,
    Preprocessing,
    RandAugment,
    RandomAffine,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    eval_transform,
    train_transform,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Batch",
    "ByteBatch",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "DataLoader",
    "DataLoadingError",
    "DataSplit",
    "Dataset",
    "DatasetError",
    "FileCache",
    "ImageFolder",
    "ImageList",
    "ImageReadError",
    "MemoryCache",
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
    "Subset",
    "SyntheticCars",
    "contact_sheet",
    "eval_transform",
    "open_data",
    "probe_image",
    "read_image",
    "read_picture",
    "stratified_split",
    "train_transform",
    "write_stanford_cars",
]
