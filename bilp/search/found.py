"""The artifact of a search: every candidate of every rung, and the decision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from bilp.artifacts.artifact import Artifact, content_key, open_artifact, there_already
from bilp.artifacts.facts import SearchFacts
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import declare
from bilp.config import METHODS, PipelineConfig
from bilp.search.candidates import Candidate, Plan, identity
from bilp.storage.objects import join

VERSION = 1
KIND = "search"
FOLDER = "searches"
FILE = "candidates.parquet"
_SHARE, _NUMBER = (0.0, 1.0), (0, 2**31)
CANDIDATES = declare(
    pa.schema(
        {
            "rung": pa.int32(),
            "candidate": pa.int32(),
            "keep": pa.float64(),
            "drop": pa.string(),
            "beta": pa.float64(),
            "low_share": pa.float64(),
            "iterations": pa.int32(),
            "distillations": pa.int32(),
            "trainings": pa.int32(),
            "accuracy": pa.float64(),
            "difference": pa.float64(),
            "error": pa.float64(),
            "goes_on": pa.bool_(),
            "chosen": pa.bool_(),
        }
    ),
    Rules(
        ranges={
            **dict.fromkeys(("candidate", "distillations", "trainings"), _NUMBER),
            **dict.fromkeys(("keep", "beta", "low_share", "accuracy"), _SHARE),
            "rung": (1, 64),
            "iterations": (1, 2**31),
            "difference": (-1.0, 1.0),
            "error": (0.0, 1.0),
        },
        undefined=frozenset({"keep", "beta", "low_share"}),
        once=("rung", "candidate"),
        most=100_000,
    ),
)
"""A search: one row for each candidate of each rung, the best first. keep, drop, beta and low_share are NaN or empty where they were not
searched; accuracy is that on the held-out training images, difference the mean of pairs with the reference and error its standard error."""


@dataclass(frozen=True)
class Tried:
    """A candidate in a rung."""

    rung: int
    candidate: int
    iterations: int
    accuracy: float
    difference: float
    error: float
    goes_on: bool


def key_of(found: Plan, config: PipelineConfig, fingerprint: str) -> str:
    """The content key of a search on a data set."""
    networks = [found.distill.network, *found.evaluate.networks, *([config.score.network] if found.static else [])]
    revision = METHODS[found.distill.method].revision + sum(network.revision for network in networks)
    return content_key("search", VERSION + revision, dataset=fingerprint, search=identity(found, config))


def uri_of(root: str, key: str) -> str:
    """Where a search lies."""
    return join(root, FOLDER, key)


def known(root: str, key: str) -> bool:
    """Whether it was carried out before."""
    return there_already(uri_of(root, key), KIND, key, shown=True) is not None


def publish_search(
    root: str,
    key: str,
    found: Plan,
    config: PipelineConfig,
    tried: Sequence[Tried],
    decision: int,
    dataset_uri: str,
    fingerprint: str,
    seconds: float,
) -> str:
    """Write the table; the URI of the search.

    Args:
        root: Where results lie.
        key: Of the search.
        found: Its plan.
        config: The pipeline's.
        tried: Every candidate of every rung, in their order.
        decision: Number of the candidate that is chosen.
        dataset_uri: The data set.
        fingerprint: Its fingerprint.
        seconds: Of work that went into it.
    """
    candidate = found.candidates[decision]
    values = {name: value for name, value in asdict(candidate).items() if value is not None}
    facts = {
        "dataset": fingerprint,
        "method": found.distill.method,
        "found": values,
        "reference": found.reference,
        "decision": decision,
        "candidates": len(found.candidates),
        "rungs": len(found.rungs),
        "held_out": config.search.held_out,
        "seconds": round(seconds, 3),
    }
    return publish_table(
        uri_of(root, key),
        KIND,
        key,
        TableFile(FILE, _table(found, config, tried, decision), CANDIDATES, {"dataset": fingerprint}),
        config={"search": config.search, **identity(found, config)},
        parents={"dataset": dataset_uri},
        facts=facts,
    )


def _table(found: Plan, config: PipelineConfig, tried: Sequence[Tried], decision: int) -> pa.Table:
    rows = []
    last = max(each.rung for each in tried)
    for each in tried:
        candidate = found.candidates[each.candidate]
        rows.append(
            {
                **asdict(each),
                "keep": _number(candidate.keep),
                "drop": candidate.drop or "",
                "beta": _number(candidate.beta),
                "low_share": _number(candidate.low_share),
                "distillations": config.search.distillations,
                "trainings": config.search.trainings,
                "chosen": each.candidate == decision and each.rung == last,
            }
        )
    return pa.Table.from_pylist(rows, schema=CANDIDATES)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


@dataclass(frozen=True)
class Found:
    """A search as it is read."""

    artifact: Artifact
    facts: SearchFacts
    rows: tuple[Mapping[str, Any], ...]
    """Of CANDIDATES."""

    @property
    def values(self) -> dict[str, float | str]:
        """The numbers that were found, by dotted path of the setting."""
        return {PATHS[name]: value for name, value in self.facts.found.items()}

    @property
    def origin(self) -> str:
        """Where these values came from, as `--explain` says it."""
        return f"search {self.artifact.manifest.key[:8]} of {self.artifact.manifest.created_at[:10]}"


PATHS = {"keep": "prune.keep", "drop": "prune.drop", "beta": "reselect.beta", "low_share": "reselect.low_share"}
"""The settings that candidates hold values of."""


def open_search(uri: str) -> Found:
    """Read a search. Raises MissingArtifact or DamagedArtifact."""
    artifact = open_artifact(uri, KIND)
    return Found(artifact, artifact.stated(SearchFacts), tuple(artifact.table(FILE, CANDIDATES).to_pylist()))


def title(row: Mapping[str, Any]) -> str:
    """'keep 0.7, beta 0.1': the candidate of a row."""
    keep, beta, low_share = (None if math.isnan(row[name]) else float(row[name]) for name in ("keep", "beta", "low_share"))
    return Candidate(keep, row["drop"] or None, beta, low_share).words
