"""What each task is a part of, for whoever watches: the stage of the pipeline, the line that it has on a terminal, and its place there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bilp.config.baselines import BASELINES

STAGES = ("ingest", "search", "score", "prune", "experts", "distill", "evaluate", "suspects", "report")
"""Stages in their order; a pipeline goes through those that it needs."""


@dataclass(frozen=True)
class Step:
    """One task among those that share a line: round 6 of the 10 of `distill bilp`."""

    stage: str
    """One of STAGES; empty for what belongs to none."""
    title: str
    """The line that it is shown on."""
    kind: str
    """Steps of one kind take about the same time."""
    number: int = 1
    total: int = 1
    """Its place among the steps of its line that count; 0 for one that does not count."""
    noun: str = ""
    """What is counted there, such as round."""
    closes: bool = True
    """Whether the line ends with it."""
    doing: str = ""
    """What it does, if that is not what the title says."""
    quiet: bool = False
    """Whether nobody needs to know that it was done."""
    note_stays: bool = False
    """Whether the last note of its progress is a result."""


@dataclass
class _Line:
    """The line that all steps share at present, and how many of its steps have begun."""

    stage: str
    title: str
    total: int
    begun: int = 0


_gathered: _Line | None = None


@contextmanager
def gathered(stage: str, title: str, total: int) -> Iterator[None]:
    """In the block all tasks are parts of one stage, at most so many, and share one line that says what is being done; a task of this title
    after the block closes it."""
    global _gathered
    before, _gathered = _gathered, _Line(stage, title, total)
    try:
        yield
    finally:
        _gathered = before


def placed(step: Step) -> Step:
    """The step, as part of the line that all share at present if there is one."""
    if _gathered is None or not step.stage:
        return step
    line, counts = _gathered, step.total > 0 and not step.quiet
    line.begun += counts
    number, total = (min(line.begun, line.total), line.total) if counts else (0, 0)
    noun, doing = ("step" if counts else ""), step.doing or step.title
    return Step(line.stage, line.title, f"{line.title}: {step.kind}", number, total, noun, closes=False, doing=doing)


StepOf = Callable[[Mapping[str, Any]], Step]
"""The step that a task is, by its arguments."""


def whole(stage: str, title: str, *, quiet: bool = False) -> StepOf:
    """A task that has a line of its own; `title` may name arguments in braces."""
    return lambda given: Step(stage, title.format(**given), title, quiet=quiet)


def beside(stage: str, title: str, doing: str, *, closes: bool = False) -> StepOf:
    """A task that does what has to be done on a line besides its steps."""
    return lambda given: Step(stage, title.format(**given), doing, 0, 0, closes=closes, doing=doing)


def one_of(stage: str, title: str, noun: str, number: str, total: Callable[[Mapping[str, Any]], int]) -> StepOf:
    """One of several tasks on a line; `number` is the argument that counts them from 0."""
    return lambda given: Step(stage, title.format(**given), noun, given[number] + 1, total(given), noun, closes=False)


def distill_round(given: Mapping[str, Any]) -> Step:
    """A round of a run, or of one of its shards, which nothing else finishes."""
    number, total = given["round_number"], given["rounds"]
    last_of_shard = given["shard"] is not None and number == total
    return Step("distill", f"distill {given['label']}", "round", number, total, "round", closes=last_of_shard, note_stays=True)


def evaluated_baseline(given: Mapping[str, Any]) -> Step:
    """A baseline; one of all real images takes longer than sets of a few."""
    name = given["baseline"]
    return Step("evaluate", f"evaluate {name}", evaluation_kind(name))


def evaluation_kind(baseline: str) -> str:
    """The kind of step that the evaluation of a baseline is."""
    return f"evaluation of {baseline}" if BASELINES[baseline].whole else "evaluation"


def evaluated_set(given: Mapping[str, Any]) -> Step:
    """A synthetic set of an arm."""
    arm, experiment = given["arm"], given["experiment"]
    return Step("evaluate", f"evaluate {arm}" if experiment == 0 else f"evaluate {arm} {experiment + 1}", "evaluation")


def evaluated_block(given: Mapping[str, Any]) -> Step:
    """Some of the trainings on a set."""
    title = given["subject"].title
    return Step("evaluate", f"train on {title}", "block of trainings")


def elsewhere(given: Mapping[str, Any]) -> Step:
    """A unit that another process carries out."""
    stage = UNIT_STAGES.get(given["deployment"].partition("/")[0], "")
    return Step(stage, given["label"], f"unit of {stage}")


UNIT_STAGES = {
    "ingest-part": "ingest",
    "score-trial": "score",
    "extend-trial": "score",
    "record-predictions": "score",
    "train-expert": "experts",
    "pretrain-network": "distill",
    "distill-run": "distill",
    "distill-shard": "distill",
    "train-teacher": "evaluate",
    "evaluate-baseline": "evaluate",
    "evaluate-synthetic": "evaluate",
    "evaluate-network": "evaluate",
}
"""The stage of each unit (`flows.units.table`), by its name."""
