"""Names of files and classes: how they are stored and shown, and when two of them are the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_ESCAPED = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are no UTF-8, separators of lines and paragraphs


def shown(name: str) -> str:
    r"""The name as one line of valid text: bytes that are no UTF-8 become \xe9, a line break becomes \n."""
    if name.isprintable():
        return name
    return "".join(_escaped(character) if unicodedata.category(character) in _ESCAPED else character for character in name)


def class_name(name: str) -> str:
    """The name of a class as it is stored: in Unicode form NFC, so that every system spells it alike, and fit to be shown."""
    return shown(unicodedata.normalize("NFC", name))


def spelling(name: str) -> str:
    """Equal for names that cannot be told apart on a screen: the same but for Unicode form and surrounding spaces."""
    return unicodedata.normalize("NFC", name).strip()


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


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a file name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii") if code < 0xD800 or code > 0xDFFF else f"\\u{code:04x}"
