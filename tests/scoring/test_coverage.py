"""Herding and k-center against their definitions, written out with distances and sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bilp.errors import ConfigError, DataError
from bilp.scoring import coverage
from bilp.scoring.coverage import herding, k_center
from bilp.seeds import generator


def plain_herding(features: np.ndarray, count: int) -> list[int]:
    """argmin over the rest of ||(k + 1) mu - sum - f_i||."""
    mean, picked = features.mean(axis=0), []
    for k in range(count):
        total = features[picked].sum(axis=0)
        rest = [i for i in range(len(features)) if i not in picked]
        distances = [np.linalg.norm((k + 1) * mean - total - features[i]) for i in rest]
        picked.append(rest[int(np.argmin(distances))])
    return picked


def plain_k_center(features: np.ndarray, count: int, first: int) -> list[int]:
    """The sample with the largest distance to its nearest center."""
    picked = [first]
    while len(picked) < count:
        rest = [i for i in range(len(features)) if i not in picked]
        distances = [min(np.linalg.norm(features[i] - features[j]) for j in picked) for i in rest]
        picked.append(rest[int(np.argmax(distances))])
    return picked


def drawn(seed: int, samples: int, size: int) -> torch.Tensor:
    """Features that lie far from the origin, as those behind a ReLU do."""
    return torch.randn(samples, size, generator=generator(seed, "features")) + 5


@pytest.mark.parametrize("largest_table", [0, 2**27])
@pytest.mark.parametrize(("seed", "samples", "size"), [(0, 1, 3), (1, 2, 1), (2, 17, 4), (3, 40, 64)])
def test_orders_are_those_of_the_definitions(
    seed: int, samples: int, size: int, largest_table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "LARGEST_TABLE", largest_table)
    features = drawn(seed, samples, size)
    exact = features.double().numpy()
    assert herding(features).tolist() == plain_herding(exact, samples)
    first = samples // 2
    assert k_center(features, first=first).tolist() == plain_k_center(exact, samples, first)


def test_fewer_picks_are_the_beginning_of_the_order() -> None:
    features = drawn(4, 60, 8)
    for count in (0, 1, 3, 30, 60):
        assert herding(features, count).tolist() == herding(features).tolist()[:count]
        assert k_center(features, count, 7).tolist() == k_center(features, first=7).tolist()[:count]


def test_equal_samples_are_taken_in_order_of_their_index() -> None:
    rows = drawn(5, 3, 100)
    features = rows[torch.tensor([2, 0, 1, 0, 1, 2, 0, 2, 1])]
    for order in (herding(features).tolist(), k_center(features).tolist()):
        for copies in ([0, 5, 7], [1, 3, 6], [2, 4, 8]):
            assert [index for index in order if index in copies] == copies
    assert herding(torch.ones(4, 2)).tolist() == k_center(torch.ones(4, 2)).tolist() == [0, 1, 2, 3]


def test_herding_approaches_the_mean_and_k_center_the_border() -> None:
    features = drawn(6, 200, 2)
    mean = features.mean(dim=0)
    herded = features[herding(features, 20)].mean(dim=0)
    at_random = torch.stack([features[torch.randperm(200, generator=generator(n, "subset"))[:20]].mean(dim=0) for n in range(20)])
    assert (herded - mean).norm() < (at_random - mean).norm(dim=1).min()
    radius = [torch.cdist(features, features[order]).min(dim=1).values.max() for order in (k_center(features, 20), herding(features, 20))]
    assert radius[0] < radius[1]


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="4 samples cannot be picked out of 3"):
        herding(torch.ones(3, 2), 4)
    with pytest.raises(ConfigError, match="cannot start from sample 3 of 3"):
        k_center(torch.ones(3, 2), 1, 3)
    with pytest.raises(DataError, match="features must be finite"):
        herding(torch.tensor([[1.0], [torch.nan]]))
    assert herding(torch.ones(0, 2)).tolist() == k_center(torch.ones(0, 2)).tolist() == []
