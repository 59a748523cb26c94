"""The page of a study: one HTML file that needs nothing but itself; equal parts give equal bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from bilp.evaluate.metrics import top_words
from bilp.report.comparison import percent
from bilp.report.downloads import Download, as_data
from bilp.report.figures import Whisker, whiskers
from bilp.report.timing import duration
from bilp.report.wording import share
from bilp.studies.study_exports import as_csv, as_latex
from bilp.studies.study_plan import Cell
from bilp.studies.study_table import Detected, Entry, Table
from bilp.studies.study_words import NOTHING, judged, marked, notes, score_title, sentences, shown_accuracy, status, title_of, words_of
from bilp.text.page_templates import page_template

MOST_HEADINGS = 6
"""Cells that one picture shows, one below the other."""


def study_page(table: Table, key: str, text: str, reports: Sequence[tuple[str, str]]) -> bytes:
    """The page.

    Args:
        table: What is there.
        key: Of the study.
        text: Of its file.
        reports: Title and link of each report of a single pipeline.
    """
    content = {
        "title": table.plan.study.shown_title,
        "about": " ".join(table.plan.study.about.split()),
        "sentences": sentences(table),
        "status": status(table),
        "cells": [_head(table, cell) for cell in table.plan.cells],
        "charts": list(_charts(table)),
        "tables": [_table(table, network) for network in table.networks],
        "notes": list(notes(table)),
        "files": [
            Download(f"{table.plan.study.name}.csv", as_data(as_csv(table), "text/csv"), "Table (CSV)"),
            Download(f"{table.plan.study.name}.tex", as_data(as_latex(table), "application/x-tex"), "Table (LaTeX, booktabs)"),
        ],
        "detected": [_detected(table, row) for row in table.detected],
        "times": list(_times(table)),
        "reports": [{"title": title, "link": link} for title, link in reports],
        "key": key,
        "text": Markup("{}").format(text),
    }
    return page_template("study.html.j2", "bilp.studies", "bilp.results", "bilp.report").render(**content).encode()


def _head(table: Table, cell: Cell) -> str:
    """Its title, and how many seeds are there if that is not all."""
    done, wanted = table.done[cell.number], table.plan.study.seeds
    return cell.title if done == wanted else f"{cell.title} ({done} of {wanted} seeds)"


def _table(table: Table, network: str) -> dict[str, Any]:
    plan, several = table.plan, len(table.networks) > 1
    rows = []
    for arm in plan.study.arms:
        words, entries = words_of(plan, arm), [table.of(cell, arm, network) for cell in plan.cells]
        images = sorted({entry.images for entry in entries if entry is not None})
        told = {"title": words.title, "meaning": words.meaning, "css": words.css}
        rows.append({**told, "images": ", ".join(f"{each:,}" for each in images), "cells": [_entry(table, entry) for entry in entries]})
    caption = f"Mean with 95 % interval over {plan.study.seeds} seeds; below it paired differences in points"
    return {"title": f"Accuracies on {network}", "caption": f"{caption}, on {network}." if several else f"{caption}.", "rows": rows}


def _entry(table: Table, entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return {"accuracy": NOTHING, "within": "", "differences": []}
    several = len(table.plan.references) > 1
    lines = []
    for reference, found in entry.against.items():
        to = f" to {title_of(table.plan, reference)}" if several else ""
        lines.append(f"{marked(found)}{to}: {judged(found)}")
    told = [] if entry.top_k is None else [f"{top_words(entry.top_k.k)}: {percent(entry.top_k.share)}"]
    told += [] if entry.label_robustness is None else [f"LRS {100 * entry.label_robustness:.1f}"]
    return {"accuracy": shown_accuracy(entry, table.plan.study.seeds), "within": ", ".join(told), "differences": lines}


def _charts(table: Table) -> Iterator[dict[str, Any]]:
    """Accuracies of all arms by cell, for the first network: one picture for each value of the other axes than the first."""
    if not table.entries:
        return
    groups: dict[str, list[Cell]] = {}
    for cell in table.plan.cells:
        rest = Cell(0, cell.points[1:]).title if len(cell.points) > 1 else ""
        groups.setdefault(rest, []).append(cell)
    for rest, cells in groups.items():
        for first in range(0, len(cells), MOST_HEADINGS):
            shown_cells = cells[first : first + MOST_HEADINGS]
            members = [(Cell(0, cell.points[:1]).title, _whiskers(table, cell)) for cell in shown_cells]
            words = "; ".join(f"{title}: {', '.join(f'{row.label} {100 * row.mean:.1f} %' for row in rows)}" for title, rows in members)
            told = f"{rest}. " if rest else ""
            chart = whiskers([(heading, rows) for heading, rows in members if rows], "accuracy on real test images", told + words)
            yield {"svg": chart, "caption": f"{told}Means with 95 % intervals."}


def _whiskers(table: Table, cell: Cell) -> list[Whisker]:
    found = [table.of(cell, arm, table.networks[0]) for arm in table.plan.study.arms]
    rows = []
    for entry in found:
        if entry is not None:
            half, words = entry.accuracy.value.half_width95, words_of(table.plan, entry.arm)
            rows.append(Whisker(words.title, entry.accuracy.value.mean, half if math.isfinite(half) else None, words.css))
    return rows


def _detected(table: Table, row: Detected) -> dict[str, str]:
    arm = f", {title_of(table.plan, row.arm)}" if row.arm else ""
    return {
        "score": score_title(row.score),
        "cell": f"{row.score}, {row.cell.title}{arm}",
        "wrong": f"{row.wrong:,.0f} of {row.samples:,.0f}",
        "auroc": _spread(*row.auroc, 3),
        "precision": _spread(*row.precision, 2),
        "auprc": NOTHING if math.isnan(row.auprc) else f"{row.auprc:.3f}",
        "dropped": NOTHING if math.isnan(row.dropped_wrong) else share(row.dropped_wrong),
        "kept": NOTHING if math.isnan(row.kept) else share(row.kept),
        "wrong_kept": NOTHING if math.isnan(row.wrong_kept) else share(row.wrong_kept),
    }


def _spread(mean: float, half: float, decimals: int) -> str:
    if math.isnan(mean):
        return NOTHING
    return f"{mean:.{decimals}f}" + (f" ± {half:.{decimals}f}" if math.isfinite(half) else "")


def _times(table: Table) -> Iterator[dict[str, Any]]:
    for arm in table.plan.study.arms:
        found = [table.of(cell, arm, table.networks[0]) for cell in table.plan.cells] if table.networks else []
        known = [math.nan if entry is None else entry.seconds for entry in found]
        if any(not math.isnan(seconds) for seconds in known):
            cells = [NOTHING if math.isnan(seconds) else duration(seconds) for seconds in known]
            yield {"title": title_of(table.plan, arm), "cells": cells}
