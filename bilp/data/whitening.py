"""ZCA whitening of images, as trajectory matching uses it (Cazenavette et al. 2022, section 4; ZCA: Krizhevsky 2009).

Flat training images x `[n, D]` have mean m and covariance C = U diag(l) U^T, divided by n - 1. A whitened image is
(x - m) W with W = U diag((l + epsilon)^(-1/2)) U^T: as few changes as possible that leave no pixel to be told from the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bilp.artifacts.tensors import decode_tensors, encode_tensors, require_tensors
from bilp.config.arithmetics import FLOAT32
from bilp.config.shapes import Shape, values_in
from bilp.errors import DataError
from bilp.nets.arithmetic import arithmetic

# 3 x 64 x 64: covariance, eigenvectors and workspace of more values would take several times 1.2 GB each.
MOST_VALUES = 12288
# How files name the tensor `center`: those that exist stay readable.
CENTER = "centre"


@dataclass(frozen=True, eq=False)
class Whitening:
    """A fit: `center` `[D]` and `matrix` `[D, D]`, float32; D = C * H * W. The matrix is symmetric."""

    center: Tensor
    matrix: Tensor
    _on: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def apply(self, images: Tensor) -> Tensor:
        """Whitened `[n, C, H, W]` of images such as it was fitted on, on their device; in float32 whatever other arithmetic there is."""
        center, matrix = self._at(images.device)
        with arithmetic(FLOAT32, images.device):
            return ((images.flatten(1) - center) @ matrix).view_as(images)

    def undo(self, images: Tensor) -> Tensor:
        """The images `[n, C, H, W]` that these are the whitened ones of: what a picture of them shows.

        Raises DataError if no images are, as the matrix has no inverse; that of a fit has one.
        """
        center, matrix = self._at(images.device)
        try:
            flat: Tensor = torch.linalg.solve(matrix, images.flatten(1).T).T
        except RuntimeError as error:
            raise DataError(f"this whitening cannot be undone ({error}): delete it and run the stage again") from error
        return (flat + center).reshape(images.shape)

    def tensors(self) -> dict[str, Tensor]:
        """Center `[D]` and matrix `[D, D]` by the names that files have for them."""
        return {CENTER: self.center, "matrix": self.matrix}

    def _at(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The fit on a device, which keeps it."""
        if device not in self._on:
            self._on[device] = (self.center.to(device), self.matrix.to(device))
        return self._on[device]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of flat images `[n, D]`: how many, their mean `center` `[D]`, and `scatter` `[D, D]`, n times their covariance; float64."""

    count: int
    center: Tensor
    scatter: Tensor


def moments(blocks: Iterable[Tensor], again: Iterable[Tensor]) -> Moments:
    """Those of the images `[n, C, H, W]` in all `blocks`; `again` must yield the same ones once more.

    In float64 throughout, one block in memory at a time. Raises DataError for fewer than two images.
    """
    count, total = 0, torch.zeros((), dtype=torch.float64)
    for block in blocks:
        count += len(block)
        total = total + block.flatten(1).double().sum(dim=0)
    if count < 2:
        raise DataError(f"whitening needs two training images or more, not {count}: add some, or set ingest.whitening to none")
    center = total / count
    scatter = torch.zeros(len(center), len(center), dtype=torch.float64)
    for block in again:
        apart = block.flatten(1).double() - center
        scatter.addmm_(apart.T, apart)
    return Moments(count, center, scatter)


def fit(blocks: Iterable[Tensor], again: Iterable[Tensor], epsilon: float) -> Whitening:
    """The whitening of the images in all `blocks`, as `moments` takes them. Raises what that raises."""
    found = moments(blocks, again)
    values, vectors = torch.linalg.eigh(found.scatter / (found.count - 1))
    # Rounding may leave eigenvalues of constant pixels just below zero.
    matrix = (vectors * (values.clamp(min=0.0) + epsilon).rsqrt()) @ vectors.T
    return Whitening(found.center.float(), ((matrix + matrix.T) / 2).float())


def encode(whitening: Whitening) -> bytes:
    """The fit as safetensors; equal fits give equal bytes."""
    return encode_tensors(whitening.tensors())


def decode(data: bytes, where: str, shape: Shape) -> Whitening:
    """Read `encode`'s bytes of a fit for images of `shape` [C, H, W]; `where` names the file in errors. Raises DamagedArtifact."""
    values = values_in(shape)
    tensors = decode_tensors(data, where)
    require_tensors(tensors, {CENTER: (torch.float32, (values,)), "matrix": (torch.float32, (values, values))}, where)
    return Whitening(tensors[CENTER], tensors["matrix"])
