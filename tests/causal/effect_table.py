"""PYTHONPATH=. python tests/causal/effect_table.py

Which methods have causal effects, and by what these are measured and tested, as the registry says it: the table of docs/level2.md.
"""

from __future__ import annotations

from bilp.config import METHODS
from bilp.registry import resolve

HEAD = ("| method | effects are exact of the mean of | estimators | weights | signed |", "|---|---|---|---|---|")


def row(name: str) -> str:
    """The row of a method."""
    method = METHODS[name]
    if not method.adaptive:
        return f"| `{name}` | none: it {method.no_effect} | | | |"
    compared = (resolve(method.matching).__doc__ or "").splitlines()[0].rstrip(".")
    estimators = ", ".join(f"`{each}`" for each in method.estimators) or "all"
    yes = {True: "yes", False: "no"}
    return f"| `{name}` | {compared[:1].lower()}{compared[1:]} | {estimators} | {yes[method.weighs]} | {yes[method.signed]} |"


if __name__ == "__main__":
    print("\n".join([*HEAD, *map(row, METHODS)]))
