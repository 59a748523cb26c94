"""The selection that knows the truth: it keeps every sample whose label is right, and bounds what any selection could reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bilp.artifacts.artifact import content_key, there_already
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import SELECTION
from bilp.data import Dataset, open_dataset
from bilp.data.contents import quoted
from bilp.errors import ConfigError, DamagedArtifact, DataError
from bilp.pruning.prune import FILE, KIND, selection_table
from bilp.pruning.static import Cut, select
from bilp.storage.objects import Uri, as_uri, join
from bilp.storage.verification import again, digest
from bilp.truth.table import Truth, open_truth

VERSION = 1
ORACLE = "oracle"
"""What its manifest names in the place of a criterion."""


def oracle_selection(dataset_uri: Uri, record_uri: Uri, root: Uri) -> str:
    """Publish the selection that keeps the rightly labeled samples of a data set; its URI.

    Samples are scored 1 where their label is wrong, else 0.

    Args:
        dataset_uri: The data set, whitened or not.
        record_uri: The record of the source that it was read from, which has the truth beside it.
        root: Of the storage.

    Raises ConfigError if nothing of the data set was changed on purpose, so that nobody knows the truth, and DataError if no
    label of a class is right.
    """
    root, dataset = as_uri(root), open_dataset(as_uri(dataset_uri), as_uri(record_uri))
    truth = open_truth(record_uri)
    if truth is None:
        raise ConfigError(
            f"the true labels of {dataset.name} are not known, so there is no selection by them: they are where ingest.label_noise "
            "made labels wrong on purpose"
        )
    cut = _cut(dataset, truth)
    key = content_key("oracle", VERSION, dataset=dataset.fingerprint, kept=digest(np.packbits(cut.kept).tobytes()))
    uri = join(root, "selections", key)
    if there_already(uri, KIND, key, shown=True) is not None:
        return uri
    table = selection_table(truth.label, truth.wrong.astype(np.float64), cut)
    return publish_table(
        uri,
        KIND,
        key,
        TableFile(FILE, table, SELECTION, {"dataset": dataset.fingerprint}),
        config={"criterion": ORACLE},
        parents={"dataset": dataset.uri, "source": as_uri(record_uri)},
        facts={
            "dataset": dataset.fingerprint,
            "class_names": list(dataset.class_names),
            "criterion": ORACLE,
            "drop": "high",
            "keep": float(cut.kept.mean()),
            "per_class": True,
            "total": len(cut.kept),
            "kept": int(cut.kept.sum()),
            "total_per_class": cut.total_per_class.tolist(),
            "kept_per_class": cut.kept_per_class.tolist(),
            "lowest_kept_per_class": cut.lowest_kept.tolist(),
            "highest_kept_per_class": cut.highest_kept.tolist(),
        },
    )


def _cut(dataset: Dataset, truth: Truth) -> Cut:
    labels = dataset.train.labels.numpy()
    if not np.array_equal(labels, truth.label):
        raise DamagedArtifact(f"{truth.uri} has other labels than its data set: {again(truth.uri)}")
    names = dataset.class_names
    kept = np.bincount(labels[~truth.wrong], minlength=len(names))
    if not kept.all():
        lacking = [name for name, count in zip(names, kept.tolist(), strict=True) if count == 0]
        raise DataError(f"no label of {quoted(lacking)} is right: lower ingest.label_noise.share")
    whole = select(truth.wrong.astype(np.float64), labels, names, keep=1.0)
    return replace(whole, kept=~truth.wrong, kept_per_class=kept, highest_kept=np.zeros(len(names)))
