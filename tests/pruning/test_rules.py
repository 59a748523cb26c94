"""Rules of pruning: strata, medium, facility location and both tails, each against a slow, obvious restatement."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bilp.config import PruneConfig
from bilp.config.rules import RULES
from bilp.errors import ConfigError, DataError
from bilp.pruning.choice import Choice
from bilp.pruning.prune import chosen_by, cut_by
from bilp.pruning.rules.covering import weights
from bilp.pruning.rules.strata import shares, strata
from bilp.pruning.static import ranked, select
from bilp.registry import resolve
from bilp.scoring import facility_location as facility
from bilp.scoring.facility_location import facility_location

RANKED_ALONE = [name for name, rule in RULES.items() if not rule.features and not rule.found]


def kept(scores, labels, **given) -> np.ndarray:
    names = [str(label) for label in range(max(labels) + 1)]
    config = PruneConfig.model_validate({"minimum_per_class": 1, **given})
    return cut_by(config, np.asarray(scores, dtype=float), np.asarray(labels), names).kept


@pytest.mark.parametrize("rule", RANKED_ALONE)
@pytest.mark.parametrize("keep", [0.03, 0.1, 0.35, 0.5, 0.9, 1.0])
def test_every_rule_keeps_exactly_as_many_of_each_class_as_a_cut_at_one_end(rule: str, keep: float) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 500)
    scores = rng.normal(-3, 2, 500).round(1)  # ties, and mostly negative
    expected = select(scores, labels, list("abcde"), keep=keep).kept_per_class
    for per_class in (True, False) if keep > 0.05 else (True,):  # of all together, a class may lose its last ones
        chosen = kept(scores, labels, rule=rule, keep=keep, per_class=per_class)
        if per_class:
            assert np.bincount(labels[chosen], minlength=5).tolist() == expected.tolist()
        assert chosen.sum() == (expected.sum() if per_class else round(500 * keep))


@pytest.mark.parametrize("rule", RANKED_ALONE)
def test_equal_scores_and_single_samples_are_no_trouble(rule: str) -> None:
    assert kept([1.0] * 6, [0] * 6, rule=rule, keep=0.5).sum() == 3
    assert kept([-1.0, 2.0], [0, 1], rule=rule, keep=0.6).tolist() == [True, True]


def test_both_ends_lose_their_shares() -> None:
    scores = np.arange(20.0)
    labels = np.zeros(20, dtype=int)
    names = ["a"]
    assert np.flatnonzero(select(scores, labels, names, keep=0.5, drop="both").kept).tolist() == list(range(5, 15))
    assert np.flatnonzero(select(scores, labels, names, keep=0.5, drop="both", low_share=0.2).kept).tolist() == list(range(2, 12))
    for low_share, drop in ((0.0, "high"), (1.0, "low")):
        both = select(scores, labels, names, keep=0.3, drop="both", low_share=low_share)
        assert (both.kept == select(scores, labels, names, keep=0.3, drop=drop).kept).all()
    with pytest.raises(ConfigError, match="keep fewer than minimum_per_class = 19 samples .*: raise keep, or lower minimum_per_class"):
        select(scores, labels, names, keep=0.5, drop="both", minimum_per_class=19)


def test_medium_keeps_what_lies_nearest_to_the_median() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.exponential(1, 301), np.repeat([0, 1, 2], [100, 101, 100])
    chosen = kept(scores, labels, rule="medium", keep=0.4)
    for label in range(3):
        members = np.flatnonzero(labels == label)
        middle = np.median(scores[members])
        nearest = sorted(members, key=lambda i: (abs(scores[i] - middle), scores[i], i))
        count = len(members) - math.floor(0.6 * len(members) + 0.5)
        assert set(np.flatnonzero(chosen & (labels == label))) == set(nearest[:count])
    # Of skewed scores more is lost where they are far apart: the mean rank lies below that of both ends dropped alike.
    tails = kept(scores, labels, drop="both", keep=0.4)
    assert scores[chosen].mean() < scores[tails].mean()


def plain_shares(members: list[int], quota: int) -> list[int]:
    """One by one, always to a stratum that has given least and has something left, the smallest first where sizes differ."""
    order = sorted(range(len(members)), key=lambda s: members[s])
    given = [0] * len(members)
    for turn, stratum in enumerate(order):
        given[stratum] = min(members[stratum], (quota - sum(given)) // (len(members) - turn))
    return given


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.data())
def test_shares_of_strata_sum_to_the_quota(members: list[int], data: st.DataObject) -> None:
    quota = data.draw(st.integers(0, sum(members)))
    found = shares(np.array([members]), np.array([quota]))[0].tolist()
    assert found == plain_shares(members, quota)
    assert sum(found) == quota and all(part <= whole for part, whole in zip(found, members, strict=True))
    full = [part for part, whole in zip(found, members, strict=True) if part < whole]
    assert not full or max(full) - min(full) <= 1  # strata that have some left gave alike


def test_strata_divide_the_range_in_equal_widths_also_of_negative_scores() -> None:
    scores = np.array([-10.0, -9.9, -6.0, -5.1, -5.0, 0.0])
    assert strata(scores, np.array([6]), 5).tolist() == [0, 0, 2, 2, 2, 4]
    assert strata(np.array([-3.0, -3.0, 1.0]), np.array([2, 1]), 50).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("drop", "criterion"), [("high", "loss_init"), ("low", "aum")])
def test_strata_drop_the_hardest_and_draw_alike_from_the_rest(drop: str, criterion: str) -> None:
    rng = random.Random(0)
    scores = np.array([rng.gauss(-2, 1) for _ in range(400)])
    labels = np.arange(400) % 2
    settings = {"rule": "strata", "criterion": criterion, "keep": 0.2, "hardest": 0.3, "strata": 10}
    chosen = kept(scores, labels, **settings)
    for label in (0, 1):
        members = np.flatnonzero(labels == label)
        ranking = members[np.argsort(scores[members] if drop == "high" else -scores[members])]
        hardest, rest = ranking[140:], ranking[:140]
        assert chosen[members].sum() == 40 and not chosen[hardest].any()
        low, width = scores[rest].min(), (scores[rest].max() - scores[rest].min()) / 10
        bins = [min(int((score - low) / width), 9) for score in scores[rest]]
        expected = plain_shares([bins.count(k) for k in range(10)], 40)
        assert [sum(bool(chosen[i]) for i, b in zip(rest, bins, strict=True) if b == k) for k in range(10)] == expected
    other = kept(scores, labels, **settings, seed=1)
    assert other.sum() == chosen.sum() and (other != chosen).any() and (kept(scores, labels, **settings) == chosen).all()


def naive(features: np.ndarray, counts: np.ndarray, count: int) -> list[int]:
    """Every gain anew in every step."""
    directions = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = np.maximum(directions @ directions.T, 0)
    picked: list[int] = []
    for _ in range(count):
        covered = cosines[picked].max(axis=0) if picked else np.zeros(len(features))
        gains = {j: counts @ np.maximum(cosines[j] - covered, 0) for j in range(len(features)) if j not in picked}
        best = max(gains.values())
        picked.append(min(j for j, gain in gains.items() if gain > best - 1e-9))
    return picked


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_lazy_picking_is_the_plain_greedy_choice(seed: int, table: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    features, counts = rng.normal(size=(40, 5)), rng.random(40)
    if not table:
        monkeypatch.setattr(facility, "LARGEST_TABLE", 0)
        monkeypatch.setattr(facility, "ROWS", 7)
    assert facility_location(torch.tensor(features), counts, 40)[:25].tolist() == naive(features, counts, 25)


def test_copies_of_an_image_are_picked_once_before_anything_new_is_missed() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert facility_location(features, np.ones(4), 2).tolist() == [0, 3]
    with pytest.raises(ConfigError, match="5 samples cannot be picked out of 4"):
        facility_location(features, np.ones(4), 5)
    with pytest.raises(DataError, match="features must be finite"):
        facility_location(features * math.inf, np.ones(4), 2)


def test_facility_location_weighs_by_the_score_and_stays_within_classes() -> None:
    rng = np.random.default_rng(0)
    features, scores, labels = torch.tensor(rng.normal(size=(60, 4))), rng.random(60), np.arange(60) % 3
    config = PruneConfig(criterion="cad", rule="facility_location", keep=0.3)
    cut, found = chosen_by(config, scores, labels, list("abc"), lambda members: features[torch.from_numpy(members)])
    assert found is None and cut.kept_per_class.tolist() == [6, 6, 6]
    for label in range(3):
        members = np.flatnonzero(labels == label)
        picked = naive(features[members].numpy(), scores[members], 6)
        assert sorted(members[picked]) == np.flatnonzero(cut.kept & (labels == label)).tolist()
    with pytest.raises(ConfigError, match="criterion cad has no scoring: use another one"):
        chosen_by(config, scores, labels, list("abc"))


def test_weights_are_scores_where_high_ones_are_wanted_and_turned_or_shifted_otherwise() -> None:
    scores = np.array([1.0, 2.0, 5.0])
    assert weights(scores, "low").tolist() == [1.0, 2.0, 5.0]
    assert weights(scores, "high").tolist() == [1.0, 0.75, 0.0]
    assert weights(scores - 2, "low").tolist() == [0.0, 0.25, 1.0]
    assert weights(np.zeros(3), "high").tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rule": "medium", "drop": "both"}, "rule medium asks which end is the hard one, so drop is high or low: remove drop = 'both'"),
        ({"rule": "medium", "strata": 5}, "rule medium does not read strata: remove it"),
        ({"rule": "strata", "band": [0.1, 0.5]}, "rule strata does not read band: remove it"),
        ({"rule": "facility_location", "per_class": False}, "rule facility_location does not read per_class: remove it"),
        ({"rule": "strata", "keep": 0.8, "hardest": 0.3}, "keep = 0.8 and hardest = 0.3 exceed 1 together: lower one of them"),
        ({"keep": "auto", "drop": "low"}, "keep auto drops the hard end alone, which is high of loss_init: remove band and drop"),
        ({"keep": "auto", "criterion": "forgetting"}, "criterion forgetting does not allow: use one of loss_init, loss_converge, aum"),
        ({"keep": "auto", "rule": "strata"}, "keep auto says which samples stay, so it goes with no rule strata: give keep as a number"),
        ({"rule": "low_component"}, "rule low_component finds the share by itself: set keep to auto"),
        ({"rule": "graph", "keep": 0.5, "neighbors": 0}, "neighbors"),
        ({"rule": "strata", "gamma": 0.5}, "rule strata does not read gamma: remove it"),
        ({"drop": "both", "per_class": False, "floor_per_class": 3}, "where one end is dropped: remove it"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict, said: str) -> None:
    with pytest.raises(ValueError, match=r"(?s).*") as refused:
        PruneConfig.model_validate(given)
    assert said in str(refused.value)


def test_every_rule_is_chosen_by_a_function() -> None:
    samples = ranked(np.arange(4.0), np.zeros(4, dtype=int), ["a"])
    for name in RANKED_ALONE:
        assert resolve(RULES[name].chooser)(Choice(samples, PruneConfig(rule=name))).kept.sum() == 2
    assert len({entry.chooser for entry in RULES.values()}) == len(RULES)
    assert all(entry.reads <= set(PruneConfig.model_fields) for entry in RULES.values())
