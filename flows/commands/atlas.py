"""bilp atlas list s3://bucket/atlas

Scores that are shared: publish what was scored here, list and fetch what others scored, import lists that were published, compare two.

bilp atlas publish KEY --to ATLAS     scores of a data set (the key of a summary), for others
bilp atlas import FILE --to ATLAS     a JSON list of numbers in the order of a data set, such as those of BiLP's preview code
bilp atlas list ATLAS                 what is there
bilp atlas fetch ATLAS KEY            a verified copy, in another atlas
bilp atlas compare ENTRY ENTRY        rank correlation and overlap, and a page

An atlas is a folder or s3://bucket/prefix; an entry is ATLAS/entries/KEY. bilp run --prune.scores takes either.
"""

from __future__ import annotations

from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence

from bilp.storage.objects import as_uri, join, storage_root
from bilp.text.escaping import place, shown
from flows import program
from tasks.columns import aligned
from tasks.terminal import Screen, print_line

NAME = "bilp atlas"
LISTED = 20
"""Classes that are listed in a terminal; the page has all."""


def main(arguments: Sequence[str]) -> None:
    """Do what `arguments` ask for."""
    typed = _parser().typed(arguments)
    ACTIONS[typed.action](typed)


def _parser() -> program.Parser:
    parser = program.Parser(prog=NAME, description=program.described(__doc__)[1], allow_abbrev=False)
    parser.formatter_class = RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", required=True, metavar="publish|import|list|fetch|compare")
    publish = actions.add_parser("publish", help="scores of a data set, for others", allow_abbrev=False)
    publish.add_argument("key", metavar="KEY", help="key of a summary of scores, the first digits of one, a path or a URI")
    publish.add_argument("--title", help="a line on what it is (default: data set and criteria)")
    taken = actions.add_parser("import", help="a list in the order of a data set", allow_abbrev=False)
    taken.add_argument("files", nargs="+", metavar="FILE", help="JSON arrays of numbers, one for each training image")
    taken.add_argument("--dataset", required=True, metavar="KEY", help="key, path or URI of the data set that they are of")
    taken.add_argument("--criterion", metavar="NAME", help="what they rank by (default: what a published list's name says)")
    for each in (publish, taken):
        each.add_argument("--to", required=True, metavar="ATLAS", help="folder or s3://bucket/prefix")
        each.add_argument("--license", metavar="TEXT", help="on which terms the scores may be used")
        each.add_argument("--by", metavar="NAME", help="who publishes them")
        each.add_argument("--storage", metavar="URI", help="storage root (default: $BILP_STORAGE, or bilp-storage)")
    listed = actions.add_parser("list", help="what is in an atlas", allow_abbrev=False)
    listed.add_argument("atlas", metavar="ATLAS")
    fetch = actions.add_parser("fetch", help="a verified copy of an entry", allow_abbrev=False)
    fetch.add_argument("atlas", metavar="ATLAS")
    fetch.add_argument("key", metavar="KEY", help="key of an entry, or its first digits")
    fetch.add_argument("--to", metavar="ATLAS", help="where the copy goes (default: atlas below the storage root)")
    compare = actions.add_parser("compare", help="two entries side by side, and a page", allow_abbrev=False)
    compare.add_argument("entries", nargs=2, metavar="ENTRY", help="ATLAS/entries/KEY")
    compare.add_argument("--criterion", metavar="NAME", help="of both (default: the first of each)")
    compare.add_argument("--out", default="scores.html", metavar="URI", help="where the page is written (default: scores.html)")
    return parser


def _publish(typed: Namespace) -> None:
    def work() -> str:
        from bilp.atlas.publishing import publish_summary
        from bilp.results.find import find

        return publish_summary(find(typed.key, typed.storage, ("score_summary",)).uri, typed.to, typed.title, typed.license, typed.by)

    program.looked_up(NAME, work, lambda uri: program.show_uri("entry", uri))


def _import(typed: Namespace) -> None:
    def work() -> list[str]:
        from bilp.atlas.publishing import import_list
        from bilp.results.find import find

        dataset = find(typed.dataset, typed.storage, ("dataset",)).uri
        return [import_list(file, dataset, typed.to, typed.criterion, typed.license, typed.by) for file in typed.files]

    program.looked_up(NAME, work, lambda uris: program.show_text([f"entry: {uri}" for uri in uris]))


def _list(typed: Namespace) -> None:
    def show(found: tuple[list[Opened], list[Unreadable]]) -> None:
        rows = [("key", "data set", "images", "criteria", "title", "by")]
        for opened in found[0]:
            entry = opened.entry
            criteria = ", ".join(column.name for column in entry.criteria)
            rows.append((entry.key[:12], entry.dataset.name, f"{entry.dataset.samples:,}", criteria, entry.title, entry.by or ""))
        screen = Screen()
        print_line(screen, "\n".join(aligned(rows, [2])))
        for wrong in found[1]:
            print_line(screen, place(f"not listed: {wrong.reason}"))

    from bilp.atlas.entries import Opened, Unreadable, entries

    program.looked_up(NAME, lambda: entries(typed.atlas), show)


def _fetch(typed: Namespace) -> None:
    def work() -> str:
        from bilp.atlas.entries import fetch, find_entry

        return fetch(find_entry(typed.atlas, typed.key), typed.to or join(storage_root(), "atlas"))

    program.looked_up(NAME, work, lambda uri: program.show_uri("entry", uri))


def _compare(typed: Namespace) -> None:
    from bilp.atlas.entries import open_entry
    from bilp.atlas.rank_agreement import SHARES, Agreement, agreement, scored

    def work() -> tuple[Agreement, str]:
        from bilp.results.scores_page import scores_page
        from bilp.storage.objects import write

        first, second = (scored(open_entry(uri), typed.criterion) for uri in typed.entries)
        found = agreement(first, second)
        out = as_uri(typed.out)
        write(out, scores_page(found))
        return found, out

    def show(done: tuple[Agreement, str]) -> None:
        found, out = done
        names = found.first.class_names
        rows = [("class", "Spearman"), *((name, f"{value:.3f}") for name, value in zip(names[:LISTED], found.correlation, strict=False))]
        rows += [(f"{len(names) - LISTED:,} more: on the page", "")] if len(names) > LISTED else []
        rows += [("mean over classes", f"{found.within:.3f}"), ("all images", f"{found.overall:.3f}")]
        kept = [("kept", "by both", "by chance")]
        kept += [
            (f"{100 * share:.0f} %", f"{100 * both:.1f} %", f"{100 * chance:.1f} %")
            for share, both, chance in zip(SHARES, found.overlap, found.by_chance, strict=True)
        ]
        screen = Screen()
        for each in (found.first, found.second):
            print_line(screen, shown(f"{each.title} ({each.criterion}, {each.drop} scores are dropped)"))
        print_line(screen, "\n".join(["", *aligned(rows, [1]), "", *aligned(kept, [0, 1, 2])]))
        program.show_uri("page", out)

    program.looked_up(NAME, work, show)


ACTIONS: dict[str, Callable[[Namespace], None]] = {
    "publish": _publish,
    "import": _import,
    "list": _list,
    "fetch": _fetch,
    "compare": _compare,
}
