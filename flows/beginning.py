"""What a program does before anything heavy is imported: from here on, whatever goes wrong ends it with one line.

Importing Prefect and torch takes seconds in which somebody may press Ctrl-C, a package may be missing or a setting of Prefect may be
wrong, and no code of ours is under way that could catch it. This module itself imports next to nothing, to be early.
"""

from __future__ import annotations

import sys
from itertools import pairwise

TYPE_CHECKING = False  # typing's own constant would take importing typing
if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = ("flows.", "deployments.")
"""Where programs lie."""


def settle() -> None:
    """If this process is one of our programs, settle its output and its end; a process that only imports flows is left alone."""
    program = program_of(sys.orig_argv)
    if program is None or sys.argv[0] != "-m":  # what `python -m` puts there while it looks for the module
        return
    begin(program)


def begin(program: str) -> None:
    """Settle the end of this process, which is `program`, and its output."""
    from bilp import ending

    ending.begin(program)
    settle_output()


def settle_output() -> None:
    """Settle what this process writes."""
    import logging
    import warnings

    from tasks import output

    output.settle()
    logging.raiseExceptions = False  # a log that cannot be sent is nothing that a terminal has to show
    # Said in our own words where it matters (`flows.local.server`).
    warnings.filterwarnings("ignore", message="Failed to create the Prefect home directory")


def program_of(command: Sequence[str]) -> str | None:
    """The program that a command line of Python starts with -m, such as "python -m flows.ingest"; None if it is not ours."""
    for before, argument in pairwise(command):
        if before.startswith("-") and before.endswith("m"):
            return f"python -m {argument}" if argument.startswith(PACKAGES) else None
        if argument.startswith("-m"):
            module = argument.removeprefix("-m")
            if module:
                return f"python -m {module}" if module.startswith(PACKAGES) else None
        elif not argument.startswith("-") and not before.startswith(("-W", "-X")):
            return None  # a script
    return None
