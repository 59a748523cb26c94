"""The tables of an evaluation beside its accuracies: confusion of classes, and how trainings went.

Evaluations that were published before these were recorded lack them, and so does one that took over such trainings, in part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bilp.artifacts import parquet
from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import EvaluationFacts
from bilp.artifacts.tables import CONFUSION, COURSE
from bilp.errors import DamagedArtifact
from bilp.evaluate.training_cache import Training
from bilp.storage.verification import again
from bilp.training.course import Course, unpacked

CONFUSION_FILE = "confusion.parquet"
COURSE_FILE = "course.parquet"


def course_files(trainings: Sequence[Training], origin: Mapping[str, Any]) -> dict[str, bytes]:
    """Contents by file name; none where no training has been recorded so. `origin` says in the files what they belong to."""
    told = [(training, training.course) for training in trainings if training.course is not None]
    if not told:
        return {}
    confusion = pa.concat_tables([_confusion(training, course) for training, course in told])
    course = pa.Table.from_pylist([row for training, course in told for row in _rows(training, course)], COURSE)
    return {
        CONFUSION_FILE: parquet.encode(confusion, CONFUSION, origin),
        COURSE_FILE: parquet.encode(course, COURSE, origin),
    }


def confusion_rows(evaluation: Artifact, classes: int) -> pd.DataFrame | None:
    """Rows of `bilp.artifacts.tables.CONFUSION`; None if the version that wrote the evaluation did not record them.

    Raises DamagedArtifact if a class is none of so many, or a network none of the evaluation.
    """
    if CONFUSION_FILE not in evaluation.manifest.files:
        return None
    table = evaluation.table(CONFUSION_FILE, CONFUSION, below={"label": classes, "predicted": classes})
    return _of_these(evaluation, CONFUSION_FILE, table)


def course_rows(evaluation: Artifact) -> pd.DataFrame | None:
    """Rows of `bilp.artifacts.tables.COURSE`, as `confusion_rows`."""
    if COURSE_FILE not in evaluation.manifest.files:
        return None
    return _of_these(evaluation, COURSE_FILE, evaluation.table(COURSE_FILE, COURSE))


def _of_these(evaluation: Artifact, file: str, table: pa.Table) -> pd.DataFrame:
    unknown = set(table["network"].unique().to_pylist()) - set(evaluation.stated(EvaluationFacts).networks)
    if unknown:
        raise DamagedArtifact(
            f"{evaluation.place(file)} holds network {ascii(sorted(unknown)[0])[:200]}, which it does not state: {again(evaluation.uri)}"
        )
    rows: pd.DataFrame = table.to_pandas()
    return rows


def _confusion(training: Training, course: Course) -> pa.Table:
    labels, predicted, images = unpacked(course.confusion, course.classes)
    columns = {"network": [training.network] * len(labels), "seed": np.full(len(labels), training.seed)}
    return pa.table({**columns, "label": labels, "predicted": predicted, "images": images}).cast(CONFUSION)


def _rows(training: Training, course: Course) -> Iterator[dict[str, Any]]:
    losses = dict(zip(course.loss_epochs(), course.losses, strict=True))
    accuracies = dict(zip(course.tested, course.accuracies, strict=True))
    for epoch in sorted(losses.keys() | accuracies.keys()):
        nothing = float("nan")
        told = {"loss": losses.get(epoch, nothing), "accuracy": accuracies.get(epoch, nothing)}
        yield {"network": training.network, "seed": training.seed, "epoch": epoch, **told}
