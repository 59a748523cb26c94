"""CCFS: against a slow restatement, what a round adds and to what it starts, classes with too few candidates, resumption, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import killed
import pytest
import torch
from tiny_distillation import NARROW, Store, guard_for, small_config, spelled_out
from tiny_reference import reference
from tiny_world import state as restate

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.config import DistillConfig, PipelineConfig, PruneConfig, ReselectConfig
from bilp.config.methods.ccfs import CoarseToFineConfig
from bilp.config.real_part import RealPartConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, start_run
from bilp.distill.curriculum_product import read_curriculum
from bilp.distill.loops.coarse_to_fine import ADDED, EMPTY, MISTAKE, chosen, distill, require_curriculum, schedule_of
from bilp.distill.real_part import read_real, wrong_in
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DISTILLED, DistillState, encode_state
from bilp.errors import ConfigError, DamagedArtifact, Diverged, IncompatibleArtifact, MissingArtifact
from bilp.maintenance.verify import verify
from bilp.preflight import check_distillation, check_fit
from bilp.pruning.difficulty import Difficulty
from bilp.pruning.prune import load_selection, prune
from bilp.teachers.stored_teacher import StoredTeacher

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
OFF = ReselectConfig(beta=0.0)


def ccfs_config(own: dict[str, object] | None = None, **changes: object) -> DistillConfig:
    """Five images of a class, one of them at the beginning, in two rounds."""
    settings = CoarseToFineConfig.model_validate({"epochs": 3, "augment_always": ("crop",), "learning_rate": 0.05} | (own or {}))
    values: dict[str, object] = {"method": "ccfs", "ipc": 5, "iterations": 2, "rounds": 2, "network": NARROW, "augment": ()}
    return spelled_out(values | {"coarse_to_fine": settings} | changes)


def by_number(store: Store) -> Difficulty:
    """Samples with higher numbers are harder."""
    return Difficulty(torch.arange(len(store.dataset.train), dtype=torch.float64), high_is_hard=True)


def assemble(config: DistillConfig, pool: RealPool, teacher: StoredTeacher, hard: Difficulty) -> Setting:
    return Setting.assemble(config, OFF, pool, "cpu", RunInputs(teacher=teacher, difficulty=hard))


def go_through(run: str, rounds: int = 2) -> str:
    for number in range(1, rounds + 1):
        distill_round(run, number)
    return finish_run(run)


def test_counts_are_those_of_the_program() -> None:
    """int(alpha * ipc) images at the beginning, and the rest over three rounds, the first ones larger (curriculum_arrangement)."""
    for share, ipc, first, rounds in ((0.2, 250, 50, [67, 67, 66]), (0.1, 500, 50, [150] * 3), (0.3, 1000, 300, [234, 233, 233])):
        settings = CoarseToFineConfig(share=share)
        assert settings.begins(ipc) == first
        assert [settings.added(ipc, 3, number) for number in range(3)] == rounds
    assert [CoarseToFineConfig().batch(size) for size in (499, 500, 999, 1000)] == [32, 64, 64, 128]
    assert (CoarseToFineConfig().begins(1), CoarseToFineConfig().added(1, 3, 0)) == (1, 0)


def test_candidates_come_first_then_what_the_teacher_knows_then_the_rest(store: Store) -> None:
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 6])
    mistaken = torch.tensor([1, 1, 0, 0, 1, 1, 0], dtype=torch.bool)
    known = torch.tensor([1, 1, 1, 1, 0, 1, 0], dtype=torch.bool)
    ordered, mistake = chosen(ids, mistaken, known, torch.tensor([1]), by_number(store))
    assert ordered.tolist() == [0, 5, 2, 3, 4, 6]
    assert mistake.tolist() == [True, True, False, False, False, False]
    nobody = torch.zeros(7, dtype=torch.bool)
    ordered, mistake = chosen(ids, ~nobody, nobody, torch.tensor([], dtype=torch.int64), by_number(store))
    assert ordered.tolist() == list(range(7)), "a teacher that knows nothing leaves the ranking"
    assert not mistake.any()


@pytest.mark.slow
@pytest.mark.parametrize(("ipc", "iterations"), [(5, 2), (4, 3), (1, 1)])
def test_loop_equals_the_slow_restatement(few: Few, store: Store, teacher: StoredTeacher, ipc: int, iterations: int) -> None:
    config, pool, hard = ccfs_config(ipc=ipc, iterations=iterations, rounds=1), few(9), by_number(store)
    setting, state = assemble(config, pool, teacher, hard), initial_state(config, pool, difficulty=hard)
    records = distill(setting, state, iterations, None, guard_for(setting))
    slow = reference(config, pool, teacher=teacher, difficulty=hard)
    assert [record.loss for record in records] == pytest.approx(slow.run(iterations))
    assert torch.equal(state.images, slow.images)
    assert [(record.real_used, record.dropped_share) for record in records] == [(90, 0.0)] * iterations
    assert state.real is not None
    assert bool((state.real != DISTILLED).all())
    assert wrong_in(state.real, state.images, state.labels, store.dataset) == ""


@pytest.mark.slow
def test_rounds_follow_the_stored_curve(few: Few, store: Store, teacher: StoredTeacher) -> None:
    """The file holds what this call gave once. A sample that another processor classifies otherwise changes one image."""
    expected = json.loads((HERE / "expected_ccfs.json").read_text())
    config = ccfs_config({"epochs": 40}, ipc=8, iterations=4)
    setting, state = assemble(config, few(40), teacher, by_number(store)), initial_state(config, few(40), difficulty=by_number(store))
    records = distill(setting, state, 4, None, guard_for(setting))
    assert [record.loss for record in records] == pytest.approx(expected["losses"], abs=0.05)
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=2e-2)
    assert records[-1].loss < records[0].loss, "the set teaches more and more"


@pytest.mark.slow
def test_a_class_without_candidates_becomes_full_all_the_same(few: Few, store: Store, teacher: StoredTeacher) -> None:
    """Of seven samples of a class, all have to be in the set in the end."""
    config, pool, hard = ccfs_config(ipc=7), few(7), by_number(store)
    setting, state = assemble(config, pool, teacher, hard), initial_state(config, pool, difficulty=hard)
    distill(setting, state, 2, None, guard_for(setting))
    assert state.real is not None
    assert [sorted(own.tolist()) for own in state.real.view(10, 7)] == [ids.tolist() for ids in pool.by_class]
    require_curriculum(state.method, config, pool, "here")


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes_and_says_what_it_added(
    store: Store, teacher: StoredTeacher, ranking: str, tmp_path: Path
) -> None:
    half = prune(store.uri, None, PruneConfig(criterion="random", keep=0.2, seed=1), store.root)
    config = ccfs_config(ipc=4, iterations=4)
    whole, disturbed = (
        start_run(store.uri, half, config, OFF, tmp_path / name, None, teacher.uri, ranking) for name in ("whole", "disturbed")
    )
    finished = open_artifact(go_through(whole), "synthetic")
    for number in (1, 2):
        killed.until_killed(killed.distill, disturbed, number, 1)
    found = open_artifact(go_through(disturbed), "synthetic")
    assert {name: found.read(name) for name in found.manifest.files} == {name: finished.read(name) for name in finished.manifest.files}
    assert set(found.manifest.files) == {"synthetic.safetensors", "real.parquet", "curriculum.parquet", "grid.png"}
    real, table = read_real(found, store.dataset), read_curriculum(found)
    assert real is not None
    assert table is not None
    assert found.stated(SyntheticFacts).real == 40
    assert bool(torch.isin(real, load_selection(half)).all()), "level 1 prunes the candidates"
    rounds = [table["round"].to_pylist()[4 * c : 4 * c + 4] for c in range(10)]
    assert rounds == [[0, 1, 2, 3]] * 10
    assert not any(mistake for mistake, number in zip(table["mistake"].to_pylist(), table["round"].to_pylist(), strict=True) if not number)
    assert any(table["mistake"].to_pylist())


@pytest.mark.slow
def test_a_run_starts_from_a_finished_set_whose_key_counts_and_not_its_place(
    store: Store, teacher: StoredTeacher, ranking: str, tmp_path: Path
) -> None:
    def distilled(name: str, **changes: object) -> str:
        run = start_run(store.uri, None, small_config("dm", **{"ipc": 2, "iterations": 2, **changes}), OFF, tmp_path / name)
        return go_through(run)

    def begun(start: str, config: DistillConfig | None = None) -> str:
        config = config or ccfs_config({"share": 0.4})
        named = config.model_copy(update={"coarse_to_fine": config.coarse_to_fine.model_copy(update={"start": start})})
        return start_run(store.uri, None, named, OFF, tmp_path / "one", None, teacher.uri, ranking)

    one, same, other = distilled("one"), distilled("two"), distilled("three", seed=1)
    run = begun(one)
    assert begun(one.removesuffix("/synthetic")) == run, "the run of the set will do"
    assert begun(same) == run
    assert begun(other) != run
    found = open_artifact(go_through(run), "synthetic")
    images, labels = load_synthetic(found.uri)
    start, real = load_synthetic(one)[0], read_real(found, store.dataset)
    assert real is not None
    assert torch.equal(images.unflatten(0, (10, 5))[:, :2], start.unflatten(0, (10, 2)))
    assert (real.view(10, 5) == DISTILLED).tolist() == [[True, True, False, False, False]] * 10
    assert wrong_in(real, images, labels, store.dataset) == ""
    assert found.parents["start"] == one
    assert verify(tmp_path / "one").problems == ()
    parts = distilled("parts")
    restate(parts, decode={"factor": 2, "kind": "single"})
    for refused, config, problem in (
        (one, ccfs_config({"share": 0.6}), "has 2 images of each class, and 3 of 5 are to come from it"),
        (distilled("mixed", real_part=RealPartConfig(share=0.5)), None, "has real images of its own"),
        (parts, None, "stand for several ones"),
    ):
        with pytest.raises(ConfigError, match=problem):
            begun(refused, config)
    with pytest.raises(IncompatibleArtifact, match="key"):
        other_run = begun(other)
        record = Path(other_run) / "_run.json"
        record.write_text(record.read_text(encoding="utf-8").replace(other, one), encoding="utf-8")
        distill_round(other_run, 1)


@pytest.mark.slow
def test_what_is_carried_is_checked(few: Few, store: Store, teacher: StoredTeacher) -> None:
    config, pool, hard = ccfs_config(), few(9), by_number(store)
    setting, state = assemble(config, pool, teacher, hard), initial_state(config, pool, difficulty=hard)
    distill(setting, state, 1, None, guard_for(setting))
    require_curriculum(state.method, config, pool, "here")
    for change in ({ADDED: state.method[ADDED].clamp(max=0)}, {ADDED: state.method[ADDED] + 1}, {MISTAKE: ~state.method[MISTAKE]}):
        with pytest.raises(DamagedArtifact, match="images of a beginning and of the rounds"):
            require_curriculum({**state.method, **change}, config, pool, "here")
    with pytest.raises(DamagedArtifact, match="added as float32"):
        require_curriculum({**state.method, ADDED: state.method[ADDED].float()}, config, pool, "here")
    assert (state.method[ADDED] == EMPTY).sum() == 20


@pytest.mark.slow
def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few, store: Store, teacher: StoredTeacher) -> None:
    config, pool, hard = ccfs_config(iterations=3, rounds=1), few(9), by_number(store)
    states = []
    for stops in ((3,), (1, 1, 3)):
        state = initial_state(config, pool, difficulty=hard)
        for stop in stops:
            setting = assemble(config, pool, teacher, hard)
            distill(setting, state, stop, None, guard_for(setting))
            state = state.to("cpu")
        states.append(encode_state(state))
    assert states[0] == states[1]


@pytest.mark.slow
def test_what_cannot_go_on_says_why(few: Few, store: Store, teacher: StoredTeacher, ranking: str, tmp_path: Path) -> None:
    config, pool, hard = ccfs_config({"learning_rate": 1e30}), few(6), by_number(store)
    setting = assemble(config, pool, teacher, hard)
    with pytest.raises(Diverged, match=r"answers of the network of round 1 .*: lower distill.coarse_to_fine.learning_rate"):
        distill(setting, initial_state(config, pool, difficulty=hard), 1, None, guard_for(setting))
    config = ccfs_config()
    alone = (RunInputs(teacher=teacher), RunInputs(difficulty=hard))
    for setting in (Setting.assemble(config, OFF, pool, "cpu", inputs) for inputs in alone):
        with pytest.raises(ConfigError, match="start the run with both and beta = 0"):
            distill(setting, initial_state(config, pool, difficulty=hard), 1, None, guard_for(setting))
    with pytest.raises(ConfigError, match="start the run with a ranking"):
        initial_state(config, pool)
    with pytest.raises(ConfigError, match="method ccfs asks how hard samples are: name a selection"):
        start_run(store.uri, None, config, OFF, tmp_path, None, teacher.uri)
    with pytest.raises(ConfigError, match="method ccfs asks a teacher"):
        start_run(store.uri, None, config, OFF, tmp_path, None, None, ranking)
    with pytest.raises(ConfigError, match="which chooses real samples and optimizes nothing"):
        start_run(store.uri, None, config, ReselectConfig(beta=0.1), tmp_path, None, teacher.uri, ranking)
    with pytest.raises(ConfigError, match="needs 200 real samples in every class"):
        start_run(store.uri, None, ccfs_config(ipc=200), OFF, tmp_path, None, teacher.uri, ranking)


def test_a_set_that_is_not_there_is_told_before_anything_is_scored(store: Store, tmp_path: Path) -> None:
    given = {"dataset": "digits", "method": "ccfs", "ipc": 5, "distill": {"coarse_to_fine": {"start": f"{tmp_path}/nowhere"}}}
    config = PipelineConfig.model_validate(given)
    for check in (check_fit, check_distillation):
        with pytest.raises(MissingArtifact, match="no complete synthetic at .*nowhere"):
            check(config, store.uri)


def test_a_round_s_training_is_that_of_its_settings() -> None:
    schedule = schedule_of(ccfs_config(), 600)
    assert (schedule.passes, schedule.batch_size, schedule.temperature, schedule.rate(0)) == (3, 64, 20.0, 0.05)
    assert schedule.rate(2) < schedule.rate(1) < schedule.rate(0)


def test_a_state_knows_no_image_that_is_still_to_come() -> None:
    state = DistillState.start(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64), torch.tensor([4, DISTILLED]))
    assert state.to("cpu").real is not state.real
