"""Nearest neighbors against every pair written out, buckets against planted duplicates, and sets of duplicates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bilp.suspects import near_duplicates
from bilp.suspects.near_duplicates import NONE, duplicate_sets, nearest_neighbors


def features(count: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.randn(count, 12, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn)


def test_every_pair_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "BLOCK", 7)
    given = features(40)
    cosines = (given @ given.T).fill_diagonal_(-2)
    found = nearest_neighbors(given)
    np.testing.assert_array_equal(found.nearest, cosines.argmax(dim=1))
    np.testing.assert_allclose(found.distance, 1 - cosines.amax(dim=1).numpy(), atol=1e-6)


def test_a_single_image_has_no_neighbor() -> None:
    found = nearest_neighbors(features(1))
    assert (found.nearest.tolist(), found.distance.tolist()) == ([NONE], [2.0])


def test_buckets_find_planted_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a cosine of about 0.99, among as many images as make buckets necessary here."""
    monkeypatch.setattr(near_duplicates, "EXACT_UP_TO", 100)
    originals = features(1500)
    noise = torch.randn(1500, 12, generator=torch.Generator().manual_seed(1))
    copies = torch.nn.functional.normalize(originals + 0.14 / 12**0.5 * noise)
    found = nearest_neighbors(torch.cat((originals, copies)))
    right = (found.nearest[:1500] == np.arange(1500, 3000)).mean()
    exact = (originals @ copies.T).argmax(dim=1).numpy()
    assert (exact == np.arange(1500)).mean() > 0.99
    assert right > 0.97


def test_sets_are_connected() -> None:
    equal = np.array([0, 1, 0, 2, 3, 4, 5])
    near = np.array([False, True, False, True, False, False, False])
    nearest = np.array([2, 2, 0, 6, 5, 4, 3])
    assert duplicate_sets(equal, near, nearest).tolist() == [0, 0, 0, 1, NONE, NONE, 1]
