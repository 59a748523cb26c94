"""Synthetic sets as the reference projects publish them: pickled tensors, read without running what is pickled.

`bilp.storage.pickled` rebuilds tensors and plain containers and refuses everything else. The numbers that some projects save beside
their images as numpy scalars become placeholders. A tensor may claim any shape over a few bytes, so shapes are compared with what
the file holds before anything is computed with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import torch
from torch import Tensor

from bilp.errors import DataError
from bilp.storage import objects
from bilp.storage.pickled import load_pickled
from bilp.storage.saved_tensors import NUMPY_NAMES


@dataclass(frozen=True)
class Layout:
    """How the programs of one family save a set."""

    name: str
    scale: str = "dataset"
    """How its images are normalized: a name of `bilp.config.import_options.PIXELS`."""
    whitens: bool = False
    """Whether they are those of a whitened data set, where one is given."""
    learned: Literal["", "logits", "values"] = ""
    """What labels `[n, classes]` of floats are, of as many images of each class, class by class: logits of soft labels, or values that
    networks shall give; empty where there are none."""
    numbering: str = ""
    """"module:function" of how its programs number the classes, where not as everybody: Dataset -> for each number of theirs that of
    the data set, int64 `[classes]`, or None where these are the same."""


DC = Layout("dc")
"""DC, DSA and DM: a dictionary with several sets."""
MTT = Layout("mtt", whitens=True, learned="logits")
"""MTT and those after it: a tensor of images, with one of labels in a file beside, which DATM and PAD learn."""
IDC = Layout("idc", scale="unit")
"""IDC: a pair of images in [0, 1] and labels."""

MOST_BYTES = 2**33
"""The largest file that is read: fifty images of 64 x 64 for each class of ImageNet take a third."""
MOST_VALUE = 1000.0
"""Pixels are about -3 to 3 when normalized; learned ones leave this range, but do not reach this."""
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Placeholder:
    """Stands where a file has a number that nobody here needs."""

    def __init__(self, *ignored: object) -> None:
        pass

    def __setstate__(self, ignored: object) -> None:
        """Nothing is restored."""


@dataclass(frozen=True)
class PublishedSet:
    """Images `[n, C, H, W]` or clips `[n, T, C, H, W]` (float32, as they were saved) and labels `[n]` (int64) of one published set."""

    images: Tensor
    labels: Tensor
    layout: Layout
    logits: Tensor | None = None
    """Of soft labels that were learned with the images, float32 `[n, classes]`, if the file has some."""
    values: Tensor | None = None
    """That were learned with the images as what networks shall give for them, float32 `[n, classes]`, if the file has some."""
    real: Tensor | None = None
    """Numbers `[n]`, int64, of training samples of the data set, of images that are such a sample as it is, and -1 for the others."""
    class_names: tuple[str, ...] | None = None
    """In the order of their labels, if the file tells."""
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and standard deviation, if the file tells."""


def read_published(file: str, labels: str | None = None, experiment: int = 0) -> PublishedSet:
    """Read a set by the form of its content: DC, DSA and DM (res_*.pt), MTT (images_*.pt with labels_*.pt), IDC (data.pt).

    `labels` is MTT's second file; without it, the file whose name has labels for images. `experiment` chooses one of the
    several sets in a file of DC. Paths or URIs. Raises MissingArtifact if a file is not there, and DataError if it holds
    anything but such a set.
    """
    content = _load(file)
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        sets = content["data"]
        if not 0 <= experiment < len(sets):
            raise DataError(f"{file} holds {len(sets)} experiments: there is no number {experiment} (they count from 0)")
        return checked(sets[experiment], DC, file)
    if isinstance(content, Tensor):
        beside = labels or _labels_beside(file)
        return checked((content, _load(beside)), MTT, f"{file} with {beside}")
    if isinstance(content, (list, tuple)):
        return checked(content, IDC, file)
    raise DataError(
        f"{file} holds a {type(content).__name__}: expected a dictionary with data (DC, DSA, DM), a tensor of images (MTT) or a pair of "
        "images and labels (IDC)"
    )


def check_size(file: str) -> None:
    """Raise DataError for a file of more than MOST_BYTES, before anything of it is read."""
    size = objects.size(file)
    if size > MOST_BYTES:
        raise DataError(f"{file} has {size:,} bytes: a published set has at most {MOST_BYTES:,}")


def _load(file: str) -> Any:
    check_size(file)
    return load_pickled(objects.read(file), file, dict.fromkeys(NUMPY_NAMES, Placeholder))


def _labels_beside(file: str) -> str:
    folder, slash, name = file.rpartition("/")
    if "images" not in name:
        raise DataError(f"{file} holds images without labels: name the file of the labels")
    return f"{folder}{slash}{name.replace('images', 'labels')}"


def checked(pair: Any, layout: Layout, where: str) -> PublishedSet:
    """The pair as float32 images and int64 labels, if that is what it is."""
    if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)):
        raise DataError(f"{where} does not hold one tensor of images and one of labels")
    images, labels = (part.detach() for part in pair)
    if not all(part.layout == torch.strided and part.device.type == "cpu" and not part.is_quantized for part in (images, labels)):
        raise DataError(f"{where} holds tensors that are sparse, quantized or empty shells: ask who saved it for plain ones")
    learned = _learned(labels, layout, where)
    if learned is not None:
        labels = torch.arange(learned.shape[1]).repeat_interleave(len(learned) // learned.shape[1])
    if images.ndim not in (4, 5) or labels.ndim != 1 or len(images) != len(labels) or not images.numel():
        found = f"images {list(images.shape)} and labels {list(labels.shape)}"
        raise DataError(f"{where} holds {found}: expected [n, C, H, W] and [n], or [n, T, C, H, W] and [n] of clips")
    if images.dtype not in FLOATS or labels.dtype not in INTEGERS:
        raise DataError(f"{where} holds images {images.dtype} and labels {labels.dtype}: expected floats and integers")
    for name, part in (("images", images), ("labels", labels)):
        held = part.untyped_storage().nbytes()
        if part.numel() * part.element_size() > held:
            raise DataError(f"{where} holds {held:,} bytes for {name} {list(part.shape)}, which are more: fetch it again")
    images = images.float().contiguous()
    low, high = (float(value) for value in images.aminmax())
    if not (isfinite(low) and isfinite(high)):
        raise DataError(f"{where} holds pixels that are not finite: its distillation has diverged")
    largest = max(-low, high)
    if largest > MOST_VALUE:
        raise DataError(f"{where} holds pixels up to {largest:.3g}, at most {MOST_VALUE:g} are taken: its distillation has diverged")
    logits, values = (learned if layout.learned == kind else None for kind in ("logits", "values"))
    return PublishedSet(images, labels.long().contiguous(), layout, logits, values)


def _learned(labels: Tensor, layout: Layout, where: str) -> Tensor | None:
    """The labels as float32 ones that were learned, if that is what they are; None for others. Raises DataError for some that cannot be."""
    if not layout.learned or labels.ndim != 2 or labels.dtype not in FLOATS:
        return None
    held, (count, classes) = labels.untyped_storage().nbytes(), labels.shape
    if not classes or count % classes or labels.numel() * labels.element_size() > held:
        shape = [count, classes]
        raise DataError(f"{where} holds learned labels {shape}: expected [n, classes] with as many of each class, class by class")
    learned = labels.float().contiguous()
    if not bool(learned.isfinite().all()):
        raise DataError(f"{where} holds learned labels that are not finite: its distillation has diverged")
    return learned
