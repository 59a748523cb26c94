"""The page of critical shares: the curve, the outcome of each criterion, and every test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bilp.artifacts.facts import CriticalFacts
from bilp.config.shapes import sample_noun
from bilp.critical.chart import color, curve
from bilp.critical.plan import Plan, words
from bilp.data import Dataset
from bilp.report.wording import dataset_title
from bilp.results.pages import render
from bilp.text.sample_words import speaking_of


def page(facts: CriticalFacts, rows: Sequence[Mapping[str, Any]], dataset: Dataset, plan: Plan, lines: Sequence[str]) -> bytes:
    """The HTML; equal numbers give equal bytes."""
    with speaking_of(sample_noun(dataset.shape)):
        return _rendered(facts, rows, dataset, plan, lines)


def _rendered(facts: CriticalFacts, rows: Sequence[Mapping[str, Any]], dataset: Dataset, plan: Plan, lines: Sequence[str]) -> bytes:
    config, options = plan.config, plan.options
    return render(
        "critical.html.j2",
        title=f"How much of {dataset_title(dataset.name)} is enough",
        lines=lines,
        chart=curve(rows, facts.critical, facts.tolerance),
        legend=[{"title": name, "css": color(number)} for number, name in enumerate(facts.critical)],
        method=config.method,
        ipc=config.ipc,
        iterations=f"{config.distill.iterations:,}",
        criteria=words(options.criteria),
        tolerance=f"{options.tolerance:g}",
        level=f"{100 * options.level:g}",
        certain=f"{100 * (1 - 2 * options.level):g}",
        distillations=options.distillations,
        trainings=config.evaluate.seeds * len(config.evaluate.networks),
        whole=f"{100 * facts.whole:.1f}",
        outcomes=[_outcome(name, facts) for name in facts.critical],
        rows=[_row(row) for row in rows],
    )


def _outcome(name: str, facts: CriticalFacts) -> dict[str, str]:
    share, low = facts.critical[name], facts.low[name]
    return {
        "criterion": name,
        "critical": f"{100 * share:.3g} %" if share < 1 else "none below 100 %",
        "interval": f"above {100 * low:.3g} %, at most {100 * share:.3g} %" if low else f"at most {100 * share:.3g} %",
        "crossing": f"{100 * facts.crossing[name]:.3g} %" if facts.crossing[name] else "nowhere",
    }


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    half = f" ± {100 * row['half_width95']:.1f}" if math.isfinite(row["half_width95"]) else ""
    whole = row["share"] == 1.0
    return {
        "criterion": row["criterion"],
        "share": f"{100 * row['share']:.3g} %",
        "samples": f"{row['samples']:,}",
        "accuracy": f"{100 * row['accuracy']:.1f} %{half}",
        "difference": "–" if whole else f"{100 * row['difference']:+.2f} ± {100 * row['error']:.2f}".replace("-", "−"),
        "as_good": "–" if whole else _probability(row["p_as_good"]),
        "worse": "–" if whole else _probability(row["p_worse"]),
        "shown": "" if whole else "as good" if row["as_good"] else "worse" if row["worse"] else "open",
    }


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
