"""The safetensors file that a set of this project is exported to, read back as a published set, with the numbers of its real images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bilp.artifacts.tensors import read_tensors
from bilp.distill.step.state import DISTILLED
from bilp.errors import DamagedArtifact, DataError
from bilp.exchange.reference_files import Layout, PublishedSet, checked
from bilp.storage import objects

BILP = Layout("bilp", whitens=True)
"""Normalized, and whitened, as the data set is that the set is of."""
TOLD = ("class_names", "mean", "std")
"""What the metadata holds, as JSON."""
HEADER = 8
"""Bytes that say how long the header is, which begins with a brace."""


def is_own(file: str) -> bool:
    """Whether a file looks like one of safetensors: pickled ones begin otherwise. Raises MissingArtifact."""
    with objects.fetched(file) as local, local.open("rb") as content:
        return content.read(HEADER + 1)[HEADER:] == b"{"


def read_own(file: str) -> PublishedSet:
    """The set in a file that `bilp.exchange.export.safetensors_files` wrote. Raises DataError for any other content."""
    with objects.fetched(file) as local:
        tensors, told = _content(local, file)
    names = set(tensors)
    if not {"images", "labels"} <= names:
        raise DataError(f"{file} holds {', '.join(sorted(names)) or 'nothing'}: expected images and labels, as bilp export writes them")
    try:
        class_names, mean, std = (tuple(json.loads(told[name])) for name in TOLD)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} does not tell its class names, mean and std: give a file that bilp export wrote ({error!r})") from error
    found = checked((tensors["images"], tensors["labels"]), BILP, file)
    real = tensors.get("real")
    if real is not None and not (real.dtype == torch.int64 and real.shape == found.labels.shape and int(real.min()) >= DISTILLED):
        raise DataError(f"{file} holds numbers of real images that none are: expected one of int64 for each image, {DISTILLED} for none")
    values = tensors.get("values")
    if values is not None and not _are_labels(values, (len(found.labels), len(class_names))):
        raise DataError(f"{file} holds learned labels that none are: expected finite ones of float32 for each image and class")
    return replace(found, values=values, real=real, class_names=class_names, normalization=(mean, std))


def _are_labels(values: Tensor, shape: tuple[int, int]) -> bool:
    return values.dtype == torch.float32 and values.shape == shape and bool(values.isfinite().all())


def _content(local: Path, file: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(local, framework="pt") as opened:
            told = dict(opened.metadata() or {})
        return read_tensors(local, file), told
    except (SafetensorError, DamagedArtifact, KeyError, TypeError, RuntimeError) as error:
        raise DataError(f"{file} is not a safetensors file ({error})") from error
