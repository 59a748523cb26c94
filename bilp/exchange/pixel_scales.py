"""Images of a published set, however they are normalized, as those of a data set are."""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.config.import_options import AS_DATASET, PixelScale
from bilp.config.shapes import channels_of
from bilp.config.sources import SOURCES
from bilp.data import Dataset
from bilp.errors import ConfigError
from bilp.registry import resolve


def as_dataset(images: Tensor, scale: PixelScale, dataset: Dataset) -> Tensor:
    """Images `[n, C, H, W]` or `[n, T, C, H, W]` that are normalized as `scale` says, float32, normalized and whitened as the data set is.

    Raises ConfigError if the scale is not one for images of this data set.
    """
    if scale is AS_DATASET:
        return images
    pixels = _pixels(images, scale, dataset).float()
    center, spread = (torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (dataset.mean, dataset.std))
    normalized = (pixels - center) / spread
    return normalized if dataset.whitening is None else dataset.whitening.apply(normalized)


def _pixels(images: Tensor, scale: PixelScale, dataset: Dataset) -> Tensor:
    """The images in units of the pixel range."""
    if scale.undo:
        pixels: Tensor = resolve(scale.undo)(images, dataset)
        return pixels
    if scale.constants is None:
        return images
    if channels_of(images.shape) != len(scale.constants.mean):
        raise ConfigError(f"the constants of {SOURCES[scale.name].title} are for color images: choose pixels dataset or unit")
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (scale.constants.mean, scale.constants.std))
    return images * std + mean
