"""The loops of IDC, DREAM and IDM against a slow restatement and stored curves; cut and continued; almost empty classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_distillation import assemble, assert_follows, guard_for, small_config
from tiny_reference import reference

from bilp.config import DistillConfig, NetworkConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.registry import loop_for, networks_for
from bilp.distill.loops.shared_leaf import SharedLeaf
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.network_pool import NetworkPool
from bilp.distill.step.reselection import reselect
from bilp.distill.step.state import DistillState, decode_state, encode_state
from bilp.errors import ConfigError, Diverged
from bilp.nets import build
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.seeds import generator

pytestmark = pytest.mark.slow

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
METHODS = pytest.mark.parametrize("method", ["idc", "dream", "idm"])
IDC = {"train_samples": 24, "cutmix": 0.5}
DREAM = {"interval": 2}
IDM = {"networks": 2, "new_every": 2, "most_networks": 3, "train_steps": 3}


def config_of(method: str, **changes: Any) -> DistillConfig:
    """Width 8, depth 2; two image steps per network where a network has several."""
    values: dict[str, Any] = {"network": NetworkConfig(width=8, depth=2), "batch_real": 6, "batch_train": 16, "decode": {"factor": 2}}
    values |= {"learning_rate": 0.05, "outer_loops": 2, "idc": IDC, "dream": DREAM, "idm": IDM}
    if method != "idm":
        values |= {"augment": ("color", "crop", "cutout"), "learning_rate": 0.002}
    return small_config(method, **(values | changes))


def advance(
    config: DistillConfig, pool: RealPool, state: DistillState, stop: int, reselecting: ReselectConfig | None = None
) -> list[Record]:
    setting = assemble(config, pool, reselecting)
    pruner = None if reselecting is None else AdaptivePruner(pool.dataset.train.labels, pool.classes, reselecting)
    return loop_for(config.method)(setting, state, stop, pruner, guard_for(setting), silent)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0])
def test_a_shared_leaf_moves_as_one_optimizer_over_all_classes_would(momentum: float) -> None:
    images = torch.randn(6, 1, 2, 2, generator=generator(0, "leaf"), dtype=torch.float64)
    plain = images.clone().requires_grad_()
    optimizer = torch.optim.SGD([plain], lr=0.3, momentum=momentum)
    leaf = SharedLeaf(images, torch.zeros_like(images), 3, 0.3, momentum, scale=2.0)
    for turn in range(4):
        for c in range(3):
            leaf.begin_turn(c)
            torch.testing.assert_close(leaf.images[leaf.rows(c)], plain[leaf.rows(c)].detach())
            gradient = torch.randn(2, 1, 2, 2, generator=generator(0, turn, c), dtype=torch.float64)
            plain.grad = torch.zeros_like(plain)
            plain.grad[leaf.rows(c)] = 2.0 * gradient
            optimizer.step()
            leaf.end_turn(c, gradient)
    torch.testing.assert_close(leaf.images, plain.detach())
    if momentum:
        torch.testing.assert_close(leaf.velocity, optimizer.state[plain]["momentum_buffer"])


@pytest.mark.parametrize(
    ("method", "samples", "changes"),
    [
        ("idc", 12, {"ipc": 1}),
        ("idc", 12, {"ipc": 3, "idc": {**IDC, "metric": "l1"}, "learning_rate": 1e-4, "seed": 1}),
        ("idc", 2, {"ipc": 3, "init": "noise", "batch_real": 256, "seed": 2}),
        ("idc", 14, {"ipc": 1, "decode": {"factor": 3, "kind": "multi", "bound": 11}, "seed": 3}),
        ("dream", 12, {"ipc": 1, "outer_loops": 3, "seed": 4}),
        ("dream", 15, {"ipc": 3, "init": "kmeans", "decode": {"factor": 1}, "seed": 5}),
        ("dream", 2, {"ipc": 1, "init": "noise", "seed": 6}),
        ("dream", 15, {"ipc": 1, "init": "kmeans", "decode": {"factor": 1}, "dream": {**DREAM, "clustered": "pixels", "nearest": "all"}}),
        ("idc", 12, {"ipc": 1, "outer_loops": 4, "idc": {**IDC, "train_samples": 50, "early_epochs": 1}, "seed": 4}),
        ("idm", 12, {"ipc": 1}),
        ("idm", 12, {"ipc": 1, "idm": {**IDM, "accuracy_window": 2, "trained": 3}, "seed": 3}),
        ("idm", 12, {"ipc": 1, "idm": {**IDM, "network_momentum": 0.0}, "seed": 4}),
        ("idm", 12, {"ipc": 3, "seed": 1}),
        ("idm", 2, {"ipc": 3, "init": "noise", "batch_real": 5000, "batch_train": 256, "seed": 2}),
    ],
)
def test_loop_equals_the_slow_restatement(few: Few, method: str, samples: int, changes: dict[str, Any]) -> None:
    config, pool = config_of(method, **changes), few(samples)
    state = initial_state(config, pool)
    before = state.images.clone()
    slow = reference(config, pool)
    curve = slow.run(3)
    records = advance(config, pool, state, 3)
    assert [record.loss for record in records] == pytest.approx(curve, rel=1e-4)
    moved = (slow.images - before).norm()
    assert moved > 0
    assert (state.images - slow.images).norm() < (2e-2 if config.idc.metric == "l1" else 2e-3) * moved
    steps = 1 if method == "idm" else config.outer_loops
    assert [record.real_used for record in records] == [pool.classes * min(samples, config.batch_real) * steps] * 3


@METHODS
def test_the_first_loss_is_the_plain_objective_to_five_digits(few: Few, method: str) -> None:
    """On fixed images, before anything has moved that a rounding error could be amplified by."""
    config, pool = config_of(method, ipc=2, outer_loops=1, learning_rate=1e-30), few(9)
    curve = reference(config, pool).run(1)
    (record,) = advance(config, pool, initial_state(config, pool), 1)
    assert record.loss == pytest.approx(curve[0], rel=1e-5)


@METHODS
def test_twenty_steps_follow_the_stored_curve(few: Few, method: str) -> None:
    """The files hold what this call gave once."""
    expected = json.loads((HERE / f"expected_{method}.json").read_text())
    iterations = 20 if method == "idm" else 10
    config, pool = config_of(method, ipc=1, iterations=iterations), few(12)
    state = initial_state(config, pool)
    records = advance(config, pool, state, iterations)
    assert_follows(records, expected["losses"])
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-3)


@METHODS
def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few, method: str) -> None:
    config, pool = config_of(method, ipc=2), few(10)
    reselecting = ReselectConfig(beta=0.0)
    whole = initial_state(config, pool)
    advance(config, pool, whole, 3, reselecting)
    state = initial_state(config, pool)
    for stop in (1, 1, 3):
        state = decode_state(encode_state(state), "between")
        advance(config, pool, state, stop, reselecting)
    assert encode_state(state) == encode_state(whole)
    assert state.iteration == 3


def test_the_pool_of_idm_is_part_of_the_state_and_bounded(few: Few) -> None:
    config, pool = config_of("idm"), few(4)
    state = initial_state(config, pool)
    sizes = []
    for stop in (1, 3, 5, 7):
        advance(config, pool, state, stop)
        sizes.append(len(state.method["networks"]))
        assert state.method["seen"].sum() <= stop * 2 * 3 * 16
    assert sizes == [3, 3, 3, 3]
    assert int(state.method["born"]) == 6
    network = build(config.network, pool.dataset.shape, pool.classes)
    assert state.method["networks"].shape[1] == state.method["momenta"].shape[1] == sum(p.numel() for p in network.parameters())
    assert (state.method["momenta"].abs().sum(dim=1) > 0).tolist() == (state.method["seen"] > 0).tolist(), "those that were trained"
    assert (state.method["right"] <= state.method["seen"]).all()


def test_a_network_of_the_pool_is_what_was_stored(few: Few) -> None:
    config, dataset = config_of("idm", network=NetworkConfig(width=8, norm="batch")), few(4).dataset
    network = build(config.network, dataset.shape, 10)
    pool = NetworkPool(config, network, tensors := {})
    pool.load(1)
    with torch.no_grad():
        for values in (*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())):
            values.add_(1.0)
    wanted = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = pool.optimizer(1)
    for number, parameter in enumerate(network.parameters()):
        optimizer.state[parameter]["momentum_buffer"] = torch.full_like(parameter, number + 0.5)
    pool.store(1, optimizer, 3, 4)
    pool.load(0)
    assert any(not torch.equal(wanted[name], value) for name, value in network.state_dict().items())
    pool.load(1)
    assert all(torch.equal(wanted[name], value) for name, value in network.state_dict().items())
    found = pool.optimizer(1).state
    assert all(bool((found[p]["momentum_buffer"] == number + 0.5).all()) for number, p in enumerate(network.parameters()))
    assert all(not state["momentum_buffer"].any() for state in pool.optimizer(0).state.values())
    assert (pool.accuracy(0), pool.accuracy(1)) == (0.0, 75.0)
    assert tensors["seen"].tolist() == [0, 4]


@pytest.mark.parametrize("method", ["idc", "dream"])
def test_pixels_stay_in_their_range_between_iterations(few: Few, method: str) -> None:
    config, pool = config_of(method, init="noise", learning_rate=0.05), few(6)
    state = initial_state(config, pool)
    advance(config, pool, state, 2)
    pixels = state.images * pool.dataset.std[0] + pool.dataset.mean[0]
    assert float(pixels.min()) == pytest.approx(0.0, abs=1e-6)
    assert float(pixels.max()) == pytest.approx(1.0, abs=1e-6)


@METHODS
@pytest.mark.parametrize("interval", [0, 2])
def test_adaptive_pruning_at_boundaries_and_inside(few: Few, method: str, interval: int) -> None:
    config, pool = config_of(method, ipc=1, batch_real=8), few(12)
    reselecting = ReselectConfig(beta=0.4, interval=interval, threshold="quantile", networks=2)
    setting, state = assemble(config, pool, reselecting), initial_state(config, pool)
    pruner, guard = AdaptivePruner(pool.dataset.train.labels, pool.classes, reselecting), guard_for(assemble(config, pool))
    measured = reselect(setting, state, 1, pruner, guard, silent, networks_for(config.method))
    assert all(0 < int((~part.kept).sum()) < 8 for part in measured)
    records = loop_for(config.method)(setting, state, 2, pruner, guard, silent)
    assert all(0.05 < record.dropped_share < 0.7 for record in records)
    assert pruner.dropped_share() == pytest.approx(0.4, abs=0.1)


@METHODS
def test_both_estimators_agree_at_a_boundary(few: Few, method: str) -> None:
    config, pool = config_of(method, ipc=2), few(8)
    columns = []
    for estimator in ("cotangent", "oracle"):
        reselecting = ReselectConfig.model_validate({"beta": 0.3, "estimator": estimator})
        setting, state = assemble(config, pool, reselecting), initial_state(config, pool)
        pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, reselecting)
        found = reselect(setting, state, 1, pruner, guard_for(setting), silent, networks_for(config.method))
        columns.append(torch.cat([part.mean for part in found]))
    torch.testing.assert_close(columns[0], columns[1], rtol=2e-2, atol=1e-6)


@METHODS
def test_two_samples_per_class_are_enough_and_batch_norm_is_too(few: Few, method: str) -> None:
    config = config_of(method, ipc=3, init="noise", network=NetworkConfig(width=8, norm="batch"))
    records = advance(config, few(2), initial_state(config, few(2)), 2, ReselectConfig(beta=0.5, interval=1))
    assert [record.real_used for record in records] == [20 * (1 if method == "idm" else 2)] * 2


@pytest.mark.parametrize("init", ["real", "kmeans"])
def test_a_mosaic_needs_a_sample_for_each_of_its_parts(few: Few, init: str) -> None:
    config = config_of("dream", ipc=2, init=init)
    with pytest.raises(ConfigError, match=rf"init {init} with ipc = 2 and 2x2 parts needs 8 real samples"):
        initial_state(config, few(7))
    images = initial_state(config, few(8)).images
    assert images.shape == (20, 1, 8, 8)
    own = few(8).images(few(8).by_class[3])[:, :, ::2, ::2]
    corner = images[6:8, :, :4, :4]
    assert all(any(torch.equal(part, whole) for whole in own) for part in corner)


@METHODS
def test_an_absurd_learning_rate_diverges_with_a_name(few: Few, method: str) -> None:
    config = config_of(method, learning_rate=1e20)
    with pytest.raises(Diverged, match=r"iteration \d+: .* class \d .*1e\+20"):
        advance(config, few(8), initial_state(config, few(8)), 4)


def test_early_epochs_train_the_network_before_the_first_step(few: Few) -> None:
    pool, losses = few(12), []
    for early in (0, 1, 8):
        config = config_of("idc", idc={**IDC, "early_epochs": early})
        losses.append(advance(config, pool, initial_state(config, pool), 1)[0].loss)
    assert len(set(losses)) == 3
