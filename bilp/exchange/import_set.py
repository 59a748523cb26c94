"""From a published set to an artifact of our own, which evaluation, report and export take like any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bilp.artifacts.artifact import content_key
from bilp.artifacts.publication import publish
from bilp.artifacts.run_layout import GRID, IMAGES, SYNTHETIC
from bilp.artifacts.tensors import encode_tensors
from bilp.config.given import model_of
from bilp.config.import_options import ImportOptions, Pixels
from bilp.config.normalization import NORMALIZATIONS
from bilp.config.shapes import channels_of, sample_noun
from bilp.config.sources import SOURCES
from bilp.data import Dataset, open_dataset
from bilp.data.store import FIT
from bilp.data.whitening import encode
from bilp.distill import real_part
from bilp.distill.pictures import grid_png
from bilp.distill.soft_labels import FILE, exact_labels
from bilp.errors import ConfigError, DataError
from bilp.exchange.own_files import is_own, read_own
from bilp.exchange.reference_files import PublishedSet, read_published
from bilp.storage.objects import Uri, as_uri, join
from bilp.storage.verification import digest

VERSION = 1


def import_set(dataset_uri: Uri, options: ImportOptions | Mapping[str, Any], root: Uri) -> str:
    """Convert a published set (see `read_published`), or an exported one of our own, for a dataset; the URI of the synthetic set below
    `root`.

    Pixels auto takes unit (0 to 1) for IDC, and the dataset's own normalization for the others; of a whitened dataset that is
    its whitening, as MTT publishes them (fitted on pixels in [0, 1], like ours). Whether a file's images are whitened cannot be
    told from them. The real images of an exported set are compared with the samples of the dataset that they are said to be. Raises
    what `read_published` raises, DataError if the images do not fit the dataset, and ConfigError for a set of DC or IDC and a whitened
    dataset.
    """
    dataset_uri, options, root = as_uri(dataset_uri), model_of(ImportOptions, options), as_uri(root)
    dataset = open_dataset(dataset_uri)
    file = options.file
    found = read_own(file) if is_own(file) else read_published(file, options.labels, options.experiment)
    _check(found, dataset, file)
    if dataset.whitening_facts is not None and not found.layout.whitens:
        raise ConfigError(f"{file} has the layout of {found.layout.name}, whose images are not whitened: set ingest.whitening to none")
    scale: Pixels = found.layout.scale if options.pixels == "auto" else options.pixels
    order = torch.argsort(found.labels, stable=True)  # as a run's images are; those of one class keep theirs
    images, ordered = _normalized(found.images, scale, dataset)[order].contiguous(), found.labels[order].contiguous()
    real = None if found.real is None else _checked_real(found.real[order], images, ordered, dataset, options)
    per_class = torch.bincount(ordered, minlength=dataset.classes)
    if int(per_class.min()) != int(per_class.max()):
        raise DataError(f"{file} has {int(per_class.min())} to {int(per_class.max())} images per class: a set has as many of each")
    tensors = encode_tensors({"images": images, "labels": ordered})
    soft = None if found.logits is None else exact_labels(found.logits[order])
    settings = {"pixels": scale, "factor": options.factor, "layout": found.layout.name, "method": options.name}
    settings |= {} if soft is None else {"soft_labels": digest(soft[0])}
    if real is not None:
        settings["real"] = digest(real_part.file_of(real, ordered))
    key = content_key("import", VERSION, dataset=dataset.fingerprint, content=digest(tensors), settings=settings)
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
    files = {IMAGES: tensors, GRID: grid_png(images, int(per_class[0]), dataset.mean, dataset.std, dataset.whitening)}
    if real is not None:
        files[real_part.FILE], facts["real"] = real_part.file_of(real, ordered), real_part.count_of(real)
    if soft is not None:
        files[FILE] = soft[0]
        facts["soft_labels"] = soft[1].model_dump(mode="json", exclude_none=True)
    if dataset.whitening is not None:
        facts["whitening"] = dataset.whitening_facts
        files[FIT] = encode(dataset.whitening)
    uri = join(root, "imported", key, SYNTHETIC)
    return publish(uri, SYNTHETIC, key, files, config=settings, parents={"dataset": dataset_uri}, facts=facts).uri


def _check(found: PublishedSet, dataset: Dataset, file: str) -> None:
    shape = tuple(found.images.shape[1:])
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


def _normalized(images: Tensor, scale: Pixels, dataset: Dataset) -> Tensor:
    """The images normalized as the dataset is."""
    if scale == "dataset":
        return images
    if scale in NORMALIZATIONS:
        constants = NORMALIZATIONS[scale].constants
        assert constants is not None, "a scale of a published set"
        if channels_of(images.shape) != len(constants.mean):
            raise ConfigError(f"the constants of {SOURCES[scale].title} are for color images: choose pixels dataset or unit")
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (constants.mean, constants.std))
        images = images * std + mean
    center, spread = (torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (dataset.mean, dataset.std))
    normalized = (images - center) / spread
    return normalized if dataset.whitening is None else dataset.whitening.apply(normalized)
