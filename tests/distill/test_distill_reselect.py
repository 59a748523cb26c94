"""Reselection: effects against leaving samples out by hand, and pools that are almost too small."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from tiny_distillation import assemble, guard_for, small_config
from torch import Tensor

from bilp import augment
from bilp.config import DistillConfig, NetworkConfig, ReselectConfig
from bilp.distill.boundary import Measured, draw_trained_network, reselect, whose_turn
from bilp.distill.initial import initial_state
from bilp.distill.loop import deciding_step, distill
from bilp.distill.sampling import RealPool
from bilp.distill.setting import Setting
from bilp.nets import build, initialise
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

Few = Callable[[int], RealPool]
ROUND = 3


def _measure(config: DistillConfig, settings: ReselectConfig, pool: RealPool) -> tuple[Setting, list[Measured], AdaptivePruner]:
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
            initialise(network, generator(7, "reselect_network", ROUND, k))
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
