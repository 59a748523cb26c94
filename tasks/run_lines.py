"""What each stage found, in one line of the log of the run that somebody started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import RoundFacts, SelectionFacts
from bilp.artifacts.run_layout import ROUND, round_uri
from tasks.run_display import log


def tell_dataset(dataset_uri: str) -> None:
    """How many images of which shape and classes."""
    from bilp.data import open_dataset

    found = open_dataset(dataset_uri)
    shape = " x ".join(map(str, found.shape))
    log(f"{found.name}: {len(found.train):,} training and {len(found.test):,} test images of {shape}, {found.classes} classes")


def tell_selection(selection_uri: str) -> None:
    """How many samples stay."""
    facts = open_artifact(selection_uri, "selection").stated(SelectionFacts)
    log(f"kept {facts.kept:,} of {facts.total:,} (keep {facts.keep:g}, {facts.criterion})")


def tell_runs(runs: Mapping[str, Sequence[str]]) -> None:
    """The last loss of each distillation, and what adaptive pruning left out."""
    from bilp.distill import open_run

    for arm, uris in runs.items():
        for number, uri in enumerate(uris, 1):
            rounds = open_run(uri).distill.rounds
            name = arm if len(uris) == 1 else f"{arm} {number}/{len(uris)}"
            log(f"distilled {name} in {rounds} rounds: {_round(open_artifact(round_uri(uri, rounds), ROUND).stated(RoundFacts))}")


def tell_round(round_artifact: str, number: int, rounds: int) -> None:
    """The loss at the end of a round, and what was left out so far."""
    log(f"round {number}/{rounds}: {_round(open_artifact(round_artifact, ROUND).stated(RoundFacts))}")


def tell_accuracies(evaluation_uris: Sequence[str]) -> None:
    """The accuracy of each arm and baseline."""
    from bilp.evaluate import summary
    from bilp.evaluate.metrics import Difference
    from bilp.report.comparison import percent
    from bilp.report.wording import arm_words

    rows = summary(evaluation_uris)
    several = len({row.network for row in rows}) > 1
    for row in rows:
        name = f"{arm_words(row.arm).title}{f' on {row.network}' if several else ''}"
        log(f"{name}: {percent(Difference(row.mean, row.half_width95, row.n))} (n = {row.n})".replace("\u00a0", " "))


def _round(facts: RoundFacts) -> str:
    told = f"loss {facts.loss:.4g}"
    if facts.decided_per_class is None or facts.dropped_per_class is None or not sum(facts.decided_per_class):
        return told
    return f"{told}, dropped {100 * sum(facts.dropped_per_class) / sum(facts.decided_per_class):.1f} %"
