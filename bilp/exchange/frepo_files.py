"""Synthetic sets as FRePo's program saves them (Zhou et al. 2022; yongchaoz/FRePo).

    best_ckpt/checkpoint_93.17, or any name   a checkpoint of Flax: x_proto and y_proto in the branch params of a state
    np/step000500.npz                         arrays image and label

x_proto is `[n, H, W, C]` and y_proto `[n, classes]`, in float32. Labels are learned with the images. In the beginning (init_proto)
they are 1 - 1/classes for the class of an image and -1/classes for the others, over sqrt(classes / 10) if they are scaled. The images
are put together class by class, as many of each, and nothing moves them afterwards.

So the class of an image is told by its place, and not by the largest value of its label: what is learned may leave that to another
class, and a set would then have more images of one class than of another. A file of a part of the classes, as its program for continual
learning writes one, has columns for all of them, and places would tell wrong classes: it is known by labels that are at odds with them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bilp.data.sources.npz import members, read_array, stored_arrays
from bilp.errors import DataError
from bilp.exchange.flax_files import HEAD, TYPES, is_flax, read_arrays
from bilp.exchange.reference_files import Layout, PublishedSet, check_size, checked
from bilp.storage import objects
from bilp.storage.ranges import opened
from bilp.storage.saved_tensors import ZIP
from bilp.text.escaping import shown

Array = NDArray[np.generic]

FREPO = Layout("frepo", scale="frepo", whitens=True, learned="values", numbering="bilp.exchange.frepo_classes:class_places")
BRANCH, IN_STATE = "params", ("x_proto", "y_proto")
IN_NPZ = ("image", "label")
SUFFIX = ".npy"
LEAST_AGREEMENT = 0.5
"""Share of the labels whose largest value is that of their place's class. Of a part of the classes, hardly any is."""


def is_frepo(file: str) -> bool:
    """Whether a file looks like one of these: it begins as a checkpoint of Flax, or is an .npz. Raises MissingArtifact."""
    with opened(file) as content:
        head = content.read(HEAD)
    if not head.startswith(ZIP):
        return is_flax(head)
    try:
        return all(entry.filename.endswith(SUFFIX) for entry in members(file))
    except DataError:
        return False


def read_frepo(file: str) -> PublishedSet:
    """The set in a file that FRePo's program wrote, with its learned labels as `values`. A path or URI.

    Raises ConfigError without the package that reads checkpoints of Flax, and DataError for anything but such a set.
    """
    check_size(file)
    with opened(file) as content:
        packed = content.read(len(ZIP)) == ZIP
    names, found = (IN_NPZ, _npz_arrays(file)) if packed else (IN_STATE, read_arrays(file, BRANCH, IN_STATE))
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{file} holds no {' and no '.join(missing)}: give a file that FRePo's program wrote ({' and '.join(names)})")
    images, labels = (found[name] for name in names)
    if images.ndim != 4 or labels.ndim != 2 or len(images) != len(labels):
        shapes = f"images {list(images.shape)} and labels {list(labels.shape)}"
        raise DataError(f"{file} holds {shapes}: expected [n, H, W, C] and [n, classes] of learned labels")
    published = checked((_tensor(images.transpose(0, 3, 1, 2)), _tensor(labels)), FREPO, file)
    _check_places(published, file)
    return published


def _npz_arrays(file: str) -> Mapping[str, Array]:
    """Both arrays, of a file that declares no more than it holds."""
    size, entries = objects.size(file), members(file)
    declared = sum(entry.file_size for entry in entries)
    if declared > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise DataError(f"{file} is compressed or damaged ({declared:,} bytes in a file of {size:,}): write it again with numpy.savez")
    there = stored_arrays(file)
    for name, array in there.items():
        if name in IN_NPZ and array.dtype.name not in TYPES:
            raise DataError(f"{file} holds {name} as {shown(str(array.dtype))}: expected {', '.join(TYPES[:-1])} or {TYPES[-1]}")
    return {name: read_array(file, name) for name in IN_NPZ if name in there}


def _tensor(array: Array) -> Tensor:
    """A copy, as what was read cannot be written into, in this machine's order of bytes."""
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _check_places(published: PublishedSet, file: str) -> None:
    """Raise DataError if labels and places tell different classes of most images."""
    assert published.values is not None  # as the layout says
    same = int((published.values.argmax(dim=1) == published.labels).sum())
    if same < LEAST_AGREEMENT * len(published.labels):
        raise DataError(
            f"{file} holds {len(published.labels)} images, of which {same} have the largest label where their place says: expected all "
            "classes, class by class, as many images of each"
        )
