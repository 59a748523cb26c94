"""What the page says of scores that are not plainly those of the run's own trials: extended ones, and those of an atlas."""

from __future__ import annotations

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SelectionFacts, SummaryFacts
from bilp.text.sample_words import spoken


def scores_sentence(own: str, scores: Artifact | None, selection: Artifact | None) -> str:
    """What the scores mean: `own`, the sentence about scores of the run's settings, as far as they are such.

    Extended scores say their version and how many were taken over; those of an atlas say which entry they are.
    """
    extended = None if scores is None else scores.stated(SummaryFacts).extended
    atlas = None if selection is None else selection.stated(SelectionFacts).atlas
    if atlas is not None:
        return f"The scores were not measured here: they are those of the entry “{atlas.title}” ({atlas.entry}) of an atlas."
    if extended is None:
        return own
    return (
        f"{own} They are version {extended.version} of the scores of a growing data set: {extended.taken:,} were taken over, and "
        f"{extended.added:,} new {spoken('images')} were scored by networks that had not learned them."
    )
