"""Scores of real images, and which of them are kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bilp.api import showing
from bilp.api.ingested import Dataset, as_data
from bilp.api.keywords import Given, for_images, stored
from bilp.api.placed import Result, located
from bilp.artifacts.artifact import Artifact, manifest_kind, open_artifact
from bilp.artifacts.facts import SelectionFacts, SummaryFacts
from bilp.artifacts.tables import MEASURED_SUMMARY, SUMMARY
from bilp.config import PruneConfig, ScoreConfig
from bilp.config.measures import MEASURES
from bilp.config.nested import merge
from bilp.config.rules import DEFAULT_RULE
from bilp.config.shapes import sample_noun
from bilp.data import store as dataset_store
from bilp.pruning import prune as pruning
from bilp.scoring import summary as summaries
from bilp.scoring.trial_record import MEASURED_FILE
from bilp.storage.objects import Uri

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 12
"""Images that a notebook shows of each kind."""


class Scores(Result):
    """A score for every training image, over several trials."""

    def __init__(self, uri: str, data: Dataset, given: Given) -> None:
        """Use `bilp.score`."""
        super().__init__(uri)
        self.data, self.given = data, given

    @cached_property
    def criterion(self) -> str:
        """What `by_score` and notebooks sort by: the criterion of the settings if these scores have it, else the first that they have."""
        criteria, wanted = self._facts.criteria, for_images(self.given, self.data.config).prune.criterion
        return wanted if wanted in criteria else criteria[0]

    def values(self, criterion: str | None = None) -> NDArray[np.float64]:
        """Scores `[N]` by one of the criteria. Raises ConfigError, naming those that there are, for another one."""
        return summaries.criterion_scores(self._summary, criterion or self.criterion)

    def to_pandas(self) -> pd.DataFrame:
        """One row per training image: sample_id, class, label, origin, then the scores by every criterion and their deviations."""
        together = MEASURES[self._facts.measure].per_epoch
        file, schema = (summaries.FILE, SUMMARY) if together else (MEASURED_FILE, MEASURED_SUMMARY)
        frame = self._summary.table(file, schema, rows=self._facts.samples).to_pandas()
        return named(frame, self.data)

    def by_score(self, criterion: str | None = None) -> pd.DataFrame:
        """sample_id, class, label, origin and score, the highest score (by loss: the hardest image) first."""
        import pandas as pd

        scores = self.values(criterion)
        frame = pd.DataFrame({"sample_id": np.arange(len(scores)), "label": self.data.opened.train.labels.numpy(), "score": scores})
        return named(frame, self.data).sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def __repr__(self) -> str:
        facts = self._facts
        trials = f"{facts.trials} trial{'' if facts.trials == 1 else 's'}"
        samples = f"{facts.samples:,} {sample_noun(self.data.shape)}s"
        return f"scores of {samples} from {trials} by {', '.join(facts.criteria)}, from {self.place}"

    def _repr_html_(self) -> str:
        ranked = self.by_score()
        ranked = ranked[ranked["score"].notna()]
        parts = [showing.paragraph(repr(self))]
        for head, rows in ((f"highest {self.criterion}", ranked.head(EXAMPLES)), (f"lowest {self.criterion}", ranked.tail(EXAMPLES)[::-1])):
            captions = [f"{score:.3g}" for score in rows["score"]]
            parts += [showing.paragraph(head), _strip(self.data, rows["sample_id"].tolist(), captions)]
        return "".join(parts)

    @cached_property
    def _summary(self) -> Artifact:
        return summaries.open_summary(self.uri, self.data.opened.fingerprint)

    @property
    def _facts(self) -> SummaryFacts:
        return self._summary.stated(SummaryFacts)


class Selection(Result):
    """Which training images are kept."""

    def __init__(self, uri: str, data: Dataset, scores: Scores | None, given: Given) -> None:
        """Use `bilp.prune`; `scores` are None for criteria that need none."""
        super().__init__(uri)
        self.data, self.scores, self.given = data, scores, given

    @property
    def kept(self) -> NDArray[np.int64]:
        """sample_ids of the images that are kept, ascending."""
        return pruning.kept_samples(self._artifact).numpy()

    def to_pandas(self) -> pd.DataFrame:
        """One row per training image: sample_id, class, label, origin, score, rank_in_class and kept."""
        return named(pruning.selection_rows(self._artifact).to_pandas(), self.data)

    def __repr__(self) -> str:
        facts = self._facts
        rule = "" if facts.rule == DEFAULT_RULE else f", rule {facts.rule}"
        kept = f"{facts.kept:,} of {facts.total:,} {sample_noun(self.data.shape)}s kept ({facts.kept / facts.total:.0%})"
        return f"{kept}, by {facts.criterion}{rule}, from {self.place}"

    def _repr_html_(self) -> str:
        frame = self.to_pandas()
        counts = frame.groupby("class", sort=False)["kept"].agg(["sum", "size"])
        rows = [(name, count["sum"], count["size"]) for name, count in counts.iterrows()]
        parts = [showing.paragraph(repr(self)), showing.table(("class", "kept", "of"), rows)]
        for head, rows_of in (("kept", frame[frame["kept"]]), ("dropped", frame[~frame["kept"]])):
            step = max(1, len(rows_of) // EXAMPLES)
            chosen = rows_of["sample_id"].tolist()[::step][:EXAMPLES]
            parts += [showing.paragraph(head), _strip(self.data, chosen, None)] if chosen else []
        return "".join(parts)

    @cached_property
    def _artifact(self) -> Artifact:
        return open_artifact(self.uri, pruning.KIND, {"dataset": self.data.opened.fingerprint})

    @property
    def _facts(self) -> SelectionFacts:
        return self._artifact.stated(SelectionFacts)


def named(frame: pd.DataFrame, data: Dataset) -> pd.DataFrame:
    """A frame with sample_id and label of training images, with their class and origin beside them."""
    origins = data.origins()
    frame.insert(1, "class", [data.class_names[label] for label in frame["label"]])
    frame.insert(3, "origin", [origins[sample] for sample in frame["sample_id"]])
    return frame


def _strip(data: Dataset, samples: Sequence[int], captions: Sequence[str] | None) -> str:
    pixels, told = data.samples(samples)
    return showing.strip(pixels, told, captions)


def as_scores(given: Scores | Uri, root: Uri | None = None) -> Scores:
    """The scores themselves, or those at a path, a URI or a key, with the data set that they were made of."""
    if isinstance(given, Scores):
        return given
    summary = summaries.open_summary(located(given, root, (summaries.KIND,)))
    data = as_data(summary.parents["dataset"])
    return Scores(summary.uri, data, merge(data.given, {"score": stored(ScoreConfig, summary.manifest.config).model_dump()}))


def scored_or_data(given: Uri, root: Uri | None = None) -> Scores | Dataset:
    """The scores, or the data set, that lies at a path, a URI or a key."""
    uri = located(given, root, (summaries.KIND, dataset_store.KIND))
    return as_data(uri) if manifest_kind(uri) == dataset_store.KIND else as_scores(uri)


def as_selection(given: Selection | Uri, root: Uri | None = None) -> Selection:
    """The selection itself, or that at a path, a URI or a key, with what it was made of."""
    if isinstance(given, Selection):
        return given
    artifact = open_artifact(located(given, root, (pruning.KIND,)), pruning.KIND)
    scores = as_scores(artifact.parents["scores"]) if "scores" in artifact.parents else None
    data = as_data(artifact.parents["dataset"])
    rule = stored(PruneConfig, artifact.manifest.config)
    before = data.given if scores is None else scores.given
    return Selection(artifact.uri, data, scores, merge(before, {"keep": rule.keep, "prune": rule.model_dump()}))
