"""The table of accuracies at the end of a command, in the words and with the statistics of the page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bilp.artifacts.artifact import open_artifact
from bilp.evaluate.metrics import top_words
from bilp.text.escaping import shown
from bilp.text.sample_words import spoken
from tasks import output
from tasks.terminal import Screen, print_line

if TYPE_CHECKING:
    from bilp.report.accuracy import AccuracyRow


@dataclass(frozen=True)
class Row:
    """One arm on one network, as it is printed."""

    title: str
    network: str
    images: str
    accuracy: str
    n: int
    difference: str
    gained: str = ""
    top_k: str = ""
    """Heading of the next: 'top 5'; both are empty where that was not recorded."""
    within: str = ""


@dataclass(frozen=True)
class Outcome:
    """What is printed of a report."""

    rows: tuple[Row, ...]
    sentence: str
    repeated: bool
    """Whether there are several distillations of each arm already."""


def outcome(report_uri: str) -> Outcome:
    """What a report says at its top. Raises MissingArtifact or DamagedArtifact."""
    from bilp.report.headline import headline

    found, parents = headline(report_uri), open_artifact(report_uri.rpartition("/")[0], "report").parents
    return Outcome(rows_of(found.rows), found.sentence, len([role for role in parents if role.startswith("run bilp")]) > 1)


def rows_of(rows: Sequence[AccuracyRow]) -> tuple[Row, ...]:
    """What is printed of rows of the page."""
    return tuple(
        Row(
            row.words.title,
            row.network,
            row.images,
            row.shown,
            row.accuracy.n,
            row.difference,
            row.gained,
            "" if row.top_k is None else top_words(row.top_k.k),
            row.within,
        )
        for row in rows
    )


WIDEST = 10_000  # cells of a table that is only measured
TITLE = "Accuracy on real test images, with 95 % intervals"
NEXT = "next: --experiments 3 tells whether a difference holds for other distillations, too; --help lists what else can be set"


def show(rows: Sequence[Row]) -> None:
    """Print a row for each arm and network; on a narrow terminal without lines around them, and one network after the other.

    Top-k accuracies, and on a terminal that is narrower still the gains over random images, are left to the page.
    """
    screen = Screen()
    for each in (rows, [replace(row, top_k="", within="") for row in rows]):
        whole = _table(each, framed=True)
        if _fits(whole, screen):
            screen.print(whole)
            return
    groups = [[row for row in rows if row.network == network] for network in dict.fromkeys(row.network for row in rows)]
    for shorter in (lambda row: replace(row, top_k="", within=""), lambda row: replace(row, gained="")):
        if not all(_fits(_table(group, framed=False), screen) for group in groups):
            groups = [list(map(shorter, group)) for group in groups]
    for group in groups:
        screen.print(_table(group, framed=False))


def _fits(table: Table, screen: Screen) -> bool:
    return screen.measure(table, options=screen.options.update(max_width=WIDEST)).maximum <= screen.width


def _table(rows: Sequence[Row], *, framed: bool) -> Table:
    several = len({row.network for row in rows}) > 1
    compared, gained = any(row.difference for row in rows), any(row.gained for row in rows)
    within = " or ".join(dict.fromkeys(row.top_k for row in rows if row.top_k))
    title = spoken(TITLE)
    table = Table(title=title if framed else f"{rows[0].network}: {title[0].lower()}{title[1:]}", title_justify="left")
    if not framed:
        table.box, table.pad_edge, table.padding = None, False, (0, 2, 0, 0)
    table.add_column("trained on")
    if several:
        table.add_column("network")
    for heading in (spoken("images"), "accuracy", *([within] if within else []), "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    if compared:
        table.add_column("to unpruned", justify="right", no_wrap=True)
    if gained:
        table.add_column("over random", justify="right", no_wrap=True)
    for row in rows:
        cells = [row.title, *([row.network] if several else []), row.images, row.accuracy, *([row.within] if within else []), str(row.n)]
        cells += [row.difference.removesuffix(" points")] if compared else []
        cells += [row.gained.removesuffix(" points")] if gained else []
        table.add_row(*map(_cell, cells))
    return table


def _cell(text: str) -> str:
    return output.as_printed(shown(text.replace("\u00a0", " ")))


def print_sentence(sentence: str, *, repeated: bool = True) -> None:
    """Print what the numbers say; for somebody at a terminal broken at words, and with what may be done next.

    `repeated` says whether there are several distillations of each arm already.
    """
    screen, text = Screen(), _cell(sentence)
    if not sys.stdout.isatty():
        print_line(screen, text)
        return
    screen.print(Text(text))
    if not repeated:
        screen.print(Text(NEXT, style="dim"))
