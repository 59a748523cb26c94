"""DATM and PAD: the loop against a slow restatement, initial images and labels, starting points, the threshold, and stored labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_distillation import NARROW, Store, assert_follows, guard_for
from tiny_experts import trajectory_config
from tiny_reference import reference

from benchmarks.references.aligned import AlignedReference
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.config import DistillConfig, EvaluateConfig, NetworkConfig, ReselectConfig, settings
from bilp.config.methods.datm import DifficultyConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, start_run
from bilp.distill.kept import find_state
from bilp.distill.loops.datm import AlignedIterations, distill, require_labels
from bilp.distill.part import open_part
from bilp.distill.soft_labels import read_soft_labels
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.recognized_start import initial_logits
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DistillState, encode_state
from bilp.errors import ConfigError, DamagedArtifact, Diverged
from bilp.evaluate import evaluate_synthetic
from bilp.exchange.loaded import load_distilled
from bilp.experts.buffer import ExpertBuffer
from bilp.experts.expert_answers import ExpertAnswers
from bilp.matching.compared_layers import first_compared, layer_starts
from bilp.nets import build

pytestmark = pytest.mark.slow

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
OFF = ReselectConfig(beta=0.0)


def aligned_config(trajectory: dict[str, object] | None = None, **changes: object) -> DistillConfig:
    """Starting points that grow, labels that are learned, and a threshold that some steps exceed."""
    difficulty = {"min_start": 0, "early_max_start": 1, "expansion": 3, "label_rate": 5.0}
    given = difficulty | (changes.pop("difficulty", None) or {})  # type: ignore[operator]
    values = {"init": "recognized", "difficulty": DifficultyConfig.model_validate(given)} | changes
    return trajectory_config("datm", trajectory, **values)


def assemble(config: DistillConfig, pool: RealPool, buffer: ExpertBuffer) -> Setting:
    return Setting.assemble(config, OFF, pool, "cpu", RunInputs(buffer))


def _run(config: DistillConfig, pool: RealPool, buffer: ExpertBuffer, iterations: int) -> tuple[DistillState, list[Record]]:
    setting, state = assemble(config, pool, buffer), initial_state(config, pool, experts=buffer)
    return state, distill(setting, state, iterations, None, guard_for(setting))


@pytest.mark.parametrize(
    ("ipc", "batch", "compared"), [(1, None, {}), (3, 8, {}), (2, None, {"shallow": 0.5}), (2, None, {"nearest": 0.25})], ids=str
)
def test_loop_equals_the_slow_restatement(few: Few, buffer: ExpertBuffer, ipc: int, batch: int | None, compared: dict[str, object]) -> None:
    config, pool = aligned_config({"batch": batch}, ipc=ipc, difficulty=compared, iterations=5), few(12)
    state, records = _run(config, pool, buffer, 5)
    slow = reference(config, pool, experts=buffer, dtype=torch.float64)
    assert isinstance(slow, AlignedReference)
    before, first = slow.images, slow.logits
    curve = slow.run(5)
    assert [record.loss for record in records] == pytest.approx(curve, rel=1e-4)
    assert (state.images - slow.images).norm() < 2e-3 * (slow.images - before).norm()
    assert (state.method["labels"] - slow.logits).norm() < 2e-3 * (slow.logits - first).norm()
    assert float(state.method["step_size"]) == pytest.approx(float(slow.step_size), rel=1e-5)
    assert (slow.logits - first).norm() > 1e-3


def curve_config(method: str) -> DistillConfig:
    """That of the stored curves."""
    config = aligned_config(ipc=2, iterations=20, difficulty={"shallow": 0.5 if method == "pad" else 0.0})
    return config.model_copy(update={"method": method})


@pytest.mark.parametrize("method", ["datm", "pad"])
def test_twenty_steps_follow_the_stored_curve(few: Few, buffer: ExpertBuffer, method: str) -> None:
    """The files hold what this call gave once."""
    expected = json.loads((HERE / f"expected_{method}.json").read_text())
    state, records = _run(curve_config(method), few(24), buffer, 20)
    assert_follows(records, expected["losses"])
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-2)
    assert float(state.method["step_size"]) == pytest.approx(expected["step_size"], rel=1e-2)
    assert float(state.method["labels"].norm()) == pytest.approx(expected["labels"], rel=1e-2)


def test_a_step_whose_loss_is_too_large_is_not_taken(few: Few, buffer: ExpertBuffer) -> None:
    pool, losses = few(12), [record.loss for record in _run(aligned_config(difficulty={"threshold": 1e-9}), few(12), buffer, 4)[1]]
    state, _ = _run(aligned_config(difficulty={"threshold": 1e-9}), pool, buffer, 4)
    start = initial_state(aligned_config(), pool, experts=buffer)
    assert torch.equal(state.images, start.images)
    assert not state.method["label_momentum"].any()
    assert float(state.method["step_size"]) == 0.1
    between = sorted(losses)[1]  # two of the first iterations are below it, so that some steps are taken and others are not
    config = aligned_config(difficulty={"threshold": between * 1.001}, iterations=6)
    slow = reference(config, pool, experts=buffer, dtype=torch.float64)
    assert isinstance(slow, AlignedReference)
    curve = slow.run(6)
    assert 0 < slow.skipped < 6
    found, records = _run(config, pool, buffer, 6)
    assert [record.loss for record in records] == pytest.approx(curve, rel=1e-4)
    assert float((found.images - slow.images).norm()) < 2e-3 * float((slow.images - start.images).norm())


def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few, buffer: ExpertBuffer) -> None:
    config, pool = aligned_config({"batch": 7}, ipc=2), few(10)
    whole, _ = _run(config, pool, buffer, 4)
    state = initial_state(config, pool, experts=buffer)
    for stop in (1, 1, 3, 4):
        setting = assemble(config, pool, buffer)  # another process has another network module
        distill(setting, state, stop, None, guard_for(setting))
        state = state.to("cpu")
    assert encode_state(state) == encode_state(whole)


def test_starting_points_grow_more_difficult() -> None:
    grows = DifficultyConfig(min_start=1, early_max_start=4, expansion=10)
    assert [grows.starts(t, 9) for t in (0, 1, 2, 9, 10, 50)] == [range(1, last + 1) for last in (4, 4, 5, 8, 9, 9)]
    assert DifficultyConfig(min_start=2).starts(0, 9) == range(2, 10)


def test_trainings_start_where_the_schedule_says(few: Few, buffer: ExpertBuffer) -> None:
    config, pool = aligned_config(difficulty={"min_start": 1, "early_max_start": 1, "expansion": 30}), few(4)
    setting = assemble(config, pool, buffer)
    loop = AlignedIterations(setting, initial_state(config, pool, experts=buffer), None, guard_for(setting))
    known = {buffer.parameters(k, epoch)[0].sum().item(): epoch for k in range(2) for epoch in range(5)}
    drawn = [known[loop.trajectory(t).start[0].sum().item()] for t in range(60)]
    assert set(drawn[:15]) == {1}
    assert set(drawn[:30]) == {1, 2}
    assert set(drawn[30:]) == {1, 2, 3}


@dataclass
class _Told:
    """Experts that see what they are told to: logits `[experts, samples, classes]`, by the first pixel of an image, which is its number."""

    said: torch.Tensor

    def __len__(self) -> int:
        return len(self.said)

    def logits(self, expert: int, images: torch.Tensor) -> torch.Tensor:
        return self.said[expert, images.flatten(1)[:, 0].long()]


def test_labels_are_those_of_the_experts_that_see_the_class() -> None:
    said = torch.tensor([[[3.0, 1.0, 0.0], [0.0, 1.0, 2.0]], [[1.0, 2.0, 0.0], [0.0, 5.0, 9.0]]])
    images = torch.arange(2.0).view(2, 1, 1, 1)
    found = initial_logits(_Told(said), images, torch.tensor([0, 1]))  # type: ignore[arg-type]
    assert found[0].tolist() == [3.0, 1.0, 0.0], "the second expert takes it for another class"
    assert found[1].tolist() == [0.0, 5.5, 3.0], "none is right: the largest mean logit, 5.5, and that of the class, 3, change places"
    both = initial_logits(_Told(said), images[:1], torch.tensor([1]))  # type: ignore[arg-type]
    assert both[0].tolist() == [1.0, 2.0, 0.0]
    agreed = torch.tensor([[[3.0, 1.0, 0.0]], [[5.0, 2.0, 1.0]], [[0.0, 9.0, 0.0]]])
    told = initial_logits(_Told(agreed), images[:1], torch.tensor([0]))  # type: ignore[arg-type]
    assert told[0].tolist() == [4.0, 1.5, 0.5], "the mean of those that are right"


def test_initial_images_are_recognized_first_by_the_first_expert(few: Few, buffer: ExpertBuffer) -> None:
    pool = few(12)
    config = aligned_config(ipc=4)
    state = initial_state(config, pool, experts=buffer)
    answers = ExpertAnswers(buffer, NARROW, pool.dataset.shape, 10, "cpu")
    right = answers.logits(0, state.images).argmax(1) == state.labels
    everything = pool.images(torch.cat(list(pool.by_class)))
    labels = torch.arange(10).repeat_interleave(12)
    seen = [answers.logits(k, everything).argmax(1) == labels for k in range(2)]
    for c in range(10):
        own, of_first = right[state.labels == c], int(seen[0][labels == c].sum())
        assert int(own.sum()) == min(4, of_first)
        either = int((seen[0] | seen[1])[labels == c].sum())
        second = answers.logits(1, state.images[state.labels == c]).argmax(1) == c
        assert int((own | second).sum()) >= min(4, either)
    flat = state.images.flatten(1)
    assert len({tuple(row) for row in flat.tolist()}) == len(flat), "no image is taken twice"
    assert len(initial_state(aligned_config(ipc=12), pool, experts=buffer).images) == 120, "filled up with what nobody recognizes"


def test_without_experts_nothing_is_recognized(few: Few) -> None:
    with pytest.raises(ConfigError, match="init recognized asks experts: start the run with experts"):
        initial_state(aligned_config(), few(4))
    with pytest.raises(ValueError, match="init recognized asks experts, which method dm has none of"):
        settings(method="dm", distill={"init": "recognized"})
    with pytest.raises(ValueError, match=r"early_max_start = 3, which grows to trajectory.max_start = 2: give them in this order"):
        settings(method="datm", distill={"trajectory": {"max_start": 2}, "difficulty": {"early_max_start": 3}})


def test_labels_that_leave_the_finite_numbers_are_told(few: Few, buffer: ExpertBuffer) -> None:
    config = aligned_config(difficulty={"label_rate": 1e39, "threshold": 1e9})
    with pytest.raises(Diverged, match=r"iteration 0: the learned labels are no longer finite; lower distill.difficulty.label_rate"):
        _run(config, few(8), buffer, 1)


@pytest.mark.parametrize(
    ("network", "layers"),
    [({}, 4), ({"norm": "batch", "depth": 2}, 3), ({"name": "mlp"}, 3), ({"name": "resnet10"}, 13)],
    ids=lambda value: str(value),
)
def test_layers_near_the_images_are_not_compared(network: dict[str, object], layers: int) -> None:
    net = build(NetworkConfig.model_validate({"width": 8} | network), (3, 32, 32), 10)
    starts = layer_starts(net)
    assert len(starts) == layers
    assert [first_compared(net, share) for share in (0.0, 1 / layers, 0.999)] == [0, starts[1], starts[-1]]


def finished(store: Store, selection: str, buffer: ExpertBuffer, root: str) -> str:
    run = start_run(store.uri, selection, aligned_config(ipc=2), OFF, root, buffer.uri)
    for number in (1, 2):
        distill_round(run, number)
    return run


def test_learned_labels_are_stored_exactly_and_evaluated(store: Store, selection: str, buffer: ExpertBuffer, tmp_path: Path) -> None:
    root = str(tmp_path)
    run = finished(store, selection, buffer, root)
    held = find_state(open_part(run, None), 2)
    uri = finish_run(run)
    artifact = open_artifact(uri, "synthetic")
    told, logits = artifact.stated(SyntheticFacts), read_soft_labels(artifact)
    assert held is not None
    assert logits is not None
    assert told.soft_labels is not None
    assert (told.soft_labels.form, told.soft_labels.divergence, told.soft_labels.temperature) == ("float32", 0.0, 1.0)
    loaded = load_distilled(run)
    assert loaded.logits is not None
    assert torch.equal(loaded.logits, logits)
    config = EvaluateConfig(networks=(NARROW,), seeds=2, epochs=3, labels="learned", learned_rate=False)
    stored, hard = (
        evaluate_synthetic(store.uri, uri, "static", 0, config.model_copy(update={"labels": labels}), root)
        for labels in ("learned", "hard")
    )
    assert stored != hard
    assert open_artifact(stored, "evaluation").manifest.config["labels"] == "learned"


def test_damaged_labels_of_a_round_are_told(few: Few, buffer: ExpertBuffer) -> None:
    config, pool = aligned_config(ipc=2), few(4)
    state, _ = _run(config, pool, buffer, 1)
    require_labels(state.method, config, pool, "here")
    for broken in (
        {"labels": state.method["labels"][:5]},
        {"labels": state.method["labels"] * torch.nan},
        {"step_size": torch.tensor(-1.0).double()},
    ):
        with pytest.raises(DamagedArtifact, match="here"):
            require_labels(state.method | broken, config, pool, "here")
    with pytest.raises(DamagedArtifact):
        require_labels({name: value for name, value in state.method.items() if name != "labels"}, config, pool, "here")
