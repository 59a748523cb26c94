"""The one loop against a slow restatement, and against curves stored once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiers import first_tier
from tiny_distillation import assemble, assert_follows, guard_for, small_config
from tiny_reference import reference
from torch import Tensor

from bilp.config import METHODS, DistillConfig, NetworkConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.dm_dc import distill
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.real import draw_batches, shared_means
from bilp.distill.step.schedule import schedule_for
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.errors import ConfigError, Diverged
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.pruning.adaptive import AdaptivePruner

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent


def _run(config: DistillConfig, pool: RealPool, iterations: int) -> tuple[DistillState, list[Record]]:
    setting = assemble(config, pool)
    state = initial_state(config, pool)
    records = distill(setting, state, iterations, None, guard_for(setting))
    return state, records


@pytest.mark.parametrize(
    ("method", "ipc", "samples", "batch", "seed"),
    [
        ("dm", 1, 12, 8, 0),
        ("dm", 3, 20, 16, 1),
        ("dm", 1, 2, 256, 2),
        ("dc", 1, 6, 4, 3),
        ("dc", 3, 2, 256, 4),
        pytest.param("dsa", 1, 6, 4, 5, marks=pytest.mark.slow),
        ("dsa", 3, 8, 6, 5),
        pytest.param("dsa", 2, 2, 256, 6, marks=pytest.mark.slow),
    ],
)
def test_loop_equals_the_slow_restatement(few: Few, method: str, ipc: int, samples: int, batch: int, seed: int) -> None:
    config = small_config(method, ipc=ipc, batch_real=batch, seed=seed)
    pool = few(samples)
    before = initial_state(config, pool).images
    state, records = _run(config, pool, 3)
    slow = reference(config, pool)
    curve = slow.run(3)
    torch.testing.assert_close(torch.tensor([record.loss for record in records]), torch.tensor(curve), rtol=2e-4, atol=1e-6)
    moved = (slow.images - before).norm()
    assert moved > 0
    assert (state.images - slow.images).norm() < 2e-3 * moved
    assert [record.real_used for record in records] == [pool.classes * min(samples, batch) * (1 if METHODS[method].one_step else 2)] * 3
    assert all(record.dropped_share == 0.0 for record in records)


@pytest.mark.parametrize("method", ["dm", "dc", "dsa"])
def test_the_first_loss_is_the_plain_objective_to_five_digits(few: Few, method: str) -> None:
    """On fixed images, before anything has moved that a rounding error could be amplified by."""
    config, pool = small_config(method, ipc=2, outer_loops=1), few(9)
    curve = reference(config, pool).run(1)
    _, (record,) = _run(config, pool, 1)
    assert record.loss == pytest.approx(curve[0], rel=1e-5)


@pytest.mark.parametrize("method", first_tier(["dm", "dc", "dsa"], "dm", "dc"))
def test_twenty_steps_follow_the_stored_curve(few: Few, method: str) -> None:
    """The files hold what this call gave once."""
    expected = json.loads((HERE / f"expected_{method}.json").read_text())
    config = small_config(method, ipc=2, iterations=20, outer_loops=1, learning_rate=1.0 if method == "dm" else 0.1)
    state, records = _run(config, few(24), 20)
    assert_follows(records, expected["losses"])
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-2)


@pytest.mark.parametrize("method", first_tier(["dm", "dc", "dsa"], "dm", "dc"))
def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bits(few: Few, method: str) -> None:
    config, pool = small_config(method, ipc=2), few(10)
    whole, _ = _run(config, pool, 3)
    setting = assemble(config, pool)
    state = initial_state(config, pool)
    distill(setting, state, 1, None, guard_for(setting))
    setting = assemble(config, pool)  # another process has another network module
    distill(setting, state.to("cpu"), 1, None, guard_for(setting))  # nothing left to do
    state = state.to("cpu")
    distill(setting, state, 3, None, guard_for(setting))
    assert torch.equal(state.images, whole.images)
    assert torch.equal(state.momentum, whole.momentum)
    assert state.iteration == whole.iteration == 3


def test_without_momentum_the_buffer_stays_zero_and_a_step_is_the_gradient_alone(few: Few) -> None:
    config, pool = small_config("dm", momentum=0.0), few(8)
    before = initial_state(config, pool).images
    state, _ = _run(config, pool, 2)
    slow = reference(config, pool)
    slow.run(2)
    assert not state.momentum.any()
    assert (state.images - slow.images).norm() < 2e-3 * (slow.images - before).norm()


@pytest.mark.parametrize("limit", [1, 5, 7, 64, 1000])
def test_shared_forward_passes_give_the_means_of_single_ones(few: Few, limit: int) -> None:
    setting = assemble(small_config("dm", batch_real=9), few(20))
    setting.draw_network("network", 0)
    batches = draw_batches(setting, None, 0, 0)
    batches[3] = type(batches[3])(3, batches[3].ids[:2], batches[3].params, 0.0)  # sizes may differ
    means = shared_means(setting, batches, limit)
    for batch, (mean,) in zip(batches, means, strict=True):
        rows = [setting.network.embed(_augmented(setting, batch.ids[k : k + 1], batch.params))[0] for k in range(len(batch.ids))]
        torch.testing.assert_close(mean, torch.stack(rows).mean(0).detach(), rtol=1e-4, atol=1e-6)
        assert not mean.requires_grad


def _augmented(setting: Setting, ids: Tensor, params: AugParams | None) -> Tensor:
    return augment.apply(setting.pool.images(ids), params)


@pytest.mark.parametrize("method", first_tier(["dm", "dc"], "dm"))
def test_batch_norm_is_frozen_on_real_images_before_matching(few: Few, method: str) -> None:
    config = small_config(method, ipc=2, network=NetworkConfig(width=16, norm="batch"))
    pool = few(8)
    whole, records = _run(config, pool, 2)
    assert all(torch.isfinite(torch.tensor(record.loss)) for record in records)
    again, _ = _run(config, pool, 2)
    assert torch.equal(whole.images, again.images)


def test_dm_ignores_what_trains_a_network(few: Few) -> None:
    pool = few(8)
    one, _ = _run(small_config("dm"), pool, 2)
    other, _ = _run(small_config("dm", outer_loops=5, inner_epochs=9, network_learning_rate=3.0), pool, 2)
    assert torch.equal(one.images, other.images)
    assert schedule_for(small_config("dm", outer_loops=5)).outer_loops == 1


def test_inner_training_changes_gradient_matching(few: Few) -> None:
    pool = few(8)
    one, _ = _run(small_config("dc", ipc=2), pool, 2)
    other, _ = _run(small_config("dc", ipc=2, inner_epochs=0), pool, 2)
    assert not torch.allclose(one.images, other.images)


def test_real_images_start_as_different_samples_of_their_class(few: Few) -> None:
    pool = few(6)
    state = initial_state(small_config("dm", ipc=3), pool)
    for c, ids in enumerate(pool.by_class):
        own = pool.images(ids)
        found = [int((own == image).flatten(1).all(1).nonzero()[0]) for image in state.images[3 * c : 3 * c + 3]]
        assert len(set(found)) == 3
    assert state.labels.tolist() == [c for c in range(10) for _ in range(3)]


def test_noise_has_unit_variance_and_does_not_depend_on_the_samples(few: Few) -> None:
    config = small_config("dm", init="noise", ipc=20)
    images = initial_state(config, few(2)).images
    assert float(images.std()) == pytest.approx(1.0, abs=0.03)
    assert float(images.mean()) == pytest.approx(0.0, abs=0.03)
    assert torch.equal(images, initial_state(config, few(5)).images)


def test_real_images_need_as_many_samples_as_ipc(few: Few) -> None:
    with pytest.raises(ConfigError, match="ipc = 3 needs 3 real samples"):
        initial_state(small_config("dm", ipc=3), few(2))


def test_other_seeds_give_other_runs(few: Few) -> None:
    pool = few(8)
    one, _ = _run(small_config("dm", init="noise", seed=0), pool, 1)
    other, _ = _run(small_config("dm", init="noise", seed=1), pool, 1)
    assert not torch.allclose(one.images, other.images)


@pytest.mark.parametrize("method", ["dm", "dc"])
def test_an_absurd_learning_rate_diverges_with_a_name(few: Few, method: str) -> None:
    with pytest.raises(Diverged, match=r"iteration \d+: .* class \d .*1e\+20"):
        _run(small_config(method, learning_rate=1e20, iterations=10), few(8), 10)


def test_progress_counts_the_iterations_of_this_stretch(few: Few) -> None:
    config, pool = small_config("dm"), few(4)
    setting, state = assemble(config, pool), initial_state(config, pool)
    seen: list[tuple[int, int]] = []
    for stop in (1, 3):
        distill(setting, state, stop, None, guard_for(setting), lambda done, total, note="": seen.append((done, total)))
    assert seen == [(1, 1), (1, 2), (2, 2)]


@pytest.mark.parametrize("method", first_tier(["dm", "dc"], "dm"))
def test_decisions_inside_a_round_drop_from_the_batch_and_stand_until_the_next(few: Few, method: str) -> None:
    config, pool = small_config(method, iterations=6, batch_real=32), few(20)
    reselect = ReselectConfig(beta=0.4, interval=3, threshold="quantile")
    setting, state = assemble(config, pool, reselect), initial_state(config, pool)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, reselect)
    records = distill(setting, state, 6, pruner, guard_for(setting))
    # 20 samples of each class are measured at iterations 0 and 3; what is dropped stays away until the next measure.
    steps = setting.schedule.outer_loops
    for record in records:
        assert 0.1 < record.dropped_share < 0.6
        assert record.real_used == pytest.approx(200 * steps * (1 - record.dropped_share))
    visits = pruner.state()["visits"][torch.cat(pool.by_class)]
    assert (visits == 2).all()
    assert pruner.dropped_share() == pytest.approx(0.4, abs=0.1)
