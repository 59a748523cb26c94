"""How long the rest of a study takes, from the blocks that are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from bilp.studies.study_plan import Block


def expected(block: Block, blocks: Sequence[Block], worked: Mapping[int, float]) -> float | None:
    """Seconds that a block takes: the mean of its cell's, or of all if none of that cell is done; None if none at all is.

    Args:
        block: Which one.
        blocks: All of the study.
        worked: Seconds of those that are done, by number.
    """
    of_cell = [worked[each.number] for each in blocks if each.number in worked and each.cell.number == block.cell.number]
    known = of_cell or list(worked.values())
    return fmean(known) if known else None


def left(waiting: Sequence[Block], blocks: Sequence[Block], worked: Mapping[int, float]) -> float | None:
    """Seconds that the waiting blocks take together; None while nothing is known."""
    found = [expected(block, blocks, worked) for block in waiting]
    return None if not worked else sum(seconds for seconds in found if seconds is not None)
