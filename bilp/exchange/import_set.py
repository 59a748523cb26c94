"""From a published set to an artifact of our own, which evaluation, report and export take like any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bilp.artifacts.artifact import content_key
from bilp.artifacts.publication import Content, publish
from bilp.artifacts.run_layout import GRID, IMAGES, SYNTHETIC
from bilp.artifacts.tensors import encode_tensors
from bilp.config.given import model_of
from bilp.config.import_options import AUTO, PIXELS, ImportOptions
from bilp.config.shapes import sample_noun
from bilp.data import Dataset, open_dataset
from bilp.data.store import FIT
from bilp.data.whitening import encode
from bilp.distill import real_part
from bilp.distill.learned_labels import label_files
from bilp.distill.pictures import grid_png
from bilp.distill.soft_labels import FILE, exact_labels
from bilp.errors import ConfigError, DataError
from bilp.exchange.frepo_files import is_frepo, read_frepo
from bilp.exchange.own_files import is_own, read_own
from bilp.exchange.pixel_scales import as_dataset
from bilp.exchange.reference_files import PublishedSet, read_published
from bilp.registry import resolve
from bilp.storage.objects import Uri, as_uri, join
from bilp.storage.verification import digest

VERSION = 1


def import_set(dataset_uri: Uri, options: ImportOptions | Mapping[str, Any], root: Uri) -> str:
    """Convert a published set (see `read_published` and `read_frepo`), or an exported one of our own, for a dataset; the URI of the
    synthetic set below `root`.

    Pixels auto takes unit (0 to 1) for IDC, frepo for FRePo, and the dataset's own normalization for the others; of a whitened dataset
    that is its whitening, as MTT publishes them (fitted on pixels in [0, 1], like ours). Whether a file's images are whitened cannot be
    told from them. The real images of an exported set are compared with the samples of the dataset that they are said to be. Raises
    what reading the file raises, DataError if the images do not fit the dataset, and ConfigError for a set of DC or IDC and a whitened
    dataset, or a normalization that is not known for the dataset.
    """
    dataset_uri, options, root = as_uri(dataset_uri), model_of(ImportOptions, options), as_uri(root)
    dataset = open_dataset(dataset_uri)
    file = options.file
    found = _read(options)
    _check(found, dataset, options)
    found = _renumbered(found, dataset)
    scale = PIXELS[found.layout.scale] if PIXELS[options.pixels] is AUTO else PIXELS[options.pixels]
    order = torch.argsort(found.labels, stable=True)  # as a run's images are; those of one class keep theirs
    images, ordered = as_dataset(found.images, scale, dataset)[order].contiguous(), found.labels[order].contiguous()
    real = None if found.real is None else _checked_real(found.real[order], images, ordered, dataset, options)
    per_class = torch.bincount(ordered, minlength=dataset.classes)
    if int(per_class.min()) != int(per_class.max()):
        raise DataError(f"{file} has {int(per_class.min())} to {int(per_class.max())} images per class: a set has as many of each")
    tensors = encode_tensors({"images": images, "labels": ordered})
    settings = {"pixels": scale.name, "factor": options.factor, "layout": found.layout.name, "method": options.name}
    facts = {
        "dataset": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "shape": list(dataset.shape),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "ipc": int(per_class[0]),
        "method": options.name,
        "decode": {"factor": options.factor, "kind": "single"},
        "source": file.rsplit("/", 1)[-1],
    }
    files: dict[str, Content] = {
        IMAGES: tensors,
        GRID: grid_png(images, int(per_class[0]), dataset.mean, dataset.std, dataset.whitening),
    }
    for name, (beside, content, told) in _beside(found, order, ordered, real).items():
        files[beside], facts[name], settings[name] = content, told, digest(content)
    key = content_key("import", VERSION, dataset=dataset.fingerprint, content=digest(tensors), settings=settings)
    if dataset.whitening is not None:
        facts["whitening"] = dataset.whitening_facts
        files[FIT] = encode(dataset.whitening)
    uri = join(root, "imported", key, SYNTHETIC)
    return publish(uri, SYNTHETIC, key, files, config=settings, parents={"dataset": dataset_uri}, facts=facts).uri


def _read(options: ImportOptions) -> PublishedSet:
    """What the file holds, by the form of its content. Raises what its reader raises."""
    if is_own(options.file):
        return read_own(options.file)
    if is_frepo(options.file):
        return read_frepo(options.file)
    return read_published(options.file, options.labels, options.experiment)


def _check(found: PublishedSet, dataset: Dataset, options: ImportOptions) -> None:
    """Raise DataError for a set that is of no such data, and ConfigError for one that other settings would fit."""
    file, shape = options.file, tuple(found.images.shape[1:])
    if shape != dataset.shape:
        raise DataError(
            f"{file} holds {sample_noun(shape)}s {list(shape)}, {dataset.name} has {list(dataset.shape)}: choose its own dataset"
        )
    low, high = int(found.labels.min()), int(found.labels.max())
    if low < 0 or high >= dataset.classes:
        raise DataError(f"{file} has labels from {low} to {high}, {dataset.name} has {dataset.classes} classes: choose its own dataset")
    if found.class_names not in (None, tuple(dataset.class_names)):
        raise DataError(f"{file} is of other classes than {dataset.name}: choose its own dataset")
    if found.normalization not in (None, (tuple(dataset.mean), tuple(dataset.std))):
        raise DataError(f"{file} is normalized otherwise than {dataset.name}: set ingest.normalization as it was where the set was made")
    if found.values is not None and found.values.shape[1] != dataset.classes:
        told = f"has labels of {found.values.shape[1]} classes, {dataset.name} has {dataset.classes} classes"
        raise DataError(f"{file} {told}: choose its own dataset")
    if found.values is not None and options.factor > 1:
        raise ConfigError(f"{file} has labels that were learned with its images as they are, which stand for no others: set factor to 1")
    if dataset.whitening_facts is not None and not found.layout.whitens:
        raise ConfigError(f"{file} has the layout of {found.layout.name}, whose images are not whitened: set ingest.whitening to none")


def _renumbered(found: PublishedSet, dataset: Dataset) -> PublishedSet:
    """The set with the dataset's numbers of classes in place of those of the program that wrote it, which its layout tells."""
    places: Tensor | None = resolve(found.layout.numbering)(dataset) if found.layout.numbering else None
    if places is None:
        return found
    columns = torch.argsort(places)
    logits, values = (None if told is None else told[:, columns] for told in (found.logits, found.values))
    return replace(found, labels=places[found.labels], logits=logits, values=values)


def _beside(found: PublishedSet, order: Tensor, labels: Tensor, real: Tensor | None) -> dict[str, tuple[str, bytes, Any]]:
    """What lies beside the images of a set, by the names of its facts: a file, its content, and what the manifest states of it.

    Args:
        found: what was read.
        order: positions of its images, int64 `[n]`, in the order in which they are stored.
        labels: classes of the stored images, int64 `[n]`.
        real: their numbers of training samples, int64 `[n]`, if some have one.
    """
    files: dict[str, tuple[str, bytes, Any]] = {}
    if found.logits is not None:
        data, told = exact_labels(found.logits[order])
        files["soft_labels"] = (FILE, data, told.model_dump(mode="json", exclude_none=True))
    if found.values is not None:
        beside, stated = label_files(found.values[order], labels)
        ((name, content),) = beside.items()
        assert isinstance(content, bytes)  # which it makes in memory
        files["learned_labels"] = (name, content, stated["learned_labels"])
    if real is not None:
        files["real"] = (real_part.FILE, real_part.file_of(real, labels), real_part.count_of(real))
    return files


def _checked_real(real: Tensor, images: Tensor, labels: Tensor, dataset: Dataset, options: ImportOptions) -> Tensor | None:
    """The real part, if any image is said to be real. Raises DataError unless it is one of this dataset, and ConfigError for parts.

    Args:
        real: sample_ids `[n]`, and -1 for images that are not real.
        images: `[n, C, H, W]`, normalized as the dataset is.
        labels: theirs.
        dataset: whose training samples the numbers are of.
        options: what was said about the file.
    """
    if not real_part.count_of(real):
        return None
    if options.factor > 1:
        raise ConfigError(f"{options.file} holds real images as they are, which stand for no {options.factor**2} ones: set factor to 1")
    if wrong := real_part.wrong_in(real, images, labels, dataset):
        raise DataError(f"{options.file} {wrong}: choose the dataset that it was made from, with the same settings of ingestion")
    return real
