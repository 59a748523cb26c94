"""bilp du

How much of the storage each kind of thing, each data set, each page and each run takes; what pages and runs share with others, and what
bilp gc would free.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich.table import Table

from bilp.maintenance.sizes import Share, Sizes, sizes
from bilp.storage.objects import storage_root
from bilp.text.escaping import place, shown
from flows import program
from flows.commands.amounts import size
from tasks.terminal import Screen, print_line

NAME = "bilp du"
FOREIGN = 10
"""Files that are none of ours, of which so many are named."""


def main(arguments: Sequence[str]) -> None:
    """Measure what `arguments` ask for."""
    parser = program.Parser(prog=NAME, description=program.described(__doc__)[1], allow_abbrev=False)
    parser.add_argument("--storage", metavar="URI", help="storage root (default: $BILP_STORAGE, or bilp-storage)")
    typed = parser.typed(arguments)
    program.looked_up(NAME, lambda: sizes(typed.storage or storage_root()), show)


def show(found: Sizes) -> None:
    """Print the tables."""
    screen = Screen()
    _amounts(screen, "kind", found.kinds)
    _amounts(screen, "data set, with all that was made from it", found.datasets)
    for title, shares in (("page or reproduction", _of(found, run=False)), ("run", _of(found, run=True))):
        _shares(screen, title, shares)
    named = list(found.foreign)[:FOREIGN]
    more = f" and {len(found.foreign) - FOREIGN} more" if len(found.foreign) > FOREIGN else ""
    if named:
        print_line(screen, f"none of ours, not counted and never removed: {', '.join(map(place, named))}{more}")
    print_line(screen, f"{place(found.root)}: {size(found.total)}; bilp gc would free {size(found.removable)}")


def _of(found: Sizes, run: bool) -> list[Share]:
    shares = [share for share in found.shares if (share.kind == "run") == run]
    return sorted(shares, key=lambda share: -share.alone)


def _amounts(screen: Screen, title: str, amounts: Mapping[str, int]) -> None:
    table = Table(title, "size", box=None, pad_edge=False)
    for name, count in amounts.items():
        table.add_row(shown(name), size(count))
    screen.print(table)
    print_line(screen, "")


def _shares(screen: Screen, title: str, shares: Sequence[Share]) -> None:
    if not shares:
        return
    table = Table(title, "its own", "shared with others", box=None, pad_edge=False)
    for share in shares:
        table.add_row(shown(share.place), size(share.alone), size(share.shared))
    screen.print(table)
    print_line(screen, "")


if __name__ == "__main__":
    main(sys.argv[1:])
