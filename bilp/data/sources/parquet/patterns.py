"""The files that a setting names: by path, folder or pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import product

from bilp.data.sources.parquet.file_names import Part
from bilp.text.escaping import shown

MOST = 10  # of a list of names that a message shows


def matching(parts: Sequence[Part], pattern: str) -> list[Part]:
    """The files of a path, or below a folder: *, ? and [] stand for characters of one name, {one,other} for several patterns.

    A pattern without / that fits neither a file nor a folder at the top is tried on the names of files at any depth.
    """
    wanted = pattern.strip().removeprefix("./").strip("/")
    if wanted in ("", "."):
        return list(parts)
    for patterns in ([wanted], _alternatives(wanted)):  # the first for names with brackets of their own
        literal = [part for part in parts if any(f"{part.path}/".startswith(f"{one}/") for one in patterns)]
        found = literal or [part for part in parts if any(_fits(part.path, one) for one in patterns)]
        if not found and "/" not in wanted:
            found = [part for part in parts if any(fnmatchcase(part.path.rsplit("/", 1)[-1], one) for one in patterns)]
        if found:
            return found
    return []


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(shown(name) for name in names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")


def _fits(path: str, pattern: str) -> bool:
    """Whether the pattern fits the path or a folder above it, name by name."""
    names, wanted = path.split("/"), pattern.split("/")
    return len(names) >= len(wanted) and all(fnmatchcase(name, one) for name, one in zip(names, wanted, strict=False))


def _alternatives(pattern: str) -> list[str]:
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    choices = [piece.split(",") if position % 2 else [piece] for position, piece in enumerate(pieces)]
    return ["".join(chosen) for chosen in product(*choices)]
