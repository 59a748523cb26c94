"""The tables of a study for other programs: CSV for spreadsheets, LaTeX in the manner of booktabs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bilp.evaluate.metrics import Difference
from bilp.report.latex import PACKAGE
from bilp.studies.statistics import Comparison
from bilp.studies.study_table import Entry, Table
from bilp.studies.study_words import cells_as_rows, seeds_of, title_of
from bilp.text.csv_text import csv_text
from bilp.text.escaping import latex, spreadsheet

HEADS = (
    *("cell", "arm", "title", "network", "accuracy", "half_width95", "seeds", "trainings"),
    *("between_seeds", "within_seed", "train_images"),
)
COMPARED = ("difference", "half_width95", "p", "p_holm", "equivalent")
WITHIN = ("top_k", "top_k_accuracy", "top_k_half_width95")
"""Columns in per cent as accuracies; not known where top-k accuracies were not recorded."""
ROBUST = "label_robust_score"
"""The last column, from 0 to 100; not known where the study has not what the score is made of."""


def as_records(table: Table) -> list[dict[str, str | float | int | bool | None]]:
    """One for each arm in each cell on each network: accuracies and differences in per cent, what is not known NaN or None."""
    return [_record(table, entry) for entry in table.entries]


def _record(table: Table, entry: Entry) -> dict[str, str | float | int | bool | None]:
    found = entry.accuracy
    told = (entry.cell.title, entry.arm, title_of(table.plan, entry.arm), entry.network)
    numbers = (100 * found.value.mean, 100 * found.value.half_width95, found.seeds, found.trainings)
    spreads = (100 * found.between, 100 * found.within, entry.images)
    record: dict[str, str | float | int | bool | None] = dict(zip(HEADS, (*told, *numbers, *spreads), strict=True))
    for reference in table.plan.references:
        compared = _compared(entry.against.get(reference))
        record |= {f"{name}_to_{reference}": value for name, value in zip(COMPARED, compared, strict=True)}
    robust = None if entry.label_robustness is None else 100 * entry.label_robustness
    return record | dict(zip(WITHIN, _within(entry), strict=True)) | {ROBUST: robust}


def _within(entry: Entry) -> tuple[float | None, ...]:
    if entry.top_k is None:
        return (None,) * len(WITHIN)
    return entry.top_k.k, 100 * entry.top_k.share.mean, 100 * entry.top_k.share.half_width95


def as_csv(table: Table) -> str:
    """`as_records` as a file for spreadsheets, what is not known empty."""
    heads = [*HEADS, *(f"{name}_to_{reference}" for reference in table.plan.references for name in COMPARED), *WITHIN, ROBUST]
    return csv_text(heads, (record.values() for record in as_records(table)), _written_cell)


def _compared(found: Comparison | None) -> list[float | int | bool | None]:
    if found is None:
        return [None] * len(COMPARED)
    return [100 * found.value.mean, 100 * found.value.half_width95, found.p, found.adjusted, found.equivalent]


def _written_cell(value: str | float | bool | None) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, str):
        return spreadsheet(value)
    return f"{value:.6g}" if type(value) is float else str(value)


def as_latex(table: Table) -> str:
    """Arms by cells with intervals, or cells by arms where there are many; below each accuracy its difference to the first reference.

    A star marks a difference beyond chance.
    """
    plan, several = table.plan, len(table.networks) > 1
    many = cells_as_rows(plan)
    cells, arms = ([latex(cell.title) for cell in plan.cells], [latex(title_of(plan, arm)) for arm in plan.study.arms])
    corner, heads = ("", arms) if many else ("Trained on", cells)
    caption = f"{plan.study.shown_title}: test accuracy in \\%, mean and half width of its 95\\,\\% interval over {seeds_of(plan)}"
    lines = [PACKAGE, r"\begin{table}", r"\centering", rf"\caption{{{_caption(table, caption)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(heads)}}}", r"\toprule", rf"{corner} & {' & '.join(heads)} \\"]
    for network in table.networks:
        lines += [r"\midrule", *([rf"\multicolumn{{{len(heads) + 1}}}{{l}}{{{latex(network)}}} \\"] if several else [])]
        by_arm = [[table.of(cell, arm, network) for cell in plan.cells] for arm in plan.study.arms]
        for title, entries in zip(cells, zip(*by_arm, strict=True), strict=True) if many else zip(arms, by_arm, strict=True):
            lines.append(_line(title, [_value(entry) for entry in entries]))
            for reference in plan.references[:1]:
                told = [_difference(entry, reference) for entry in entries]
                if any(told):
                    lines.append(_line(rf"\quad to {latex(title_of(plan, reference))}", told))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _caption(table: Table, lead: str) -> str:
    title = latex(table.plan.study.shown_title)
    text = title + lead[len(table.plan.study.shown_title) :]
    if table.plan.references:
        other = latex(title_of(table.plan, table.plan.references[0]))
        text += rf"; differences to {other} in points, paired by seed, $^*$: $p < 0.05$ after Holm's correction"
    return text + ("." if table.complete else "; not complete.")


def _line(head: str, cells: Sequence[str]) -> str:
    return rf"{head} & {' & '.join(cells)} \\"


def _value(entry: Entry | None) -> str:
    return "--" if entry is None else f"${_written(entry.accuracy.value, '.1f')}$"


def _difference(entry: Entry | None, reference: str) -> str:
    found = None if entry is None else entry.against.get(reference)
    return "" if found is None else f"${_written(found.value, '+.1f')}{'^*' if found.significant else ''}$"


def _written(value: Difference, form: str) -> str:
    spread = rf" \pm {100 * value.half_width95:.1f}" if math.isfinite(value.half_width95) else ""
    return f"{100 * value.mean:{form}}{spread}"
