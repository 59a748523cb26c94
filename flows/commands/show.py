"""bilp show 3f2a

Show what something in a storage is, what it comes from and what it says: a report, a run, a data set, or any other artifact.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from bilp.results.find import find
from bilp.results.parts import described, lines
from flows import program
from tasks.terminal import Screen, print_line

NAME = "bilp show"


def main(arguments: Sequence[str]) -> None:
    """Show what `arguments` name."""
    parser = program.Parser(prog=NAME, description=program.described(__doc__)[1], allow_abbrev=False)
    parser.add_argument("key", metavar="KEY", help="a key, the first digits of one, a path or a URI")
    parser.add_argument("--storage", metavar="URI", help="storage root (default: $BILP_STORAGE, or bilp-storage)")
    parser.add_argument("--json", action="store_true", help="everything about it, as JSON")
    typed = parser.typed(arguments)
    if typed.json:
        program.looked_up(
            NAME, lambda: described(find(typed.key, typed.storage)), lambda told: print_line(Screen(), json.dumps(told, indent=1))
        )
    else:
        program.looked_up(NAME, lambda: lines(find(typed.key, typed.storage)), program.show_text)
