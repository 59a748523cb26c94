"""Synthetic sets as the reference projects publish them: pickled tensors, read without running what is pickled.

The only place of this project that reads pickle. `torch.load(weights_only=True)` rebuilds tensors and plain containers and
refuses everything else; the numbers that some projects save beside their images as numpy scalars become placeholders.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from bilp import storage
from bilp.errors import DataError

Layout = Literal["dc", "mtt", "idc"]

# Names under which numpy pickles a scalar. Loading must not call numpy with what a file says.
NUMPY_NAMES = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")


class Placeholder:
    """Stands where a file has a number that nobody here needs."""

    def __init__(self, *ignored: object) -> None:
        pass

    def __setstate__(self, ignored: object) -> None:
        """Nothing is restored."""


@dataclass(frozen=True)
class PublishedSet:
    """Images `[n, C, H, W]` (float32, as they were saved) and labels `[n]` (int64) of one published set."""

    images: Tensor
    labels: Tensor
    layout: Layout


def read_published(file: str, labels: str | None = None, experiment: int = 0) -> PublishedSet:
    """Read a set by the form of its content: DC, DSA and DM (res_*.pt), MTT (images_*.pt with labels_*.pt), IDC (data.pt).

    `labels` is MTT's second file; without it, the file whose name has labels for images. `experiment` chooses one of the
    several sets in a file of DC. Paths or URIs. Raises MissingArtefact if a file is not there, and DataError if it holds
    anything but such a set.
    """
    content = _load(file)
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        sets = content["data"]
        if not 0 <= experiment < len(sets):
            raise DataError(f"{file} holds {len(sets)} experiments: there is no number {experiment} (they count from 0)")
        return _checked(sets[experiment], "dc", file)
    if isinstance(content, Tensor):
        beside = labels or _labels_beside(file)
        return _checked((content, _load(beside)), "mtt", f"{file} with {beside}")
    if isinstance(content, (list, tuple)):
        return _checked(content, "idc", file)
    raise DataError(
        f"{file} holds a {type(content).__name__}: expected a dictionary with data (DC, DSA, DM), a tensor of images (MTT) or a pair of "
        "images and labels (IDC)"
    )


def _load(file: str) -> Any:
    data = io.BytesIO(storage.read(file))
    try:
        with torch.serialization.safe_globals([(Placeholder, name) for name in NUMPY_NAMES]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # damage makes one up
            return torch.load(data, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes raise whatever they run into: IndexError, struct.error, AssertionError, ...
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"{file} cannot be read as saved tensors ({reason}): fetch it again, or ask who saved it for plain tensors"
        ) from error


def _labels_beside(file: str) -> str:
    folder, slash, name = file.rpartition("/")
    if "images" not in name:
        raise DataError(f"{file} holds images without labels: name the file of the labels")
    return f"{folder}{slash}{name.replace('images', 'labels')}"


def _checked(pair: Any, layout: Layout, where: str) -> PublishedSet:
    """The pair as float32 images and int64 labels, if that is what it is."""
    if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)):
        raise DataError(f"{where} does not hold one tensor of images and one of labels")
    images, labels = pair
    if images.ndim != 4 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
        raise DataError(f"{where} holds images {list(images.shape)} and labels {list(labels.shape)}: expected [n, C, H, W] and [n]")
    if labels.is_floating_point() or not images.is_floating_point():
        raise DataError(f"{where} holds images {images.dtype} and labels {labels.dtype}: expected floats and integers")
    return PublishedSet(images.detach().float().contiguous(), labels.detach().long().contiguous(), layout)
