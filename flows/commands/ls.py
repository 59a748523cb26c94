"""bilp ls --dataset digits

List what a storage holds: reports, the newest first, and distillations that no report shows yet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from bilp.results import cells
from bilp.results.choosing import ORDERS, chosen
from bilp.results.index_page import publish_index, varying
from bilp.results.result import FINISHED, Result
from bilp.results.stored import results
from bilp.storage.objects import storage_root
from bilp.text import escaping
from flows import program
from tasks.columns import aligned
from tasks.terminal import Screen, print_line

NAME = "bilp ls"
DIFFERS = "differs in"
COLUMNS = ("key", "when (UTC)", "run", DIFFERS, "accuracy", "to unpruned", "size")
WIDTHS = {"size": 120, "when (UTC)": 100, "to unpruned": 76}
"""What a narrow terminal goes without, and the columns that it takes to have it."""


def main(arguments: Sequence[str]) -> None:
    """List what `arguments` ask for."""
    parser = program.Parser(prog=NAME, description=program.described(__doc__)[1], allow_abbrev=False)
    parser.add_argument("--storage", metavar="URI", help="storage root (default: $BILP_STORAGE, or bilp-storage)")
    parser.add_argument("--dataset", metavar="NAME", help="those of a data set alone")
    parser.add_argument("--method", metavar="NAME", help="those of a distillation method alone")
    parser.add_argument("--sort", choices=ORDERS, default="when", help="what to sort by (default: when)")
    parser.add_argument("--json", action="store_true", help="everything about each, as JSON")
    parser.add_argument("--page", action="store_true", help="write reports/index.html instead, which lists and compares in a browser")
    typed = parser.typed(arguments)
    if typed.page:
        program.looked_up(NAME, lambda: publish_index(typed.storage or storage_root()), lambda uri: program.show_uri("page", uri))
        return

    def show(listed: list[Result]) -> None:
        if typed.json:
            print_line(Screen(), json.dumps([cells.as_json(result) for result in listed], indent=1))
        else:
            print_table(listed)

    program.looked_up(NAME, lambda: chosen(results(typed.storage), typed.dataset, typed.method, typed.sort), show)


def print_table(listed: Sequence[Result]) -> None:
    """One row for each result, and below the table a line about each that something is wrong with."""
    screen = Screen()
    if not listed:
        print_line(screen, "nothing to list: there is no such result")
        return
    width = screen.width if screen.is_terminal else None  # a file, or a program that reads line by line
    kept = [place for place, name in enumerate(COLUMNS) if width is None or width >= WIDTHS.get(name, 0)]
    digits, first = cells.key_digits(listed), varying(listed)
    rows = [COLUMNS, *(_row(result, digits, first) for result in listed)]
    names = [COLUMNS[place] for place in kept]
    table = [[row[place] for place in kept] for row in rows]
    print_line(screen, "\n".join(aligned(table, [names.index(name) for name in names if name == "size"], width, names.index(DIFFERS))))
    for result in listed:
        if result.problem:
            print_line(screen, f"{result.key[:digits]}: {escaping.place(result.problem)}")


def _row(result: Result, digits: int, first: Sequence[str]) -> list[str]:
    """Cells of every column; `first` are the settings that differ among what is listed."""
    changed = {path: result.changed[path] for path in (*first, *result.changed) if path in result.changed}
    told = cells.differences(changed) if result.status == FINISHED else result.status
    accuracy, difference = cells.accuracy(result.main), cells.difference(result.main).replace("\u00a0", " ")
    return [result.key[:digits], cells.when(result), cells.subject(result), told, accuracy, difference, cells.size(result)]
