"""bilp compare 3f2a 9b1c

Put reports side by side: the settings that differ and the accuracies, on the terminal and as a page.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from bilp.artifacts.report_places import KIND
from bilp.report.outcome import ArmResult
from bilp.results import cells
from bilp.results.compare import accuracies, differing_settings, require_several
from bilp.results.find import find
from bilp.results.result import Result
from bilp.results.side_by_side import publish_comparison
from bilp.results.stored import result_at
from bilp.text.escaping import shown
from flows import program
from tasks import output
from tasks.terminal import Screen

NAME = "bilp compare"


def main(arguments: Sequence[str]) -> None:
    """Compare what `arguments` name."""
    parser = program.Parser(prog=NAME, description=program.described(__doc__)[1], allow_abbrev=False)
    parser.add_argument("keys", nargs="+", metavar="KEY", help="keys of reports, the first digits of them, paths or URIs")
    parser.add_argument("--storage", metavar="URI", help="storage root (default: $BILP_STORAGE, or bilp-storage)")
    parser.add_argument(
        "--out", metavar="URI", help="where the page is written (default: beside the reports, or here for several storages)"
    )
    typed = parser.typed(arguments)

    def work() -> tuple[list[Result], str]:
        compared = [result_at(find(key, typed.storage, (KIND,))) for key in typed.keys]
        require_several(compared)
        return compared, publish_comparison(compared, typed.out)

    def show(done: tuple[list[Result], str]) -> None:
        print_comparison(done[0])
        program.show_uri("page", done[1])

    program.looked_up(NAME, work, show)


def print_comparison(compared: Sequence[Result]) -> None:
    """Two tables: settings that differ, and accuracies."""
    screen, digits = Screen(), cells.key_digits(compared)
    keys = [f"{result.key[:digits]}\n{shown(cells.subject(result))}" for result in compared]
    settings = Table("setting", *keys, title="Settings that differ", title_justify="left", box=None, pad_edge=False)
    for row in differing_settings(compared):
        settings.add_row(*(output.as_printed(shown(cell)) for cell in (row.path, *row.values)))
    screen.print(settings)
    measured = Table("trained on", *keys, title="\nAccuracy on real test images", title_justify="left", box=None, pad_edge=False)
    for line in accuracies(compared):
        measured.add_row(*(output.as_printed(shown(cell)) for cell in (line.title, *map(_cell, line.results))))
    screen.print(measured)


def _cell(result: ArmResult | None) -> str:
    difference = "" if result is None or result.difference is None else f" ({cells.difference(result)})"
    return f"{cells.accuracy(result)}{difference}".replace("\u00a0", " ")
