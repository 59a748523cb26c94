"""Entries from what this project makes, and from the lists that were published with BiLP's preview code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SummaryFacts
from bilp.artifacts.parquet import encode
from bilp.artifacts.tables import MEASURED_SUMMARY, SUMMARY
from bilp.atlas.entries import put
from bilp.atlas.entry import Entry, ScoreColumn, ScoredData, TableFile
from bilp.config.criteria import CRITERIA, PUBLISHED, SUMMARIZED, dropped_end
from bilp.config.measures import MEASURES
from bilp.data import Dataset, open_dataset
from bilp.errors import ConfigError
from bilp.scoring.score_list import LARGEST as LARGEST_LIST
from bilp.scoring.score_list import parse_score_list
from bilp.scoring.summary import FILE, open_summary
from bilp.scoring.trial_record import MEASURED_FILE
from bilp.storage.objects import Uri, as_uri, read
from bilp.storage.verification import digest

_PUBLISHED = re.compile(rf"(?P<dataset>[A-Za-z0-9]+)_(?P<score>{'|'.join(PUBLISHED)})\.json")


def publish_summary(summary_uri: Uri, atlas: Uri, title: str | None = None, license: str | None = None, by: str | None = None) -> str:
    """Publish the scores of a summary as an entry of an atlas; its URI.

    Args:
        summary_uri: The summary.
        atlas: Folder or bucket of the atlas.
        title: A line on what it is; by default data set and number of trainings.
        license: On which terms it may be used.
        by: Who publishes it.
    """
    summary = open_summary(as_uri(summary_uri))
    dataset = open_dataset(summary.parents["dataset"])
    columns, table = _columns(summary)
    facts = summary.stated(SummaryFacts)
    named = title or f"{dataset.name}: {', '.join(column.name for column in columns)}, {facts.trials} trials"[:200]
    said = f"Summary {summary.manifest.key} of {facts.trials} trials"
    if facts.extended is not None:
        said += f", version {facts.version}: {facts.extended.unseen:,} images were scored by networks that had not learned them"
    versions = {name: value for name, value in summary.manifest.provenance.items() if value is not None}
    about = {"title": named, "origin": f"{said}.", "license": license, "by": by, "when": summary.manifest.created_at}
    return _publish(atlas, dataset, columns, table, dict(summary.manifest.config), versions, about)


def import_list(
    uri: Uri, dataset_uri: Uri, atlas: Uri, criterion: str | None = None, license: str | None = None, by: str | None = None
) -> str:
    """Publish a list of scores in the order of a data set as an entry of an atlas; its URI.

    Args:
        uri: The list, a JSON array of numbers.
        dataset_uri: The data set that it is of, as ingest published it.
        atlas: Folder or bucket of the atlas.
        criterion: What it ranks by; by default what the name of a published list says.
        license: On which terms it may be used.
        by: Who publishes it.

    Raises DataError if it does not fit the data set, and ConfigError if nothing says what its criterion is.
    """
    uri, dataset = as_uri(uri), open_dataset(as_uri(dataset_uri))
    name = PurePosixPath(uri).name
    known = _PUBLISHED.fullmatch(name)
    chosen = criterion or (PUBLISHED[known["score"]] if known else "")
    if chosen not in CRITERIA or CRITERIA[chosen].measure is None:
        ranked = ", ".join(name for name, entry in CRITERIA.items() if entry.measure is not None)
        raise ConfigError(f"what does {name} rank by? Say it with --criterion: {ranked}")
    data = read(uri, most=LARGEST_LIST)
    scores = parse_score_list(data, uri, len(dataset.train), len(dataset.test))
    columns = [ScoreColumn(name=chosen, drop=dropped_end(chosen), spread=False)]
    published = " published with BiLP's preview code" if known else ""
    about = {
        "title": f"{dataset.name}: {PurePosixPath(uri).stem}"[:200],
        "origin": f"The list {name}{published}, sha256 {digest(data)}; how it was made is not known."[:2000],
        "license": license,
        "by": by,
        "when": None,
    }
    return _publish(atlas, dataset, columns, {chosen: scores.astype(np.float32)}, {}, {}, about)


def _columns(summary: Artifact) -> tuple[list[ScoreColumn], dict[str, np.ndarray]]:
    """The criteria of a summary, and its columns of scores by name."""
    facts = summary.stated(SummaryFacts)
    together = MEASURES[facts.measure].per_epoch and set(facts.criteria) <= set(SUMMARIZED)
    columns, found = [], {}
    for criterion in facts.criteria:
        spread = not together or SUMMARIZED[criterion].spread
        columns.append(ScoreColumn(name=criterion, drop=dropped_end(criterion), spread=spread))
        names = (criterion, f"{criterion}_std") if together else ("score", "score_std")
        file, schema = (FILE, SUMMARY) if together else (MEASURED_FILE, MEASURED_SUMMARY)
        table = summary.table(file, schema, names[: 1 + spread], facts.samples)
        for name, target in zip(names, (criterion, f"{criterion}_std"), strict=True):
            if name in table.column_names:
                found[target] = table[name].to_numpy()
    return columns, found


def _publish(
    atlas: Uri,
    dataset: Dataset,
    columns: Sequence[ScoreColumn],
    scores: Mapping[str, np.ndarray],
    settings: Mapping[str, Any],
    versions: Mapping[str, Any],
    about: Mapping[str, Any],
) -> str:
    """An entry of scores `[N]` by name of their column, published; its URI.

    Args:
        atlas: Where.
        dataset: What has these scores.
        columns: The criteria.
        scores: Columns of the table.
        settings: How they were made.
        versions: With what.
        about: title, origin, license, by, when.
    """
    labels = dataset.train.labels.numpy()
    data = ScoredData(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        class_names=dataset.class_names,
        images_per_class=tuple(np.bincount(labels, minlength=dataset.classes).tolist()),
        shape=dataset.shape,
    )
    draft = Entry(
        dataset=data,
        criteria=tuple(columns),
        settings=dict(settings),
        versions=dict(versions),
        table=TableFile(sha256="0" * 64, size=2**20 + len(labels)),
        **about,
    )
    rows = {"sample_id": np.arange(len(labels), dtype=np.int64), "label": labels.astype(np.int32), **scores}
    content = encode(pa.table(rows, schema=draft.schema), draft.schema, {"atlas": "scores", "dataset": dataset.fingerprint})
    return put(atlas, draft.model_copy(update={"table": TableFile(sha256=digest(content), size=len(content))}), content)
