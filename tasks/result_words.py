"""What a stage made, in a few words: for the line that it leaves on a terminal, and for that in the log of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prefect.logging import get_logger

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import DatasetFacts, GrowthFacts, RoundFacts, SelectionFacts, SuspectsFacts
from bilp.artifacts.run_layout import ROUND
from bilp.config.rules import DEFAULT_RULE
from bilp.config.shapes import sample_noun
from tasks import terminal

if TYPE_CHECKING:
    from bilp.evaluate import Row

ResultOf = Callable[[str], str]
"""Words on what lies at a URI."""


def in_words(uri: str, result: ResultOf | None) -> str:
    """The words, if somebody looks; words that cannot be had are no reason to lose the work."""
    if result is None or not terminal.watches():
        return ""
    try:
        return result(uri)
    except Exception as error:
        get_logger("tasks").warning("nothing to say of %s: %s", uri, error)
        return ""


def images(record_uri: str) -> str:
    """What a record's data set has: `dataset` of it."""
    from bilp.data.source_record import open_record

    return dataset(open_record(record_uri).dataset_uri)


def dataset(dataset_uri: str) -> str:
    """How many images of which shape: '1,438 training and 359 test images of 10 classes, 1 x 8 x 8'."""
    facts = open_artifact(dataset_uri, "dataset").stated(DatasetFacts)
    shape, noun = " x ".join(map(str, facts.shape)), sample_noun(facts.shape)
    return f"{facts.train_images:,} training and {facts.test_images:,} test {noun}s of {len(facts.class_names):,} classes, {shape}"


def grown(facts: GrowthFacts) -> list[str]:
    """What an extension of scores found, a line each: what came and went, and why everything has to be scored again, if it has."""
    told = [f"version {facts.version}: {facts.added:,} new images, {facts.taken:,} scored before, {facts.removed:,} gone"]
    return told + [f"everything is scored again: {reason}" for reason in facts.reasons]


def kept(selection_uri: str) -> str:
    """How much a selection keeps, and by what: 'kept 1,151 of 1,438 (keep 0.8, vog)'."""
    facts = open_artifact(selection_uri, "selection").stated(SelectionFacts)
    how = [f"keep {facts.keep:g}", facts.criterion]
    if facts.mixture is not None:
        how[0] = f"keep auto found {100 * facts.keep:.0f} %" if facts.kept < facts.total else "keep auto found nothing to drop"
    rule = "" if facts.rule == DEFAULT_RULE else f", rule {facts.rule}"
    return f"kept {facts.kept:,} of {facts.total:,} ({', '.join(how)}{rule})"


def suspects(suspects_uri: str) -> str:
    """How many labels are probably wrong: 'about 223 of 1,438 labels are wrong'."""
    facts = open_artifact(suspects_uri, "suspects").stated(SuspectsFacts)
    return f"about {facts.estimated_errors:,} of {facts.samples:,} labels are wrong"


def found(search_uri: str) -> str:
    """What a search decided, and on what: 'keep 0.7, of 7 candidates in 3 rungs'."""
    from bilp.search.candidates import Candidate
    from bilp.search.found import open_search

    facts = open_search(search_uri).facts
    words = Candidate(**facts.found).words  # type: ignore[arg-type]
    return f"{words}, of {facts.candidates} candidates in {facts.rungs} rungs"


def critical(critical_uri: str) -> str:
    """The critical share of each criterion: 'loss_init 25 %, random 50 %'."""
    from bilp.critical.shares import open_critical

    return ", ".join(f"{name} {100 * share:.3g} %" for name, share in open_critical(critical_uri).facts.critical.items())


def accuracy(evaluation_uri: str) -> str:
    """What an evaluation measured: '90.4 % ± 1.8', for several networks one after the other; of a single training no interval."""
    from bilp.evaluate import summary
    from bilp.report.comparison import network_name

    rows = summary([evaluation_uri])
    return ", ".join(f"{mean(row)} ({network_name(row.network)})" if len(rows) > 1 else mean(row) for row in rows)


def mean(row: Row) -> str:
    """'90.4 % ± 1.8', or '45.2 % ± 1.8, top 5 88.1 % ± 0.9' where that is known."""
    from bilp.evaluate.metrics import Difference, top_words
    from bilp.report.comparison import percent

    told = percent(Difference(row.mean, row.half_width95, row.n))
    if row.top_k is not None:
        told += f", {top_words(row.top_k.k)} {percent(row.top_k.share)}"
    return told.replace("\u00a0", " ")


def at_round(round_artifact: str) -> str:
    """The loss at the end of a round, and what was left out so far: 'loss 0.41, dropped 9.8 %'."""
    facts = open_artifact(round_artifact, ROUND).stated(RoundFacts)
    told = f"loss {facts.loss:.4g}"
    if facts.decided_per_class is None or facts.dropped_per_class is None or not sum(facts.decided_per_class):
        return told
    return f"{told}, dropped {100 * sum(facts.dropped_per_class) / sum(facts.decided_per_class):.1f} %"
