"""How hard real samples are, as a selection tells it: the scores of its criterion, of all samples whether they are kept or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SelectionFacts
from bilp.config.criteria import CRITERIA
from bilp.data import Dataset
from bilp.errors import DamagedArtifact, IncompatibleArtifact
from bilp.pruning.prune import FILE, KIND, selection_rows
from bilp.storage.verification import again


@dataclass(frozen=True)
class Difficulty:
    """Scores of the samples of a train split."""

    scores: Tensor
    """float64 `[N]`."""
    high_is_hard: bool
    """Whether the hard end of the ranking is the high one: the end that the criterion drops by itself."""

    def hardest_first(self, ids: Tensor) -> Tensor:
        """These sample_ids `[n]`, int64, from the hardest to the easiest; of equally hard ones the lower number first."""
        return self._sorted(ids, self.high_is_hard)

    def easiest_first(self, ids: Tensor) -> Tensor:
        """These sample_ids `[n]`, int64, from the easiest to the hardest; of equally hard ones the lower number first."""
        return self._sorted(ids, not self.high_is_hard)

    def _sorted(self, ids: Tensor, descending: bool) -> Tensor:
        ordered = ids.sort().values
        return ordered[torch.argsort(self.scores[ordered], descending=descending, stable=True)]


def difficulty_of(dataset: Dataset, ranking_uri: str, key: str | None = None) -> Difficulty:
    """What a selection says of how hard the samples of a data set are.

    Raises IncompatibleArtifact if it was made for another dataset, or is not the one with `key`, if that is given, and DamagedArtifact if
    its table is not of these samples.
    """
    ranking = open_artifact(ranking_uri, KIND, expect={"dataset": dataset.fingerprint})
    if key is not None and ranking.manifest.key != key:
        raise IncompatibleArtifact(
            f"the ranking at {ranking_uri} has key {ranking.manifest.key}, but the run was started with {key}: "
            "restore it or start a new run"
        )
    table = selection_rows(ranking)
    if not torch.equal(torch.from_numpy(table["label"].to_numpy().copy()).long(), dataset.train.labels):
        raise DamagedArtifact(f"{ranking.place(FILE)} has other labels than the data set that it was made for: {again(ranking.uri)}")
    scores = torch.from_numpy(table["score"].to_numpy().copy())
    return Difficulty(scores, CRITERIA[ranking.stated(SelectionFacts).criterion].drop == "high")
