"""Names of directories that say "images" and no class: images, img_align_celeba, JPEGImages, images_001, ..._images_part_1."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A directory of such a name is never taken for a class, whatever lies beside it: images/ with masks/, train/images/.
IMAGES = frozenset(("image", "images", "img", "imgs", "jpegimages", "dataset", "datasets"))
# The only directory is not taken for one if any word of its name is among these either.
LONE = IMAGES | frozenset(
    ("data", "photo", "photos", "picture", "pictures", "pics", "frames", "jpg", "jpgs", "jpeg", "png", "pngs", "input", "inputs")
)
PARTS = frozenset(("part", "parts", "batch", "chunk", "shard", "archive", "zip"))


def says_no_class(name: str, names: Sequence[str]) -> bool:
    """Whether `name`, one of all `names` that stand side by side, is no class: it says that there are images, or a part of them."""
    words = _words(name)
    if len(names) == 1:
        return bool(words & LONE)
    alike = len({re.sub(r"\d+", "#", other.casefold()) for other in names}) == 1  # they differ in a number alone
    return (bool(words) and words <= IMAGES) or (alike and bool(words & (IMAGES | PARTS)))


def _words(name: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", name.casefold()))
