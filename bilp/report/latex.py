"""The accuracy table for a paper, in the manner of booktabs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bilp.evaluate import Difference
from bilp.text.escaping import latex

PACKAGE = r"% \usepackage{booktabs}"


@dataclass(frozen=True)
class Line:
    """A set and a network with a mean and its interval, as fractions; with `less`, the difference to the set of that title."""

    title: str
    network: str
    value: Difference
    less: str = ""


def accuracy_table(accuracies: Sequence[Line], differences: Sequence[Sequence[Line]], caption: str) -> str:
    """Accuracies, and below a rule each the groups of paired differences, which the caption explains."""
    lines = [PACKAGE, r"\begin{table}", r"\centering", rf"\caption{{{latex(caption)}}}", r"\begin{tabular}{llrr}", r"\toprule"]
    lines += [r"Set & Network & Accuracy (\%) & $n$ \\", r"\midrule", *map(_written, accuracies)]
    for group in differences:
        lines += [r"\midrule", *map(_written, group)] if group else []
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _written(line: Line) -> str:
    value = line.value
    spread = f" \\pm {100 * value.half_width95:.1f}" if math.isfinite(value.half_width95) else ""
    shown = f"{100 * value.mean:+.1f}" if line.less else f"{100 * value.mean:.1f}"
    title = latex(line.title) + (f" $-$ {latex(line.less)}" if line.less else "")
    return f"{title} & {latex(line.network)} & ${shown}{spread}$ & {value.n} \\\\"
