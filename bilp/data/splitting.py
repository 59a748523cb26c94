"""Which images of a source go to the train split and which to the test split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bilp.data.contents import Labels, SplitName
from bilp.data.duplicates import Mask
from bilp.data.shards import ShardWriter, Stored, blocks, map_shard
from bilp.data.texts import chained
from bilp.errors import DataError
from bilp.seeds import generator, stream_seed
from bilp.text.sample_words import spoken


def check_divisible(labels: Labels, class_names: Sequence[str], where: str) -> None:
    """Raise DataError for a class with fewer than two images, which no split can be made of."""
    for name, count in zip(class_names, np.bincount(labels, minlength=len(class_names)).tolist(), strict=True):
        if count < 2:
            images = spoken("1 image" if count == 1 else f"{count} images")
            raise DataError(
                f"{where}: class {name!r} has {images}, but the source has no test split and making one needs "
                + spoken("at least 2 images of each class: add images, or provide a test split")
            )


def held_out(
    labels: Labels, class_names: Sequence[str], fraction: float, seed: int, where: str, pictures: NDArray[np.int64] | None = None
) -> Mask:
    """Stratified split: mask [N], true for the images held out for testing.

    Of each class with n images, round(fraction * n) are held out, but at least one is held out and one stays; which
    ones depends on the seed, the class's number and n only. Equal images stay on one side, in whatever classes they are:
    they are held out together where that exceeds no class's share, and later ones of the random order take their place
    where it does, so a class may fall short of its share. One that gets no test image in this way gives the smallest set of
    equal images that leaves one training image in every class.

    Args:
        labels: Class of each image, [N].
        class_names: In label order, for messages.
        fraction: Share of each class to hold out.
        seed: Of the random order.
        where: Names the source in messages.
        pictures: Number of the picture that each image shows, [N]; equal numbers are equal pixels. None if all differ.

    Raises DataError for a class with fewer than two images, or without two pictures that can be told apart.
    """
    check_divisible(labels, class_names, where)
    sides = _Sides(labels, np.arange(len(labels)) if pictures is None else pictures, len(class_names), fraction)
    for index, name in enumerate(class_names):
        members = np.flatnonzero(labels == index)
        order = members[torch.randperm(len(members), generator=generator(seed, "ingest", "split", index)).numpy()]
        sides.hold_out(index, order)
        if sides.held[index] == 0 and not sides.hold_out_smallest(order):
            raise _too_few(name, where)
    return sides.mask


def held_out_by_pixels(
    labels: Labels,
    class_names: Sequence[str],
    fraction: float,
    seed: int,
    where: str,
    pictures: NDArray[np.int64],
    digests: NDArray[np.uint8],
) -> Mask:
    """Split that images stay in when others are added or go: mask [N], true for those held out for testing.

    The seed and an image's pixels alone draw a number in [0, 1), and it is held out if that is below `fraction`; of images that belong
    together the pixels with the smallest digest draw for all. Of each class at least one is held out and one stays, whatever they drew:
    the one with the smallest number, and the one with the largest. Only such an image may change sides when others come.

    Args:
        labels: Class of each image, [N].
        class_names: In label order, for messages.
        fraction: Share to hold out, about.
        seed: Of the draw.
        where: Names the source in messages.
        pictures: Equal numbers [N] stay on one side: equal pixels, windows of one video.
        digests: sha256 of the pixels of each image, [N, 32].

    Raises DataError as `held_out`.
    """
    check_divisible(labels, class_names, where)
    sides = _Sides(labels, pictures, len(class_names), fraction)
    drawn = _drawn(pictures, digests, seed)
    order = np.argsort(drawn, kind="stable")
    sides.hold_out_all(order[: np.searchsorted(drawn[order], fraction)])
    for index, name in enumerate(class_names):
        if sides.held[index] == 0 and not sides.hold_out_first(order[labels[order] == index]):
            raise _too_few(name, where)
    return sides.mask


def _drawn(pictures: NDArray[np.int64], digests: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """The number in [0, 1) that each image draws, [N]."""
    texts = np.ascontiguousarray(digests).view(f"V{digests.shape[1]}").ravel().astype(object)  # bytes, which sort as they read
    first: dict[int, bytes] = {}
    for picture, text in zip(pictures.tolist(), map(bytes, texts), strict=True):
        first[picture] = min(text, first.get(picture, text))
    begun = hashlib.sha256(f"{stream_seed(seed, 'ingest', 'hold_out')}".encode())
    numbers: dict[int, float] = {}
    for picture, text in first.items():
        state = begun.copy()
        state.update(text)
        numbers[picture] = (int.from_bytes(state.digest()[:8], "big") >> 11) / 2**53
    return np.array([numbers[picture] for picture in pictures.tolist()])


def _too_few(name: str, where: str) -> DataError:
    return DataError(
        f"{where}: class {name!r} "
        + spoken(
            "has too few different images to make a test split of: equal ones stay on one side, and train "
            "and test both need one of each class: add images, provide a test split, or set ingest.duplicates to drop"
        )
    )


class _Sides:
    """A split while it is being made: which images are held out, and how many of each class."""

    def __init__(self, labels: Labels, pictures: NDArray[np.int64], classes: int, fraction: float) -> None:
        self.mask = np.zeros(len(labels), dtype=np.bool_)
        self.held = [0] * classes
        self._labels = labels
        self._pictures = pictures
        self._totals = np.bincount(labels, minlength=classes).tolist()
        self._shares = [min(max(round(fraction * count), 1), count - 1) for count in self._totals]
        several = np.flatnonzero(np.bincount(pictures)[pictures] > 1)
        together = several[np.argsort(pictures[several], kind="stable")]
        parts = np.split(together, np.flatnonzero(np.diff(pictures[together])) + 1) if len(together) else []
        self._equal = {int(pictures[part[0]]): part for part in parts}

    def hold_out(self, index: int, order: NDArray[np.int64]) -> None:
        """Images of class `index` in this order [n], with their equals, until its share is reached."""
        for image in order.tolist():
            if self.held[index] >= self._shares[index]:
                return
            self._take_if_below(image, self._shares)

    def hold_out_smallest(self, order: NDArray[np.int64]) -> bool:
        """The smallest set of equal images that leaves one of each class, the first in this order [n]; False if there is none."""
        most = [count - 1 for count in self._totals]
        return any(self._take_if_below(image, most) for image in sorted(order.tolist(), key=lambda image: len(self._same(image))))

    def hold_out_all(self, order: NDArray[np.int64]) -> None:
        """These images in this order [n], with their equals, but for those without which a class would have no training image."""
        most = [count - 1 for count in self._totals]
        for image in order.tolist():
            self._take_if_below(image, most)

    def hold_out_first(self, order: NDArray[np.int64]) -> bool:
        """The first image of this order [n], with its equals, that leaves one of each class; False if there is none."""
        most = [count - 1 for count in self._totals]
        return any(self._take_if_below(image, most) for image in order.tolist())

    def _same(self, image: int) -> NDArray[np.int64]:
        return self._equal.get(int(self._pictures[image]), np.array([image]))

    def _take_if_below(self, image: int, most: Sequence[int]) -> bool:
        """Hold an image out with its equals, unless it is already, or a class would have more than `most` held out."""
        if self.mask[image]:
            return False
        same = self._same(image)
        taken = Counter(self._labels[same].tolist())
        if any(self.held[index] + count > most[index] for index, count in taken.items()):
            return False
        self.mask[same] = True
        for index, count in taken.items():
            self.held[index] += count
        return True


def select(whole: Stored, mask: Mask, split: SplitName, folder: Path) -> Stored:
    """Write the images of `whole` that its mask [N] marks anew in `folder`, as a split, in the order of `whole`."""
    writer = ShardWriter(folder, split)
    start = 0
    for path in whole.paths:
        for block in blocks(map_shard(path, whole.shape)):
            writer.append(block[mask[start : start + len(block)]])
            start += len(block)
    paths = writer.close()
    origins = chained([whole.origins]).take(np.flatnonzero(mask))
    videos = None if whole.videos is None else whole.videos[mask]
    return Stored(whole.shape, paths, writer.rows, whole.labels[mask], origins, whole.places[mask], videos=videos)
