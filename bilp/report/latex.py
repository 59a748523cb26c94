"""The accuracy table for a paper, in the manner of booktabs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bilp.evaluate import Difference
from bilp.text.escaping import latex

if TYPE_CHECKING:
    from bilp.report.accuracy import AccuracyRow

PACKAGE = r"% \usepackage{booktabs}"


def accuracy_table(rows: Sequence[AccuracyRow], caption: str) -> str:
    """A row for each set and network with a caption, and below a rule the paired differences, which the caption explains."""
    lines = [PACKAGE, r"\begin{table}", r"\centering", rf"\caption{{{latex(caption)}}}", r"\begin{tabular}{llrr}", r"\toprule"]
    lines += [r"Set & Network & Accuracy (\%) & $n$ \\", r"\midrule"]
    lines += [_line(row.words.title, row, row.accuracy, row.accuracy.n) for row in rows]
    differences = [(row, row.compared) for row in rows if row.compared is not None]
    if differences:
        lines.append(r"\midrule")
        lines += [_line(f"{row.words.title} − Unpruned", row, value, value.n, signed=True) for row, value in differences]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _line(title: str, row: AccuracyRow, value: Difference, n: int, signed: bool = False) -> str:
    """A row of the table.

    Args:
        title: Of the set, or of the two that are compared.
        row: Which network it is about.
        value: A mean with its interval, as fractions.
        n: Number of trainings or pairs.
        signed: Whether a gain has a plus.
    """
    spread = f" \\pm {100 * value.half_width95:.1f}" if math.isfinite(value.half_width95) else ""
    shown = f"{100 * value.mean:+.1f}" if signed else f"{100 * value.mean:.1f}"
    return f"{latex(title).replace('−', '$-$')} & {latex(row.network)} & ${shown}{spread}$ & {n} \\\\"
