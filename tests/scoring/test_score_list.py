"""Reading of published score lists, and the refusals that tell a user what went wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bilp.errors import DataError
from bilp.scoring.score_list import parse_score_list


def parse(text: str, train: int = 3, test: int = 2) -> np.ndarray:
    return parse_score_list(text.encode(), "lists/CIFAR10_LossInit.json", train, test)


def test_reads_a_plain_array_unchanged():
    values = [1.8421142339706420898, 8.2e-05, 3]
    scores = parse(json.dumps(values))
    assert scores.dtype == np.float64
    assert scores.tolist() == values


@pytest.mark.parametrize(
    ("length", "train", "test", "reason"),
    [
        (2, 3, 2, "size of the test split"),
        (5, 3, 2, "both splits together"),
        (1, 3, 2, "another data set or for a subset"),
        (4, 3, 2, "before samples were removed"),
        (50_000, 60_000, 10_000, "train split of CIFAR-10 or CIFAR-100"),
        (73_257, 50_000, 10_000, "train split of SVHN"),
    ],
)
def test_wrong_length_names_both_numbers_and_the_likely_reason(length, train, test, reason):
    with pytest.raises(DataError) as caught:
        parse(json.dumps([0.5] * length), train, test)
    message = str(caught.value)
    assert f"has {length} scores" in message and f"{train} samples" in message and reason in message
    assert "lists/CIFAR10_LossInit.json" in message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2", "not a JSON array"),
        ("[" * 100_000, "not a JSON array"),
        ('{"scores": [1, 2, 3]}', "it is an object"),
        ("3.5", "it is a number"),
        ("[1, NaN, 2]", "NaN is not a finite number"),
        ("[1, -Infinity, 2]", "-Infinity is not a finite number"),
        ("[1, 2, 1e999]", "beyond the range of floats"),
        (f"[1, 2, {10**400}]", "beyond the range of floats"),
        ("[1, [2], 3]", "entry 1 is an array"),
        ("[1, 2, true]", "entry 2 is true or false"),
        ('["1", 2, 3]', "entry 0 is a text"),
        ("[1, null, 3]", "entry 1 is null"),
    ],
)
def test_refuses_anything_but_finite_numbers(text, complaint):
    with pytest.raises(DataError, match=complaint):
        parse(text)


def test_refuses_bytes_that_are_no_text():
    with pytest.raises(DataError, match=r"x\.json is not a JSON array"):
        parse_score_list(b"\xff\xfe\xff", "x.json", 3, 2)
