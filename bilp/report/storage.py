"""What a page says of sets that are stored as less than their images: how ipc is counted here, and how papers count it."""

from __future__ import annotations

from collections.abc import Sequence

from bilp.config import DistillConfig
from bilp.config.storage import equivalent_ipc, stored_values
from bilp.report.wording import count
from bilp.text.sample_words import spoken


def storage_sentence(distill: DistillConfig, classes: int, shape: Sequence[int]) -> str:
    """Sentences for a reader of the page; empty where a set is stored as its images."""
    values = stored_values(distill, classes, shape)
    if values is None:
        return ""
    papers = f"{equivalent_ipc(values, classes, shape):.3g}"
    return spoken(
        f"ipc counts the {count(distill.ipc, 'image')} per class that networks are trained on. They follow from {values:,} stored numbers, "
        f"as many as {papers} images of each class have, and papers call {papers} the ipc of such a set."
    )
