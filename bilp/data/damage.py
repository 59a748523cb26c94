"""How much of a source may be missing or damaged."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bilp.config import IngestConfig
from bilp.data.contents import Contents, Labels, Skipped, SplitName
from bilp.data.videos import first_windows, videos_of
from bilp.errors import DataError

MOST_OF_A_CLASS = 0.5
"""Share of the images of a class that may be missing or damaged where there is any limit."""


class Damage:
    """What of a source is missing or damaged, as far as it is known: before anything is decoded, after some parts, in the end.

    A video counts once, however many clips of it are read.
    """

    def __init__(self, contents: Contents, config: IngestConfig, where: str) -> None:
        """What a source lists, and what it names and does not hold.

        `config` says how much may be lost; `where` names the source in messages.
        """
        self.most = config.most_corrupt if config.on_corrupt == "skip" else None
        """Share of a split that may be; None without a limit."""
        self._where = where
        self._names = contents.class_names
        self._several = config.clips > 1
        self._lost = {split: np.zeros(len(self._names), dtype=np.int64) for split in contents.items}
        """Of each class."""
        self._skipped: dict[SplitName, list[Skipped]] = {split: [] for split in contents.items}
        self._seen = set[tuple[SplitName, str]]()
        self.add(contents.absent)
        labels = {split: self._once(contents, split) for split in contents.items}
        self._of_class = {split: self._lost[split] + np.bincount(labels[split], minlength=len(self._names)) for split in labels}
        self._listed = {split: len(labels[split]) + self._count(split) for split in labels}

    def add(self, skipped: Iterable[Skipped]) -> None:
        """Images that are missing or damaged as well."""
        for entry in skipped:
            if entry.split in self._skipped and not (self._several and (entry.split, entry.origin) in self._seen):
                self._seen.add((entry.split, entry.origin))
                self._skipped[entry.split].append(entry)
                if entry.label is not None:
                    self._lost[entry.split][entry.label] += entry.count

    def check(self, done: str = "") -> None:
        """Raise DataError, naming the class that lost most, if too many images of a split or of a class are lost; `done` says how much was
        decoded so far, if that is not everything."""
        if self.most is None:
            return
        for split, skipped in self._skipped.items():
            count, listed, of_class = self._count(split), self._listed[split], self._of_class[split]
            shares = self._lost[split] / np.maximum(of_class, 1)
            worst = int(np.argmax(shares))
            if count <= self.most * listed and shares[worst] <= MOST_OF_A_CLASS:
                continue
            remedy = "set ingest.most_corrupt higher" if count > self.most * listed else "leave the class out by ingest.classes"
            limit = f"ingest.most_corrupt allows {100 * self.most:.3g} % of a split and {100 * MOST_OF_A_CLASS:g} % of a class"
            first = max(skipped, key=lambda entry: entry.count)
            found = f"{count:,} of {listed:,} listed are missing or damaged ({100 * count / listed:.3g} %){done}"
            raise DataError(
                f"{self._where} ({split}): {found}, most of class "
                f"{self._names[worst]!r} ({100 * shares[worst]:.3g} % of {of_class[worst]:,}): {limit}; "
                f"such as {first.origin}: {first.reason}: fetch them again, or {remedy}"
            )

    def _once(self, contents: Contents, split: SplitName) -> Labels:
        """The classes of what a split lists, a video once."""
        items = contents.items[split]
        return items.labels[first_windows(videos_of(items))] if self._several else items.labels

    def _count(self, split: SplitName) -> int:
        return sum(entry.count for entry in self._skipped[split])


def when_decoded(done: int, total: int) -> str:
    """How much was decoded when damage was found, for messages."""
    return f" when {done:,} of {total:,} were decoded" if done else " before anything was decoded"
