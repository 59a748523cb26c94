"""LGM's loop: against plain autograd, by differences, cut and continued, under trained encoders, with both levels of pruning."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_distillation import NARROW, Store, assemble, assert_follows, guard_for, spelled_out
from tiny_reference import reference

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import reselect_uri
from bilp.artifacts.tables import ITE
from bilp.config import DistillConfig, LinearConfig, PruneConfig, ReselectConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, pretrain_network, reselect_round, start_run
from bilp.distill.loops import lgm as heads
from bilp.distill.loops.lgm import distill, image_gradient, measure, real_gradient
from bilp.distill.step import levels
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.levels import color_matrix, level_sides, require_levels
from bilp.distill.step.real import draw_batches
from bilp.distill.step.state import DistillState, encode_state
from bilp.errors import ConfigError, DamagedArtifact, Diverged
from bilp.matching.head_gradient import HeadInputs, cosine_cotangent
from bilp.nets.by_device import ByDevice
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.prune import prune

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
FAMILIES = ("color", "crop", "cutout", "scale", "rotate")


def lgm(settings: dict[str, Any] | None = None, **changes: Any) -> DistillConfig:
    """Four iterations, with a level of the pyramid every other one."""
    own = LinearConfig(copies=2, grow_every=2).model_copy(update=settings or {})
    values: dict[str, Any] = {"method": "lgm", "iterations": 4, "rounds": 2, "batch_real": 16, "network": NARROW, "init": "noise"}
    return spelled_out(values | {"augment": FAMILIES, "learning_rate": 0.05, "linear": own} | changes)


def _run(config: DistillConfig, pool: RealPool, iterations: int) -> tuple[DistillState, list[Record]]:
    setting, state = assemble(config, pool), initial_state(config, pool)
    return state, distill(setting, state, iterations, None, guard_for(setting))


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({}, {"ipc": 2}),
        pytest.param({"pyramid": False}, {"ipc": 1, "augment": ()}, marks=pytest.mark.slow),
        pytest.param({"head_deviation": 0.0, "copies": 3}, {"ipc": 1, "seed": 3}, marks=pytest.mark.slow),
        pytest.param({"head_deviation": 1.0, "grow_every": 1}, {"ipc": 2}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_loop_equals_the_slow_restatement(few: Few, settings: dict[str, Any], changes: dict[str, Any]) -> None:
    config, pool = lgm(settings, **changes), few(8)
    slow = reference(config, pool)
    curve = slow.run(4)
    state, records = _run(config, pool, 4)
    assert [record.loss for record in records] == pytest.approx(curve, rel=2e-4)
    # Adam divides by the gradient's own size, so that rounding shows where there hardly is a gradient.
    assert (state.images - slow.images).norm() < 1e-3 * slow.images.norm()


def test_twenty_steps_follow_the_stored_curve(few: Few) -> None:
    expected = json.loads((HERE / "expected_lgm.json").read_text())
    state, records = _run(lgm({"grow_every": 4}, ipc=2, iterations=20), few(24), 20)
    assert_follows(records, expected["losses"])
    # Adam divides by the gradient's own size, so that a processor's rounding shows where there hardly is a gradient.
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=5e-3)


@pytest.mark.slow
def test_gradient_by_finite_differences(few: Few) -> None:
    """In float64, along the gradient and along a direction that has nothing to do with it."""
    config = lgm({"head_deviation": 0.5, "copies": 1}, ipc=2, augment=(), network=NARROW.model_copy(update={"activation": "swish"}))
    setting = assemble(config, few(6))
    setting.encoder.draw("network", 0)
    real = real_gradient(setting, draw_batches(setting, None, 0, 0)).double()
    setting.network.double()
    images = initial_state(config, setting.pool).images.double()
    _, gradient = image_gradient(setting, images, real, 0, 0)
    other = torch.randn(images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for direction in (gradient / gradient.norm(), other / other.norm()):
        ahead, behind = (image_gradient(setting, images + s * direction, real, 0, 0)[0] for s in (1e-5, -1e-5))
        wanted = float((gradient * direction).sum())
        assert wanted == pytest.approx(float(ahead - behind) / 2e-5, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("pyramid", [True, False])
def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few, pyramid: bool) -> None:
    config, pool = lgm({"pyramid": pyramid}), few(6)
    whole, _ = _run(config, pool, 4)
    state = initial_state(config, pool)
    for stop in (1, 1, 3, 4):
        setting = assemble(config, pool)
        distill(setting, state, stop, None, guard_for(setting))
        require_levels(state.method, config, pool, "there")
        state = state.to("cpu")
    assert encode_state(state) == encode_state(whole)


@pytest.mark.slow
def test_passes_in_parts_give_the_same_gradient(few: Few, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = assemble(config := lgm(ipc=2), few(6))
    setting.encoder.draw("network", 0)
    real, images = real_gradient(setting, draw_batches(setting, None, 0, 0)), initial_state(config, setting.pool).images
    loss, gradient = image_gradient(setting, images, real, 0, 0)
    monkeypatch.setattr(heads, "PASS_BYTES", ByDevice(cpu=7 * heads.image_bytes(setting), gpu=1, large=1))
    parted_loss, parted = image_gradient(setting, images, real, 0, 0)
    torch.testing.assert_close(parted_loss, loss, rtol=1e-5, atol=0.0)
    assert (parted - gradient).norm() < 1e-5 * gradient.norm()


@pytest.mark.parametrize(("length", "least"), [(1.0, 0.9999), (20.0, 0.97), (45.0, 0.9)])
def test_both_variants_point_the_same_way(length: float, least: float) -> None:
    """A classifier that is drawn and r_i = 1/C - y_i, on features of a length, and what these are moved along."""
    stream = torch.Generator().manual_seed(0)
    features = length * torch.nn.functional.normalize(torch.randn(10, 512, generator=stream))
    weight, real = 0.01 * torch.randn(10, 512, generator=stream), torch.randn(10, 513, generator=stream)
    drawn, without = (HeadInputs.of(features, torch.arange(10), used) for used in (weight, 0 * weight))
    torch.testing.assert_close(without.residuals, 0.1 - torch.eye(10))
    assert torch.cosine_similarity(drawn.mean_gradient().flatten(), without.mean_gradient().flatten(), dim=0) > least
    moved = [inputs.pull(cosine_cotangent(real, inputs.mean_gradient())).flatten() for inputs in (drawn, without)]
    assert torch.cosine_similarity(*moved, dim=0) > least - 0.03


def test_without_a_drawn_classifier_centroids_are_compared(few: Few) -> None:
    """Row c of the real gradient is (mean of all features - mean of class c) / C."""
    setting = assemble(lgm({"head_deviation": 0.0}), few(5))
    setting.encoder.draw("network", 0)
    found = real_gradient(setting, draw_batches(setting, None, 0, 0))
    means = torch.stack([setting.network.embed(setting.pool.images(ids)).mean(dim=0) for ids in setting.pool.by_class])
    torch.testing.assert_close(found[:, :-1], (means.mean(dim=0) - means) / 10, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[:, -1], torch.zeros(10), rtol=0.0, atol=1e-6)


def test_levels_double_until_the_images_are_reached() -> None:
    assert level_sides((8, 8)) == [(1, 1), (2, 2), (4, 4), (8, 8)]
    assert level_sides((28, 12)) == [(1, 1), (2, 2), (4, 4), (8, 8), (16, 12), (28, 12)]
    assert level_sides((1, 1)) == [(1, 1)]
    assert color_matrix().norm(dim=0).max() == pytest.approx(1.0)


def test_a_level_that_comes_in_shares_the_image_with_the_others(few: Few) -> None:
    config, pool = lgm({"grow_every": 1}), few(4)
    state = initial_state(config, pool)
    own = levels.Levels(config, state, pool.dataset.mean, pool.dataset.std)
    own.grow(0)
    first = state.method["level.0"].clone()
    own.grow(1)
    torch.testing.assert_close(state.method["level.0"], first / 2)
    assert state.method["level.1"].shape == (10, 1, 2, 2)
    assert float(state.method["level.1"].std()) == pytest.approx(0.5, rel=0.3)
    pixels = state.images * torch.tensor(pool.dataset.std) + torch.tensor(pool.dataset.mean)
    assert 0.0 <= float(pixels.min()) < float(pixels.max()) <= 1.0
    total = state.method["level.0"] + torch.nn.functional.interpolate(state.method["level.1"], (8, 8), mode="bilinear")
    torch.testing.assert_close(pixels, torch.sigmoid(2 * total))


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors: tensors.pop("mean.0"),
        lambda tensors: tensors.update({"level.0": torch.zeros(10, 1, 2, 2)}),
        lambda tensors: tensors.update({"square.0": -torch.ones(10, 1, 1, 1)}),
        lambda tensors: tensors.clear(),
    ],
)
def test_levels_that_cannot_be_are_damaged(few: Few, damage: Callable[[dict[str, torch.Tensor]], object]) -> None:
    config, pool = lgm(), few(4)
    state, _ = _run(config, pool, 1)
    damage(state.method)
    with pytest.raises(DamagedArtifact, match="somewhere"):
        require_levels(state.method, config, pool, "somewhere")


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["auto", "cotangent"])
def test_closed_form_effects_equal_their_definition(few: Few, estimator: str) -> None:
    config, pool = lgm({"head_deviation": 0.3}, ipc=2), few(9)
    images = initial_state(config, pool).images
    found = []
    for name in (estimator, "oracle"):
        setting = assemble(config, pool, ReselectConfig(beta=0.2, estimator=name))
        setting.encoder.draw("network", 0)
        found.append(torch.cat([scored.values for scored in measure(setting, images, draw_batches(setting, None, 0, 0))]))
    torch.testing.assert_close(*found, rtol=1e-5, atol=0.0)
    assert float(found[1].min()) > 0.0


@pytest.mark.slow
def test_a_run_under_trained_encoders_with_both_levels(store: Store, tmp_path: Path) -> None:
    """Two encoders; decisions at boundaries and inside of rounds; killed between rounds, it goes on to the same images."""
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)
    pretrained = {"networks": 2, "epochs": 1, "batch_size": 32}
    config = lgm(ipc=2, idc={"cutmix": 0.0, "pretrained": pretrained})
    reselect = ReselectConfig(beta=0.3, interval=2, networks=2, threshold="quantile")
    ends = []
    for root in ("one", "two"):
        run = start_run(store.uri, few, config, reselect, str(tmp_path / root))
        for number in (0, 1):
            pretrain_network(run, number)
        for number in (1, 2):
            reselect_round(run, number)
            distill_round(run, number)
        ends.append(load_synthetic(finish_run(run))[0])
        table = open_artifact(reselect_uri(run, 1), "reselect").table("ite.parquet", ITE)
        assert len(table) == 143
        assert min(table["ite"].to_pylist()) > 0
        assert 0.2 < sum(table["dropped"].to_pylist()) / 143 < 0.4
    assert torch.equal(*ends)


@pytest.mark.slow
def test_decisions_inside_a_round_drop_from_the_batch(few: Few) -> None:
    config, pool = lgm(iterations=2, batch_real=32), few(20)
    reselect = ReselectConfig(beta=0.4, interval=2, threshold="quantile")
    setting, state = assemble(config, pool, reselect), initial_state(config, pool)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, reselect)
    records = distill(setting, state, 2, pruner, guard_for(setting))
    assert all(0.2 < record.dropped_share < 0.6 for record in records)
    assert (pruner.state()["visits"][torch.cat(pool.by_class)] == 1).all()


def test_weights_count_in_the_real_gradient(few: Few) -> None:
    setting = assemble(lgm(), few(6))
    setting.encoder.draw("network", 0)
    batches = draw_batches(setting, None, 0, 0)
    half = [replace(batch, ids=batch.ids[:3]) for batch in batches]
    weighed = [replace(batch, weights=torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])) for batch in batches]
    torch.testing.assert_close(real_gradient(setting, weighed), real_gradient(setting, half))


@pytest.mark.parametrize("estimator", ["taylor", "sketch"])
def test_estimators_of_sums_over_classes_are_refused(store: Store, tmp_path: Path, estimator: str) -> None:
    with pytest.raises(ConfigError, match=rf"reselect.estimator {estimator}: method lgm measures effects by auto, cotangent or oracle"):
        start_run(store.uri, None, lgm(), ReselectConfig(beta=0.2, estimator=estimator), str(tmp_path))


def test_an_absurd_learning_rate_diverges(few: Few) -> None:
    with pytest.raises(Diverged, match=r"iteration \d+: .*1e\+20"):
        _run(lgm({"pyramid": False}, learning_rate=1e20), few(6), 4)
