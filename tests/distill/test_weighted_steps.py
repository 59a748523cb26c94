"""Image steps with weighted real samples, and with signed effects: what they are matched to, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from tiers import first_tier
from tiny_distillation import assemble, guard_for, small_config

from bilp.causal import ClassBatch, signed_effects
from bilp.config import PipelineConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.registry import loop_for, networks_for
from bilp.distill.step.batch import Batch
from bilp.distill.step.held_out_loss import halves, held_out_directions
from bilp.distill.step.initial import initial_state
from bilp.distill.step.real import draw_batches, targets
from bilp.distill.step.reselection import reselect
from bilp.distill.step.sample_scores import score_batches
from bilp.distill.step.state import DistillState
from bilp.errors import ConfigError
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner

Few = Callable[[int], RealPool]


@pytest.mark.parametrize("method", ["dm", "dc"])
def test_a_step_is_matched_to_the_weighted_mean(few: Few, method: str) -> None:
    pool, settings = few(12), ReselectConfig(beta=0.4, low_share=0.0, mode="weight")
    setting = assemble(small_config(method, ipc=2), pool, settings)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
    for c, ids in enumerate(pool.by_class):
        pruner.decide(ids, torch.arange(1.0, len(ids) + 1), c, 4)
    setting.draw_network("network", 0)
    for target in targets(setting, draw_batches(setting, pruner, 0, 0)):
        images = target.batch.images(setting)
        labels = setting.class_labels(target.batch.class_index, len(images))
        weights = pruner.weights(target.batch.ids)
        assert weights is not None and len(weights.unique()) > 3
        for own, each in zip(target.mean, setting.matching.real(setting.network, images, labels), strict=True):
            wanted = torch.tensordot(weights / weights.sum(), each, dims=1)
            torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-6)


def _distilled(few: Few, method: str, settings: ReselectConfig) -> tuple[DistillState, AdaptivePruner]:
    pool = few(12)
    setting = assemble(small_config(method, ipc=1), pool, settings)
    state = initial_state(setting.config, pool)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
    reselect(setting, state, 1, pruner, guard_for(setting), silent, networks_for(method))
    loop_for(method)(setting, state, 3, pruner, guard_for(setting))
    return state, pruner


@pytest.mark.parametrize("method", first_tier(["dm", "dc"], "dm"))
def test_equal_weights_change_nothing(few: Few, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weighted = ReselectConfig(beta=0.4, mode="weight", interval=2)
    monkeypatch.setattr(AdaptivePruner, "_weigh", lambda self, logs, c: torch.ones(len(logs), dtype=torch.float64))
    state, _ = _distilled(few, method, weighted)
    pool = few(12)
    setting = assemble(small_config(method, ipc=1), pool, ReselectConfig(beta=0.0))
    plain = initial_state(setting.config, pool)
    loop_for(method)(setting, plain, 3, None, guard_for(setting))
    torch.testing.assert_close(state.images, plain.images, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dm", "dc", "dsa", "idc", "idm", "ncfm"])
def test_weights_reach_the_images_of_every_method_that_weighs(few: Few, method: str) -> None:
    images = [_distilled(few, method, ReselectConfig(beta=0.4, mode="weight", interval=2, temperature=t))[0].images for t in (0.2, 1e9)]
    assert not torch.allclose(images[0], images[1])


@pytest.mark.parametrize("method", ["dm", "dc"])
def test_the_most_harmful_samples_are_dropped(few: Few, method: str) -> None:
    pool, settings = few(12), ReselectConfig(beta=0.25, score="signed", networks=2, held_out_steps=2)
    setting = assemble(small_config(method, ipc=1), pool, settings)
    state = initial_state(setting.config, pool)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
    found = reselect(setting, state, 1, pruner, guard_for(setting), silent, networks_for(method))
    for part in found:
        assert int((~part.kept).sum()) == 3
        assert float(part.mean[~part.kept].max()) < float(part.mean[part.kept].min())
    assert any(bool((part.mean < 0).any()) for part in found) and any(bool((part.mean > 0).any()) for part in found)


def test_every_sample_is_judged_by_the_direction_of_its_half(few: Few) -> None:
    pool = few(12)
    setting = assemble(small_config("dm", ipc=2), pool, ReselectConfig(score="signed", held_out_steps=2))
    images, half_of, ids = initial_state(setting.config, pool).images, halves(setting), pool.by_class[4]
    setting.draw_network("network", 0)
    (scored,) = score_batches(setting, images, [Batch(4, ids, None, path=(7,))])
    directions = held_out_directions(setting, images, half_of, 7)
    real = pool.images(ids)
    batch = ClassBatch((real, setting.class_labels(4, len(ids))), (images[8:10], setting.class_labels(4, 2)))
    each = [signed_effects(setting.matching, setting.network, batch, directions[k : k + 1, 8:10]).along[0] for k in (0, 1)]
    wanted = torch.where(half_of[ids] == 0, each[0], each[1])
    torch.testing.assert_close(scored.values, wanted, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(each[0], each[1])


def test_no_direction_depends_on_the_half_that_it_judges(few: Few, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = few(12)
    setting = assemble(small_config("dm", ipc=1), pool, ReselectConfig(score="signed", held_out_steps=2))
    images, half_of = initial_state(setting.config, pool).images, halves(setting)
    assert sorted(half_of[torch.cat(pool.by_class)].unique().tolist()) == [0, 1]
    before = held_out_directions(setting, images, half_of, 0)
    real = RealPool.images
    for half in (0, 1):

        def blank(self: RealPool, ids: torch.Tensor, device: torch.device | str = "cpu", half: int = half) -> torch.Tensor:
            found = real(self, ids, device)
            found[half_of[ids] == half] = 0.0
            return found

        monkeypatch.setattr(RealPool, "images", blank)
        after = held_out_directions(setting, images, half_of, 0)
        assert torch.equal(after[half], before[half]), "what a half is judged by comes from the other one"
        assert not torch.allclose(after[1 - half], before[1 - half])


@pytest.mark.parametrize(
    ("method", "settings", "said"),
    [
        (
            "cafe",
            {"mode": "weight"},
            "method cafe gives every real sample the same weight: use another mode, or method dm, dc, dsa, idc, idm, ncfm, lgm, ",
        ),
        ("dream", {"mode": "weight"}, "method dream gives every real sample the same weight"),
        ("idc", {"score": "signed"}, "method idc has no signed effects: use another score, or method dm, dc, dsa, "),
    ],
)
def test_what_a_method_cannot_do_is_refused_in_one_line(method: str, settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as raised:
        PipelineConfig.model_validate({"method": method, "reselect": settings})
    assert raised.value.error_count() == 1
    PipelineConfig.model_validate({"method": method, "reselect": {**settings}, "beta": 0.0})


@pytest.mark.parametrize("word", ["auto", "search"])
def test_a_word_is_no_number_for_a_run(word: str) -> None:
    with pytest.raises(ConfigError, match=f"reselect.beta = {word} and reselect.low_share = {word}: a pipeline"):
        ReselectConfig.model_validate({"beta": word, "low_share": word}).require_numbers()
