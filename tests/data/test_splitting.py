"""The stratified split, the checks of classes and labels, and the normalization constants."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bilp.config.normalization import known_set
from bilp.data.contents import GROUP_BYTES, GROUP_IMAGES, Contents, check, check_class_names, check_same_classes, cut, dataset_name
from bilp.data.items import Items
from bilp.data.normalization import measured
from bilp.data.splitting import held_out, held_out_by_pixels
from bilp.errors import DataError


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(2, 40), min_size=1, max_size=6), st.floats(0.01, 0.99), st.integers(0, 2**31), st.randoms(use_true_random=False)
)
def test_split_is_stratified_and_leaves_both_sides_something(counts: list[int], fraction: float, seed: int, shuffler: object) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    shuffler.shuffle(labels)  # type: ignore[attr-defined]
    names = [str(number) for number in range(len(counts))]
    mask = held_out(labels, names, fraction, seed, "here")
    for index, count in enumerate(counts):
        held = int(mask[labels == index].sum())
        assert held == min(max(round(fraction * count), 1), count - 1)
    assert np.array_equal(mask, held_out(labels, names, fraction, seed, "here"))


def test_split_depends_on_the_seed() -> None:
    labels = np.zeros(100, dtype=np.int64)
    assert not np.array_equal(held_out(labels, ["a"], 0.2, 0, "here"), held_out(labels, ["a"], 0.2, 1, "here"))


def by_pixels(labels: np.ndarray, pixels: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """The images with these numbers for pixels that are held out, [N]."""
    digests = np.array([list(hashlib.sha256(str(each).encode()).digest()) for each in pixels.tolist()], dtype=np.uint8).reshape(-1, 32)
    names = [str(number) for number in range(int(labels.max()) + 1)]
    return held_out_by_pixels(labels, names, fraction, seed, "here", np.unique(pixels, return_inverse=True)[1], digests)


def test_pixels_keep_images_on_their_side_when_others_come_or_go() -> None:
    draw = np.random.default_rng(0)
    labels, pixels = draw.integers(0, 3, 3000), draw.integers(0, 2600, 3000)  # some of them equal, also in other classes
    mask = by_pixels(labels, pixels, 0.2)
    assert [0.16 < mask[labels == index].mean() < 0.24 for index in range(3)] == [True] * 3
    assert all(len(set(mask[pixels == each].tolist())) == 1 for each in np.unique(pixels).tolist()), "equal ones stay together"
    for rest in (draw.random(3000) < 0.5, np.arange(3000) < 700):
        order = draw.permutation(np.flatnonzero(rest))
        assert np.array_equal(by_pixels(labels[order], pixels[order], 0.2), mask[order])
    assert 0.5 < (by_pixels(labels, pixels, 0.2, seed=1) == mask).mean() < 0.8


def test_every_class_has_images_on_both_sides_whatever_its_pixels_draw() -> None:
    labels, pixels = np.repeat(np.arange(40), 3), np.arange(120)
    for fraction in (0.001, 0.999):
        held = np.bincount(labels[by_pixels(labels, pixels, fraction)], minlength=40)
        assert held.min() == held.max() == (1 if fraction < 0.5 else 2)
    with pytest.raises(DataError, match="class '0' has too few different images"):
        by_pixels(np.array([0, 0, 1, 1]), np.array([5, 5, 6, 7]), 0.5)


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"here: class 'lonely' has 1 image,.*at least 2 images"):
        held_out(np.array([0, 0, 1]), ["cat", "lonely"], 0.2, 0, "here")


@given(st.lists(st.integers(0, 2 * GROUP_BYTES), max_size=40) | st.lists(st.integers(0, 9), max_size=400))
def test_groups_are_consecutive_and_bounded(sizes: list[int]) -> None:
    groups = list(cut(sizes))
    assert [position for start, stop in groups for position in range(start, stop)] == list(range(len(sizes)))
    for start, stop in groups:
        assert 1 <= stop - start <= GROUP_IMAGES
        assert stop - start == 1 or sum(sizes[start:stop]) <= GROUP_BYTES


def contents(names: tuple[str, ...], train: list[int], test: list[int] | None = None) -> Contents:
    labels = {"train": train} if test is None else {"train": train, "test": test}
    return Contents(names, {split: Items.of_rows(np.array(found, dtype=np.int64), split) for split, found in labels.items()})  # type: ignore[misc]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (contents((), []), "no classes"),
        (contents(("a", "b"), []), "no training images"),
        (contents(("a", "b"), [0, 1], []), "no test images"),
        (contents(("a", "b"), [0, 1, 2]), r"label 2 of image 2 is outside 0..1 \(1 such labels\): correct the labels"),
        (contents(("a", "b"), [0, 1], [0, -1, -1]), r"\(test\): label -1 of image 1.*2 such.*images without a label"),
        (contents(("a", "b", "c"), [0, 1]), "no training images of 'c'"),
        (contents(("a", "b"), [0, 1], [1]), "test lacks 'a'"),
        (contents(("cat", "cat "), [0, 1]), "duplicate class names 'cat', 'cat '"),
    ],
)
def test_what_is_no_data_set_is_named(broken: Contents, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        check(broken, "here")
    assert str(caught.value).startswith("here")


def test_a_data_set_passes() -> None:
    sound = contents(("a", "b"), [0, 1, 1], [1, 0])
    check(sound, "here")
    assert sound.class_names == ("a", "b")


@pytest.mark.parametrize("names", [("cat", "cat "), ("caf\u00e9", "cafe\u0301"), ("a", "a")])
def test_names_that_only_look_different(names: tuple[str, str]) -> None:
    with pytest.raises(DataError, match="duplicate class names"):
        check_class_names(names, "here")


def test_names_that_differ_in_case_are_different() -> None:
    check_class_names(("A", "a", "B", "b"), "here")
    with pytest.raises(DataError, match="duplicate class names 'a', 'a '"):
        check_class_names(("A", "a", "B", "a "), "here")


def test_different_classes_are_listed() -> None:
    with pytest.raises(DataError, match="only in train: 'a'; only in test: 'd', 'e'"):
        check_same_classes(["a", "b"], ["b", "d", "e"], "here")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/data/My Cats/", "My-Cats"),
        ("s3://bucket/sets/cifar10", "cifar10"),
        ("s3://bucket", "bucket"),
        ("/", "folder"),
        ("/x/..hidden", "hidden"),
    ],
)
def test_names_are_fit_for_directories(uri: str, name: str) -> None:
    assert dataset_name(uri, "folder") == name


def test_published_constants_need_name_shape_and_classes() -> None:
    known = known_set("CIFAR-10", "folder")
    assert known is not None and known == known_set("data", "cifar10")
    constants = known.constants_of((3, 32, 32), 10)
    assert constants is not None and constants.mean == (0.4914, 0.4822, 0.4465)
    assert known.constants_of((1, 32, 32), 10) is None
    assert known.constants_of((3, 32, 32), 5) is None
    assert known_set("cats", "folder") is None


def test_measured_constants_are_exact() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (50, 2, 4, 4), dtype=np.uint8)
    histogram = np.stack([np.bincount(pixels[:, channel].ravel(), minlength=256) for channel in range(2)])
    found = measured(histogram)
    flat = pixels.transpose(1, 0, 2, 3).reshape(2, -1) / 255
    assert np.allclose(found.mean, flat.mean(1), rtol=1e-12)
    assert np.allclose(found.std, flat.std(1), rtol=1e-12)


def test_a_constant_channel_stays_finite() -> None:
    histogram = np.zeros((1, 256), dtype=np.int64)
    histogram[0, 77] = 10
    assert measured(histogram).std == (1.0,)
