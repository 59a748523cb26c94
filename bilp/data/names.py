"""Names of files and classes: how they are stored, and when two of them are the same."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from bilp.text.escaping import shown


def class_name(name: str) -> str:
    """The name of a class as it is stored: in Unicode form NFC, so that every system spells it alike, and one line of valid text."""
    return "".join(
        character if unicodedata.category(character) == "Cf" else shown(character) for character in unicodedata.normalize("NFC", name)
    )


def spelling(name: str) -> str:
    """Equal for names that cannot be told apart on a screen: the same but for Unicode form and surrounding spaces."""
    return unicodedata.normalize("NFC", name).strip()


def told_apart(names: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:
    """The names, with its id in brackets behind each that several classes have: ImageNet's 'crane (n02012849)' is a bird."""
    count = Counter(map(spelling, names))
    return tuple(f"{name} ({own})" if count[spelling(name)] > 1 else name for name, own in zip(names, ids, strict=True))


def matched(names: Sequence[str], others: Sequence[str]) -> dict[str, str] | None:
    """For each of `others` the one of `names` that means the same class, or None if they do not match one to one.

    Names match if they are equal; or, where case and surrounding spaces tell no classes of either side apart, if they
    are equal but for these.
    """
    if set(names) == set(others):
        return {other: other for other in others}
    plain = {spelling(name).casefold(): name for name in names}
    pairs = {other: plain.get(spelling(other).casefold(), "") for other in others}
    return pairs if set(pairs.values()) == set(names) and len(names) == len(others) == len(plain) else None
