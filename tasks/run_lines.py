"""What each stage found, in one line of the log of the run that somebody started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.called import speaking_of_samples
from bilp.artifacts.facts import DatasetFacts
from bilp.artifacts.run_layout import round_uri
from tasks import result_words
from tasks.run_display import log
from tasks.terminal import say

if TYPE_CHECKING:
    from bilp.pruning.reach_words import ReachTold


def tell_dataset(dataset_uri: str) -> None:
    """How many images of which shape and classes."""
    log(f"{open_artifact(dataset_uri, 'dataset').stated(DatasetFacts).name}: {result_words.dataset(dataset_uri)}")


def tell_selection(selection_uri: str) -> None:
    """How many samples stay."""
    log(result_words.kept(selection_uri))


def tell_reach(told: ReachTold) -> None:
    """How much of each class adaptive pruning can keep away, and where that is little."""
    for line in (*told.sentences, *(f"warning: {warning}" for warning in told.warnings)):
        say(f"          {line}")
        log(line)


def tell_runs(runs: Mapping[str, Sequence[str]]) -> None:
    """The last loss of each distillation, and what adaptive pruning left out."""
    from bilp.distill import open_run

    for arm, uris in runs.items():
        for number, uri in enumerate(uris, 1):
            rounds = open_run(uri).distill.rounds
            name = arm if len(uris) == 1 else f"{arm} {number}/{len(uris)}"
            log(f"distilled {name} in {rounds} rounds: {result_words.at_round(round_uri(uri, rounds))}")


def tell_round(round_artifact: str, number: int, rounds: int) -> None:
    """The loss at the end of a round, and what was left out so far."""
    log(f"round {number}/{rounds}: {result_words.at_round(round_artifact)}")


def tell_accuracies(evaluation_uris: Sequence[str]) -> None:
    """The accuracy of each arm and baseline."""
    from bilp.evaluate import summary
    from bilp.report.wording import arm_words

    rows = summary(evaluation_uris)
    several = len({row.network for row in rows}) > 1
    for row in rows:
        with speaking_of_samples(open_artifact(evaluation_uris[0], "evaluation")):
            title = arm_words(row.arm).title
        log(f"{title}{f' on {row.network}' if several else ''}: {result_words.mean(row)} (n = {row.n})")
