"""How frames of clips can be chosen, one entry each, and the sizes that frames are brought to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class Sampling:
    """A way to choose frames of a clip."""

    name: str
    meaning: str
    """Which frames, as a clause that may hold `{frames}`, `{fps}` and `{stride}`."""
    chooser: str
    """"module:name" of the function that takes a Timeline and a Wanted (`bilp.data.clips.sampling`)."""
    reads: frozenset[str] = frozenset()
    """Settings of ingestion that this one reads beside frames, and that are refused with those that do not."""
    draws: bool = True
    """Whether it reads the draw of a clip's random stream, so that decoded clips depend on ingest.split_seed."""


_ROOM = "bilp.data.clips.sampling"

SAMPLINGS = Registry(
    "sampling",
    Sampling,
    (
        Sampling("uniform", "{frames} frames, at the centers of as many equal segments", f"{_ROOM}:uniform", draws=False),
        Sampling("middle", "{frames} frames at {fps} a second around the middle", f"{_ROOM}:middle", frozenset({"fps"}), draws=False),
        Sampling("window", "{frames} frames, one of {stride}, from a random start", f"{_ROOM}:window", frozenset({"stride", "clips"})),
    ),
)

SamplingName = Annotated[str, EntryName("bilp.config.clip_settings:SAMPLINGS")]

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


def size_of(text: str) -> tuple[int, int]:
    """Width and height of a size as people write it: 160x120, or 64 for both. Raises ValueError for anything else."""
    found = _SIZE.fullmatch(text if "x" in text else f"{text}x{text}")
    if found is None:
        raise ValueError(f"{text!r} is no size: give width x height as 160x120, or one number for both")
    return int(found[1]), int(found[2])


def _checked(text: str) -> str:
    size_of(text)
    return text


FrameSizeText = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value), AfterValidator(_checked)]
"""A size in words, checked."""
