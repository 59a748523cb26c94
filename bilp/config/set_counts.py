"""How many samples and classes published sets have, for a plan that is made before anybody has the data.

An entry of `bilp.config.sources` has those of its set; one that has none has to be listed. Copies differ: these are the usual ones.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SetCounts:
    """Sizes of a set; classes are taken as equally large."""

    train: int
    test: int
    classes: int
