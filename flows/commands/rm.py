"""bilp rm KEY --unused

Remove what has this key, or lies at this path: a page, a run, any artifact, also one that is damaged. With --unused, what it was
made from goes as well, as far as nothing else uses it. What others need is not removed unless --force is given.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bilp.maintenance.discard import Discard, discard
from bilp.maintenance.removal import Removed, remove
from bilp.results.find import locate
from bilp.storage.objects import as_uri, storage_root
from bilp.text.escaping import place
from flows import program
from flows.commands.amounts import size
from flows.commands.consent import agreed
from flows.commands.gc import done_lines

NAME = "bilp rm"


def main(arguments: Sequence[str]) -> None:
    """Remove what `arguments` ask for."""
    parser = program.Parser(prog=NAME, description=program.described(__doc__)[1], allow_abbrev=False)
    parser.add_argument("keys", nargs="+", metavar="KEY", help="key, the beginning of one, path or URI")
    parser.add_argument("--storage", metavar="URI", help="storage root (default: $BILP_STORAGE, or bilp-storage)")
    parser.add_argument("--unused", action="store_true", help="also what it was made from, if nothing else uses that")
    parser.add_argument("--force", action="store_true", help="also what others need, which then lack it")
    parser.add_argument("--dry-run", action="store_true", help="list what would be removed, and remove nothing")
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    typed = parser.typed(arguments)
    root = as_uri(typed.storage) if typed.storage else storage_root()
    known: list[Discard] = []

    def look() -> Discard:
        known.append(discard([locate(key, root) for key in typed.keys], typed.unused, typed.force))
        return known[0]

    def take_away() -> Removed:
        return remove(known[0].inventory, known[0].of, known[0].items)

    program.looked_up(NAME, look, lambda found: program.show_text(told(found)))
    if not typed.dry_run:
        if agreed(NAME, f"Remove {len(known[0].items)} things?", typed.yes):
            program.looked_up(NAME, take_away, lambda done: program.show_text(done_lines(done)))
        else:
            program.show_text(["nothing was removed"])


def told(found: Discard) -> list[str]:
    """What is removed, in words."""
    lines = [f"{item.kind} {place(item.place)}  {size(item.size)}" for item in found.items]
    lines += [f"will lack it: {place(each)}" for each in found.lacking]
    return [*lines, f"to remove: {len(found.items)} things, {size(sum(item.size for item in found.items))}"]


if __name__ == "__main__":
    main(sys.argv[1:])
