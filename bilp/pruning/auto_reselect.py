"""What adaptive pruning should drop, found from the static scores: how much, and at which end.

Measured on digits with 20 % wrong labels (DM, ipc 1, nine trainings each): the default, a tenth at both ends, changes nothing; the
upper tail alone with beta 0.3 brings 1.5 points. On clean data neither matters. So the default stands unless labels are doubted by the
rule that finds `prune.keep` (`bilp.pruning.auto`): mixtures of losses, or networks where they are sure. Then the largest effects alone are
dropped, half as many again as labels are doubted, because effects order wrong labels less sharply than losses do, and never more than
MOST.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bilp.artifacts.facts import SummaryFacts
from bilp.config import ReselectConfig
from bilp.config.criteria import CRITERIA, SUMMARIZED
from bilp.config.words import AUTO
from bilp.errors import ConfigError
from bilp.pruning import auto
from bilp.pruning.static import ranked
from bilp.scoring.agreement import agreement
from bilp.scoring.summary import criterion_scores, open_summary, records, sample_labels, scoring_of, trials_of
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
    share, evidence = _doubted_share(summary_uri)
    default = ReselectConfig()
    if share < LEAST:
        beta, low_share = default.shares
        why = f"no more labels are doubted than in clean data ({evidence}), so a little is dropped at both ends"
    else:
        beta, low_share = min(MOST, round(AGAIN * share, 2)), 0.0
        why = f"{100 * share:.0f} % of the labels are doubted ({evidence}), so the largest effects alone are dropped"
    found = {name: value for name, value in (("beta", beta), ("low_share", low_share)) if getattr(config, name) == AUTO}
    told = " and ".join(f"{name} {value:g}" for name, value in found.items())
    return FoundReselect(config.model_copy(update=found), share, f"auto found {told}: {why}")


def _doubted_share(summary_uri: Uri) -> tuple[float, str]:
    """The share of doubted labels, and what says so: mixtures of the losses that split most sharply, else networks that are sure."""
    summary = open_summary(summary_uri)
    there = [name for name in LOSSES if name in summary.stated(SummaryFacts).criteria]
    if not there:
        raise ConfigError(
            f"{summary.uri} recorded no losses, by which reselect.beta and reselect.low_share auto are found: "
            f"give numbers, or use a criterion of the losses (--prune.criterion {LOSSES[0]})"
        )
    names, labels = np.unique(sample_labels(summary), return_inverse=True)
    found = []
    for name in there:
        mixed = CRITERIA[name].mixed
        if mixed is not None:
            values, one = auto.find(ranked(criterion_scores(summary, name), labels, [str(label) for label in names]), mixed, 1.0, True)
            found.append((one.split, one.separation, float((values > one.thresholds[labels]).mean())))
    split, separation, share = max(found)
    apart = f"separation of losses {separation:.1f}"
    if split:
        return share, apart
    agreed = agreement(records(trials_of(summary), scoring_of(summary), len(labels)))
    if agreed is None:
        return 0.0, apart
    believed = auto.believed_share(agreed)
    return (0.0 if believed is None else 1.0 - believed), f"{apart}, sure networks agree with {100 * agreed:.0f} % of the labels"
