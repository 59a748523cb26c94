"""bilp gc --dry-run

Remove from the storage what no page, no reproduction and no imported set reaches. Kept as well: what --keep names, what was written or used
within a day (--older-than), what somebody works on, unfinished runs, and the decoded parts of unfinished ingestions. Files that are none of
ours stay and are named. It may be interrupted at any time; the next one goes on.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from bilp.errors import BilpError
from bilp.maintenance.garbage import Options, Plan, plan
from bilp.maintenance.inventory import Item
from bilp.maintenance.references import plan_of
from bilp.maintenance.removal import Removed, collect
from bilp.results.find import find
from bilp.storage.objects import as_uri, storage_root
from bilp.text.escaping import place
from flows import program
from flows.commands.amounts import seconds, size
from flows.commands.consent import agreed
from tasks import terminal

NAME = "bilp gc"
PLAN = "ingest_plan"
LISTED = 10
"""Files that are none of ours, of which so many are named."""


def main(arguments: Sequence[str]) -> None:
    """Remove, or list, what `arguments` ask for."""
    parser = program.Parser(prog=NAME, description=program.described(__doc__)[1], allow_abbrev=False)
    parser.add_argument("--storage", metavar="URI", help="storage root (default: $BILP_STORAGE, or bilp-storage)")
    parser.add_argument("--dry-run", action="store_true", help="list what would be removed, and remove nothing")
    parser.add_argument("--keep", nargs="+", default=[], metavar="KEY", help="keep these as well, with all that they were made from")
    parser.add_argument("--older-than", default="1d", metavar="AGE", help="keep what was written or used since: 12h, 1d, 2w (default: 1d)")
    parser.add_argument(
        "--unfinished", action="store_true", help="remove unfinished runs, trainings and ingestions as well, and runs that nobody evaluated"
    )
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    typed = parser.typed(arguments)
    root = as_uri(typed.storage) if typed.storage else storage_root()
    try:
        age = seconds(typed.older_than)
    except BilpError as error:
        program.refuse(NAME, f"--older-than: {error}")
    known: list[tuple[Plan, Options]] = []

    def look() -> Plan:
        options = Options(age, tuple(find(key, root).place for key in typed.keep), typed.unfinished)
        found = plan(root, options, dry=typed.dry_run)
        known.append((found, options))
        return found

    def remove() -> Removed:
        line = terminal.line("gc")
        return collect(*known[0], lambda done, total, note="": line.advance(done, total, note))

    program.looked_up(NAME, look, lambda found: program.show_text(told(found, typed.dry_run)))
    found = known[0][0]
    if found.removed and not typed.dry_run:
        if agreed(NAME, f"Remove {len(found.removed)} things, {size(found.size)}?", typed.yes):
            program.looked_up(NAME, remove, lambda done: program.show_text(done_lines(done)))
        else:
            program.show_text(["nothing was removed"])


def told(found: Plan, every: bool) -> list[str]:
    """The plan in words, with `every` thing that it removes."""
    foreign = list(found.inventory.foreign)
    lines = [f"{item.kind} {place(item.place)}  {size(item.size)}" for item in found.removed] if every else []
    kinds = Counter(item.kind for item in found.removed)
    if foreign:
        more = f" and {len(foreign) - LISTED} more" if len(foreign) > LISTED else ""
        lines.append(f"none of ours, stays: {', '.join(map(place, foreign[:LISTED]))}{more}")
    kept = [(len(found.unfinished), "unfinished"), (len(found.recent), "used or written of late, or being worked on")]
    lines += [f"{count} stay because they are {why}, or needed by what is" for count, why in kept if count]
    begun = [item for item in found.inventory.items.values() if item.kind == PLAN and item.place in found.unfinished]
    lines += [ingestion_line(found, item) for item in begun]
    if not found.removed:
        return [*lines, "nothing to remove"]
    counted = ", ".join(f"{count} of kind {kind}" for kind, count in sorted(kinds.items()))
    return [*lines, f"to remove: {counted}; {size(found.size)} of {size(found.inventory.size)}"]


def ingestion_line(found: Plan, planned: Item) -> str:
    """What an unfinished ingestion has decoded, which repeating its command goes on with."""
    parts = [each for each in found.inventory.items.values() if plan_of(each.place) == planned.place and each.whole]
    facts, total = planned.recorded("facts"), size(sum(part.size for part in parts))
    done = f"{len(parts)} of {len(facts.get('parts', ()))} parts decoded ({total})"
    return f"unfinished ingestion of {place(str(facts.get('name')))}, {done}, stays, or --unfinished removes it: {place(planned.place)}"


def done_lines(done: Removed) -> list[str]:
    """What was removed, in words."""
    spared = [f"{len(done.spared)} stayed because they were used meanwhile"] if done.spared else []
    return [*spared, f"removed {len(done.places)} things, {size(done.size)}"]


if __name__ == "__main__":
    main(sys.argv[1:])
