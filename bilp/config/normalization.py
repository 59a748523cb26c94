"""Names of normalization constants, and the sets that are known by their name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bilp.config.sources import IMAGENET, OWN, SOURCES, KnownSet, Normalization
from bilp.registry import Registry


@dataclass(frozen=True)
class NormalizationEntry:
    """A value of ingest.normalization, and its constants; None for those that follow from the data set."""

    name: str
    constants: Normalization | None = None


TINY_IMAGENET = KnownSet((3, 64, 64), 200, IMAGENET)

AUTO = NormalizationEntry("auto")
NORMALIZATIONS: Registry[NormalizationEntry] = Registry(
    "normalization",
    NormalizationEntry,
    (
        AUTO,
        NormalizationEntry("measured"),
        *(NormalizationEntry(source.name, source.known.constants) for source in OWN if source.known is not None),
        NormalizationEntry("imagenet", IMAGENET),
    ),
)


def plain_name(name: str) -> str:
    """A name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


# By plain name. Entries of other packages are not among them: what is installed must not change other sources' data sets.
KNOWN: dict[str, KnownSet] = {
    **{plain_name(source.name): source.known for source in OWN if source.known is not None},
    "tinyimagenet": TINY_IMAGENET,
    "tinyimagenet200": TINY_IMAGENET,
}


def known_set(name: str, source: str) -> KnownSet | None:
    """The published set that a data set called `name`, opened by a source, is a copy of by its name; else what the source says."""
    if (constants := SOURCES[source].constants) is not None:
        return KnownSet(None, None, constants)
    return KNOWN.get(plain_name(name)) or SOURCES[source].known
