"""The table of an evaluation as it is read, which takes no torch, and pyarrow only then."""

from __future__ import annotations

from typing import Any

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import EvaluationFacts
from bilp.errors import DamagedArtifact
from bilp.storage.verification import again

KIND = "evaluation"
FILE = "evaluation.parquet"


def evaluation_rows(evaluation: Artifact) -> list[dict[str, Any]]:
    """The rows of an evaluation's table, see `bilp.artifacts.tables.EVALUATION`.

    Raises DamagedArtifact if one is of another arm, experiment or network than the manifest states.
    """
    from bilp.artifacts.tables import EVALUATION

    facts = evaluation.stated(EvaluationFacts)
    rows: list[dict[str, Any]] = evaluation.table(FILE, EVALUATION).to_pylist()
    for row in rows:
        if (row["arm"], row["experiment"]) != (facts.arm, facts.experiment) or row["network"] not in facts.networks:
            told = ascii({name: row[name] for name in ("arm", "experiment", "network")})
            raise DamagedArtifact(f"{evaluation.place(FILE)} holds a row of {told[:200]}, which it does not state: {again(evaluation.uri)}")
    return rows
