"""The real samples that a selection keeps."""

from __future__ import annotations

from bilp.artifacts.artifact import open_artifact
from bilp.data import Dataset
from bilp.data.pool import RealPool
from bilp.errors import IncompatibleArtifact
from bilp.pruning.prune import kept_samples


def real_pool(dataset: Dataset, selection_uri: str | None, key: str | None = None) -> RealPool:
    """The train split of `dataset`, or what a selection keeps.

    Raises IncompatibleArtifact if that was made for another dataset, or is not the one with `key`, if that is given.
    """
    if selection_uri is None:
        return RealPool(dataset)
    selection = open_artifact(selection_uri, "selection", expect={"dataset": dataset.fingerprint})
    if key is not None and selection.manifest.key != key:
        raise IncompatibleArtifact(
            f"the selection at {selection_uri} has key {selection.manifest.key}, but the run was started with {key}: "
            "restore the selection or start a new run"
        )
    return RealPool(dataset, kept_samples(selection, dataset.train.labels))
