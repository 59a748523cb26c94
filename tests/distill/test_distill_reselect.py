"""Reselection: effects against leaving samples out by hand, and pools that are almost too small."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from tiny_distillation import assemble, guard_for, small_config
from torch import Tensor

from bilp.config import DistillConfig, NetworkConfig, ReselectConfig, ScoreName
from bilp.data.pool import RealPool
from bilp.distill.loops.dm_dc import distill
from bilp.distill.step.batch import Batch
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.real import deciding_step, draw_batches
from bilp.distill.step.reselection import Decision, draw_trained_network, reselect, whose_turn
from bilp.distill.step.sample_scores import score_batches
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState, decode_state, encode_state
from bilp.images import augment
from bilp.nets import build, initialize
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

pytestmark = pytest.mark.slow

Few = Callable[[int], RealPool]
ROUND = 3


def _measure(config: DistillConfig, settings: ReselectConfig, pool: RealPool) -> tuple[Setting, list[Decision], AdaptivePruner]:
    setting = assemble(config, pool, settings)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
    state = initial_state(config, pool)
    return setting, reselect(setting, state, ROUND, pruner, guard_for(setting), lambda done, total, note="": None), pruner


def test_effects_of_dm_are_those_of_leaving_each_sample_out_by_hand(few: Few) -> None:
    config, pool = small_config("dm", ipc=2, seed=7), few(9)
    settings = ReselectConfig(beta=0.3, candidates_per_class=6, networks=2)
    _, found, _ = _measure(config, settings, pool)
    images = initial_state(config, pool).images
    for c in (0, 4):
        ids, side = found[c].ids, (images.shape[2], images.shape[3])
        norms = []
        for k in range(2):
            network = build(config.network, pool.dataset.shape, pool.classes)
            initialize(network, generator(7, "reselect_network", ROUND, k))
            params = augment.draw(config.augment, side, generator(7, "reselect_augment", ROUND, k, c))
            features = network.embed(augment.apply(pool.dataset.train.batch(ids), params)).detach()

            def gradient(mean: Tensor, network=network, params=params, c=c) -> Tensor:  # type: ignore[no-untyped-def]
                own = images[2 * c : 2 * c + 2].clone().requires_grad_()
                distance = (mean - network.embed(augment.apply(own, params)).mean(0)).square().sum()
                return torch.autograd.grad(distance, own)[0]

            whole = gradient(features.mean(0))
            without = [gradient(torch.cat([features[:i], features[i + 1 :]]).mean(0)) for i in range(len(ids))]
            norms.append(torch.stack([(whole - part).norm() for part in without]))
        torch.testing.assert_close(found[c].mean, torch.stack(norms).mean(0), rtol=2e-3, atol=1e-7)
        torch.testing.assert_close(found[c].std, torch.stack(norms).std(0, correction=0), rtol=2e-2, atol=1e-6)


@pytest.mark.parametrize("method", ["dm", "dc", "dsa"])
def test_both_estimators_agree_at_a_boundary(few: Few, method: str) -> None:
    config, pool = small_config(method, ipc=2, batch_real=4), few(5)
    columns = []
    for estimator in ("cotangent", "oracle"):
        _, found, _ = _measure(config, ReselectConfig(beta=0.3, candidates_per_class=None, estimator=estimator), pool)
        columns.append(torch.cat([part.mean for part in found]))
    torch.testing.assert_close(columns[0], columns[1], rtol=2e-2, atol=1e-6)


def test_samples_take_turns_and_decisions_stand_until_the_next_turn(few: Few) -> None:
    pool, config = few(20), small_config("dm", iterations=13, rounds=6)  # rounds start at 0, 3, 5, 7, 9, 11
    settings = ReselectConfig(beta=0.3, candidates_per_class=8, threshold="quantile")
    setting, state = assemble(config, pool, settings), initial_state(config, pool)
    turns = {number: [whose_turn(setting, number, c) for c in range(pool.classes)] for number in range(1, 7)}
    for c in range(pool.classes):
        measured = torch.cat([turns[number][c][0] for number in (1, 2, 3)])
        assert torch.equal(measured.sort().values, pool.by_class[c])
        assert all(torch.equal(turns[number][c][0], turns[number + 3][c][0]) for number in (1, 2, 3))
        assert [turns[number][c][1] for number in range(1, 7)] == [7, 9, 11, 13, 13, 13]
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
    found = reselect(setting, state, 2, pruner, guard_for(setting), lambda done, total, note="": None)
    for c, part in enumerate(found):
        assert torch.equal(part.ids, turns[2][c][0])
        gone = part.ids[~part.kept]
        assert 0 < len(gone) < 4
        for iteration, away in ((3, True), (8, True), (9, False)):
            left = pruner.candidates(pool.by_class[c], iteration)
            assert torch.isin(gone, left).any().item() is not away
            assert len(left) == 20 - away * len(gone)


def test_without_a_bound_every_round_measures_the_whole_pool(few: Few) -> None:
    pool = few(9)
    setting = assemble(small_config("dm"), pool, ReselectConfig(beta=0.3))
    for number, until in ((1, 2), (2, 4)):
        ids, stands = whose_turn(setting, number, 5)
        assert torch.equal(ids.sort().values, pool.by_class[5])
        assert stands == until


def test_candidates_and_networks_differ_between_rounds_and_repeat_within_one(few: Few) -> None:
    config, pool = small_config("dc", ipc=2), few(12)
    setting, state = assemble(config, pool), initial_state(config, pool)
    weights = []
    for round_number, which in ((1, 0), (1, 0), (1, 1), (2, 0)):
        draw_trained_network(setting, state, round_number, which)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in setting.network.parameters()]).clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_networks_of_gradient_matching_are_trained_between_zero_and_all_but_one_stretches(few: Few) -> None:
    config, pool = small_config("dc", ipc=2, outer_loops=3), few(4)
    setting, state = assemble(config, pool), initial_state(config, pool)
    seen = set()
    for which in range(12):
        draw_trained_network(setting, state, 1, which)
        found = setting.network.classifier.weight.detach().clone()
        setting.draw_network("reselect_network", 1, which)
        for steps in range(4):
            if torch.equal(found, setting.network.classifier.weight):
                seen.add(steps)
            setting.train_network(state.images, state.labels, "reselect", 1, which, steps)
    assert seen == {0, 1, 2}


def test_deciding_steps_come_every_interval_and_at_any_outer_loop(few: Few) -> None:
    config, pool = small_config("dc", outer_loops=3), few(4)
    steps = [deciding_step(assemble(config, pool, ReselectConfig(beta=0.2, interval=5)), t) for t in range(100)]
    assert [t for t, step in enumerate(steps) if step is not None] == list(range(0, 100, 5))
    assert {step for step in steps if step is not None} == {0, 1, 2}
    for off in (ReselectConfig(beta=0.2, interval=0), ReselectConfig(beta=0.0, interval=5)):
        assert all(deciding_step(assemble(config, pool, off), t) is None for t in range(20))


@pytest.mark.parametrize(("method", "norm"), list(itertools.product(["dm", "dc"], ["instance", "batch"])))
def test_two_samples_per_class_are_enough_and_none_of_them_is_dropped(few: Few, method: str, norm: str) -> None:
    config = small_config(method, ipc=3, init="noise", outer_loops=1, network=NetworkConfig(width=16, norm=norm))
    settings, pool = ReselectConfig(beta=0.5, interval=1), few(2)
    setting, measured, pruner = _measure(config, settings, pool)
    assert all(len(part.ids) == 2 and bool(part.kept.all()) for part in measured)
    records = distill(setting, initial_state(config, pool), 2, pruner, guard_for(setting))
    assert [record.real_used for record in records] == [20, 20]


def _steps(
    config: DistillConfig, settings: ReselectConfig, pool: RealPool, cuts: tuple[int, ...]
) -> tuple[DistillState, dict[str, Tensor], list[Record]]:
    """The loop run to each of `cuts` in turn, pruner and state stored and read in between."""
    state, stored, records = initial_state(config, pool), {}, []
    for stop in cuts:
        setting = assemble(config, pool, settings)
        pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
        if stored:
            pruner.load(stored)
        if stop == cuts[0]:
            reselect(setting, state, 1, pruner, guard_for(setting), lambda done, total, note="": None)
        records += distill(setting, state, stop, pruner, guard_for(setting))
        stored = pruner.state()
        state.pruner = stored
        state = decode_state(encode_state(state), "memory")
    return state, stored, records


@pytest.mark.parametrize("mode", ["refill", "shrink"])
@pytest.mark.parametrize("interval", [0, 3])
@pytest.mark.parametrize(("method", "score"), [("dm", "ite"), ("dc", "ite"), ("dm", "feature_distance"), ("dc", "loss"), ("dsa", "random")])
def test_cut_anywhere_every_mode_and_score_arrives_at_the_same_bytes(few: Few, mode: str, interval: int, method: str, score: str) -> None:
    config, pool = small_config(method, ipc=2, iterations=5, batch_real=8, outer_loops=2, inner_epochs=1), few(12)
    settings = ReselectConfig.model_validate({"beta": 0.3, "mode": mode, "interval": interval, "score": score})
    whole, pruner, records = _steps(config, settings, pool, (5,))
    state, stored, again = _steps(config, settings, pool, (1, 2, 3, 4, 5))
    assert torch.equal(state.images, whole.images)
    assert torch.equal(state.momentum, whole.momentum)
    assert all(torch.equal(value.nan_to_num(-1.0), stored[name].nan_to_num(-1.0)) for name, value in pruner.items())
    assert again == records


@pytest.mark.parametrize("interval", [0, 4])
def test_shrunk_batches_are_smaller_and_refilled_ones_are_not(few: Few, interval: int) -> None:
    config, pool = small_config("dm", iterations=8, batch_real=20), few(40)
    used = {}
    for mode in ("refill", "shrink"):
        settings = ReselectConfig.model_validate({"beta": 0.3, "mode": mode, "interval": interval, "threshold": "quantile"})
        _, _, records = _steps(config, settings, pool, (4,))  # the first round, for which its boundary decides
        used[mode] = [record.real_used for record in records]
    assert sum(used["shrink"]) == pytest.approx(0.7 * 4 * 200, rel=0.1)
    decided = [t for t in range(4) if interval and t % interval == 0]
    assert all(count == 200 for t, count in enumerate(used["refill"]) if t not in decided)


def test_shrink_with_an_interval_keeps_what_is_left_of_the_measured_batch(few: Few) -> None:
    config, pool = small_config("dc", batch_real=10, outer_loops=3, iterations=8), few(30)
    settings = ReselectConfig(beta=0.3, interval=4, mode="shrink", threshold="quantile")
    setting = assemble(config, pool, settings)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, settings)
    outer = deciding_step(setting, 4)
    assert outer is not None
    measured = draw_batches(setting, None, 4, outer)
    kept = []
    for batch in measured:
        keep = pruner.decide(batch.ids, torch.arange(1.0, 11.0), batch.class_index, 8)
        kept.append(batch.ids[keep])
    for iteration, step in ((4, 2), (5, 0), (7, 1)):
        for batch, ids in zip(draw_batches(setting, pruner, iteration, step), kept, strict=True):
            assert torch.equal(batch.ids, ids)
            assert batch.withheld == pytest.approx(1 - len(ids) / 10)
    assert all(len(batch.ids) == 10 for batch in draw_batches(setting, pruner, 8, 0))


@pytest.mark.parametrize("score", ["feature_distance", "loss", "random"])
def test_substitutes_are_what_they_say_at_a_boundary(few: Few, score: ScoreName) -> None:
    config, pool = small_config("dm", batch_real=4), few(9)
    settings = ReselectConfig(beta=0.3, score=score)
    setting, found, pruner = _measure(config, settings, pool)
    setting.draw_network("reselect_network", ROUND, 0)
    for c, part in enumerate(found):
        images = augment.apply(pool.dataset.train.batch(part.ids), setting.draw_augmentation("reselect_augment", ROUND, 0, c))
        if score == "feature_distance":
            embedded = setting.network.embed(images).detach()
            wanted = torch.stack([(row - embedded.mean(0)).norm() for row in embedded])
            torch.testing.assert_close(part.mean, wanted, rtol=1e-4, atol=1e-5)
        elif score == "loss":
            wanted = -setting.network(images).log_softmax(1)[:, c].detach()
            torch.testing.assert_close(part.mean, wanted, rtol=1e-4, atol=1e-5)
        else:
            assert len(part.mean.unique()) == 9
            assert 0 <= float(part.mean.min()) < float(part.mean.max()) < 1
    assert (len(pruner.quantile_classes) == 10) is (score == "random")


@pytest.mark.parametrize("method", ["dm", "dc"])
@pytest.mark.parametrize("score", ["ite", "feature_distance", "loss", "random"])
def test_the_mean_of_what_is_kept_is_that_of_a_pass_of_its_own(few: Few, method: str, score: ScoreName) -> None:
    pool = few(12)
    setting = assemble(small_config(method, ipc=2), pool, ReselectConfig(beta=0.3, score=score))
    state = initial_state(setting.config, pool)
    setting.draw_network("network", 0)
    images = pool.images(pool.by_class[3])
    (scored,) = score_batches(setting, state.images, [Batch(3, pool.by_class[3], None, path=(0,))])
    kept = scored.values < scored.values.median()
    wanted = setting.matching.real_mean(setting.network, images[kept], setting.class_labels(3, int(kept.sum())))
    for own, other in zip(scored.mean_of(kept), wanted, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
