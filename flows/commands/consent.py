"""Asking before something is removed."""

from __future__ import annotations

import sys

from flows import program


def agreed(name: str, question: str, yes: bool) -> bool:
    """Whether the user wants what is asked: `yes` was typed before, or is now. Without a terminal the program ends with status 2."""
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        program.refuse(name, "nobody can be asked here whether to remove this: give --yes, or --dry-run to see what would be removed")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
