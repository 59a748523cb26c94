"""Settings of the list of suspects, and the scores of labels that it can be ranked by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from bilp.config.base import Frozen, Kept, Positive
from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class LabelScore:
    """A score of labels, low = bad.

    `order` and `score` name functions (bilp.suspects.evidence.Evidence) -> float64 `[N]`: what samples are ranked by, and the same order
    from 0 to 1, as users of cleanlab know it. Where a score saturates, its order still tells samples apart.
    """

    name: str
    title: str
    """What it is called on a page."""
    meaning: str
    """A clause for a reader of the page that says what the score is."""
    order: str
    score: str


_ROOM = "bilp.suspects.label_scores"

LABEL_SCORES = Registry(
    "label score",
    LabelScore,
    (
        LabelScore(
            "aum",
            "area under the margin",
            "the softmax of the given class against its strongest rival, at the margin averaged over the epochs; below 0.5 the rival wins",
            f"{_ROOM}:aum",
            f"{_ROOM}:logistic_aum",
        ),
        LabelScore(
            "self_confidence",
            "self-confidence",
            "the mean probability of the given class",
            f"{_ROOM}:self_confidence",
            f"{_ROOM}:self_confidence",
        ),
        LabelScore(
            "normalized_margin",
            "normalized margin",
            "the mean probability of the given class minus that of the most probable other one, brought to 0 to 1",
            f"{_ROOM}:margin",
            f"{_ROOM}:normalized_margin",
        ),
        LabelScore(
            "loss_init",
            "early loss",
            "the geometric mean of the probability of the given class over the first epochs",
            f"{_ROOM}:early_loss",
            f"{_ROOM}:early_likelihood",
        ),
        LabelScore(
            "loss_converge",
            "late loss",
            "the geometric mean of the probability of the given class over the last epochs",
            f"{_ROOM}:late_loss",
            f"{_ROOM}:late_likelihood",
        ),
        LabelScore("el2n", "EL2N", "one minus the error norm over its greatest value", f"{_ROOM}:error_norm", f"{_ROOM}:small_error"),
        LabelScore(
            "forgetting",
            "forgetting",
            "one minus the share of epochs after which the given class was forgotten",
            f"{_ROOM}:forgotten",
            f"{_ROOM}:remembered",
        ),
    ),
)
"""By name; the first is the default: in most settings the margin, averaged over the epochs, finds most (arXiv 2510.16211)."""

DEFAULT_SCORE = next(iter(LABEL_SCORES))
LabelScoreName = Annotated[str, EntryName("bilp.config.suspects:LABEL_SCORES")]


class SuspectsConfig(Frozen):
    """The list of suspects: training images whose label is probably wrong."""

    later: ClassVar[frozenset[str]] = frozenset({"relabel"})

    by: LabelScoreName = DEFAULT_SCORE
    """Label score that ranks them."""
    worst: Annotated[Positive, Field(le=1000)] = 100
    """How many are shown in pictures, and listed in corrections.csv at least."""
    near: Annotated[float, Field(ge=0.0, le=1.0)] = 0.13
    """Images are near duplicates at less than this share of the median distance of an image to its nearest neighbor."""
    relabel: Kept | None = None
    """Probability from which corrections.csv gives an image the class that networks predict, by itself; empty decides nothing. Networks
    that learn from many wrong labels are seldom sure. Of images that static pruning keeps, where it has been done, nothing is decided."""
