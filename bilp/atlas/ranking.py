"""The scores of an atlas in the place of a scoring: which entry fits a data set and a criterion, and its scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bilp.atlas.entries import Opened, entries, open_entry
from bilp.atlas.entry import Entry, split
from bilp.data import Dataset
from bilp.errors import IncompatibleArtifact
from bilp.storage.objects import Uri, as_uri
from bilp.text.escaping import shown


def fitting_entry(uri: Uri, dataset: Dataset, criterion: str) -> Opened:
    """The entry at a URI, or the one of an atlas that has scores of this data set by this criterion.

    Raises IncompatibleArtifact if it is of another data set or lacks the criterion, or if an atlas has no such entry or several.
    """
    uri = as_uri(uri)
    if split(uri)[1] is not None:
        opened = open_entry(uri)
        refusal = _refusal(opened.entry, dataset, criterion)
        if refusal is not None:
            raise IncompatibleArtifact(f"prune.scores: {uri} {refusal}")
        return opened
    found = [opened for opened in entries(uri)[0] if _refusal(opened.entry, dataset, criterion) is None]
    if len(found) != 1:
        which = "has no entry" if not found else f"has {len(found)} entries"
        remedy = "publish one, or leave out prune.scores" if not found else f"give the URI of one, such as {found[0].uri}"
        raise IncompatibleArtifact(f"prune.scores: {uri} {which} for {dataset.name} {dataset.fingerprint} by {criterion}: {remedy}")
    return found[0]


def entry_scores(opened: Opened, criterion: str, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The scores `[N]` by a criterion, for labels `[N]`. Raises IncompatibleArtifact if the entry has other labels."""
    table = opened.table()
    if not np.array_equal(table["label"].to_numpy().astype(np.int64), labels):
        raise IncompatibleArtifact(
            f"prune.scores: {opened.uri} has other labels than the data set: leave out prune.scores, or use another entry"
        )
    scores: NDArray[np.float64] = table[criterion].to_numpy().astype(np.float64)
    return scores


def _refusal(entry: Entry, dataset: Dataset, criterion: str) -> str | None:
    """Why an entry does not fit; None if it does."""
    theirs = entry.dataset
    if theirs.fingerprint != dataset.fingerprint:
        return (
            f"has scores of {shown(theirs.name)} ({theirs.samples:,} training images, fingerprint {theirs.fingerprint}), "
            f"not of {dataset.name} ({len(dataset.train):,}, {dataset.fingerprint}): "
            "leave out prune.scores, or ingest the data as whoever published it did"
        )
    if criterion not in (names := [column.name for column in entry.criteria]):
        return f"has no scores by {criterion}, only by {', '.join(names)}: give one of these as prune.criterion"
    return None
