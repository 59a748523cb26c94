"""A set with a real part: which images it is, that no step moves them, SelMatch's window, and the way through storage and exchange."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import killed
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from tiny_distillation import NARROW, Store, assert_follows, guard_for, small_config, spelled_out
from tiny_experts import trajectory_config
from tiny_reference import reference
from tiny_world import content_of, put, state

from benchmarks.references.partly_real import PartlyRealReference
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.parquet import encode
from bilp.artifacts.run_layout import RECORD, round_uri
from bilp.artifacts.tensors import decode_tensors, encode_tensors
from bilp.config import DistillConfig, PruneConfig, ReselectConfig
from bilp.config.real_part import RealPartConfig
from bilp.config.resize import ResizeConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, merge_round, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.loops.mtt import distill
from bilp.distill.loops.registry import loop_for
from bilp.distill.real_part import FILE, REAL, read_real, require_real, table_of, wrong_in
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DISTILLED, DistillState
from bilp.errors import ConfigError, DamagedArtifact, DataError, IncompatibleArtifact
from bilp.exchange import ImportOptions, export_set, import_set, load_distilled
from bilp.experts.buffer import ExpertBuffer
from bilp.progress import silent
from bilp.pruning.difficulty import Difficulty, difficulty_of
from bilp.pruning.prune import load_selection, prune
from bilp.resizing.resize_stage import resize

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
OFF = ReselectConfig(beta=0.0)


def save(file: Path, tensors: dict[str, torch.Tensor], told: dict[str, str]) -> Path:
    save_file({name: value.contiguous() for name, value in tensors.items()}, file, metadata=told)
    return file


def by_number(dataset_size: int) -> Difficulty:
    """Samples with higher numbers are harder."""
    return Difficulty(torch.arange(dataset_size, dtype=torch.float64), high_is_hard=True)


def window_config(**changes: object) -> DistillConfig:
    """SelMatch with ipc 4, of which 2 stay real, from the fifth-hardest on."""
    given = {"real_part": RealPartConfig(share=0.4, window=1.0), "ipc": 4, **changes}
    return trajectory_config("selmatch", {"batch": 13}, **given)


@pytest.fixture(scope="module")
def selection(store: Store) -> str:
    return prune(store.uri, None, PruneConfig(criterion="random", keep=0.2), store.root)


@pytest.fixture(scope="module")
def ranking(store: Store) -> str:
    return prune(store.uri, None, PruneConfig(criterion="random", seed=3).ranking, store.root)


def _run(
    config: DistillConfig, pool: RealPool, buffer: ExpertBuffer, iterations: int, hard: Difficulty
) -> tuple[DistillState, list[float]]:
    setting = Setting.assemble(config, OFF, pool, "cpu", RunInputs(buffer))
    state = initial_state(config, pool, difficulty=hard)
    return state, [record.loss for record in distill(setting, state, iterations, None, guard_for(setting))]


def go_through(run: str, rounds: int = 2) -> str:
    for number in range(1, rounds + 1):
        distill_round(run, number)
    return finish_run(run)


@pytest.mark.parametrize(
    ("share", "ipc", "real"), [(0.0, 7, 0), (0.4, 250, 100), (0.8, 500, 400), (0.9, 1500, 1350), (0.2, 25, 5), (0.4, 4, 2)]
)
def test_real_images_are_counted_as_the_program_counts_them(share: float, ipc: int, real: int) -> None:
    """It has int(alpha * ipc) that move, alpha = 1 - share."""
    assert RealPartConfig(share=share).real(ipc) == real


@pytest.mark.parametrize(("share", "ipc", "init"), [(0.25, 3, "real"), (0.6, 5, "real"), (0.3, 3, "noise")])
def test_real_images_are_the_samples_that_they_are_said_to_be(few: Few, share: float, ipc: int, init: str) -> None:
    config = spelled_out({"ipc": ipc, "init": init, "real_part": RealPartConfig(share=share)})
    state = initial_state(config, few(7))
    assert state.real is not None
    assert wrong_in(state.real, state.images, state.labels, few(7).dataset) == ""
    fixed = config.real_part.real(ipc)
    assert (state.real.view(10, ipc) != DISTILLED).tolist() == [[False] * (ipc - fixed) + [True] * fixed] * 10
    assert 0 < fixed != ipc - fixed


def test_a_window_begins_at_whole_places() -> None:
    assert [RealPartConfig(window=window).first(ipc) for window, ipc in ((0.5, 5), (0.29, 100), (0.0, 3), (1.7, 10))] == [2, 29, 0, 17]


def test_a_window_is_the_hardest_less_those_skipped_and_its_hardest_stay_real(few: Few, store: Store) -> None:
    pool, size = few(12), len(store.dataset.train)
    started = initial_state(window_config(), pool, difficulty=by_number(size))
    assert started.real is not None
    for c, ids in enumerate(pool.by_class):
        hardest = sorted(ids.tolist(), reverse=True)[4:8]  # beta * ipc = 4 are skipped
        rows = slice(4 * c, 4 * c + 4)
        assert started.real[rows].tolist() == [DISTILLED, DISTILLED, *hardest[:2]]
        assert torch.equal(started.images[rows], store.dataset.train.batch(torch.tensor([*hardest[2:], *hardest[:2]])))
    easiest = Difficulty(-by_number(size).scores, high_is_hard=True)
    low_is_hard = Difficulty(-by_number(size).scores, high_is_hard=False)
    assert torch.equal(initial_state(window_config(), pool, difficulty=low_is_hard).images, started.images)
    assert not torch.equal(initial_state(window_config(), pool, difficulty=easiest).images, started.images)
    noise = initial_state(window_config(init="noise", real_part=RealPartConfig(share=0.5)), pool)
    assert noise.real is not None
    ids = noise.real[noise.real != DISTILLED]
    assert torch.equal(noise.images[noise.real != DISTILLED], store.dataset.train.batch(ids))
    assert len(ids) == 20
    plain = window_config(real_part=RealPartConfig())
    assert initial_state(plain, pool).real is None


def test_equally_hard_samples_are_ordered_by_their_numbers() -> None:
    hard = Difficulty(torch.tensor([1.0, 2.0, 1.0, 2.0]), high_is_hard=True)
    assert hard.hardest_first(torch.tensor([3, 2, 1, 0])).tolist() == [1, 3, 0, 2]
    assert hard.easiest_first(torch.tensor([3, 2, 1, 0])).tolist() == [0, 2, 1, 3]


@pytest.mark.slow
def test_the_ranking_of_a_selection_says_how_hard_samples_are(store: Store, ranking: str) -> None:
    hard, labels = difficulty_of(store.dataset, ranking), store.dataset.train.labels
    assert hard.high_is_hard
    assert len(hard.scores) == len(labels)
    other = prune(store.uri, None, PruneConfig(criterion="random", seed=3, keep=0.3).ranking, store.root)
    assert other == ranking, "what is kept does not count"
    with pytest.raises(IncompatibleArtifact, match="the ranking at .* has key"):
        difficulty_of(store.dataset, ranking, "another")
    listed = Path(store.root) / "list.json"
    listed.write_text(json.dumps(list(range(len(labels)))), encoding="utf-8")
    external = PruneConfig(criterion="external", score_list=str(listed), drop="low")
    found = difficulty_of(store.dataset, prune(store.uri, None, external.ranking, store.root))
    assert torch.equal(found.scores, by_number(len(labels)).scores)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dm", "dc", "dsa", "cafe", "mtt", "tesla", "selmatch"])
def test_no_step_moves_a_real_image_and_the_others_follow_the_restatement(few: Few, buffer: ExpertBuffer, method: str) -> None:
    part = {"real_part": RealPartConfig(share=0.5), "init": "real", "ipc": 2}
    if method in ("mtt", "tesla", "selmatch"):
        config = trajectory_config(method, **part)
    elif method == "cafe":
        rules = {"watched": 2, "most_steps": 2, "most_epochs": 1, "measured_per_class": 4}
        shared = {"method": method, "iterations": 4, "rounds": 2, "batch_real": 8, "network": NARROW, "augment": ()}
        config = spelled_out({**shared, "alignment": rules, **part})
    else:
        config = small_config(method, **part)
    pool = few(12)
    setting, state = Setting.assemble(config, OFF, pool, "cpu", RunInputs(buffer)), initial_state(config, pool)
    assert state.real is not None
    before, stays = state.images.clone(), state.real != DISTILLED
    records = loop_for(method)(setting, state, 3, None, guard_for(setting), silent)
    slow = reference(config, pool, experts=buffer)
    assert [record.loss for record in records] == pytest.approx(slow.run(3), rel=1e-3)
    assert torch.equal(state.images[stays], before[stays]), "to the bit"
    assert int(stays.sum()) == 10
    assert bool((state.images[~stays] != before[~stays]).flatten(1).any(dim=1).all())
    assert torch.allclose(state.images, slow.images, atol=2e-3)
    assert not state.momentum[stays].any()


@pytest.mark.slow
@pytest.mark.parametrize("window", [None, 0.5])
def test_selmatch_equals_its_slow_restatement(few: Few, store: Store, buffer: ExpertBuffer, window: float | None) -> None:
    config, pool, hard = window_config(real_part=RealPartConfig(share=0.4, window=window)), few(12), by_number(len(store.dataset.train))
    reached, losses = _run(config, pool, buffer, 3, hard)
    slow = reference(config, pool, experts=buffer, dtype=torch.float64, difficulty=hard)
    assert isinstance(slow, PartlyRealReference)
    before, curve = slow.images, slow.run(3)
    assert losses == pytest.approx(curve, rel=1e-4)
    assert (reached.images - slow.images).norm() < 2e-3 * (slow.images - before).norm()
    assert float(reached.method["step_size"]) == pytest.approx(float(slow.step_size), rel=1e-5)


@pytest.mark.slow
def test_twenty_steps_follow_the_stored_curve(few: Few, store: Store, buffer: ExpertBuffer) -> None:
    """The file holds what this call gave once."""
    expected = json.loads((HERE / "expected_selmatch.json").read_text())
    config = window_config(iterations=20)
    setting = Setting.assemble(config, OFF, few(24), "cpu", RunInputs(buffer))
    state = initial_state(config, few(24), difficulty=by_number(len(store.dataset.train)))
    records = distill(setting, state, 20, None, guard_for(setting))
    assert_follows(records, expected["losses"])
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-2)
    assert float(state.method["step_size"]) == pytest.approx(expected["step_size"], rel=1e-2)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes_and_publishes_what_is_real(
    store: Store, selection: str, ranking: str, buffer: ExpertBuffer, tmp_path: Path
) -> None:
    config = window_config()
    whole, disturbed = (
        start_run(store.uri, selection, config, OFF, tmp_path / name, buffer.uri, None, ranking) for name in ("whole", "disturbed")
    )
    finished = open_artifact(go_through(whole), "synthetic")
    for number in (1, 2):
        killed.until_killed(killed.distill, disturbed, number, 1)
    found = open_artifact(go_through(disturbed), "synthetic")
    assert {name: found.read(name) for name in found.manifest.files} == {name: finished.read(name) for name in finished.manifest.files}
    assert found.parents["ranking"] == ranking
    facts, real = found.stated(SyntheticFacts), read_real(found, store.dataset)
    assert (facts.real, facts.ipc) == (20, 4)
    assert real is not None
    images, labels = load_synthetic(found.uri)
    assert wrong_in(real, images, labels, store.dataset) == ""
    kept = RealPool(store.dataset, load_selection(selection))
    assert bool(torch.isin(real[real != DISTILLED], torch.cat(kept.by_class)).all()), "level 1 prunes the candidates"
    ids, hard = kept.by_class[0], difficulty_of(store.dataset, ranking)
    assert real[:4].tolist() == [DISTILLED, DISTILLED, *hard.hardest_first(ids)[4:6].tolist()]


@pytest.mark.slow
def test_a_divided_run_of_another_method_has_the_same_real_part(store: Store, tmp_path: Path) -> None:
    config = small_config("dm", real_part=RealPartConfig(share=0.5), ipc=2)
    sets = []
    for name, shards in (("one", 1), ("three", 3)):
        run = start_run(store.uri, None, config.model_copy(update={"shards": shards}), OFF, tmp_path / name)
        for number in (1, 2):
            for shard in range(shards) if shards > 1 else (None,):
                distill_round(run, number, shard=shard)
            if shards > 1:
                merge_round(run, number)
        sets.append(open_artifact(finish_run(run), "synthetic"))
    one, three = ({name: each.read(name) for name in ("synthetic.safetensors", FILE)} for each in sets)
    assert one == three
    plain = start_run(store.uri, None, small_config("dm", ipc=2), OFF, tmp_path / "plain")
    artifact = open_artifact(go_through(plain), "synthetic")
    assert read_real(artifact) is None
    assert FILE not in artifact.manifest.files
    assert "real" not in artifact.manifest.facts


@pytest.fixture(scope="module")
def mixed(store: Store, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A set of DM of which a half is real."""
    config = small_config("dm", real_part=RealPartConfig(share=0.5), ipc=4, iterations=2)
    return go_through(start_run(store.uri, None, config, OFF, tmp_path_factory.mktemp("mixed")))


@pytest.mark.slow
def test_what_is_exported_tells_what_is_real_and_comes_back(store: Store, mixed: str, tmp_path: Path) -> None:
    data = load_distilled(mixed)
    assert data.real is not None
    (file,) = export_set(mixed, "safetensors", tmp_path)
    assert torch.equal(decode_tensors(Path(file).read_bytes(), file)["real"], data.real)
    (parquet,) = export_set(mixed, "parquet", tmp_path)
    column = pq.read_table(parquet)["sample_id"].to_pylist()
    assert column == [None if sample == DISTILLED else sample for sample in data.real.tolist()]
    export_set(mixed, "folder", tmp_path / "folder")
    rows = (tmp_path / "folder" / "real.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "file,sample_id"
    assert len(rows) == 21
    assert rows[1] == f"train/0/0002.png,{int(data.real[2])}"
    back = import_set(store.uri, ImportOptions(file=file), store.root)
    again, loaded = open_artifact(back, "synthetic"), load_distilled(back)
    assert torch.equal(loaded.images, data.images)
    assert loaded.real is not None
    assert torch.equal(loaded.real, data.real)
    assert again.stated(SyntheticFacts).real == 20
    tensors = decode_tensors(Path(file).read_bytes(), file)
    told = {name: json.dumps(list(getattr(data, name))) for name in ("class_names", "mean", "std")}

    def changed(**other: torch.Tensor) -> str:
        return str(save(tmp_path / "changed.safetensors", {**tensors, **other}, told))

    for other, problem in (
        ({"real": tensors["real"].roll(4)}, "real samples of other classes"),
        ({"real": tensors["real"] + 1}, "real sample|other classes"),
        ({"real": torch.where(tensors["real"] >= 0, tensors["real"][2], DISTILLED)}, "names a real sample twice"),
        ({"images": tensors["images"] + 0.5}, r"holds another image 2 than the real sample \d+ that it is said to be"),
        ({"real": tensors["real"].float()}, "numbers of real images that none are"),
    ):
        with pytest.raises(DataError, match=problem):
            import_set(store.uri, ImportOptions(file=changed(**other)), store.root)
    with pytest.raises(ConfigError, match="set factor to 1"):
        import_set(store.uri, ImportOptions(file=file, factor=2), store.root)
    without = save(tmp_path / "plain.safetensors", {name: tensors[name] for name in ("images", "labels")}, told)
    assert load_distilled(import_set(store.uri, ImportOptions(file=str(without)), store.root)).real is None
    with pytest.raises(DataError, match="does not tell its class names"):
        import_set(store.uri, ImportOptions(file=str(save(tmp_path / "bare.safetensors", tensors, {}))), store.root)


@pytest.mark.slow
def test_a_smaller_set_knows_which_of_its_images_are_real(store: Store, mixed: str) -> None:
    small = open_artifact(resize(mixed, ResizeConfig(ipc=1, rule="random", seed=1), store.root), "synthetic")
    images, labels = load_synthetic(small.uri)
    real = read_real(small, store.dataset)
    assert real is not None
    assert wrong_in(real, images, labels, store.dataset) == ""
    whole, real_before = load_distilled(mixed), load_distilled(mixed).real
    assert real_before is not None
    for image, sample in zip(images, real.tolist(), strict=True):
        (place,) = (whole.images == image).flatten(1).all(dim=1).nonzero().flatten().tolist()
        assert int(real_before[place]) == sample


@pytest.mark.slow
def test_damage_to_a_real_part_is_told(store: Store, tmp_path: Path) -> None:
    config = small_config("dm", real_part=RealPartConfig(share=0.5), ipc=2)
    run = start_run(store.uri, None, config, OFF, tmp_path)
    pool, before = RealPool(store.dataset), initial_state(config, RealPool(store.dataset))
    assert before.real is not None
    require_real(before, config, pool, "here")
    half = RealPool(store.dataset, torch.cat([ids[ids != before.real[1]] for ids in pool.by_class]))
    for changed, settings, samples, problem in (
        ({"real": None}, config, pool, "holds no real part, and the run has one"),
        ({}, small_config("dm", ipc=2), pool, "holds a real part, and the run has none"),
        ({"real": before.real.roll(1)}, config, pool, "another image|other classes"),
        ({"real": torch.where(torch.arange(20) == 1, 10**6, before.real)}, config, pool, "names real samples"),
        ({"images": before.images + 1}, config, pool, "another image 1 than the real sample"),
        ({"real": torch.where(torch.arange(20) == 1, DISTILLED, before.real)}, config, pool, "1 real images at the end of each class"),
        ({}, config, half, "take no part in the run"),
    ):
        state_of_it = DistillState.start(**{"images": before.images, "labels": before.labels, "real": before.real, **changed})
        with pytest.raises(DamagedArtifact, match=problem):
            require_real(state_of_it, settings, samples, "here")
    distill_round(run, 1)
    held = round_state(open_artifact(round_uri(run, 1), "round"))
    assert held.real is not None
    assert torch.equal(held.real, before.real)
    tensors = decode_tensors(content_of(round_uri(run, 1), "checkpoint.safetensors"), "here")
    put(round_uri(run, 1), "checkpoint.safetensors", encode_tensors({**tensors, "images": tensors["images"] + 1}))
    with pytest.raises(DamagedArtifact, match="another image 1 than the real sample .* run the round again"):
        distill_round(run, 2)


@pytest.mark.slow
def test_a_damaged_file_of_a_published_set_is_told(store: Store, tmp_path: Path) -> None:
    config = small_config("dm", real_part=RealPartConfig(share=0.5), ipc=2, iterations=2)
    uri = go_through(start_run(store.uri, None, config, OFF, tmp_path))
    real, labels = read_real(open_artifact(uri, "synthetic")), load_synthetic(uri)[1]
    assert real is not None
    put(uri, FILE, encode(table_of(real, labels.flip(0)), REAL, {}))
    with pytest.raises(DamagedArtifact, match="holds other classes than the set has in these places"):
        read_real(open_artifact(uri, "synthetic"))
    put(uri, FILE, encode(table_of(torch.where(real >= 0, real + 10**6, real), labels), REAL, {}))
    with pytest.raises(DamagedArtifact, match="sample_id"):
        read_real(open_artifact(uri, "synthetic"), store.dataset)
    state(uri, real=21)
    with pytest.raises(DamagedArtifact, match="of 20 images 21 are real"):
        read_real(open_artifact(uri, "synthetic"))


@pytest.mark.slow
def test_what_is_refused(store: Store, selection: str, ranking: str, buffer: ExpertBuffer, tmp_path: Path) -> None:
    def refusal(config: DistillConfig, ranked: str | None = ranking, reselect: ReselectConfig = OFF) -> str:
        imitated = buffer.uri if config.method == "selmatch" else None
        with pytest.raises(ConfigError) as caught:
            start_run(store.uri, selection, config, reselect, tmp_path, imitated, None, ranked)
        return str(caught.value)

    assert "real_part.window asks how hard samples are: name a selection" in refusal(window_config(), None)
    assert "nothing in this run asks how hard samples are" in refusal(small_config("dm"))
    beyond = refusal(window_config(real_part=RealPartConfig(share=0.5, window=9.0)))
    assert "real_part.window = 9 with ipc = 4, which begins at place 36 needs 40 real samples in every class" in beyond
    adaptive = refusal(small_config("dm", real_part=RealPartConfig(share=0.5), ipc=2), None, ReselectConfig(beta=0.1))
    assert "measures effects on images that are moved, and real_part.share = 0.5 holds some" in adaptive
    assert not list(tmp_path.glob(f"runs/*/{RECORD}"))
    with pytest.raises(ConfigError, match="is of a ranking, and none is given"):
        initial_state(window_config(), RealPool(store.dataset))


def test_settings_that_cannot_be() -> None:
    for changes, problem in (
        ({"real_part": RealPartConfig(share=0.5), "ipc": 1}, "makes all of 1 images of a class real"),
        ({"real_part": RealPartConfig(window=0.5), "init": "noise"}, "so init = noise cannot"),
    ):
        with pytest.raises(ValueError, match=problem):
            window_config(**changes)
    with pytest.raises(ValueError, match="method rded has no real part"):
        spelled_out({"method": "rded", "augment": (), "real_part": RealPartConfig(share=0.5), "ipc": 4})
