"""What samples are called in prose: sentences say "image", and where samples are clips, they are told with "clip".

Only what this program says itself is given to `spoken`, never a name of a file, a class or a setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

IMAGE = "image"
_noun: ContextVar[str] = ContextVar("noun of samples", default=IMAGE)
_WORD = re.compile(r"(?<![\w\-./#])(?:(an)(\s+))?(image)(s?)(?![\w\-/]|\.\w)", re.IGNORECASE)


@contextmanager
def speaking_of(noun: str) -> Iterator[None]:
    """Within, samples are called by this noun: image or clip."""
    token = _noun.set(noun)
    try:
        yield
    finally:
        _noun.reset(token)


def noun_of_samples() -> str:
    """What samples are called now."""
    return _noun.get()


def spoken(text: str, noun: str | None = None) -> str:
    """A sentence of this program with the noun for its samples, by default that of `speaking_of`: an image, images, Image."""
    noun = noun or _noun.get()
    return text if noun == IMAGE else _WORD.sub(lambda found: _replaced(found, noun), text)


def _replaced(found: re.Match[str], noun: str) -> str:
    article, blank, word, plural = found.groups()
    said = noun.capitalize() if word[0].isupper() else noun
    return f"{article[0] if article else ''}{blank or ''}{said}{plural}"
