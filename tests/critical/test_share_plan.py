"""Which shares of which criteria are measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bilp.config import NetworkConfig
from bilp.critical.plan import CriticalOptions, kept, planned, shares
from bilp.critical.shares import as_csv, key_of
from bilp.data import open_dataset
from bilp.data.ingestion import ingest
from bilp.errors import ConfigError
from bilp.pruning.static import select


def test_shares_halve_until_the_smallest_class_would_keep_too_few() -> None:
    counts = np.array([40, 100])
    found = shares(counts, 2)
    assert found == (0.5, 0.25, 0.125, 0.0625)
    labels = np.repeat(np.arange(2), counts)
    for share in found:
        cut = select(np.arange(140, dtype=np.float64), labels, ("a", "b"), keep=share)
        assert cut.kept_per_class.min() >= 2
        assert cut.kept.sum() == kept(counts, share)
    assert select(np.arange(140, dtype=np.float64), labels, ("a", "b"), keep=found[-1] / 2).kept_per_class.min() < 2


def test_options_are_read_as_they_are_typed_and_wrong_ones_refused() -> None:
    assert CriticalOptions.model_validate({"criteria": "el2n, random"}).criteria == ("el2n", "random")
    counts = np.array([40, 100])
    for given, options, told in (
        ({"method": "mtt"}, {}, "imitates experts"),
        ({}, {"criteria": ("random", "random")}, "names one twice"),
        ({}, {"fewest": 60}, "there is no share to try"),
    ):
        with pytest.raises(ConfigError, match=told):
            planned({"dataset": "digits", **given}, CriticalOptions.model_validate(options), counts)


def test_each_criterion_brings_what_it_implies_and_the_cost_is_stated() -> None:
    plan = planned({"dataset": "digits"}, CriticalOptions(criteria=("herding", "random"), distillations=3), np.array([40, 100]))
    assert plan.by_criterion["herding"].score.measure == "herding"
    assert plan.distillations == 3 * (1 + 2 * len(plan.shares))
    assert f"at most {plan.distillations} distillations" in plan.stated


def test_no_cell_of_the_csv_is_a_formula() -> None:
    told = as_csv([{"criterion": "=1+1", "share": 0.5}])
    assert "'=1+1" in told


def test_whatever_decides_the_outcome_is_in_the_key() -> None:
    counts = np.array([40, 100])

    def identity(options: dict[str, object] | None = None, **given: object) -> str:
        return str(planned({"dataset": "digits", **given}, CriticalOptions.model_validate(options or {}), counts).identity())

    changed = [
        identity({"tolerance": 1.0}),
        identity({"level": 0.01}),
        identity({"distillations": 6}),
        identity({"criteria": ("random",)}),
        identity({"fewest": 9}),
        identity(score={"trials": 4}),
        identity(prune={"per_class": False}),
        identity(seed=3),
        identity(ipc=2),
        identity(method="dc"),
        identity(evaluate={"seeds": 3}),
        identity(distill={"iterations": 33}),
    ]
    assert len({identity(), *changed}) == len(changed) + 1
    assert identity(evaluate={"baselines": ["random"]}, keep=0.3, arms=["bilp"], report={"max_classes": 2}) == identity()


def test_scores_that_settings_name_count_by_their_content_and_networks_by_their_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(str(ingest({"source": "digits"}, tmp_path / "store")))
    place, other = tmp_path / "scores.json", tmp_path / "others.json"

    def key(file: Path) -> str:
        given = {"dataset": "digits", "prune": {"criterion": "external", "score_list": str(file)}}
        plan = planned(given, CriticalOptions(criteria=("external",)), np.bincount(dataset.train.labels.numpy()))
        return key_of(plan, dataset)

    numbers = list(range(len(dataset.train)))
    place.write_text(json.dumps(numbers))
    other.write_text(json.dumps(numbers))
    first = key(place)
    assert key(other) == first
    monkeypatch.setattr(NetworkConfig, "revision", property(lambda network: 7))
    assert key(place) != first
    monkeypatch.undo()
    place.write_text(json.dumps(numbers[::-1]))
    assert key(place) != first
