"""What a terminal and the UI say of a study: what will happen, a line for each block, the table at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bilp.artifacts.artifact import Artifact
from bilp.report.wording import count
from bilp.studies.study_plan import Block, Cell
from bilp.studies.study_progress import Progress
from bilp.text.escaping import markdown
from tasks.columns import aligned
from tasks.estimate import Left
from tasks.status_lines import duration, remaining

if TYPE_CHECKING:
    from bilp.studies.study_table import Table


def plan(progress: Progress) -> str:
    """What will happen, as Markdown."""
    return "\n\n".join(markdown(line) for line in planned(progress))


def planned(progress: Progress) -> Iterator[str]:
    """What a study consists of, how much of it is there, and how long the rest takes if that is known."""
    study, blocks = progress.plan.study, progress.plan.blocks
    parts = [count(len(progress.plan.cells), "cell"), count(study.seeds, "seed"), count(len(study.arms), "arm")]
    pipelines = sum(len(block.groups) for block in blocks)
    runs = progress.plan.runs
    yield f"{study.shown_title}: {', '.join(parts)}; {count(runs, 'run')} in {count(pipelines, 'pipeline')}"
    shared = runs - pipelines
    yield f"{count(shared, 'run')} of an arm share data, scores and selection with another one of the same cell and seed"
    there, waiting = len(blocks) - len(progress.waiting), progress.waiting
    yield f"{there} of {count(len(blocks), 'block')} (a cell with a seed) are there"
    if waiting:
        left = progress.left
        known = remaining(Left(left, True)) if left is not None else "an estimate follows the first block"
        yield f"{count(len(waiting), 'block')} to do: {known}"
    if study.minutes is not None:
        spent = sum(progress.worked.values())
        yield f"budget {study.minutes:g} min, of which {duration(spent)} are spent"


def block(progress: Progress, done: Block, artifact: Artifact) -> str:
    """'3 of 10  20 % wrong labels, seed 1: Unpruned 84.5, BiLP 88.3  14 s, about 2 min left'."""
    from bilp.studies.study_part import read_part
    from bilp.studies.study_words import title_of

    part = read_part(artifact)
    found: dict[str, list[float]] = {}
    for row in part.rows:
        found.setdefault(row["arm"], []).append(row["accuracy"])
    arms = ", ".join(f"{title_of(progress.plan, arm)} {100 * sum(values) / len(values):.1f}" for arm, values in found.items())
    number, blocks = len(progress.current), len(progress.plan.blocks)
    left = progress.left if progress.waiting else None
    told = [duration(part.worked), *([remaining(Left(left, True))] if left is not None else [])]
    return f"{number} of {blocks}  {done.title}: {arms}  ({', '.join(told)})"


def stopped(progress: Progress) -> str:
    """That the budget ends here."""
    left = len(progress.waiting)
    return f"the budget of {progress.plan.study.minutes:g} min leaves no time for another block; {left} are not computed"


def table(found: Table) -> Iterator[str]:
    """Accuracies, differences and what was detected, as lines of text."""
    from bilp.studies.study_words import EQUAL, SIGNIFICANT, cells_as_rows, marked, shown_accuracy, title_of

    plan = found.plan
    to = [f"to {title_of(plan, reference)}" for reference in plan.references]

    def told_of(cell: Cell, arm: str, network: str) -> list[str]:
        entry = found.of(cell, arm, network)
        against = {} if entry is None else entry.against
        differences = [marked(against[reference]) if reference in against else "" for reference in plan.references]
        return ["" if entry is None else shown_accuracy(entry, plan.study.seeds), *differences]

    for network in found.networks:
        trained_on = f"trained on ({network})" if len(found.networks) > 1 else "trained on"
        if cells_as_rows(plan):
            rows = [["", trained_on, "accuracy", *to]]
            for cell in plan.cells:
                arms = [arm for arm in plan.study.arms if found.of(cell, arm, network) is not None]
                rows += [[cell.title, title_of(plan, arm), *told_of(cell, arm, network)] for arm in arms]
        else:
            rows = [[trained_on, *(head for cell in plan.cells for head in (cell.title, *to))]]
            rows += [
                [title_of(plan, arm), *(text for cell in plan.cells for text in told_of(cell, arm, network))] for arm in plan.study.arms
            ]
        yield from aligned([[cell.replace("\u00a0", " ") for cell in row] for row in rows])
    told = [f"± is half a 95 % interval over {plan.study.seeds} seeds"] if plan.study.seeds > 1 else []
    told += [f"{SIGNIFICANT} beyond chance (paired, Holm)"] if plan.references else []
    told += [f"{EQUAL} equal within {plan.study.tolerance:g} points"] if plan.study.tolerance is not None else []
    yield "; ".join(told)
