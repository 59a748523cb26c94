"""SRe2L, CDA, LPLD and FADRM: against a slow restatement, resumption, shards, both levels of pruning, soft labels, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import killed
import pytest
import torch
from tiny_distillation import NARROW, Store, assert_follows, guard_for, spelled_out
from tiny_reference import reference
from torch import Tensor

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.run_layout import IMAGES, RECORD, reselect_uri
from bilp.artifacts.tables import ITE
from bilp.causal.reference.oracle import meta_gradient
from bilp.config import METHODS as METHOD_ENTRIES
from bilp.config import DistillConfig, NetworkConfig, PipelineConfig, PruneConfig, ReselectConfig, TeacherConfig
from bilp.config.methods.inversion import InversionConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, merge_round, reselect_round, start_run
from bilp.distill.labels_product import product
from bilp.distill.loops.inversion import LOGITS, SQUARES, distill, frozen_teacher, require_carried
from bilp.distill.loops.registry import loop_for
from bilp.distill.loops.residual import PATCHES, block_starts
from bilp.distill.loops.residual import require_carried as require_residual
from bilp.distill.soft_labels import divergence, read_soft_labels
from bilp.distill.step import class_statistics
from bilp.distill.step.batch import Batch
from bilp.distill.step.class_statistics import ClassStatistics
from bilp.distill.step.held_out_loss import halves, held_out_directions
from bilp.distill.step.initial import initial_state
from bilp.distill.step.inversion_batches import batches_of
from bilp.distill.step.inversion_pass import Shown, losses_and_gradients, packed
from bilp.distill.step.inversion_views import view_of
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DistillState, encode_state
from bilp.distill.step.statistics_effects import measure
from bilp.errors import ConfigError, DamagedArtifact
from bilp.evaluate import train_teacher
from bilp.matching.layer_statistics import running_moments
from bilp.nets.by_device import ByDevice
from bilp.progress import silent
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.prune import prune
from bilp.registry import resolve
from bilp.teachers.stored_teacher import StoredTeacher

pytestmark = pytest.mark.slow

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
OFF = ReselectConfig(beta=0.0)
NORMED = NARROW.model_copy(update={"norm": "batch"})
METHODS = pytest.mark.parametrize("method", ["sre2l", "cda", "lpld", "fadrm"])


@pytest.fixture(scope="module")
def teacher(store: Store) -> StoredTeacher:
    return StoredTeacher(train_teacher(store.uri, TeacherConfig(network=NORMED, epochs=2, batch_size=64), 0, store.root))


def config_of(method: str, own: dict[str, Any] | None = None, **changes: Any) -> DistillConfig:
    """Four iterations in two rounds; with views of every kind."""
    settings = {"smallest": 0.3, "roll": 2, "curriculum": 1.0 if method == "cda" else 0.0} | (own or {})
    patches = {"patches": {"pool": 5}, "residual": {"blocks": 2, "crops": 2}} if method == "fadrm" else {}
    values: dict[str, Any] = {
        "method": method,
        "iterations": 4,
        "rounds": 2,
        "network": NORMED,
        "augment": (),
        "init": "noise",
        "learning_rate": 0.2,
    }
    return spelled_out(patches | values | {"inversion": InversionConfig.model_validate(settings)} | changes)


def assemble(config: DistillConfig, pool: RealPool, teacher: StoredTeacher, reselect: ReselectConfig = OFF) -> Setting:
    return Setting.assemble(config, reselect, pool, "cpu", RunInputs(teacher=teacher))


def _run(config: DistillConfig, pool: RealPool, teacher: StoredTeacher, iterations: int) -> tuple[DistillState, list[Record]]:
    setting, state = assemble(config, pool, teacher), initial_state(config, pool)
    return state, loop_for(config.method)(setting, state, iterations, None, guard_for(setting), silent)


def go_through(run: str, rounds: int = 2) -> str:
    for number in range(1, rounds + 1):
        reselect_round(run, number)
        distill_round(run, number)
    return finish_run(run)


@pytest.mark.parametrize(
    ("method", "own", "changes"),
    [
        ("sre2l", {}, {"ipc": 2}),
        ("sre2l", {"together": 4, "smallest": 1.0, "flip": False, "roll": 0}, {"ipc": 1}),
        ("cda", {"weight": 0.5}, {"ipc": 1}),
        ("lpld", {}, {"ipc": 3}),
        ("lpld", {"together": 2, "weight": 0.3, "first_layer": 2.0}, {"ipc": 3, "seed": 3}),
        ("lpld", {}, {"ipc": 2, "class_statistics": {"target": "teacher"}}),
        ("fadrm", {}, {"ipc": 2}),
        ("fadrm", {"together": 3}, {"ipc": 1, "residual": {"blocks": 3, "share": 0.2, "crops": 1}, "patches": {"pool": 8, "factor": 2}}),
    ],
    ids=str,
)
def test_loop_equals_the_slow_restatement(
    few: Few, teacher: StoredTeacher, method: str, own: dict[str, Any], changes: dict[str, Any]
) -> None:
    config, pool = config_of(method, own, **changes), few(8)
    slow = reference(config, pool, teacher=teacher)
    curve = slow.run(4)
    state, records = _run(config, pool, teacher, 4)
    assert [record.loss for record in records] == pytest.approx(curve, rel=2e-4)
    # Adam divides by the gradient's own size, so that rounding shows where there hardly is a gradient.
    assert (state.images - slow.images).norm() < 2e-3 * slow.images.norm()
    real = 80 if method == "lpld" and config.class_statistics.target == "class" else 0
    assert [record.real_used for record in records] == [real] * 4


@pytest.mark.parametrize("method", ["sre2l", "lpld"])
def test_objective_and_gradient_equal_the_restatement_s_in_float64(few: Few, teacher: StoredTeacher, method: str) -> None:
    config, pool = config_of(method, ipc=3), few(6)
    slow = reference(config, pool, dtype=torch.float64, teacher=teacher)
    setting, images = assemble(config, pool, teacher), initial_state(config, pool).images.double()
    setting.network.double()
    for batch, (rows, _, c) in list(zip(batches_of(setting), slow._batches, strict=True))[::4]:  # type: ignore[attr-defined]
        assert batch.rows.tolist() == rows
        view = view_of(setting, batch, 1, "view", 1)
        mean = running_moments(setting.network)
        if c is not None:
            real = pool.images(pool.by_class[c]).double()
            mean = setting.matching.real_mean(setting.network, real, torch.zeros(len(real), dtype=torch.int64))
        shown = Shown(images[batch.rows], slow.labels[batch.rows], view, mean)
        (loss,), (gradient,) = losses_and_gradients(setting.network, setting.matching, [shown], 100)
        leaf = images[batch.rows].requires_grad_()
        wanted = slow.loss(leaf, rows, view, c)  # type: ignore[attr-defined]
        torch.testing.assert_close(loss, wanted.detach(), rtol=1e-9, atol=0.0)
        (expected,) = torch.autograd.grad(wanted, leaf)
        assert (gradient - expected).norm() < 1e-9 * expected.norm()
        (parted_loss,), (parted,) = losses_and_gradients(setting.network, setting.matching, [shown], 2)
        torch.testing.assert_close(parted_loss, loss, rtol=1e-9, atol=0.0)
        assert (parted - gradient).norm() < 1e-9 * gradient.norm(), "a batch that passes in parts"
        length, reach = float(gradient.norm()), 1e-6
        ends = [replace(shown, images=shown.images + reach * sign * gradient / length) for sign in (1, -1)]
        (ahead,), (behind,) = (losses_and_gradients(setting.network, setting.matching, [end], 100)[0] for end in ends)
        assert float(ahead - behind) / (2 * reach) == pytest.approx(length, rel=1e-5)


def test_batches_share_passes_up_to_a_limit() -> None:
    assert [(which.start, which.stop) for which in packed([3, 3, 3, 9, 2, 2], 6)] == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert list(packed([], 6)) == []
    assert [(which.start, which.stop) for which in packed([7], 6)] == [(0, 1)]


@METHODS
def test_twenty_steps_follow_the_stored_curve(few: Few, teacher: StoredTeacher, method: str) -> None:
    expected = json.loads((HERE / f"expected_{method}.json").read_text())
    state, records = _run(config_of(method, {"weight": 0.1}, ipc=2, iterations=20), few(24), teacher, 20)
    assert_follows(records, expected["losses"])
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-2)


@METHODS
def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few, teacher: StoredTeacher, method: str) -> None:
    config, pool = config_of(method, ipc=2), few(6)
    whole, _ = _run(config, pool, teacher, 4)
    state = initial_state(config, pool)
    for stop in (1, 1, 3, 4):
        setting = assemble(config, pool, teacher)  # another process reads the network again
        loop_for(method)(setting, state, stop, None, guard_for(setting), silent)
        resolve(METHOD_ENTRIES[method].carried)(state.method, config, pool, "there")
        state = state.to("cpu")
    assert encode_state(state) == encode_state(whole)
    pixels = whole.images * torch.tensor(pool.dataset.std).view(-1, 1, 1) + torch.tensor(pool.dataset.mean).view(-1, 1, 1)
    assert -1e-6 <= float(pixels.min()) < float(pixels.max()) <= 1 + 1e-6, "pixels stay within their range"


@pytest.mark.parametrize("reselect", [OFF, ReselectConfig(beta=0.3, networks=2, threshold="quantile")], ids=["static", "adaptive"])
def test_classes_of_lpld_divide_into_shards_with_the_same_bytes(
    store: Store, teacher: StoredTeacher, tmp_path: Path, reselect: ReselectConfig
) -> None:
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)
    files = []
    for name, shards in (("one", 1), ("three", 3)):
        config = config_of("lpld", ipc=2, shards=shards)
        run = start_run(store.uri, few, config, reselect, tmp_path / name, None, teacher.uri)
        for number in (1, 2):
            for shard in range(shards) if shards > 1 else (None,):
                reselect_round(run, number, shard=shard)
                distill_round(run, number, shard=shard)
            if shards > 1:
                merge_round(run, number)
        artifact = open_artifact(finish_run(run), "synthetic")
        files.append({file: artifact.read(file) for file in (IMAGES, "labels.safetensors")})
        if reselect.active:
            table = open_artifact(reselect_uri(run, 2), "reselect").table("ite.parquet", ITE)
            assert 0.2 < sum(table["dropped"].to_pylist()) / len(table) < 0.4
            assert min(table["ite"].to_pylist()) > 0
    assert files[0] == files[1]


@pytest.mark.parametrize("together", [100, 2])
def test_effects_of_a_class_equal_their_definition(few: Few, teacher: StoredTeacher, together: int) -> None:
    """Candidates are part of a class, and a sample is left out of all of it."""
    config, pool = config_of("lpld", {"together": together}, ipc=3), few(9)
    images = initial_state(config, pool).images
    found = {}
    for name in ("cotangent", "oracle"):
        setting = assemble(config, pool, teacher, ReselectConfig(beta=0.2, estimator=name))
        frozen_teacher(setting, initial_state(config, pool), 1, 0)
        batches = [Batch(c, part, None, path=("round", 1, 0, k)) for c in (3, 4) for k, part in enumerate(pool.by_class[c].split(4))]
        found[name] = [scored.values for scored in measure(setting, images, batches)]
    for fast, slow in zip(found["cotangent"], found["oracle"], strict=True):
        torch.testing.assert_close(fast, slow, rtol=2e-3, atol=1e-3 * float(slow.max()))
        assert float(slow.min()) > 0


def test_signed_effects_of_a_class_are_components_of_effects_by_definition(few: Few, teacher: StoredTeacher) -> None:
    """Along what the other half of the samples asks for, under the view of the class's first batch, which is drawn for reselections."""
    config, pool = config_of("lpld", {"together": 2}, ipc=3), few(6)
    setting = assemble(config, pool, teacher, ReselectConfig(beta=0.2, score="signed"))
    images, half_of = initial_state(config, pool).images, halves(setting)
    batches = [Batch(c, part, None, path=("round", 1, 0, k)) for c in (3, 4) for k, part in enumerate(pool.by_class[c].split(4))]
    directions = held_out_directions(setting, images, half_of, *batches[0].path)

    def gradient(c: int, ids: Tensor) -> Tensor:
        """Of the distance of the images of a class from the statistics of these samples `[ipc, C, H, W]`."""
        mean = setting.matching.real_mean(setting.network, pool.images(ids), torch.full((len(ids),), c))
        parts = []
        for batch in batches_of(setting):
            if batch.class_index == c:
                shown = (images[batch.rows], setting.class_labels(c, len(batch.rows)))
                view = view_of(setting, batch, config.iterations, "reselect_view", "round", 1, 0, 0)
                parts.append(meta_gradient(setting.matching, setting.network, mean, shown, view))
        return torch.cat(parts)

    wanted = []
    for c in (3, 4):
        ids, rows = pool.by_class[c], setting.rows(c)
        effects = torch.stack([gradient(c, ids) - gradient(c, ids[ids != i]) for i in ids])
        wanted.append((effects * directions[half_of[ids], rows]).flatten(1).sum(dim=1))
    found = torch.cat([scored.values for scored in measure(setting, images, batches)])
    along = torch.cat(wanted)
    torch.testing.assert_close(found, along, rtol=2e-3, atol=2e-3 * float(along.abs().max()))
    assert float(along.min()) < 0.0 < float(along.max())


def test_statistics_are_the_same_whether_they_are_held_or_computed_again(
    few: Few, teacher: StoredTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = few(7)
    setting = assemble(config_of("lpld"), pool, teacher)
    monkeypatch.setattr(class_statistics, "READ_AT_ONCE", 3)
    ids, weights = pool.by_class[5][torch.tensor([4, 0, 6, 2, 1])], torch.tensor([1.0, 0.5, 2.0, 0.0, 1.0])
    parts = (setting.matching, setting.network, pool, setting.device)
    held = ClassStatistics(*parts)
    monkeypatch.setattr(class_statistics, "HELD_BYTES", ByDevice(cpu=0, gpu=0, large=0))
    again = ClassStatistics(*parts)
    for given in (None, weights):
        for one, other in zip(held.mean(5, ids, given), again.mean(5, ids, given), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    images, labels = pool.images(ids), torch.full((5,), 5)
    wanted = setting.matching.weighted_mean(setting.network, images, labels, weights)
    for one, other in zip(held.mean(5, ids, weights), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(held.chunks(5, ids), again.chunks(5, ids), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"mode": "weight"}, {"score": "signed"}, {"score": "loss"}, {"mode": "shrink"}], ids=str)
def test_decisions_inside_a_round_change_the_statistics_that_are_wanted(few: Few, teacher: StoredTeacher, changes: dict[str, Any]) -> None:
    config, pool = config_of("lpld", ipc=2, batch_real=64), few(20)
    reselect = ReselectConfig.model_validate({"beta": 0.4, "interval": 2, "threshold": "quantile"} | changes)
    setting, state = assemble(config, pool, teacher, reselect), initial_state(config, pool)
    pruner = AdaptivePruner(pool.dataset.train.labels, pool.classes, reselect)
    records = distill(setting, state, 4, pruner, guard_for(setting))
    assert (pruner.state()["visits"][torch.cat(pool.by_class)] == 2).all()
    plain, _ = _run(config, pool, teacher, 4)
    assert not torch.equal(state.images, plain.images)
    if "mode" not in changes or changes["mode"] == "shrink":
        assert all(0.1 < record.dropped_share < 0.6 for record in records)


@pytest.mark.parametrize("mode", ["refill", "weight"])
def test_decisions_reach_the_statistics_wherever_a_round_is_cut(few: Few, teacher: StoredTeacher, mode: str) -> None:
    config, pool = config_of("lpld", ipc=2, batch_real=64), few(12)
    reselect, ends = ReselectConfig(beta=0.4, interval=2, threshold="quantile", mode=mode), []
    for stops in ((4,), (2, 3, 4)):
        state, pruner = initial_state(config, pool), AdaptivePruner(pool.dataset.train.labels, pool.classes, reselect)
        for stop in stops:
            setting = assemble(config, pool, teacher, reselect)  # another process knows no statistics of before
            distill(setting, state, stop, pruner, guard_for(setting))
        ends.append(encode_state(state))
    assert ends[0] == ends[1]


def test_a_killed_run_goes_on_in_another_process_to_the_same_bytes(store: Store, teacher: StoredTeacher, tmp_path: Path) -> None:
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)
    reselect = ReselectConfig(beta=0.2, threshold="quantile")
    config = config_of("lpld", ipc=2)
    whole, disturbed = (start_run(store.uri, few, config, reselect, tmp_path / name, None, teacher.uri) for name in ("whole", "disturbed"))
    finished = open_artifact(go_through(whole), "synthetic")
    reselect_round(disturbed, 1)
    killed.until_killed(killed.distill, disturbed, 1, 1)
    found = open_artifact(go_through(disturbed), "synthetic")
    assert {name: found.read(name) for name in found.manifest.files} == {name: finished.read(name) for name in finished.manifest.files}
    assert set(found.manifest.files) == {"synthetic.safetensors", "labels.safetensors", "grid.png"}


@pytest.mark.parametrize(
    ("form", "own"), [("float16", {}), ("top_k", {"soft_labels": "top_k", "top_k": 3}), ("none", {"soft_labels": "none"})]
)
def test_a_set_stores_and_states_its_soft_labels(
    store: Store, teacher: StoredTeacher, tmp_path: Path, form: str, own: dict[str, Any]
) -> None:
    run = start_run(store.uri, None, config_of("sre2l", own, ipc=2), OFF, tmp_path, None, teacher.uri)
    artifact = open_artifact(uri := go_through(run), "synthetic")
    logits, told = read_soft_labels(artifact), artifact.stated(SyntheticFacts).soft_labels
    if form == "none":
        assert told is None and logits is None
        return
    assert told is not None and logits is not None
    with torch.no_grad():
        said = teacher.network(store.dataset, "float32")(load_synthetic(uri)[0])
    assert told.form == form
    assert divergence(said, logits, 20.0) == pytest.approx(told.divergence, rel=1e-3, abs=1e-9)
    assert told.divergence < (1e-7 if form == "float16" else 0.02)


def test_what_is_carried_is_checked(few: Few, teacher: StoredTeacher) -> None:
    config, pool = config_of("lpld"), few(4)
    state, _ = _run(config, pool, teacher, 1)
    for change, problem in (
        ({SQUARES: state.method[SQUARES][:, :, :4]}, "instead of float32"),
        ({SQUARES: -state.method[SQUARES] - 1}, "cannot be"),
        ({LOGITS: torch.full((10, 10), torch.nan)}, "not finite"),
        ({LOGITS: torch.zeros(3, 10)}, "instead of float32"),
    ):
        with pytest.raises(DamagedArtifact, match=problem):
            require_carried({**state.method, **change}, config, pool, "here")
    with pytest.raises(DamagedArtifact, match="no answers of the teacher"):
        product(state, config, pool)


def test_patches_are_those_of_medium_difficulty_and_come_in_again_between_blocks(few: Few, teacher: StoredTeacher) -> None:
    config, pool = config_of("fadrm", ipc=2, learning_rate=1e-9, residual={"blocks": 4, "share": 0.25, "crops": 1}), few(5)
    state, _ = _run(config, pool, teacher, 1)
    patches = state.method[PATCHES]
    torch.testing.assert_close(state.images, patches, rtol=0.0, atol=1e-6)  # at this step size
    state.images.copy_(initial_state(config, pool).images.clamp(-0.3, 0.3))
    before = state.images.clone()
    setting = assemble(config, pool, teacher)
    loop_for("fadrm")(setting, state, 2, None, guard_for(setting), silent)
    torch.testing.assert_close(state.images, 0.25 * before + 0.75 * patches, rtol=0.0, atol=1e-6)
    assert block_starts(config) == [0, 1, 2, 3]
    assert block_starts(config.model_copy(update={"iterations": 10})) == [0, 2, 5, 7]
    assert block_starts(config.model_copy(update={"iterations": 2})) == [0, 1]
    with pytest.raises(DamagedArtifact, match="here"):
        require_residual({**state.method, PATCHES: patches[:3]}, config, pool, "here")


def test_what_is_refused(store: Store, few: Few, teacher: StoredTeacher, tmp_path: Path) -> None:
    def refusal(config: DistillConfig, reselect: ReselectConfig = OFF, teacher_uri: str | None = teacher.uri) -> str:
        with pytest.raises(ConfigError) as caught:
            start_run(store.uri, None, config, reselect, tmp_path, None, teacher_uri)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "asks a teacher: train one" in refusal(config_of("lpld"), teacher_uri=None)
    plain = train_teacher(store.uri, TeacherConfig(network=NARROW, epochs=1), 0, store.root)
    assert "set evaluate.teacher.network.norm to batch" in refusal(config_of("sre2l"), teacher_uri=plain)
    assert "does not apply to method sre2l, which sees real samples only through averages" in refusal(
        config_of("sre2l"), ReselectConfig(beta=0.1)
    )
    by_teacher = config_of("lpld", class_statistics={"target": "teacher"})
    assert "with distill.class_statistics.target teacher no real sample has an effect" in refusal(by_teacher, ReselectConfig(beta=0.1))
    assert "measures effects by auto, cotangent or oracle" in refusal(config_of("lpld"), ReselectConfig(beta=0.1, estimator="sketch"))
    setting = Setting.assemble(config_of("lpld"), OFF, few(4), "cpu")
    with pytest.raises(ConfigError, match="start the run with one"):
        distill(setting, initial_state(config_of("lpld"), few(4)), 1, None, guard_for(setting))
    assert not list(tmp_path.glob(f"runs/*/{RECORD}"))


def test_a_pipeline_refuses_teachers_without_batch_norm_before_anything_else() -> None:
    with pytest.raises(ValueError, match="convnet with norm instance has none: set evaluate.teacher.network.norm to batch"):
        PipelineConfig(method="sre2l", evaluate={"teacher": {"network": {"norm": "instance"}}})
    with pytest.raises(ValueError, match="mlp with norm batch has none: use another evaluate.teacher.network"):
        PipelineConfig(method="lpld", evaluate={"teacher": {"network": {"name": "mlp"}}})
    with pytest.raises(ValueError, match="no real sample has an effect: set beta = 0"):
        PipelineConfig(method="lpld", distill={"class_statistics": {"target": "teacher"}})
    assert PipelineConfig(method="lpld", beta=0.0, distill={"class_statistics": {"target": "teacher"}}).reselect.beta == 0.0
    assert PipelineConfig(method="cda").evaluate.teacher.network == NetworkConfig(width=64, norm="batch")
