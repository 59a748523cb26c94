"""The artifact of critical shares: the tests of every share, the outcome of every criterion, the page and a CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bilp.artifacts import parquet
from bilp.artifacts.artifact import Artifact, content_key, open_artifact, there_already
from bilp.artifacts.facts import CriticalFacts
from bilp.artifacts.publication import publish
from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import declare
from bilp.config import METHODS
from bilp.config.arms import needs_scores
from bilp.critical.plan import Plan
from bilp.critical.share_tests import Compared, Critical
from bilp.data import Dataset
from bilp.pruning.rankings import given_scores
from bilp.storage.objects import join
from bilp.text.escaping import spreadsheet

VERSION = 1
KIND = "critical"
FILE, CSV, PAGE = "shares.parquet", "shares.csv", "report.html"
_SHARE = (0.0, 1.0)
SHARES = declare(
    pa.schema(
        {
            "criterion": pa.string(),
            "share": pa.float64(),
            "samples": pa.int64(),
            "accuracy": pa.float64(),
            "half_width95": pa.float64(),
            "difference": pa.float64(),
            "error": pa.float64(),
            "p_as_good": pa.float64(),
            "p_worse": pa.float64(),
            "as_good": pa.bool_(),
            "worse": pa.bool_(),
        }
    ),
    Rules(
        ranges={
            **dict.fromkeys(("share", "accuracy", "p_as_good", "p_worse", "error"), _SHARE),
            "samples": (1, 2**53),
            "difference": (-1.0, 1.0),
            "half_width95": (0.0, 1e3),
        },
        once=("criterion", "share"),
        most=100_000,
    ),
)
"""Critical shares: one row for each share of each criterion, the largest first; all samples are share 1. Accuracies are fractions on the
test images; difference is the mean of pairs with all samples and error its standard error, over distillations. as_good and worse say what
the tests in their order have shown."""


@dataclass(frozen=True)
class Measured:
    """A criterion: its outcome, its tests by share, accuracies with half the width of their 95 % intervals, and samples kept."""

    criterion: str
    outcome: Critical
    tests: Mapping[float, Compared]
    intervals: Mapping[float, tuple[float, float]]
    samples: Mapping[float, int]

    def rows(self) -> list[dict[str, Any]]:
        """Of SHARES."""
        whole = Compared(1.0, 0.0, 0.0, 0.0, 1.0)
        found = []
        for share, (accuracy, half) in sorted(self.intervals.items(), reverse=True):
            test = self.tests.get(share, whole)
            found.append(
                {
                    "criterion": self.criterion,
                    "share": share,
                    "samples": self.samples[share],
                    "accuracy": accuracy,
                    "half_width95": half,
                    "difference": test.difference,
                    "error": test.error,
                    "p_as_good": test.p_as_good,
                    "p_worse": test.p_worse,
                    "as_good": share >= self.outcome.share,
                    "worse": share <= self.outcome.low,
                }
            )
        return found


@dataclass(frozen=True)
class Found:
    """Critical shares as they are read."""

    artifact: Artifact
    facts: CriticalFacts
    rows: tuple[Mapping[str, Any], ...]

    @property
    def page(self) -> str:
        """The URI of the page."""
        return self.artifact.place(PAGE)

    @property
    def lines(self) -> list[str]:
        """The outcome of each criterion in a line."""
        return [line(name, self.facts) for name in self.facts.critical]


def line(criterion: str, facts: CriticalFacts) -> str:
    """The outcome of a criterion."""
    share, low = facts.critical[criterion], facts.low[criterion]
    tolerance = f"within {100 * facts.tolerance:g} points"
    best = f"{100 * share:.3g} % of the samples are as good as all of them" if share < 1 else "no smaller share was shown to be as good"
    worse = f"{100 * low:.3g} % are worse" if low else "none was shown to be worse"
    crossing = facts.crossing[criterion]
    mean = f"the mean difference passes the tolerance at {100 * crossing:.3g} %" if crossing else "no mean difference passes the tolerance"
    return f"{criterion}: {best}, {tolerance}; {worse}; {mean}"


def key_of(plan: Plan, dataset: Dataset) -> str:
    """The content key. Of scores that settings name the content counts, as in the keys of selections."""
    config = plan.config
    scoring = [each.score.network for each in plan.by_criterion.values() if needs_scores(each.prune)]
    networks = [config.distill.network, *config.evaluate.networks, *scoring]
    revision = METHODS[config.method].revision + sum(network.revision for network in networks)
    given = {name: each.prune for name, each in plan.by_criterion.items() if each.prune.score_list or each.prune.scores}
    lists = {name: given_scores(dataset, rule) for name, rule in given.items()}
    named = {"scores": lists} if lists else {}
    return content_key("critical", VERSION + revision, dataset=dataset.fingerprint, critical=plan.identity(), **named)


def uri_of(root: str, key: str) -> str:
    """Where critical shares lie."""
    return join(root, "critical", key)


def known(root: str, key: str) -> bool:
    """Whether they were measured before."""
    return there_already(uri_of(root, key), KIND, key, shown=True) is not None


def publish_critical(root: str, key: str, plan: Plan, measured: Sequence[Measured], dataset: Dataset, evaluations: Sequence[str]) -> str:
    """Write table, CSV and page; the URI of the artifact.

    Args:
        root: Where results lie.
        key: Of the artifact.
        plan: What was measured.
        measured: Of every criterion.
        dataset: The data set.
        evaluations: What the accuracies were read from.
    """
    from bilp.critical.share_page import page

    rows = [row for each in measured for row in each.rows()]
    facts = {
        "dataset": dataset.fingerprint,
        "method": plan.config.method,
        "ipc": plan.config.ipc,
        "tolerance": plan.options.tolerance / 100,
        "level": plan.options.level,
        "whole": rows[0]["accuracy"],
        "critical": {each.criterion: each.outcome.share for each in measured},
        "low": {each.criterion: each.outcome.low for each in measured},
        "crossing": {each.criterion: each.outcome.crossing for each in measured},
    }
    stated = CriticalFacts.model_validate_json(json.dumps(facts))
    table = pa.Table.from_pylist(rows, schema=SHARES)
    files = {
        FILE: parquet.encode(table, SHARES, {"stage": KIND, "key": key, "dataset": dataset.fingerprint}),
        CSV: as_csv(rows).encode(),
        PAGE: page(stated, rows, dataset, plan, [line(each.criterion, stated) for each in measured]),
    }
    parents = {"dataset": dataset.uri, **{f"evaluation {number}": uri for number, uri in enumerate(dict.fromkeys(evaluations))}}
    return publish(uri_of(root, key), KIND, key, files, config=plan.identity(), parents=parents, facts=facts).uri


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a spreadsheet reads them; names cannot be taken for formulas."""
    written = io.StringIO()
    writer = csv.DictWriter(written, SHARES.names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: spreadsheet(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows)
    return written.getvalue()


def open_critical(uri: str) -> Found:
    """Read critical shares. Raises MissingArtifact or DamagedArtifact."""
    artifact = open_artifact(uri, KIND)
    return Found(artifact, artifact.stated(CriticalFacts), tuple(artifact.table(FILE, SHARES).to_pylist()))
