"""What a task made, in a few words for the line that it leaves on a terminal."""

from __future__ import annotations

from collections.abc import Callable

from prefect.logging import get_logger

from bilp.artifacts.artifact import open_artifact
from tasks import terminal

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
    """How many images a record's data set has: '1,438 training and 359 test images of 10 classes'."""
    from bilp.data.source_record import open_record

    facts = open_artifact(open_record(record_uri).dataset_uri, "dataset").manifest.facts
    return f"{facts['train_images']:,} training and {facts['test_images']:,} test images of {len(facts['class_names']):,} classes"


def kept(selection_uri: str) -> str:
    """How much a selection keeps: 'kept 1,151 of 1,438'."""
    facts = open_artifact(selection_uri, "selection").manifest.facts
    return f"kept {sum(facts['kept_per_class']):,} of {sum(facts['total_per_class']):,}"


def accuracy(evaluation_uri: str) -> str:
    """What an evaluation measured: '90.4 % ± 1.8', for several networks one after the other."""
    from bilp.evaluate import Difference, summary
    from bilp.report.comparison import network_name, percent

    rows = summary([evaluation_uri])
    told = [percent(Difference(row.mean, row.half_width95, row.n)).replace("\u00a0", " ") for row in rows]
    return ", ".join(f"{text} ({network_name(row.network)})" if len(rows) > 1 else text for text, row in zip(told, rows, strict=True))
