"""From images as FRePo's program whitens them to pixels (lib/dataset/ops.py of yongchaoz/FRePo; Zhou et al. 2022, appendix A).

That program normalizes pixels by constants of its own and then whitens: flat training images x `[n, D]` have mean m and covariance
C = U diag(l) U^T, divided by n; with r = 0.1 tr(C)/D a whitened image is (x - m) U diag((l + r)^(-1/2)) U^T. Eigenvalues beyond the
first n, in descending order, count as 1 (rank control). `bilp.data.whitening` is another transform, with an epsilon that is fixed and
of pixels that are not normalized, so that images go from one to the other by way of pixels.

The fit is made anew from the training images that the data set has here, in float64; the program computes in float32. Where there are
fewer images than values, the last of the n kept directions is any one that no training image has, in their program and here: what
images have in it is not restored. No whitened data set of theirs has so few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.config.methods.frepo_sets import SETS, frepo_set
from bilp.config.shapes import sample_noun
from bilp.config.sources import Normalization
from bilp.data import Dataset
from bilp.data.whitening import moments
from bilp.errors import ConfigError

REGULARIZATION = 0.1
"""zca_reg of its scripts: the share of the mean variance of a value that is added to each eigenvalue."""
BLOCK = 2000
"""Images that are looked at together."""
INSTEAD = "choose pixels dataset or unit"


@dataclass(frozen=True, eq=False)
class FrepoWhitening:
    """A fit of flat images: `center` `[D]`, eigenvectors in the columns of `vectors` `[D, D]`, and `spread` `[D]`, what each direction was
    divided by; float64."""

    center: Tensor
    vectors: Tensor
    spread: Tensor

    def undo(self, images: Tensor) -> Tensor:
        """Normalized images, float64, of whitened ones `[n, C, H, W]`."""
        flat = ((images.flatten(1).double() @ self.vectors) * self.spread) @ self.vectors.T + self.center
        return flat.view(images.shape)


def frepo_pixels(images: Tensor, dataset: Dataset) -> Tensor:
    """The pixels, float64, of images `[n, C, H, W]` that FRePo's program normalized and whitened as those of a data set.

    Raises ConfigError for a data set of which it is not known what that program does, or whose whitening is not undone here, and what
    `fit_whitening` raises. Images of every set in `SETS` have at most as many values as `bilp.data.whitening` takes.
    """
    known = frepo_set(dataset.name, dataset.shape, dataset.classes)
    if known is None:
        size, names = "x".join(map(str, dataset.shape)), ", ".join(dict.fromkeys(SETS))
        raise ConfigError(
            f"{dataset.name}, {sample_noun(dataset.shape)}s of {size} in {dataset.classes} classes, is none of the data sets whose "
            f"constants in FRePo's program are known ({names}, at its resolution): {INSTEAD}"
        )
    if known.whitening == "blocks":
        raise ConfigError(f"FRePo's program whitens {dataset.name} in parts of 64 x 64, which is not undone here: {INSTEAD}")
    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (known.constants.mean, known.constants.std))
    normalized = images.double()
    if known.whitening == "whole":
        normalized = fit_whitening(_blocks(dataset, known.constants), _blocks(dataset, known.constants)).undo(images)
    return normalized * std + mean


def fit_whitening(blocks: Iterable[Tensor], again: Iterable[Tensor]) -> FrepoWhitening:
    """The whitening of the normalized training images `[n, C, H, W]` in all `blocks`; `again` must yield the same ones once more.

    The order of an image's values does not matter. In float64, one block in memory at a time. Raises DataError for fewer than two images.
    """
    found = moments(blocks, again)
    covariance = found.scatter / found.count
    values, vectors = torch.linalg.eigh(covariance)  # ascending
    spread = (values.clamp(min=0.0) + REGULARIZATION * covariance.trace() / len(covariance)).sqrt()
    spread[: max(0, len(spread) - found.count)] = 1.0
    return FrepoWhitening(found.center, vectors, spread)


def _blocks(dataset: Dataset, constants: Normalization) -> Iterator[Tensor]:
    """The training images, normalized by these constants, some at a time."""
    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (constants.mean, constants.std))
    for part in torch.arange(len(dataset.train)).split(BLOCK):
        yield (dataset.train.images(part).double() / 255 - mean) / std
