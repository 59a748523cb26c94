"""The summary of one criterion that is not among those that are summarized together.

A criterion can be added at any time, here or by another package, without a change of what is stored: it is computed from the
records of trials that are there, and its scores lie beside the summary of the others, under a key of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp.artifacts.artifact import Artifact, content_key, there_already
from bilp.artifacts.facts import SummaryFacts
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import publish
from bilp.artifacts.tables import MEASURED_SUMMARY
from bilp.config import ScoreConfig
from bilp.config.base import unrevised
from bilp.config.criteria import CRITERIA, SUMMARIZED, Column
from bilp.data import Dataset
from bilp.errors import ConfigError
from bilp.scoring.criteria import Moments, Trajectory, criterion_of
from bilp.scoring.summary import KIND, VERSION, facts, identity, open_summary, records, scoring_of, trials_of
from bilp.scoring.trial_record import GROWING, MEASURED_FILE, scores_uri, training_key
from bilp.storage.objects import Uri, as_uri, join


def summary_by(uri: Uri, criterion: str, dataset: Dataset, root: Uri) -> Artifact:
    """The summary that has scores by `criterion`: the one at `uri`, or one that is made of its trials below `root`.

    Raises MissingArtifact if there is no summary at the URI or one of its trials is gone, IncompatibleArtifact if it is of another
    data set, and ConfigError if its trials do not hold what the criterion needs.
    """
    summary = open_summary(uri, dataset.fingerprint)
    column, stated = CRITERIA[criterion].column, summary.stated(SummaryFacts)
    if column is None or criterion in (*SUMMARIZED, *stated.criteria):
        return summary
    config = scoring_of(summary)
    if config.measure != CRITERIA[criterion].measure or (column.gradients and config.gradient_norm == "off"):
        raise ConfigError(
            f"the trials of {summary.uri} do not record what criterion {criterion} needs: "
            f"score with --prune.criterion {criterion}, which sets what has to be recorded"
        )
    extended = stated.extended
    key = added_key(dataset.fingerprint, config, criterion, None if extended is None else extended.training)
    training = training_key(dataset.fingerprint, config) if extended is None else extended.training
    place = join(scores_uri(as_uri(root), dataset.fingerprint, training), "summary", key)
    there = there_already(place, KIND, key, shown=True)
    if there is not None:
        return there
    labels = dataset.train.labels.numpy()
    table = criterion_table(labels, records(trials_of(summary), config, len(labels)), config, column)
    return publish(
        place,
        KIND,
        key,
        {MEASURED_FILE: encode(table, MEASURED_SUMMARY, {"stage": KIND, "key": key, "dataset": dataset.fingerprint})},
        config={**config.model_dump(mode="json", exclude={*GROWING, *unrevised(config)}), "criterion": CRITERIA.recorded(criterion)},
        parents=summary.parents,
        facts={
            **facts(dataset.fingerprint, len(labels), config, [criterion]),
            **({} if extended is None else {"extended": extended.model_dump(mode="json")}),
        },
    )


def added_key(fingerprint: str, config: ScoreConfig, criterion: str, training: str | None = None) -> str:
    """Key of the summary of one criterion: as of all, and the criterion with its version and the package that it comes from."""
    column = CRITERIA[criterion].column
    own = {"name": CRITERIA.recorded(criterion), "version": column.version if column is not None else 0}
    return content_key("summarise", VERSION, **identity(fingerprint, config, training), criterion=own)


def criterion_table(labels: NDArray[np.int64], trials: Iterable[Trajectory], config: ScoreConfig, column: Column) -> pa.Table:
    """Mean and standard deviation over trials of one column, for labels `[N]`; reads each trial once, in turn."""
    function, moments = criterion_of(column), Moments(len(labels))
    for trajectory in trials:
        moments.add(function(trajectory, config))
    columns = {
        "sample_id": np.arange(len(labels), dtype=np.int64),
        "label": labels.astype(np.int32),
        "score": moments.mean.astype(np.float32),
        "score_std": moments.std().astype(np.float32),
        "visits": np.full(len(labels), moments.count, dtype=np.int32),
    }
    return pa.table(columns, schema=MEASURED_SUMMARY)
