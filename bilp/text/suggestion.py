"""What somebody probably meant by a word that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST = 3
SHORTEST = 3  # characters of a word that others are taken to begin with


def suggestion(word: object, known: Iterable[str]) -> str:
    """'; did you mean cifar10 or cifar100?', or nothing where no known word begins with this one or looks like it."""
    names = list(known)
    if not isinstance(word, str) or not word:
        return ""
    typed = word.lower().replace("-", "_")
    begun = [name for name in names if len(typed) >= SHORTEST and name.lower().startswith(typed)]
    by_lower = {name.lower(): name for name in names}
    close = begun or [by_lower[name] for name in difflib.get_close_matches(typed, by_lower, n=MOST, cutoff=0.6)]
    meant = close[:MOST]
    if not meant or word in names:
        return ""
    return f"; did you mean {' or '.join([', '.join(meant[:-1]), meant[-1]] if len(meant) > 1 else meant)}?"
