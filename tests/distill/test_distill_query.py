"""LinBa's loop: against one graph, cut and continued, effects against samples that are really left out, and what a set is stored as."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import killed
import pytest
import torch
from tiny_distillation import NARROW, Store, assemble, assert_follows, guard_for, spelled_out
from tiny_reference import reference
from torch import Tensor

from benchmarks.references.query import QueryReference
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.run_layout import reselect_uri
from bilp.artifacts.tables import ITE
from bilp.config import DistillConfig, PruneConfig, ReselectConfig
from bilp.config.methods.linba import MemoriesConfig, stored_values
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, reselect_round, start_run
from bilp.distill.factors_product import rendered_set
from bilp.distill.loops.linba import distill, measure, query_gradient, train_network
from bilp.distill.step.batch import Batch
from bilp.distill.step.held_out_loss import halves, held_out_gradients
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.memory_steps import require_memories
from bilp.distill.step.real import draw_batches
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState, encode_state
from bilp.errors import ConfigError, DamagedArtifact, Diverged, MissingArtifact
from bilp.pruning.prune import prune

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
SMALL = NARROW.model_copy(update={"width": 4, "depth": 2})


def linba(settings: dict[str, Any] | None = None, **changes: Any) -> DistillConfig:
    """Four iterations of trainings of three steps each."""
    own = MemoriesConfig(count=5, steps=3, per_class=2, step_size=0.1).model_copy(update=settings or {})
    values: dict[str, Any] = {"method": "linba", "iterations": 4, "rounds": 2, "batch_real": 6, "network": SMALL, "init": "noise"}
    return spelled_out(values | {"ipc": 3, "augment": (), "learning_rate": 0.1, "memories": own} | changes)


def _run(config: DistillConfig, pool: RealPool, iterations: int) -> tuple[DistillState, list[Record]]:
    setting, state = assemble(config, pool), initial_state(config, pool)
    return state, distill(setting, state, iterations, None, guard_for(setting))


def _in_one_graph(config: DistillConfig, pool: RealPool) -> QueryReference:
    slow = reference(config, pool, dtype=torch.float64)
    assert isinstance(slow, QueryReference)
    return slow


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({"penalty": 0.1}, {"augment": ("flip", "rotate")}),
        pytest.param({"clip": 0.01, "shrink": 1}, {}, marks=pytest.mark.slow),
        pytest.param({"clip": 0.0, "step_momentum": 0.0}, {"ipc": 1, "seed": 3}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_loop_equals_one_graph_through_everything(few: Few, settings: dict[str, Any], changes: dict[str, Any]) -> None:
    config, pool = linba(settings, **changes), few(8)
    slow = _in_one_graph(config, pool)
    before = slow.images
    curve = slow.run(3)
    state, records = _run(config, pool, 3)
    assert [record.loss for record in records] == pytest.approx(curve, rel=1e-5)
    assert (state.images - slow.images).norm() < 1e-4 * (slow.images - before).norm()


@pytest.mark.slow
def test_twenty_steps_follow_the_stored_curve(few: Few) -> None:
    expected = json.loads((HERE / "expected_linba.json").read_text())
    state, records = _run(linba(iterations=20), few(24), 20)
    assert_follows(records, expected["losses"])
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-3)


def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few) -> None:
    config, pool = linba(), few(6)
    whole, _ = _run(config, pool, 4)
    state = initial_state(config, pool)
    for stop in (1, 1, 3, 4):
        setting = assemble(config, pool)
        distill(setting, state, stop, None, guard_for(setting))
        require_memories(state.method, config, pool, "there")
        state = state.to("cpu")
    assert encode_state(state) == encode_state(whole)


class Without(QueryReference):
    """The same, from whose real batches one sample is missing."""

    left_out = -1

    def real(self, t: int, step: int, c: int) -> Tensor:
        ids = super().real(t, step, c)
        return ids[ids != self.left_out]


def _effects(config: DistillConfig, pool: RealPool, batches: list[Batch]) -> Tensor:
    """By leaving each sample out of the graph through everything: the change of the gradient by memories and coefficients, float64."""
    state = initial_state(config, pool)
    state.images = state.images.double()
    slow = Without(assemble(config, pool), state)

    def gradient(left_out: int) -> Tensor:
        slow.left_out = left_out
        factors = [slow.memories.clone().requires_grad_(), slow.coefficients.clone().requires_grad_()]
        return torch.cat([part.flatten() for part in torch.autograd.grad(slow.loss(factors[0], factors[1], 0)[0], factors)])

    whole = gradient(-1)
    return torch.stack([whole - gradient(int(i)) for batch in batches for i in batch.ids])


def _trained(config: DistillConfig, pool: RealPool, reselect: ReselectConfig) -> tuple[Setting, DistillState, list[Batch]]:
    setting, state = assemble(config, pool, reselect), initial_state(config, pool)
    setting.query.train(state, 0)
    return setting, state, draw_batches(setting, None, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["cotangent", "oracle", "sketch"])
def test_effects_are_those_of_samples_that_are_left_out(few: Few, estimator: str) -> None:
    config, pool = linba({"count": 3}, batch_real=4), few(5)
    setting, state, batches = _trained(config, pool, ReselectConfig(beta=0.2, estimator=estimator, directions=400))
    wanted = _effects(config, pool, batches).norm(dim=1).float()
    found = torch.cat([scored.values for scored in measure(setting, state.images, batches)])
    if estimator == "sketch":  # of 400 normal directions, whose relative deviation is sqrt(1 / 800)
        assert float(((found / wanted - 1).square().mean()).sqrt()) < 0.12
    else:
        torch.testing.assert_close(found, wanted, rtol=2e-3 if estimator == "oracle" else 1e-4, atol=0.0)


@pytest.mark.slow
def test_signed_effects_are_components_of_effects_by_samples_that_are_left_out(few: Few) -> None:
    config, pool = linba({"count": 3}, batch_real=4), few(6)
    setting, state, batches = _trained(config, pool, ReselectConfig(beta=0.2, score="signed"))
    half_of = halves(setting)
    wanted = setting.query.memories.pull(list(held_out_gradients(setting, state.images, half_of, *batches[0].path)))
    unit = torch.stack([value / value.norm() for value in wanted]).double()
    own = half_of[torch.cat([batch.ids for batch in batches])]
    along = (_effects(config, pool, batches) * unit[own]).sum(dim=1).float()
    found = torch.cat([scored.values for scored in measure(setting, state.images, batches)])
    torch.testing.assert_close(found, along, rtol=1e-3, atol=1e-4 * float(along.abs().max()))
    assert float(found.min()) < 0.0 < float(found.max())


@pytest.mark.slow
def test_what_auto_takes_depends_on_how_many_samples_share_the_directions(few: Few) -> None:
    config, pool = linba({"count": 3}, batch_real=4), few(5)
    found = {}
    for estimator, directions in (("auto", 40), ("auto", 4), ("sketch", 4), ("cotangent", 4)):
        setting, state, batches = _trained(config, pool, ReselectConfig(beta=0.2, estimator=estimator, directions=directions))
        found[estimator, directions] = torch.cat([scored.values for scored in measure(setting, state.images, batches)])
    assert torch.equal(found["auto", 40], found["cotangent", 4])
    assert torch.equal(found["auto", 4], found["sketch", 4])


def test_networks_of_a_reselection_are_none_of_the_image_steps(few: Few) -> None:
    config, pool = linba(), few(5)
    setting, state = assemble(config, pool), initial_state(config, pool)
    seen = []
    for reselects, path in ((False, (1,)), (False, (2,)), (True, (1, 0)), (True, (1, 1)), (True, (2, 0))):
        if reselects:
            train_network(setting, state, *path)
        else:
            setting.query.train(state, *path)
        seen.append(torch.cat([parameter.detach().flatten() for parameter in setting.network.parameters()]))
    assert len({values.numpy().tobytes() for values in seen}) == 5


def test_every_reselection_estimates_from_directions_of_its_own(few: Few) -> None:
    reselect = ReselectConfig(beta=0.2, estimator="sketch", directions=3)
    setting, state, batches = _trained(linba({"count": 3}, batch_real=4), few(5), reselect)
    found = []
    for number in (1, 1, 2):
        own = [replace(batch, path=("round", number, 0)) for batch in batches[:2]]
        found.append(torch.cat([scored.values for scored in measure(setting, state.images, own)]))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_weights_count_in_the_loss(few: Few) -> None:
    setting, _, batches = _trained(linba(), few(6), ReselectConfig(beta=0.0))
    half = [replace(batch, ids=batch.ids[:3]) for batch in batches]
    weighed = [replace(batch, weights=torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])) for batch in batches]
    for found, wanted in zip(*(query_gradient(setting, each) for each in (weighed, half)), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "reselect", [{"score": "ite", "interval": 2}, {"score": "signed"}, {"score": "feature_distance", "mode": "weight"}], ids=str
)
def test_a_run_with_both_levels_is_stored_as_its_memories(store: Store, tmp_path: Path, reselect: dict[str, Any]) -> None:
    """Killed in the second round, it goes on to the same images, which follow from what lies beside them."""
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)
    config = linba(batch_real=8)
    ends = []
    for root in ("one", "two"):
        run = start_run(
            store.uri, few, config, ReselectConfig(beta=0.3, threshold="quantile", directions=12, **reselect), str(tmp_path / root)
        )
        if root == "two":
            killed.until_killed(killed.distill, run, 2, 1)
        for number in (1, 2):
            reselect_round(run, number)
            distill_round(run, number)
        uri = finish_run(run)
        ends.append(load_synthetic(uri)[0])
        table = open_artifact(reselect_uri(run, 1), "reselect").table("ite.parquet", ITE)
        assert len(table) == 143
    assert torch.equal(*ends)
    artifact = open_artifact(uri, "synthetic")
    assert torch.equal(rendered_set(artifact), ends[0])
    storage = artifact.stated(SyntheticFacts).storage
    assert storage is not None
    assert storage.values == 5 * 16 + 30 * 5 == stored_values(config, 10, (1, 8, 8))
    assert storage.equivalent_ipc == pytest.approx(230 / 640)


@pytest.mark.slow
def test_a_set_that_is_its_images_follows_from_nothing_else(store: Store, tmp_path: Path) -> None:
    run = start_run(store.uri, None, spelled_out({"iterations": 1, "rounds": 1, "network": SMALL}), ReselectConfig(beta=0.0), str(tmp_path))
    distill_round(run, 1)
    with pytest.raises(MissingArtifact, match="a set of method dm is stored as its images"):
        rendered_set(open_artifact(finish_run(run), "synthetic"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"init": "real"}, "begins with random memories and coefficients.*: set distill.init to noise"),
        ({"network": {"norm": "batch"}}, "batch norm mixes them: set distill.network.norm to instance"),
    ],
)
def test_what_it_cannot_begin_with_is_refused(store: Store, tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        start_run(store.uri, None, linba(**changes), ReselectConfig(beta=0.0), str(tmp_path))


@pytest.mark.parametrize(
    "damage",
    [lambda tensors: tensors.pop("memories_momentum"), lambda tensors: tensors.update(coefficients=torch.zeros(30, 4)), dict.clear],
)
def test_memories_that_cannot_be_are_damaged(few: Few, damage: Callable[[dict[str, Tensor]], object]) -> None:
    config, pool = linba(), few(4)
    state, _ = _run(config, pool, 1)
    damage(state.method)
    with pytest.raises(DamagedArtifact, match="somewhere"):
        require_memories(state.method, config, pool, "somewhere")


def test_an_absurd_learning_rate_diverges(few: Few) -> None:
    with pytest.raises(Diverged, match=r"iteration \d+: .*1e\+20"):
        _run(linba(learning_rate=1e20), few(6), 4)
