"""What adaptive pruning should drop, found from the static scores: how much, and at which end.

Measured on digits with 20 % wrong labels (DM, ipc 1, nine trainings each): the default, a tenth at both ends, changes nothing; the
upper tail alone with beta 0.3 brings 1.5 points. On clean data neither matters. So the default stands unless losses show a second
population whose labels networks doubt (`two_parts`); then the largest effects alone are dropped, half as many again as labels are
doubted, because effects order wrong labels less sharply than losses do, and never more than MOST.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bilp.artifacts.facts import SummaryFacts
from bilp.config import ReselectConfig
from bilp.config.criteria import SUMMARIZED
from bilp.config.words import AUTO
from bilp.errors import ConfigError
from bilp.pruning.two_parts import SMALLEST, doubted, split
from bilp.scoring.summary import criterion_scores, open_summary
from bilp.storage.objects import Uri

LOSSES = tuple(name for name, column in SUMMARIZED.items() if column.loss)
"""Columns of a summary that are losses, early ones and those after all epochs. The one that splits more sharply counts."""
MOST, AGAIN = 0.3, 1.5
LEAST = 0.02
"""A smaller share of doubted labels is what clean data have, too."""


@dataclass(frozen=True)
class FoundReselect:
    """Numbers in place of words, and why."""

    config: ReselectConfig
    doubted: float
    """Share of the samples whose labels are doubted."""
    why: str
    """One sentence for the log and the page, without its full stop."""

    @property
    def values(self) -> dict[str, float]:
        """beta and low_share by the path of the setting."""
        beta, low_share = self.config.shares
        return {"reselect.beta": beta, "reselect.low_share": low_share}


def auto_reselect(summary_uri: Uri, config: ReselectConfig) -> ReselectConfig:
    """The settings with numbers where they say auto. Raises ConfigError if the summary has no losses, as `found_reselect` does."""
    return found_reselect(summary_uri, config).config


def found_reselect(summary_uri: Uri, config: ReselectConfig) -> FoundReselect:
    """The numbers with the reason for them; what is a number already stays.

    Raises ConfigError if the scoring recorded no losses, so that nothing is known about labels.
    """
    share, separation = _doubted_share(summary_uri)
    default = ReselectConfig()
    if share < LEAST:
        beta, low_share = default.shares
        why = f"losses show no population of doubted labels (separation {separation:.1f}), so a little is dropped at both ends"
    else:
        beta, low_share = min(MOST, round(AGAIN * share, 2)), 0.0
        why = f"{100 * share:.0f} % of the labels are doubted (separation {separation:.1f}), so the largest effects alone are dropped"
    found = {name: value for name, value in (("beta", beta), ("low_share", low_share)) if getattr(config, name) == AUTO}
    told = " and ".join(f"{name} {value:g}" for name, value in found.items())
    return FoundReselect(config.model_copy(update=found), share, f"auto found {told}: {why}")


def _doubted_share(summary_uri: Uri) -> tuple[float, float]:
    """The share of doubted labels, and how far apart both parts of the losses lie, of the sharper of LOSSES."""
    summary = open_summary(summary_uri)
    there = [name for name in LOSSES if name in summary.stated(SummaryFacts).criteria]
    if not there:
        raise ConfigError(
            f"{summary.uri} recorded no losses, by which reselect.beta and reselect.low_share auto are found: "
            f"give numbers, or use a criterion of the losses (--prune.criterion {LOSSES[0]})"
        )
    scores = [criterion_scores(summary, name) for name in there]
    separation = [split(np.log(np.maximum(values, SMALLEST))).separation for values in scores]
    sharper = int(np.argmax(separation))
    return float(doubted(scores[sharper]).mean()), separation[sharper]
