"""The loops of FRePo and RFAD: against autograd through the whole solve, cut and continued, with exact effects and both levels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tiers import first_tier
from tiny_distillation import NARROW, Store, assemble, assert_follows, guard_for, spelled_out
from tiny_reference import reference
from torch import Tensor

from benchmarks.step_settings import Noise
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import SYNTHETIC, reselect_uri, synthetic_uri
from bilp.artifacts.tables import ITE
from bilp.config import METHODS, DistillConfig, PruneConfig, ReselectConfig
from bilp.data import Dataset
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, reselect_round, start_run
from bilp.distill.learned_labels import read_learned_labels
from bilp.distill.loops.frepo import AGES, NETWORKS, TRAINED, margin_gradient
from bilp.distill.loops.registry import loop_for, networks_for
from bilp.distill.loops.regression import IMAGES, LABELS, step_gradients
from bilp.distill.loops.rfad import BASE, LOG_SCALE, TRANSFORM
from bilp.distill.step import moments, regression_effects
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.real import draw_batches
from bilp.distill.step.regression_effects import measure
from bilp.distill.step.sample_scores import score_batches
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState, encode_state
from bilp.errors import ConfigError, DamagedArtifact, Diverged
from bilp.matching.kernel_regression import Kernel, Regression, predictions_by_definition
from bilp.nets import build, initialize
from bilp.nets.by_device import ByDevice
from bilp.nets.initialization import gaussian_process, lecun
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.prune import prune
from bilp.registry import resolve
from bilp.seeds import generator

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
BOTH = ["frepo", "rfad"]
WIDE = {"name": "convnet_frepo", "width": 8, "depth": 2, "norm": "batch"}
FIELD = {"frepo": "regression", "rfad": "random_features"}
# Three networks, which are replaced while four iterations last.
SMALL: dict[str, dict[str, Any]] = {
    "frepo": {"regression": {"networks": 3, "most_updates": 1}, "network": WIDE, "network_learning_rate": 1e-3, "batch_train": 15},
    "rfad": {"random_features": {"networks": 2, "transform_rate": 1e-3}, "network": NARROW.model_dump() | {"depth": 2, "norm": "none"}},
}


def tiny(method: str, settings: dict[str, Any] | None = None, **changes: Any) -> DistillConfig:
    own = SMALL[method] | {FIELD[method]: SMALL[method][FIELD[method]] | (settings or {})}
    values: dict[str, Any] = {"method": method, "iterations": 4, "rounds": 2, "batch_real": 6, "init": "real", "augment": ()}
    return spelled_out(values | {"learning_rate": 0.01} | own | changes)


def _run(config: DistillConfig, pool: RealPool, iterations: int) -> tuple[DistillState, list[Record]]:
    setting, state = assemble(config, pool), initial_state(config, pool)
    return state, loop_for(config.method)(setting, state, iterations, None, guard_for(setting))


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("frepo", {}, {"ipc": 2}),
    ("rfad", {}, {"ipc": 2}),
    ("frepo", {"mirrored": False, "learn_labels": False}, {"seed": 3}),
    ("frepo", {"label_margin": 0.0, "networks": 1, "most_updates": 100}, {"batch_train": 100}),
    ("rfad", {"loss": "squared"}, {"ipc": 1}),
    ("rfad", {"learn_labels": False, "networks": 1, "scale_rate": 0.0}, {"seed": 3}),
]


@pytest.mark.parametrize(
    ("method", "settings", "changes"), [*CASES[:2], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[2:])], ids=str
)
def test_loop_equals_the_slow_restatement(few: Few, method: str, settings: dict[str, Any], changes: dict[str, Any]) -> None:
    config, pool = tiny(method, settings, **changes), few(8)
    slow = reference(config, pool)
    curve = slow.run(4)
    state, records = _run(config, pool, 4)
    assert [record.loss for record in records] == pytest.approx(curve, rel=2e-4)
    # Both optimizers divide by the gradient's own size, so that rounding shows where there hardly is a gradient.
    assert (state.images - slow.images).norm() < 1e-3 * slow.images.norm()
    assert (state.method[LABELS] - slow.soft).norm() < 1e-3 * slow.soft.norm()  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", first_tier(BOTH, "frepo"))
def test_gradients_equal_those_of_autograd_through_the_solve(few: Few, method: str) -> None:
    """In float64, with unequal batches and weights, whether graphs are kept or not."""
    setting, state, batches = _in_double(few, method)
    batches = [replace(batch, ids=batch.ids[: 6 - batch.class_index % 3]) for batch in batches]
    batches[4] = replace(batches[4], weights=torch.tensor([1.0, 2.0, 0.0, 0.5, 1.0])[: len(batches[4].ids)])
    regressor = setting.drawn.regressor
    found = step_gradients(setting, regressor, state.images, batches)
    solved, wanted = regressor.regression(state.images), []
    for batch in batches:
        own = regression_effects.Measured(setting, regressor, state.images, solved, batch)
        shares = torch.ones(len(batch.ids)) if batch.weights is None else batch.weights
        wanted.append(regression_effects._gradient(own, shares.double() / shares.sum() / len(batches)))
    for one, other in zip((found.images, found.labels), zip(*wanted, strict=True), strict=True):
        whole = torch.stack(other).sum(dim=0)
        assert (one - whole).norm() < 1e-9 * whole.norm()


def test_the_ridge_is_differentiated_too() -> None:
    """With a ridge that is not next to nothing: gradients of all, of each sample, and along a direction, against autograd."""
    stream, kernel = torch.Generator().manual_seed(5), Kernel(0.3, 0.7, 0.1)
    drawn = [torch.randn(*shape, generator=stream, dtype=torch.float64) for shape in ((5, 4), (5, 3), (5, 2), (6, 4), (6, 3), (6, 2))]
    synthetic, labels, real, residuals = (drawn[0], drawn[1]), drawn[2], (drawn[3], drawn[4]), drawn[5]
    leaves = [value.clone().requires_grad_() for value in (*synthetic, labels)]
    predictions = predictions_by_definition(kernel, real, tuple(leaves[:2]), leaves[2])
    each = [torch.autograd.grad((own * told).sum(), leaves, retain_graph=True) for own, told in zip(predictions, residuals, strict=True)]
    wanted = [torch.stack(blocks) for blocks in zip(*each, strict=True)]
    solved = Regression.solved(kernel, synthetic, labels)
    blocks, by_label = solved.gradient(real, residuals)
    for found, expected in zip((*blocks, by_label), wanted, strict=True):
        torch.testing.assert_close(found, expected.sum(dim=0))
    blocks, by_label = solved.each(real, residuals)
    for found, expected in zip((*blocks, by_label), wanted, strict=True):
        torch.testing.assert_close(found, expected)
    moved = [torch.randn(1, *value.shape, generator=stream, dtype=torch.float64) for value in leaves]
    along = sum((expected * own).flatten(1).sum(dim=1) for expected, own in zip(wanted, moved, strict=True))
    torch.testing.assert_close(solved.along(real, residuals, tuple(moved[:2]), moved[2]), along.unsqueeze(0))


def test_images_before_their_matrix_and_the_matrix_get_the_gradient_of_their_product(few: Few) -> None:
    """Of a matrix that is not symmetric, as the identity of the beginning is."""
    config, pool = tiny("rfad", {"learn_labels": False, "scale_rate": 0.0}), few(6)
    setting, state = assemble(config, pool), initial_state(config, pool)
    base, size = state.images.clone(), state.images[0].numel()
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(3)) / size**0.5
    state.method = {TRANSFORM: matrix.clone(), BASE: base.clone()}
    moments.begin(state.method, TRANSFORM, matrix)
    state.images = (base.flatten(1) @ matrix).view_as(base)
    images = state.images.clone()
    loop_for("rfad")(setting, state, 1, None, guard_for(setting))
    found = step_gradients(setting, setting.drawn.regressor, images, draw_batches(setting, None, 0, 0))
    factors = (base.requires_grad_(), matrix.requires_grad_())
    wanted = torch.autograd.grad(factors[0].flatten(1) @ factors[1], factors, found.images.flatten(1))
    for name, own in zip((IMAGES, TRANSFORM), wanted, strict=True):
        torch.testing.assert_close(state.method[moments.MEAN + name], 0.1 * own, rtol=1e-4, atol=1e-4 * float(own.abs().max()))


@pytest.mark.parametrize("method", first_tier(BOTH, "frepo"))
def test_twenty_steps_follow_the_stored_curve(few: Few, method: str) -> None:
    expected = json.loads((HERE / f"expected_{method}.json").read_text())
    state, records = _run(tiny(method, ipc=1, iterations=20), few(12), 20)
    assert_follows(records, expected["losses"])
    assert records[-1].loss < 0.9 * records[0].loss
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-3)


@pytest.mark.parametrize("method", first_tier(BOTH, "frepo"))
def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few, method: str) -> None:
    config, pool = tiny(method), few(6)
    whole, _ = _run(config, pool, 4)
    state = initial_state(config, pool)
    for stop in (1, 1, 3, 4):
        setting = assemble(config, pool)
        loop_for(method)(setting, state, stop, None, guard_for(setting))
        resolve(METHODS[method].carried)(state.method, config, pool, "there")
        state = state.to("cpu")
    assert encode_state(state) == encode_state(whole)


def test_networks_of_the_pool_grow_old_and_are_replaced(few: Few) -> None:
    config, pool = tiny("frepo", {"networks": 2, "most_updates": 2}, iterations=9), few(6)
    setting, state = assemble(config, pool), initial_state(config, pool)
    ages: list[list[int]] = []
    for stop in range(1, 10):
        before = state.method.get(NETWORKS, torch.zeros(0)).clone()
        loop_for("frepo")(setting, state, stop, None, guard_for(setting))
        ages.append(state.method[AGES].tolist())
        if len(before):
            assert ((state.method[NETWORKS] != before).any(dim=1)).sum() == 1, "one network is trained, or replaced, at a time"
    assert any(0 in one for one in ages[1:]) and max(map(max, ages)) == 3
    assert int(state.method["born"]) == 2 + sum(one[k] == 0 and other[k] > 0 for other, one in pairwise(ages) for k in (0, 1))
    assert bool((state.method[TRAINED] <= state.method[AGES]).all())


def test_the_margin_pulls_the_largest_label_apart_where_it_is_close() -> None:
    labels = torch.tensor([[0.9, -0.1, 0.0, 0.0], [0.3, 0.2, -0.5, 0.0], [0.1, 0.1, 0.1, -0.3]], requires_grad=True)
    best = labels.topk(2, dim=1).values
    (wanted,) = torch.autograd.grad(-(best[:, 0] - best[:, 1]).clamp(max=0.25).mean(), labels)
    found = margin_gradient(labels.detach())
    torch.testing.assert_close(found[:2], wanted[:2])
    assert found[2].tolist() == pytest.approx([-1 / 3, 1 / 3, 0, 0]) and found[0].abs().sum() == 0.0


def test_the_margin_counts_with_its_weight(few: Few) -> None:
    """Of labels that are close, which those of the beginning are not: what the step follows differs by the gradient of the margin."""
    labels, found = 0.01 * torch.randn(10, 10, generator=torch.Generator().manual_seed(1)), []
    for weight in (0.0, 3.0):
        config, pool = tiny("frepo", {"label_margin": weight}), few(6)
        setting, state = assemble(config, pool), initial_state(config, pool)
        state.method = {LABELS: labels.clone()}
        loop_for("frepo")(setting, state, 1, None, guard_for(setting))
        found.append(state.method[moments.MEAN + LABELS])
    wanted = 0.1 * 3.0 * margin_gradient(labels)
    torch.testing.assert_close(found[1] - found[0], wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))
    assert float(wanted.abs().max()) > 0.0


@pytest.mark.parametrize(("distribution", "deviations"), [(lecun, (1.0, 0.0)), (gaussian_process, (2.0, 0.1))])
def test_initial_weights_are_those_of_the_programs(distribution: Any, deviations: tuple[float, float]) -> None:
    network = build(NARROW, (3, 32, 32), 10)
    initialize(network, generator(0, "weights"), distribution)
    weight, bias = network.body[4].weight.detach(), network.body[4].bias.detach()  # type: ignore[index]
    fan_in = weight[0].numel()
    assert float(weight.var()) * fan_in == pytest.approx(deviations[0], rel=0.1)
    assert float(bias.std()) == pytest.approx(deviations[1], rel=0.5, abs=1e-12)
    if distribution is lecun:
        assert float(weight.abs().max()) <= 2.0 / 0.87962566 / fan_in**0.5 * 1.0001


def _in_double(few: Few, method: str, reselect: ReselectConfig | None = None) -> tuple[Setting, DistillState, Sequence[Any]]:
    """A setting in float64 after one iteration, with a regressor drawn, and the batches of the next."""
    config, pool = tiny(method, network=SMALL[method]["network"] | {"activation": "swish"}), few(6)
    setting, state = assemble(config, pool, reselect), initial_state(config, pool)
    loop_for(method)(setting, state, 1, None, guard_for(setting))
    networks_for(method)(setting, state, 1, 0)
    setting.network.double()
    state.images = state.images.double()
    return setting, state, draw_batches(setting, None, 1, 0)


@pytest.mark.parametrize("method", first_tier(BOTH, "frepo"))
def test_exact_effects_equal_their_definition(few: Few, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for estimator in ("cotangent", "oracle"):
        setting, state, batches = _in_double(few, method, ReselectConfig(beta=0.2, estimator=estimator))
        monkeypatch.setattr(regression_effects, "BYTE_BUDGET", ByDevice(cpu=2**20, gpu=1, large=1))  # a few samples at a time
        found.append(torch.cat([scored.values for scored in measure(setting, state.images, batches[:2])]))
    torch.testing.assert_close(*found, rtol=1e-5, atol=0.0)
    assert float(found[0].min()) > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("method", BOTH)
def test_effects_of_a_class_sum_to_nothing_and_are_those_of_the_whole_loss(few: Few, method: str) -> None:
    """Leaving one sample out of the batch of all classes changes the gradient of a step by the effect, whatever the others are."""
    setting, state, batches = _in_double(few, method, ReselectConfig(beta=0.2, estimator="cotangent"))
    regressor, left_out = setting.drawn.regressor, 3
    whole = step_gradients(setting, regressor, state.images, batches)
    rest = [replace(b, ids=torch.cat([b.ids[:2], b.ids[3:]])) if b.class_index == left_out else b for b in batches]
    without = step_gradients(setting, regressor, state.images, rest)
    length = torch.stack([(whole.images - without.images).norm(), (whole.labels - without.labels).norm()]).norm()
    (scored,) = measure(setting, state.images, [batches[left_out]])
    assert float(scored.values[2]) == pytest.approx(float(length), rel=1e-5)


@pytest.mark.parametrize("method", first_tier(BOTH, "frepo"))
def test_signed_effects_are_exact_components(few: Few, method: str) -> None:
    """<ITE_i, v> by one forward derivative is what differences of whole gradients have along v, of the half that i is not in."""
    setting, state, batches = _in_double(few, method, ReselectConfig(beta=0.2, score="signed"))
    regressor, batch = setting.drawn.regressor, batches[2]
    half_of = regression_effects.halves(setting)
    directions = regression_effects.held_out_directions(setting, state.images, half_of, *batch.path)
    (scored,) = score_batches(setting, state.images, [batch])
    whole = step_gradients(setting, regressor, state.images, batches)
    for left_out in range(3):
        rest = [replace(b, ids=torch.cat([b.ids[:left_out], b.ids[left_out + 1 :]])) if b is batch else b for b in batches]
        effect = whole.images - step_gradients(setting, regressor, state.images, rest).images
        along = (effect * directions[half_of[batch.ids[left_out]]]).sum()
        assert float(scored.values[left_out]) == pytest.approx(float(along), rel=1e-4)
    assert bool((scored.values > 0).any()) and bool((scored.values < 0).any())


@pytest.mark.slow
@pytest.mark.parametrize("method", BOTH)
def test_a_sketch_orders_samples_as_their_effects_do(few: Few, method: str) -> None:
    found = []
    for estimator in ("cotangent", "sketch"):
        setting, state, batches = _in_double(few, method, ReselectConfig(beta=0.2, estimator=estimator, directions=800))
        found.append(torch.cat([scored.values for scored in measure(setting, state.images, batches)]))
    exact, sketched = found
    torch.testing.assert_close(sketched, exact, rtol=0.2, atol=0.0)  # eight standard deviations
    assert float(torch.corrcoef(torch.stack([exact.log(), sketched.log()]))[0, 1]) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("mode", ["refill", "shrink", "weight"])
def test_decisions_inside_a_round_reach_the_batches(few: Few, method: str, mode: str) -> None:
    config, pool = tiny(method, iterations=2, batch_real=10), few(12)
    reselect = ReselectConfig(beta=0.4, interval=2, threshold="quantile", mode=mode)
    setting, state = assemble(config, pool, reselect), initial_state(config, pool)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, reselect)
    records = loop_for(method)(setting, state, 2, pruner, guard_for(setting))
    assert (0.2 < records[0].dropped_share < 0.6) == (mode != "weight")
    plain, _ = _run(config, pool, 2)
    assert not torch.equal(state.images, plain.images)


@pytest.mark.slow
@pytest.mark.parametrize("method", BOTH)
def test_a_run_with_both_levels_goes_on_where_it_was_killed_and_publishes_its_labels(store: Store, tmp_path: Path, method: str) -> None:
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)
    config, reselect = tiny(method, ipc=2), ReselectConfig(beta=0.3, networks=2, threshold="quantile")
    ends = []
    for root in ("one", "two"):
        run = start_run(store.uri, few, config, reselect, str(tmp_path / root))
        for number in (1, 2):
            reselect_round(run, number)
            distill_round(run, number)
        finish_run(run)
        artifact = open_artifact(synthetic_uri(run), SYNTHETIC)
        ends.append((load_synthetic(synthetic_uri(run))[0], read_learned_labels(artifact)))
        table = open_artifact(reselect_uri(run, 1), "reselect").table("ite.parquet", ITE)
        assert len(table) == 143 and min(table["ite"].to_pylist()) > 0
        assert 0.2 < sum(table["dropped"].to_pylist()) / 143 < 0.4
    (images, values), (again, others) = ends
    assert values is not None and others is not None and values.shape == (20, 10)
    assert torch.equal(images, again) and torch.equal(values, others)


@pytest.mark.parametrize(
    ("method", "damage"),
    [
        ("frepo", lambda tensors: tensors.pop(LABELS)),
        ("frepo", lambda tensors: tensors[AGES].fill_(7)),
        ("frepo", lambda tensors: tensors["square.images"].fill_(-1.0)),
        ("rfad", lambda tensors: tensors.pop(LOG_SCALE)),
        ("rfad", lambda tensors: tensors.update({TRANSFORM: torch.eye(3)})),
        ("rfad", lambda tensors: tensors.pop(BASE)),
    ],
)
def test_what_cannot_be_is_damaged(few: Few, method: str, damage: Callable[[dict[str, Tensor]], object]) -> None:
    config, pool = tiny(method), few(4)
    state, _ = _run(config, pool, 1)
    damage(state.method)
    with pytest.raises(DamagedArtifact, match="somewhere"):
        resolve(METHODS[method].carried)(state.method, config, pool, "somewhere")


@pytest.mark.parametrize("method", BOTH)
def test_what_a_state_takes_is_known_beforehand(few: Few, method: str) -> None:
    config, pool = tiny(method), few(4)
    state, _ = _run(config, pool, 1)
    network = build(config.network, pool.dataset.shape, pool.classes)
    parameters = sum(part.numel() for part in network.parameters())
    statistics = sum(part.numel() for part in network.buffers() if part.is_floating_point())
    forms = resolve(METHODS[method].carries)(config, parameters, parameters + statistics, 1, tuple(state.images.shape))
    assert {name: (value.dtype, tuple(value.shape)) for name, value in state.method.items()} == {
        name: (kind, tuple(shape)) for name, (kind, shape) in forms.items()
    }


def test_steps_of_both_optimizers_are_as_long_as_they_say() -> None:
    value, gradient = torch.tensor([3.0, 4.0]), torch.tensor([1.0, -2.0])
    for update, wanted in ((moments.lamb, 0.1 * 5.0), (moments.adabelief, 0.1 / 0.9 * 2.0**0.5)):
        moved, mean, square = value.clone(), torch.zeros(2), torch.zeros(2)
        update(moved, gradient, mean, square, 0, 0.1)
        assert float((moved - value).norm()) == pytest.approx(wanted, rel=1e-4)
        assert torch.equal((moved - value).sign(), -gradient.sign())


def test_a_matrix_that_fills_the_memory_is_refused() -> None:
    require, large = resolve(METHODS["rfad"].requires), RealPool(cast(Dataset, Noise(2, 1, (3, 224, 224))))
    with pytest.raises(ConfigError, match="set distill.random_features.transform_rate to 0"):
        require(large, tiny("rfad"))
    require(large, tiny("rfad", {"transform_rate": 0.0}))


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(
    ("changes", "said"),
    [({"estimator": "taylor"}, "measures effects by auto, cotangent, sketch or oracle"), ({}, "shards = 2 divides classes that meet in")],
)
def test_what_does_not_apply_is_refused(store: Store, tmp_path: Path, method: str, changes: dict[str, str], said: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=said):
        start_run(store.uri, None, tiny(method, shards=1 if changes else 2), ReselectConfig(beta=0.2, **changes), str(tmp_path))


@pytest.mark.parametrize("method", first_tier(BOTH, "frepo"))
def test_an_absurd_learning_rate_diverges(few: Few, method: str) -> None:
    with pytest.raises(Diverged, match=r"iteration \d+: .*1e\+20"):
        _run(tiny(method, learning_rate=1e20), few(6), 4)
