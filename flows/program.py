"""What the commands `python -m flows.*` share: arguments in, progress and results out, one clear line for what went wrong."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from bilp.command_line import configure, fail
from bilp.config import PipelineConfig
from bilp.errors import BilpError
from bilp.manifest import open_artefact
from tasks import terminal

T = TypeVar("T")


def run(documentation: str | None, work: Callable[[PipelineConfig], T], show: Callable[[T], None]) -> None:
    """Be the program that `documentation` describes (its first line is the command): do the work and show its result.

    Exit status: 0 done, 1 failed, 2 wrong settings, 130 interrupted.
    """
    example, _, description = (documentation or "").partition("\n\n")
    name = example.partition(" --")[0]
    config = configure(sys.argv[1:], name, f"{description}\nExample: {example}")
    try:
        with _terminal_to_ourselves(), terminal.display():
            result = work(config)
    except BilpError as error:
        fail(name, [str(error)], status=1)
    except KeyboardInterrupt:
        fail(name, ["interrupted; the same command continues where it stopped"], status=130)
    show(result)


def show_uri(what: str, uri: str) -> None:
    """Print the URI of a result."""
    Console().print(f"{what}: {uri}", markup=False, highlight=False, soft_wrap=True)


def show_accuracy(evaluation_uris: Sequence[str]) -> None:
    """Print a short table of accuracies."""
    from bilp.evaluate import summary

    rows = summary(evaluation_uris)
    several = len({row.network for row in rows}) > 1
    table = Table(
        "trained on",
        *(["network"] if several else []),
        "accuracy, %",
        "± (95 %)",
        "n",
        title="Accuracy on real test images",
    )
    for row in rows:
        cells = [row.arm, *([row.network] if several else []), f"{100 * row.mean:.2f}", f"{100 * row.half_width95:.2f}", str(row.n)]
        table.add_row(*cells)
    Console().print(table)


def show_report(report_uri: str) -> None:
    """Print the accuracies that a report shows, and where it lies."""
    parents = open_artefact(report_uri.rpartition("/")[0], "report").manifest.parents
    show_accuracy([uri for role, uri in parents.items() if role.startswith("evaluation ")])
    show_uri("report", report_uri)


@contextmanager
def _terminal_to_ourselves() -> Iterator[None]:
    """Prefect keeps its logs in its database; on the terminal they would tear the bars apart and repeat the last error."""
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(_not_from_prefect)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_not_from_prefect)


def _not_from_prefect(record: logging.LogRecord) -> bool:
    return not record.name.startswith("prefect") or record.levelno >= logging.CRITICAL
