"""The lists of classes are whole, in the published order, and subsets lie within the thousand."""

from __future__ import annotations

from collections import Counter

import pytest

from bilp.data.class_lists import MAP_CLSLOC, class_list, class_order
from bilp.data.sources.imagenet.stems import IMAGENET1K


def test_the_thousand_are_the_sorted_wordnet_ids_with_two_cranes() -> None:
    thousand = class_order(IMAGENET1K)
    assert len(thousand) == 1000
    assert list(thousand) == sorted(thousand)
    assert (thousand.index("n02012849"), thousand.index("n03126707")) == (134, 517)
    names = Counter(class_list(IMAGENET1K).values())
    assert {name for name, count in names.items() if count > 1} == {"crane", "maillot"}


def test_map_clsloc_numbers_the_same_classes_in_another_order() -> None:
    order = class_order(MAP_CLSLOC)
    assert order[0] == "n02119789"
    assert order[999] == "n03255030"
    assert set(order) == set(class_order(IMAGENET1K))


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("imagenette", "0 217 482 491 497 566 569 571 574 701"),
        ("imagewoof", "193 182 258 162 155 167 159 273 207 229"),
        ("imagefruit", "953 954 949 950 951 957 952 945 943 948"),
        ("imageyellow", "309 986 954 951 987 779 599 291 72 11"),
        ("imagemeow", "281 282 283 284 285 291 292 290 289 287"),
        ("imagesquawk", "84 130 88 144 145 22 96 9 100 89"),
    ],
)
def test_subsets_have_the_published_positions(name: str, numbers: str) -> None:
    thousand = class_order(IMAGENET1K)
    assert [thousand.index(wnid) for wnid in class_order(name)] == list(map(int, numbers.split()))
    assert all(class_list(IMAGENET1K)[wnid] == told for wnid, told in class_list(name).items())


def test_other_lists_have_their_sizes_and_lie_within_the_thousand() -> None:
    for name, count in (("imagenet10", 10), ("imagenet100", 100), ("tiny_imagenet", 200)):
        assert len(class_order(name)) == count
        assert set(class_order(name)) < set(class_order(IMAGENET1K))
    assert class_order("imagenet100")[:10] == class_order("imagenet10")
    assert list(class_order("tiny_imagenet")) == sorted(class_order("tiny_imagenet"))
