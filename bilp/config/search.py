"""Settings of the search that turns `search` into numbers: what is tried, how cheaply, and on how many held-out images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bilp.config.base import Dropped, Fraction, Frozen, Kept, MethodName, Positive, Seed, Several
from bilp.config.criteria import End

HeldOut = Annotated[float, Field(gt=0.0, lt=1.0)]


class SearchConfig(Frozen):
    """The search for settings that say `search`: values are tried with a cheap proxy, and judged on training images that are held out."""

    keep: Annotated[tuple[Kept, ...], Field(min_length=1)] = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3)
    """Shares that are tried where keep = search. The largest is what all others are compared with."""
    drop: tuple[End, ...] = ()
    """Ends of the ranking that are tried with each share; empty tries the one that prune.drop names."""
    beta: Annotated[tuple[Dropped, ...], Field(min_length=1)] = (0.0, 0.1, 0.3)
    """Shares that are tried where reselect.beta = search."""
    low_share: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (0.0, 0.5)
    """Parts of beta that are tried where reselect.low_share = search."""
    method: MethodName | None = None
    """Method of the proxies; empty is dm, the cheapest. The method of the run itself may be named, too."""
    iterations: Kept = 0.1
    """Part of distill.iterations that proxies of the last rung make; those of a rung before make half as many."""
    least: Positive = 100
    """Iterations of the last rung at least, or those of the run if it has fewer: what matters late is not seen in a handful of them."""
    distillations: Several = 3
    """Independently seeded distillations of every candidate; candidates have these seeds in common."""
    trainings: Several = 3
    """Networks trained on each of them."""
    held_out: HeldOut = 0.2
    """Part of each class of the training images that candidates are judged on; proxies are scored, pruned and distilled without it."""
    seed: Seed = 0
    """Seed of which training images are held out; seed, the dial, does not change it."""
    most: Positive = 64
    """Refuse a search with more candidates."""
