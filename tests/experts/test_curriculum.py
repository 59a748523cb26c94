"""The curriculum of experts: which samples an epoch learns, what is refused, and experts that follow it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny_training import NARROW, TINY, Store

from bilp.artifacts.artifact import open_artifact
from bilp.config import CurriculumConfig, ExpertsConfig, NetworkConfig, PipelineConfig, ScoreConfig
from bilp.config.explain import explain
from bilp.experts.buffer import ExpertBuffer
from bilp.experts.curriculum import easiest_first, learned, samples_of, scored
from bilp.experts.expert import train_epochs
from bilp.experts.files import training_key
from bilp.experts.train_experts import Plan, collect_experts, train_expert
from bilp.scoring.summary import criterion_scores

SCORE = ScoreConfig(trials=2, epochs=2, init_epochs=2, early_to=2, network=NARROW)
IMAGENETTE = {"dataset": "imagenette", "ingest": {"uri": "/data/imagenette"}}
CURRICULUM = CurriculumConfig(criterion="el2n", start=0.5, full_from=1, dropped=(0.25,), dropped_from=(2,), score=SCORE)


def test_ranks_are_those_of_the_papers_program() -> None:
    """At its 5000 samples per class, restated: p grows to 1 at epoch 20, and shares are left out after epochs 40 and 60."""
    pad = CurriculumConfig(criterion="el2n")
    for epoch in range(100):
        if epoch <= 20:
            expected = range(int(min(1.0, 0.75 + 0.25 * epoch / 20) * 5000 + 1e-9))
        elif epoch <= 40:
            expected = range(5000)
        else:
            expected = range(int((0.1 if epoch <= 60 else 0.2) * 5000), 5000)
        assert pad.ranks(epoch, 5000) == expected, epoch


def test_small_classes_and_short_curricula() -> None:
    pad = CurriculumConfig(criterion="el2n")
    assert pad.ranks(0, 1) == range(1), "no class is left out"
    assert pad.ranks(99, 1) == range(1)
    at_once = CurriculumConfig(criterion="el2n", full_from=0, dropped=(), dropped_from=())
    assert [at_once.ranks(epoch, 7) for epoch in (0, 50)] == [range(7)] * 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"criterion": "random"}, "criterion random does not say how hard a sample is: use "),
        ({"criterion": "monte_carlo"}, "criterion monte_carlo does not say how hard a sample is: use "),
        ({"criterion": "grand"}, r"criterion grand contradicts score.gradient_norm = 'off': set it to last_layer or all"),
        ({"criterion": "el2n", "score": {"measure": "herding"}}, "criterion el2n contradicts score.measure = 'herding'"),
        ({"criterion": "el2n", "score": {"keep_networks": True}}, "score.extend and score.keep_networks are not for a curriculum"),
        ({"dropped": [0.1]}, "dropped has 1 shares and dropped_from 2 epochs: give one for each"),
        ({"dropped_from": [61, 41]}, r"dropped_from = \[61, 41\] does not ascend from full_from = 20: give later epochs"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        CurriculumConfig.model_validate(given)


def test_keys_know_a_curriculum_only_if_there_is_one() -> None:
    before = "ab91cfc88eb301df"
    """Of the same settings, before there was any curriculum."""

    def key(**changes: Any) -> str:
        config = ExpertsConfig(curriculum=CurriculumConfig(**changes))
        return training_key("a" * 64, None, config, NetworkConfig())

    assert key() == key(start=0.5) == key(score=SCORE) == before
    keys = {key(criterion="el2n", **more) for more in ({}, {"start": 0.5}, {"full_from": 5}, {"score": SCORE}, {"dropped": (0.1, 0.3)})}
    assert len(keys | {before, key(criterion="aum")}) == 7


def test_scoring_for_a_curriculum_has_the_seed_and_arithmetic_of_static_scoring() -> None:
    """By the dials or by settings of static scoring; so trials of the same settings are one. What is given goes first."""

    def found(**given: Any) -> tuple[int, str, int]:
        score = PipelineConfig.model_validate({"method": "pad", **given}).experts.curriculum.score
        return score.seed, score.gpu, score.gpu_revision

    assert found() == (0, "float32", 0)
    assert found(seed=3, gpu="tf32", gpu_revision=1) == (3, "tf32", 1)
    assert found(seed=3, score={"seed": 5}) == (5, "float32", 0)
    assert found(seed=3, gpu="tf32", experts={"curriculum": {"score": {"seed": 7, "gpu": "fused"}}}) == (7, "fused", 0)
    added = {"method": "mtt", "seed": 3, "experts": {"curriculum": {"criterion": "el2n"}}}
    assert found(**added)[0] == 3
    origins = {setting.path: setting.origin for setting in explain(added)}
    assert origins["experts.curriculum.score.seed"] == "score.seed (trials are shared)"


def test_a_method_without_a_curriculum_has_its_defaults_whatever_is_scored() -> None:
    """They are part of no key then."""
    for given in ({"method": "dm"}, {"method": "mtt"}, {"method": "pad", "experts": {"curriculum": {"criterion": None}}}):
        experts = PipelineConfig.model_validate({**IMAGENETTE, "seed": 3, "gpu": "tf32", **given}).experts
        assert experts.curriculum.score == ScoreConfig(gradient_norm=experts.curriculum.score.gradient_norm)


def test_the_network_of_a_curriculum_fits_images_and_may_be_a_name() -> None:
    large = PipelineConfig.model_validate({**IMAGENETTE, "method": "pad"})
    assert large.experts.curriculum.score.network.depth == large.score.network.depth == 5
    named = PipelineConfig.model_validate({"method": "pad", "experts": {"curriculum": {"score": {"network": "mlp", "epochs": 2}}}})
    assert (named.experts.curriculum.score.network.name, named.experts.curriculum.score.init_epochs) == ("mlp", 2)


@pytest.mark.slow
def test_experts_learn_what_the_curriculum_says(store: Store, tmp_path: Path) -> None:
    config, root = TINY.model_copy(update={"curriculum": CURRICULUM, "count": 1, "epochs": 4}), str(tmp_path)
    uri = train_expert(store.uri, store.selection, config, NARROW, 0, root)
    expert = open_artifact(uri, "expert")
    hardness = criterion_scores(open_artifact(expert.parents["scores"], "score_summary"), "el2n")
    assert expert.parents["scores"] == scored(store.uri, CURRICULUM, root)
    plan = Plan.of(store.uri, store.selection, config, NARROW, root)
    labels = store.dataset.train.labels
    samples = samples_of(store.dataset, plan.ids, CURRICULUM, expert.parents["scores"])
    for epoch in range(4):
        expected = []
        for c in range(10):
            own = sorted((int(k) for k in plan.ids[labels[plan.ids] == c]), key=lambda k: (hardness[k], k))
            count = len(own)
            low, high = ((0, max(1, int(0.5 * count))), (0, count), (int(0.25 * count), count), (int(0.25 * count), count))[epoch]
            expected += own[low:high]
        assert samples(epoch).tolist() == expected
    margins = criterion_scores(open_artifact(expert.parents["scores"], "score_summary"), "aum")  # of which low ones are hard
    by_margin = samples_of(store.dataset, plan.ids, CURRICULUM.model_copy(update={"criterion": "aum"}), expert.parents["scores"])
    expected = []
    for c in range(10):
        own = sorted((int(k) for k in plan.ids[labels[plan.ids] == c]), key=lambda k: (-margins[k], k))
        expected += own[: max(1, int(0.5 * len(own)))]
    assert by_margin(0).tolist() == expected
    again = list(train_epochs(store.dataset, plan.ids, config, NARROW, 0, samples=samples))
    buffer = ExpertBuffer(collect_experts(store.uri, store.selection, config, NARROW, root))
    for found, made in zip(buffer.parameters(0, 4), again[-1][0].parameters(), strict=True):
        assert torch.equal(found, made)
    plain = list(train_epochs(store.dataset, plan.ids, config, NARROW, 0))
    assert not torch.equal(next(iter(plain[-1][0].parameters())), next(iter(again[-1][0].parameters())))


def test_the_hard_end_is_that_of_the_criterion(store: Store) -> None:
    ids = torch.tensor([5, 3, 9])
    hardness = np.zeros(10)
    hardness[[3, 5, 9]] = 2.0, 1.0, 1.0
    assert easiest_first(ids, hardness).tolist() == [5, 9, 3], "equal ones in the order of their numbers"
    assert easiest_first(ids, -hardness).tolist() == [3, 5, 9]
    short = CURRICULUM.model_copy(update={"start": 0.7})
    assert learned([torch.tensor([5, 9, 3])], short, 0).tolist() == [5, 9]
    assert torch.equal(samples_of(store.dataset, ids, CurriculumConfig(), None)(7), ids)
