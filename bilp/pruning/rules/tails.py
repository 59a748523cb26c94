"""Rule tail: an end of the ranking is dropped, or both, or all but a band; how much is a number, or found by a mixture."""

from __future__ import annotations

from dataclasses import replace

from bilp.config.criteria import CRITERIA
from bilp.config.words import AUTO
from bilp.errors import ConfigError
from bilp.pruning import auto
from bilp.pruning.choice import Choice, Chosen
from bilp.pruning.static import Tail, remedy, tail


def choose(choice: Choice) -> Chosen:
    """Cut as `bilp.pruning.static.tail` does, or, with keep auto, keep what `bilp.pruning.auto` takes for well labeled."""
    samples, config = choice.samples, choice.config
    if config.keep == AUTO:
        return _found(choice)
    ends = Tail(float(config.keep), config.drop, config.low_share, config.band, None if config.per_class else config.floor_per_class)
    kept = tail(samples, ends)
    return Chosen(kept, remedy=remedy(samples, ends, kept, config.minimum_per_class))


def _found(choice: Choice) -> Chosen:
    """What lies below the thresholds of the mixtures, or the share that networks agree with if there are none.

    The easiest minimum_per_class and floor_per_class of each class stay in any case.
    """
    samples, config = choice.samples, choice.config
    mixed = CRITERIA[config.criterion].mixed
    if mixed is None:
        raise ConfigError(f"keep auto fits a mixture to the scores, which criterion {config.criterion} does not allow")
    high = config.drop == "high"
    values, found = auto.find(samples, mixed, 1.0 if high else -1.0, config.per_class)
    well = values <= found.thresholds[samples.labels]
    if not found.split and choice.agreement is not None:
        found = replace(found, agreement=choice.agreement())
        believed = auto.believed_share(found.agreement)
        if believed is not None:
            well = tail(samples, Tail(round(believed, 3), config.drop, floor_per_class=None if config.per_class else 0))
    rank = samples.rank_in_class
    from_easiest = rank if high else samples.total[samples.labels] - 1 - rank
    return Chosen(well | (from_easiest < max(config.minimum_per_class, config.floor_per_class)), found)
