"""HaBa's loop: against one graph, cut and continued, and what a set is stored as."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import killed
import pytest
import torch
from tiny_distillation import NARROW, Store, assert_follows, guard_for
from tiny_experts import EXPERTS, experts, trajectory_config
from tiny_reference import reference
from torch import Tensor

from benchmarks.references.hallucinated import HallucinatedReference
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.config import DistillConfig, ReselectConfig
from bilp.config.methods.haba import HallucinatorsConfig, stored_values
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, start_run
from bilp.distill.factors_product import rendered_set
from bilp.distill.loops.haba import distill, draw_base_steps, draw_pairs, require_carried
from bilp.distill.step.hallucinators import initial_hallucinators
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DistillState, encode_state
from bilp.errors import ConfigError, DamagedArtifact
from bilp.experts.buffer import ExpertBuffer
from bilp.images.hallucinations import HALLUCINATIONS

pytestmark = pytest.mark.slow

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
OFF = ReselectConfig(beta=0.0)


def haba(settings: dict[str, Any] | None = None, trajectory: dict[str, object] | None = None, **changes: Any) -> DistillConfig:
    """Four iterations of three steps on two bases of each class, of which two hallucinators make images."""
    own = HallucinatorsConfig(count=2, learning_rate=0.1, extractor_learning_rate=0.1).model_copy(update=settings or {})
    return trajectory_config("haba", trajectory, **{"ipc": 4, "hallucinators": own} | changes)


@pytest.fixture(scope="module")
def buffer(store: Store, selection: str) -> ExpertBuffer:
    return ExpertBuffer(experts(store, selection, EXPERTS.model_copy(update={"count": 1})))


def _run(config: DistillConfig, pool: RealPool, buffer: ExpertBuffer, iterations: int) -> tuple[DistillState, list[Record]]:
    setting, state = Setting.assemble(config, OFF, pool, "cpu", RunInputs(buffer)), initial_state(config, pool)
    return state, distill(setting, state, iterations, None, guard_for(setting))


@pytest.mark.parametrize(
    ("settings", "trajectory", "changes"),
    [({}, {"batch": 8}, {}), ({"gray": True, "kernel": 1, "least_step": 0.15}, {}, {"seed": 2}), ({"count": 1}, {}, {"ipc": 1})],
    ids=str,
)
def test_loop_equals_one_graph_through_everything(
    few: Few, buffer: ExpertBuffer, settings: dict[str, Any], trajectory: dict[str, object], changes: dict[str, Any]
) -> None:
    config, pool = haba(settings, trajectory, **changes), few(8)
    slow = reference(config, pool, experts=buffer, dtype=torch.float64)
    assert isinstance(slow, HallucinatedReference)
    before, curve = slow.images, slow.run(3)
    state, records = _run(config, pool, buffer, 3)
    assert [record.loss for record in records] == pytest.approx(curve, rel=1e-4)
    assert (state.images - slow.images).norm() < 2e-3 * (slow.images - before).norm()
    assert float(state.method["step_size"]) == pytest.approx(float(slow.step_size), rel=1e-4)
    assert float(state.method["step_size"]) >= config.hallucinators.least_step
    assert (float(slow.step_size) == 0.15) == (config.hallucinators.least_step == 0.15), "which 0.1 is less than"
    if config.hallucinators.count > 1:
        extractor = torch.cat([parameter.detach().flatten() for parameter in slow.extractor.parameters()])
        assert (state.method["extractor"] - extractor).norm() < 1e-4 * extractor.norm()


def test_twenty_steps_follow_the_stored_curve(few: Few, buffer: ExpertBuffer) -> None:
    expected = json.loads((HERE / "expected_haba.json").read_text())
    state, records = _run(haba(iterations=20), few(24), buffer, 20)
    assert_follows(records, expected["losses"])
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-2)


def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few, buffer: ExpertBuffer) -> None:
    config, pool = haba(trajectory={"batch": 7}), few(10)
    whole, _ = _run(config, pool, buffer, 4)
    state = initial_state(config, pool)
    for stop in (1, 1, 3, 4):
        setting = Setting.assemble(config, OFF, pool, "cpu", RunInputs(buffer))
        distill(setting, state, stop, None, guard_for(setting))
        require_carried(state.method, config, pool, "there")
        state = state.to("cpu")
    assert encode_state(state) == encode_state(whole)


def test_what_is_drawn(few: Few, buffer: ExpertBuffer) -> None:
    """A step has images of one hallucinator, a pair those of two; every base has its turn before any has a second one."""
    setting = Setting.assemble(haba({"count": 3}, {"steps": 6, "batch": 4}, ipc=3), OFF, few(4), "cpu", RunInputs(buffer))
    steps = draw_base_steps(setting, 30, 0)
    assert [len(step.rows) for step in steps] == [4, 4, 2] * 2
    assert all(len(set((step.rows % 3).tolist())) == 1 for step in steps)
    assert sorted(torch.cat([step.rows // 3 for step in steps[:3]]).tolist()) == list(range(10))
    chosen = [int(step.rows[0]) % 3 for t in range(20) for step in draw_base_steps(setting, 30, t)]
    assert set(chosen) == {0, 1, 2}
    first, second = draw_pairs(setting, 30, "contrast", 0).rows.chunk(2)
    assert torch.equal(first // 3, second // 3)
    assert not (first == second).any()
    assert len(first) == 4


def test_a_run_is_stored_as_its_bases_and_hallucinators(store: Store, selection: str, buffer: ExpertBuffer, tmp_path: Path) -> None:
    config, ends = haba(), []
    for root in ("one", "two"):
        run = start_run(store.uri, selection, config, OFF, str(tmp_path / root), buffer.uri)
        if root == "two":
            killed.until_killed(killed.distill, run, 2, 1)
        for number in (1, 2):
            distill_round(run, number)
        uri = finish_run(run)
        ends.append(load_synthetic(uri)[0])
    assert torch.equal(*ends)
    artifact = open_artifact(uri, "synthetic")
    assert torch.equal(rendered_set(artifact), ends[0])
    facts = artifact.stated(SyntheticFacts)
    assert facts.learning_rate is not None
    assert facts.storage is not None
    assert facts.storage.values == 20 * 64 + 2 * (9 + 1 + 2 * 36 + 9 + 1) == stored_values(config, 10, (1, 8, 8))


@pytest.mark.parametrize(
    ("settings", "changes", "told"),
    [
        ({"count": 3}, {}, "ipc = 4 counts what 3 hallucinators make of the bases of a class.*: set ipc to 6, or"),
        ({"kernel": 7}, {"network": NARROW.model_copy(update={"norm": "batch"})}, "no statistics, which batch norm has: "),
    ],
)
def test_what_does_not_go_together_is_refused(
    store: Store, selection: str, buffer: ExpertBuffer, tmp_path: Path, settings: dict[str, Any], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        start_run(store.uri, selection, haba(settings, **changes), OFF, str(tmp_path), buffer.uri)


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors: tensors.pop("inner_scale"),
        lambda tensors: tensors.update(extractor=torch.zeros(3)),
        lambda tensors: tensors.pop("step_size"),
    ],
)
def test_what_cannot_be_carried_is_damaged(few: Few, buffer: ExpertBuffer, damage: Callable[[dict[str, Tensor]], object]) -> None:
    config, pool = haba(), few(4)
    state, _ = _run(config, pool, buffer, 1)
    damage(state.method)
    with pytest.raises(DamagedArtifact, match="somewhere"):
        require_carried(state.method, config, pool, "somewhere")


def test_hallucinators_make_images_of_clips_frame_by_frame() -> None:
    factors = initial_hallucinators(haba(), (3, 8, 8)) | {"bases": torch.randn(5, 4, 3, 8, 8)}
    clips = HALLUCINATIONS.rendered(factors, (4, 3, 8, 8))
    assert HALLUCINATIONS.fit(factors, (10, 4, 3, 8, 8))
    assert not HALLUCINATIONS.fit(factors, (10, 4, 3, 8, 9))
    for frame in range(4):
        pictures = HALLUCINATIONS.rendered(factors | {"bases": factors["bases"][:, frame]}, (3, 8, 8))
        torch.testing.assert_close(clips[:, frame], pictures)
