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
from bilp.report.wording import count, share
from bilp.studies.study_exports import as_csv, as_latex
from bilp.studies.study_plan import Cell
from bilp.studies.study_table import Detected, Entry, Table
from bilp.studies.study_words import (
    NOTHING,
    cells_as_rows,
    compared,
    marked,
    notes,
    score_title,
    seeds_of,
    sentences,
    shown_accuracy,
    status,
    tested,
    title_of,
    words_of,
)
from bilp.text.page_templates import page_template

MOST_HEADINGS = 6
"""Cells that one picture shows, one below the other."""
MOST_PICTURES = 4
"""Of more, the tables come first, and the pictures when they are asked for."""


def study_page(table: Table, key: str, text: str, reports: Sequence[tuple[str, str]]) -> bytes:
    """The page.

    Args:
        table: What is there.
        key: Of the study.
        text: Of its file.
        reports: Title and link of each report of a single pipeline.
    """
    charts = list(_charts(table))
    content = {
        "title": table.plan.study.shown_title,
        "about": " ".join(table.plan.study.about.split()),
        "sentences": sentences(table),
        "status": status(table),
        "charts": charts,
        "few_charts": len(charts) <= MOST_PICTURES,
        "tables": [_table(table, network) for network in table.networks],
        "notes": list(notes(table)),
        "files": [
            Download(f"{table.plan.study.name}.csv", as_data(as_csv(table), "text/csv"), "Table (CSV)"),
            Download(f"{table.plan.study.name}.tex", as_data(as_latex(table), "application/x-tex"), "Table (LaTeX, booktabs)"),
        ],
        "detected": list(_detections(table)),
        "times": _times(table),
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
    """Arms as rows and cells as columns, or the other way round where there are many cells."""
    plan, several = table.plan, len(table.networks) > 1
    arms = [_arm(table, arm, network) for arm in plan.study.arms]
    caption = f"Mean accuracy in % with 95 % interval over {seeds_of(plan)}{f', on {network}' if several else ''}"
    if plan.references:
        to = " and, below it, to ".join(title_of(plan, reference) for reference in plan.references)
        caption += f"; in small print paired differences in points to {to}"
    told = {"title": f"Accuracies on {network}", "caption": f"{caption}."}
    if cells_as_rows(plan):
        rows = []
        for cell in plan.cells:
            shown_cells = [_entry(table, table.of(cell, arm, network), short=True) for arm in plan.study.arms]
            rows.append({"title": cell.title, "meaning": _lacking(table, cell), "css": "", "cells": shown_cells})
        return told | {"corner": "", "images": False, "heads": arms, "rows": rows}
    for row, arm in zip(arms, plan.study.arms, strict=True):
        row["cells"] = [_entry(table, table.of(cell, arm, network)) for cell in plan.cells]
    return told | {
        "corner": "Trained on",
        "images": True,
        "heads": [{"title": _head(table, cell)} for cell in plan.cells],
        "rows": arms,
    }


def _arm(table: Table, arm: str, network: str) -> dict[str, Any]:
    words = words_of(table.plan, arm)
    images = sorted({entry.images for cell in table.plan.cells if (entry := table.of(cell, arm, network)) is not None})
    return {"title": words.title, "meaning": words.meaning, "css": words.css, "images": ", ".join(f"{each:,}" for each in images)}


def _lacking(table: Table, cell: Cell) -> str:
    done, wanted = table.done[cell.number], table.plan.study.seeds
    return "" if done == wanted else f"{done} of {wanted} seeds"


def _entry(table: Table, entry: Entry | None, short: bool = False) -> dict[str, Any]:
    """What a table says of an arm in a cell; `short` leaves to the CSV file what needs more than some characters."""
    if entry is None:
        return {"accuracy": "", "within": "", "differences": []}
    lines = [(title_of(table.plan, reference), entry.against[reference]) for reference in compared(table.plan, entry)]
    if short:
        accuracy = percent(entry.accuracy.value).replace("\u00a0%", "")
        return {"accuracy": accuracy, "within": "", "differences": [marked(found) for _, found in lines]}
    several = len(table.plan.references) > 1
    told = [] if entry.top_k is None else [f"{top_words(entry.top_k.k)}: {percent(entry.top_k.share)}"]
    told += [] if entry.label_robustness is None else [f"LRS {100 * entry.label_robustness:.1f}"]
    differences = [f"{marked(found)}{f' to {title}' if several else ''}{tested(found)}" for title, found in lines]
    return {"accuracy": shown_accuracy(entry, table.plan.study.seeds), "within": ", ".join(told), "differences": differences}


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


def _detections(table: Table) -> Iterator[dict[str, str]]:
    """What scores found; one row for cells that share their scores."""
    rows: dict[tuple[tuple[str, str], ...], tuple[Detected, list[str]]] = {}
    for row in table.detected:
        found = rows.setdefault((("arm", row.arm), ("name", row.score), *_detected(row).items()), (row, []))
        found[1].append(row.cell.title)
    for row, cells in rows.values():
        more = f" and {count(len(cells) - 1, 'more cell')}" if len(cells) > 1 else ""
        arm = f", {title_of(table.plan, row.arm)}" if row.arm else ""
        yield {"cell": f"{row.score}, {cells[0]}{more}{arm}", **_detected(row)}


def _detected(row: Detected) -> dict[str, str]:
    return {
        "score": score_title(row.score),
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


def _times(table: Table) -> dict[str, Any]:
    """Seconds of distillation, in the layout of the accuracies; arms of which nothing is known are left out."""
    plan, network = table.plan, table.networks[0] if table.networks else ""
    found = {
        arm: [math.nan if (entry := table.of(cell, arm, network)) is None else entry.seconds for cell in plan.cells]
        for arm in plan.study.arms
    }
    known = {
        arm: [NOTHING if math.isnan(seconds) else duration(seconds) for seconds in of]
        for arm, of in found.items()
        if not all(map(math.isnan, of))
    }
    arms, cells = [title_of(plan, arm) for arm in known], [_head(table, cell) for cell in plan.cells]
    if cells_as_rows(plan):
        turned = zip(*known.values(), strict=True) if known else ()
        return {"corner": "", "heads": arms, "rows": [{"title": title, "cells": of} for title, of in zip(cells, turned, strict=False)]}
    return {
        "corner": "Arm",
        "heads": cells,
        "rows": [{"title": title, "cells": of} for title, of in zip(arms, known.values(), strict=True)],
    }
