"""What came of one block of a study: an artifact with a row for each training, the seconds of each stage, and what scores detected.

Its parents are everything that the pipelines of the block published, so it is the index of them, and they stay as long as it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bilp.artifacts import duration
from bilp.artifacts.artifact import Artifact, content_key, find, open_artifact
from bilp.artifacts.duration import SECONDS
from bilp.artifacts.facts import EvaluationFacts, StudyPartFacts
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import publish, replace
from bilp.artifacts.run_layout import synthetic_uri
from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import EVALUATION as TABLE
from bilp.artifacts.tables import TOP_K, TOP_K_ADDED, TOP_K_RANGES, declare
from bilp.config.base import as_recorded
from bilp.evaluate.rows import KIND as EVALUATION
from bilp.evaluate.rows import evaluation_rows
from bilp.storage import objects
from bilp.studies.pipeline_outcome import Outcome
from bilp.studies.seconds import seconds_of_run, seconds_of_scores
from bilp.studies.study_plan import Block, Group, Plan

VERSION = 1
KIND = "study_part"
STUDIES, PARTS = "studies", "parts"
ROWS_FILE, SECONDS_FILE, DETECTION_FILE = "rows.parquet", "seconds.parquet", "detection.parquet"

_COUNT, _SHARE = (0, 2**53), (0.0, 1.0)
_BLOCK = {"cell": pa.string(), "seed": pa.int64()}
ROWS = declare(
    pa.schema(
        {
            **_BLOCK,
            "arm": pa.string(),
            "network": pa.string(),
            "training": pa.int32(),
            "accuracy": pa.float32(),
            "best_accuracy": pa.float32(),
            "train_images": pa.int64(),
            "epochs": pa.int32(),
            "evaluation": pa.string(),
            **{name: TABLE.field(name).type for name in TOP_K},
        }
    ),
    Rules(
        ranges={
            **dict.fromkeys(("training", "train_images", "epochs"), _COUNT),
            **dict.fromkeys(("accuracy", "best_accuracy"), _SHARE),
            **TOP_K_RANGES,
        },
        undefined=frozenset(TOP_K),
        added=TOP_K_ADDED,
        once=("cell", "seed", "arm", "network", "training"),
    ),
)
"""A row for each trained network; accuracies are fractions, `evaluation` is the key of the table that it comes from."""
STAGE_SECONDS = declare(
    pa.schema({**_BLOCK, "arm": pa.string(), "stage": pa.string(), "seconds": pa.float64()}),
    Rules(ranges={"seconds": (0.0, 2.0**53)}),
)
"""The seconds of work of each stage, as the manifests of its artifacts tell them; `arm` is empty for what arms share."""
DETECTION = declare(
    pa.schema(
        {
            **_BLOCK,
            "arm": pa.string(),
            "score": pa.string(),
            "samples": pa.int64(),
            "wrong": pa.int64(),
            "auroc": pa.float64(),
            "auprc": pa.float64(),
            "precision": pa.float64(),
            "kept": pa.int64(),
            "wrong_kept": pa.int64(),
        }
    ),
    Rules(
        ranges={**dict.fromkeys(("samples", "wrong"), _COUNT), **dict.fromkeys(("auroc", "auprc", "precision"), _SHARE)},
        undefined=frozenset({"auroc", "auprc", "precision"}),
        once=("cell", "seed", "arm", "score"),
    ),
)
"""How well each score tells wrong labels where the truth is known. `arm` is empty for scores of static scoring, which arms share;
`kept` and `wrong_kept` are samples, and wrong labels among them, that a selection by this score keeps, -1 where none was made."""


@dataclass(frozen=True)
class Part:
    """A block that is there, and its tables as rows."""

    artifact: Artifact
    rows: Sequence[Mapping[str, Any]]
    seconds: Sequence[Mapping[str, Any]]
    detection: Sequence[Mapping[str, Any]]

    @property
    def worked(self) -> float:
        """Seconds that the block took when it was computed."""
        return self.artifact.stated(StudyPartFacts).worked

    @property
    def reports(self) -> list[str]:
        """Pages of its pipelines."""
        return [uri for role, uri in self.artifact.parents.items() if role.startswith("report")]


def study_key(plan: Plan) -> str:
    """Of what is compared: cells and arms with all their settings but the seeds, so that a study may grow by seeds."""
    blocks = [block for block in plan.blocks if block.seed == plan.study.first_seed]
    groups = [[[_recorded(group), dict(group.arms), dict(group.baselines)] for group in block.groups] for block in blocks]
    seeds = [plan.study.first_seed, list(plan.study.new_per_seed)]
    return content_key("study", VERSION, name=plan.study.name, cells=[cell.title for cell in plan.cells], groups=groups, seeds=seeds)


def study_uri(root: str, key: str) -> str:
    """Where a study lies."""
    return objects.join(root, STUDIES, key)


def part_uri(root: str, key: str, block: Block) -> str:
    """Where what came of a block lies."""
    return objects.join(study_uri(root, key), PARTS, f"{block.number:04d}")


def part_key(key: str, block: Block) -> str:
    """Of a block: that of the study, and its settings with its seed."""
    return content_key("study_part", VERSION, study=key, groups=[_recorded(group) for group in block.groups])


def asked(block: Block, program: Mapping[str, Any], sources: Sequence[Any]) -> str:
    """Of everything that decides what comes of a block: its settings, the program, and the sources as they are now."""
    settings = [_recorded(group) for group in block.groups]
    return content_key("study_question", VERSION, groups=settings, program=dict(program), sources=list(sources))


def find_part(root: str, key: str, block: Block) -> Artifact | None:
    """What came of a block, if it is there. Raises DamagedArtifact if something else is."""
    return find(part_uri(root, key, block), KIND, part_key(key, block))


def read_part(artifact: Artifact) -> Part:
    """Its tables. Raises DamagedArtifact if they are not what was published."""
    tables = [artifact.table(name, schema).to_pylist() for name, schema in _TABLES.items()]
    return Part(artifact, *tables)


def publish_part(
    root: str, key: str, block: Block, question: str, outcomes: Sequence[tuple[Group, Outcome]], detected: Sequence[Mapping[str, Any]]
) -> Artifact:
    """Publish what came of a block. One that is there and tells of other results is replaced: a later version computed others.

    Args:
        root: Of the storage.
        key: Of the study.
        block: Which one.
        question: What `asked` said before it was computed.
        outcomes: Of its groups.
        detected: Rows of DETECTION, without cell and seed.
    """
    belonging = {"cell": block.cell.title, "seed": block.seed}
    rows = [{**belonging, **row} for group, outcome in outcomes for row in _rows(group, outcome)]
    seconds = [{**belonging, **row} for row in _seconds(outcomes)]
    tables = {ROWS_FILE: rows, SECONDS_FILE: seconds, DETECTION_FILE: [{**belonging, **row} for row in detected]}
    own = part_key(key, block)
    files = {name: encode(_table(found, _TABLES[name]), _TABLES[name], {"stage": KIND, "key": own}) for name, found in tables.items()}
    told: dict[str, Any] = {
        "config": {"groups": [_recorded(group) for group in block.groups]},
        "parents": _parents(outcomes),
    }
    there = find_part(root, key, block)
    former = None if there is None else there.stated(StudyPartFacts)
    worked = max(duration.told().get(SECONDS, 0.0), 0.0 if former is None else former.worked)
    told["facts"] = {"study": key, "cell": block.cell.title, "seed": block.seed, "asked": question, "worked": worked}
    if there is not None and former is not None and former.asked != question:
        return replace(there, files, **told)
    return publish(part_uri(root, key, block), KIND, own, files, **told)


_TABLES = {ROWS_FILE: ROWS, SECONDS_FILE: STAGE_SECONDS, DETECTION_FILE: DETECTION}


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def _recorded(group: Group) -> dict[str, Any]:
    return as_recorded(group.config)


def _rows(group: Group, outcome: Outcome) -> list[dict[str, Any]]:
    found = []
    for uri in outcome.evaluations:
        artifact = open_artifact(uri, EVALUATION)
        for row in evaluation_rows(artifact):
            kept = {name: row[name] for name in ("network", "accuracy", "best_accuracy", "train_images", "epochs", *TOP_K)}
            found.append({"arm": _arm_of(group, artifact), "training": row["seed"], "evaluation": artifact.manifest.key, **kept})
    return found


def _seconds(outcomes: Sequence[tuple[Group, Outcome]]) -> list[dict[str, Any]]:
    """What the manifests of the artifacts tell; what an artifact does not tell is left out, and what groups share is there once."""
    found: list[tuple[str, str, float | None]] = []
    for scores in dict.fromkeys(outcome.scores for _, outcome in outcomes if outcome.scores is not None):
        found.append(("", "score", seconds_of_scores(scores)))
    for group, outcome in outcomes:
        found += [(group.arms[arm], "distill", seconds_of_run(run)) for arm, runs in outcome.runs.items() for run in runs]
        for uri in outcome.evaluations:
            artifact = open_artifact(uri, EVALUATION)
            found.append((_arm_of(group, artifact), "evaluate", artifact.manifest.provenance.get(SECONDS)))
    return [{"arm": arm, "stage": stage, "seconds": float(seconds)} for arm, stage, seconds in found if seconds is not None]


def _arm_of(group: Group, evaluation: Artifact) -> str:
    """What the study calls the arm or the baseline that was evaluated."""
    facts = evaluation.stated(EvaluationFacts)
    known = group.arms if facts.real is None or facts.arm not in group.baselines else group.baselines
    return known[facts.arm]


def _parents(outcomes: Sequence[tuple[Group, Outcome]]) -> dict[str, str]:
    """Everything that was published, each once, by its role."""
    found: dict[str, str] = {}
    for number, (group, outcome) in enumerate(outcomes):
        mine = {"dataset": outcome.dataset, "source": outcome.record, "scores": outcome.scores, "selection": outcome.selection}
        mine["report"] = None if outcome.report is None else outcome.report.rpartition("/")[0]
        named = {f"{role} {number}": uri for role, uri in mine.items() if uri is not None}
        runs = {f"synthetic {group.arms[arm]} {k}": synthetic_uri(run) for arm, of in outcome.runs.items() for k, run in enumerate(of)}
        evaluations = {f"evaluation {number} {k}": uri for k, uri in enumerate(outcome.evaluations)}
        found |= {role: uri for role, uri in {**named, **runs, **evaluations}.items() if uri not in found.values()}
    return found
