"""Files from outside the storage that a run depends on: weights of a supplied encoder, and features of the real samples under it.

A run's key covers their content (`digests`), not where they lie; whoever opens them compares that content with what the run was
started with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from bilp.config import DistillConfig
from bilp.data.store import Dataset
from bilp.distill.step.frozen_encoder import Supplied
from bilp.errors import DataError, IncompatibleArtifact
from bilp.nets.supplied_encoder import SuppliedEncoder
from bilp.storage import objects
from bilp.storage.uris import as_uri
from bilp.teachers.encoder_file import EncoderFile

ROLES = {"encoder": "weights", "features": "features"}
"""Settings of `distill.linear` that say where files lie, by what the files are to a run."""
ID, VALUES = "sample_id", "features"
"""Columns of a table of features."""
LOOKED_AT = 8
"""Samples whose features are computed and compared with the table's."""
TOLERANCE = 0.01
"""By how much these may be apart, relative to their length."""


def digests(distill: DistillConfig) -> dict[str, str]:
    """The sha256 of each file's content by its role; nothing for a run that depends on none. Raises MissingArtifact."""
    found = {}
    for role, place in _places(distill).items():
        with objects.fetched(place) as file:
            found[role] = _digest(file)
    return found


def with_digests(distill: DistillConfig, dataset: Dataset) -> tuple[DistillConfig, dict[str, str]]:
    """The settings with absolute paths, which other processes can follow, and `digests`, of files that fit the data set.

    Raises what `check_supplied` does.
    """
    places = _places(distill)
    if places:
        linear = distill.linear.model_copy(update={ROLES[role]: place for role, place in places.items()})
        distill = distill.model_copy(update={"linear": linear})
    check_supplied(distill, dataset)
    return distill, digests(distill)


def without_places(distill: DistillConfig) -> DistillConfig:
    """The same settings but for where files lie."""
    linear = distill.linear.model_copy(update=dict.fromkeys(ROLES.values()))
    return distill.model_copy(update={"linear": linear})


def open_supplied(distill: DistillConfig, dataset: Dataset, parents: Mapping[str, str]) -> Supplied | None:
    """The supplied encoder of a run and the features of its real samples, if there are any.

    Raises IncompatibleArtifact if a file is not what it was, besides what `encoder_of` and `features_of` raise.
    """
    if distill.linear.weights is None:
        return None
    for role, place in _places(distill).items():
        with objects.fetched(place) as file:
            if _digest(file) != parents[role]:
                raise IncompatibleArtifact(
                    f"{place} has changed since the run was started (distill.linear.{ROLES[role]}): restore it, or start a new run"
                )
    encoder = encoder_of(distill, dataset)
    return Supplied(encoder, features_of(distill, dataset, encoder.classifier.in_features))


def check_supplied(distill: DistillConfig, dataset: Dataset) -> None:
    """Raise DataError or ConfigError, before a run is registered, for files that do not fit the data set or each other."""
    if distill.linear.weights is None:
        return
    encoder = encoder_of(distill, dataset)
    _encoder_file(distill).require_fit(encoder, dataset)
    table = features_of(distill, dataset, encoder.classifier.in_features)
    if table is None:
        return
    ids = torch.linspace(0, len(table) - 1, min(LOOKED_AT, len(table))).long().unique()
    with torch.no_grad():
        own = encoder.embed(dataset.train.batch(ids))
    apart = torch.linalg.vector_norm(own - table[ids], dim=1) / torch.linalg.vector_norm(own, dim=1).clamp_min(1e-12)
    worst = int(apart.argmax())
    if not float(apart[worst]) <= TOLERANCE:
        raise DataError(
            f"{distill.linear.features}: the features of sample {int(ids[worst])} are {float(apart[worst]):.0%} off those of "
            f"distill.linear.encoder {distill.linear.encoder}: compute them with these weights, on images of side {distill.linear.side}, "
            "without augmentation"
        )


def encoder_of(distill: DistillConfig, dataset: Dataset) -> SuppliedEncoder:
    """The encoder with the weights of the settings. Raises what `bilp.teachers.encoder_file.EncoderFile.load` does."""
    return _encoder_file(distill).load(dataset)


def _encoder_file(distill: DistillConfig) -> EncoderFile:
    linear = distill.linear
    assert linear.weights is not None
    assert linear.encoder is not None
    return EncoderFile(linear.encoder, linear.weights, linear.side, "distill.linear.encoder")


def features_of(distill: DistillConfig, dataset: Dataset, width: int) -> Tensor | None:
    """The table of features of the training samples, float32 `[N, F]`, or None if none is given.

    Raises DataError unless it has one row of `width` finite numbers for each sample, in the order of their numbers.
    """
    where = distill.linear.features
    if where is None:
        return None
    with objects.fetched(as_uri(where)) as file:
        table = _table(file, where)
    samples = len(dataset.train)
    if len(table) != samples:
        raise DataError(f"{where} has {len(table):,} rows, but the train split has {samples:,} samples: give one row for each")
    ids = table[ID].to_numpy()
    if not np.array_equal(ids, np.arange(samples)):
        first = int((ids != np.arange(samples)).argmax())
        raise DataError(f"{where}: row {first} is of sample {ids[first]}: give rows in the order of {ID}, from 0 to {samples - 1}")
    return _values(table[VALUES], where, width)


def _values(column: pa.ChunkedArray, where: str, width: int) -> Tensor:
    lists = column.combine_chunks()
    lengths = (
        np.diff(lists.offsets.to_numpy()) if not pa.types.is_fixed_size_list(lists.type) else np.full(len(lists), lists.type.list_size)
    )
    if lists.null_count or bool((lengths != width).any()):
        row = int((lengths != width).argmax())
        raise DataError(f"{where}: row {row} has {lengths[row]} features, the encoder has {width}")
    flat = lists.flatten()
    values = torch.from_numpy(flat.to_numpy(zero_copy_only=False).astype(np.float32)).view(-1, width)
    wrong = ~torch.isfinite(values).all(dim=1)
    if bool(wrong.any()):
        raise DataError(f"{where}: row {int(wrong.nonzero()[0])} holds features that are not finite numbers")
    return values


def _table(file: Path, where: str) -> pa.Table:
    try:
        schema = pq.read_schema(file)
        lacking = [name for name in (ID, VALUES) if name not in schema.names]
        if lacking:
            raise DataError(f"{where} has no column {' and '.join(lacking)}: expected {ID} (whole numbers) and {VALUES} (lists of floats)")
        kind, numbers = schema.field(VALUES).type, schema.field(ID).type
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if not pa.types.is_integer(numbers) or not listed or not pa.types.is_floating(kind.value_type):
            raise DataError(f"{where} has {ID} of type {numbers} and {VALUES} of type {kind}: expected whole numbers and lists of floats")
        return pq.read_table(file, columns=[ID, VALUES])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} is not a Parquet file ({next(iter(str(error).splitlines()), '')})") from error


def _places(distill: DistillConfig) -> dict[str, str]:
    places = {role: getattr(distill.linear, name) for role, name in ROLES.items()}
    return {role: as_uri(place) for role, place in places.items() if place is not None}


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
