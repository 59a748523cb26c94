"""What the page says of scores that were extended to images that came later."""

from __future__ import annotations

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SummaryFacts


def extension_sentence(scores: Artifact | None) -> str:
    """A sentence on which version of growing data scores are of, and how many were taken over; empty if they were not extended."""
    extended = None if scores is None else scores.stated(SummaryFacts).extended
    if extended is None:
        return ""
    return (
        f"The scores are version {extended.version} of those of a growing data set: {extended.taken:,} were taken over, and "
        f"{extended.added:,} new images were scored by networks that had not learned them."
    )
