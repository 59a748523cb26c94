"""How much of a source may be missing or damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bilp.data.contents import Contents, Labels, Skipped, SplitName
from bilp.data.shards import Stored
from bilp.data.videos import first_windows, videos_of
from bilp.errors import DataError

MOST_OF_A_CLASS = 0.5
"""Share of the images of a class that may be missing or damaged where there is any limit."""


def listed_and_kept(contents: Contents, stored: Mapping[SplitName, Stored], windows: bool) -> tuple[Contents, dict[SplitName, Labels]]:
    """What is listed, and the classes of what was decoded; with `windows` every video counts once, however many clips it is to give."""
    if not windows:
        return contents, {split: side.labels for split, side in stored.items()}
    items, kept = dict(contents.items), dict[SplitName, Labels]()
    for split, listed in contents.items.items():
        videos, side = videos_of(listed), stored[split]
        items[split] = listed.take(np.flatnonzero(first_windows(videos)))
        kept[split] = side.labels[first_windows(videos[side.places])]
    return replace(contents, items=items), kept


def check_damage(skipped: Sequence[Skipped], contents: Contents, kept: Mapping[SplitName, Labels], most: float, where: str) -> None:
    """Raise DataError, naming the class that lost most, if too many images of a split or of a class were skipped.

    Args:
        skipped: What is missing or damaged.
        contents: What the source lists.
        kept: The classes of what was decoded.
        most: Share of a split that may be skipped.
        where: Names the source in messages.
    """
    for split, labels in contents.labels.items():
        here = [entry for entry in skipped if entry.split == split]
        listed = len(labels) + sum(entry.split == split for entry in contents.absent)
        missing = [entry.label for entry in contents.absent if entry.split == split and entry.label is not None]
        of_class = np.bincount([*labels, *missing], minlength=len(contents.class_names))
        shares = 1 - np.bincount(kept[split], minlength=len(contents.class_names)) / np.maximum(of_class, 1)
        worst = int(np.argmax(shares))
        if len(here) <= most * listed and shares[worst] <= MOST_OF_A_CLASS:
            continue
        remedy = "set ingest.most_corrupt higher" if len(here) > most * listed else "leave the class out by ingest.classes"
        limit = f"ingest.most_corrupt allows {100 * most:.3g} % of a split and {100 * MOST_OF_A_CLASS:g} % of a class"
        raise DataError(
            f"{where} ({split}): {len(here):,} of {listed:,} listed are missing or damaged ({100 * len(here) / listed:.3g} %), most of "
            f"class {contents.class_names[worst]!r} ({100 * shares[worst]:.3g} % of {of_class[worst]:,}): {limit}; "
            f"the first is {here[0].origin}: {here[0].reason}: fetch them again, or {remedy}"
        )
