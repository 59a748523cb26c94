"""What the page says of sets that hold real images."""

from __future__ import annotations

import pytest

from bilp.report.real_rows import part_in_words


@pytest.mark.parametrize(
    ("real", "images", "told"),
    [
        (4, 10, "4 of 10 images of the classes shown are real training samples as they are; the others were distilled"),
        (1, 10, "1 of 10 images of the classes shown is a real training sample as it is; the others were distilled"),
        (1200, 1200, "all 1,200 images of the classes shown are real training samples as they are"),
    ],
)
def test_a_set_of_real_images_alone_is_not_said_to_hold_distilled_ones(real: int, images: int, told: str) -> None:
    assert part_in_words(real, images) == told
