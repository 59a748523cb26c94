"""RDED and CA2D: against a slow restatement, what is chosen of which pool, shards, resumption, soft labels, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import killed
import pytest
import torch
from tiny_distillation import NARROW, Store, guard_for, spelled_out
from tiny_reference import reference
from tiny_world import content_of, put, state

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.run_layout import CHECKPOINT, IMAGES, MOMENTUM, RECORD, round_uri
from bilp.artifacts.tensors import decode_tensors, encode_tensors
from bilp.config import DistillConfig, PruneConfig, ReselectConfig, TeacherConfig
from bilp.config.methods.rded import PatchesConfig
from bilp.data.pool import RealPool
from bilp.distill import distill_round, finish_run, load_synthetic, merge_round, reselect_round, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.loops.crops import BOXES, IDS, LOGITS, SCORES, distill, pools, require_crops
from bilp.distill.patches_product import read_tiles
from bilp.distill.soft_labels import divergence, read_soft_labels
from bilp.distill.step.initial import initial_state
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DistillState, encode_state, write_state
from bilp.errors import ConfigError, DamagedArtifact, IncompatibleArtifact
from bilp.evaluate import train_teacher
from bilp.exchange.export import export_set
from bilp.exchange.loaded import load_distilled
from bilp.images.tiles import cut_out
from bilp.matching import matching_for
from bilp.pruning.adaptive import AdaptivePruner
from bilp.pruning.prune import prune
from bilp.teachers.stored_teacher import StoredTeacher

pytestmark = pytest.mark.slow

Few = Callable[[int], RealPool]
HERE = Path(__file__).parent
OFF = ReselectConfig(beta=0.0)
METHODS = pytest.mark.parametrize("method", ["rded", "ca2d"])


@pytest.fixture(scope="module")
def teacher(store: Store) -> StoredTeacher:
    return StoredTeacher(train_teacher(store.uri, TeacherConfig(network=NARROW, epochs=2, batch_size=64), 0, store.root))


def crop_config(method: str = "rded", patches: dict[str, object] | None = None, **changes: object) -> DistillConfig:
    """Three crops of each of at most nine images of a class, in two rounds."""
    settings = PatchesConfig.model_validate({"pool": 9} | (patches or {}))
    values: dict[str, object] = {"method": method, "iterations": 3, "rounds": 2, "network": NARROW, "augment": (), "patches": settings}
    return spelled_out(values | changes)


def assemble(config: DistillConfig, pool: RealPool, teacher: StoredTeacher, classes: range | None = None) -> Setting:
    return Setting.assemble(config, OFF, pool, "cpu", RunInputs(teacher=teacher), classes)


def _run(config: DistillConfig, pool: RealPool, teacher: StoredTeacher, iterations: int) -> tuple[DistillState, list[Record]]:
    setting, state = assemble(config, pool, teacher), initial_state(config, pool)
    return state, distill(setting, state, iterations, None, guard_for(setting))


def go_through(run: str, rounds: int = 2) -> str:
    for number in range(1, rounds + 1):
        assert reselect_round(run, number) == run
        distill_round(run, number)
    return finish_run(run)


@pytest.mark.parametrize(("ipc", "factor"), [(2, 1), (2, 2), (1, 3)])
def test_loop_equals_the_slow_restatement(few: Few, teacher: StoredTeacher, ipc: int, factor: int) -> None:
    config, pool = crop_config(patches={"factor": factor}, ipc=ipc), few(10)
    reached, records = _run(config, pool, teacher, 3)
    slow = reference(config, pool, teacher=teacher)
    assert [record.loss for record in records] == pytest.approx(slow.run(3), rel=1e-4)
    assert torch.allclose(reached.images, slow.images, atol=1e-5)
    assert [(record.real_used, record.dropped_share) for record in records] == [(90, 0.0)] * 3
    assert records[0].loss > records[1].loss > records[2].loss


@METHODS
def test_twenty_crops_follow_the_stored_curve(few: Few, teacher: StoredTeacher, method: str) -> None:
    """The files hold what this call gave once. A tie of two crops that another processor decides otherwise changes one tile."""
    expected = json.loads((HERE / f"expected_{method}.json").read_text())
    state, records = _run(crop_config(method, {"factor": 2}, ipc=2, iterations=20), few(24), teacher, 20)
    assert [record.loss for record in records] == pytest.approx(expected["losses"], rel=1e-2)
    assert float(state.images.norm()) == pytest.approx(expected["norm"], rel=1e-2)


def test_a_loop_that_is_cut_and_continued_arrives_at_the_same_bytes(few: Few, teacher: StoredTeacher) -> None:
    config, pool = crop_config(patches={"factor": 2}, ipc=2), few(10)
    whole, _ = _run(config, pool, teacher, 3)
    state = initial_state(config, pool)
    for stop in (1, 1, 3):
        setting = assemble(config, pool, teacher)  # another process reads the network again
        distill(setting, state, stop, None, guard_for(setting))
        state = state.to("cpu")
    assert encode_state(state) == encode_state(whole)


def test_two_runs_and_a_divided_one_give_the_same_bytes(store: Store, teacher: StoredTeacher, tmp_path: Path) -> None:
    config = crop_config(patches={"factor": 2}, ipc=2)
    sets = []
    for name, shards in (("one", 1), ("two", 1), ("three", 3)):
        run = start_run(store.uri, None, config.model_copy(update={"shards": shards}), OFF, tmp_path / name, None, teacher.uri)
        for number in (1, 2):
            for shard in range(shards) if shards > 1 else (None,):
                distill_round(run, number, shard=shard)
            if shards > 1:
                merge_round(run, number)
        sets.append(open_artifact(finish_run(run), "synthetic"))
    files = [{name: artifact.read(name) for name in (IMAGES, "labels.safetensors")} for artifact in sets]
    assert files[0] == files[1] == files[2]
    state = round_state(open_artifact(round_uri(str(tmp_path / "three" / "runs" / Path(sets[2].uri).parent.name), 2), "round"))
    assert set(state.method) == {IDS, SCORES, BOXES, LOGITS}
    assert len(state.method[IDS]) == 90


def test_a_round_that_was_stored_with_its_momentum_goes_on(store: Store, teacher: StoredTeacher, tmp_path: Path) -> None:
    """Earlier versions stored zeros beside the state of every method."""
    run = start_run(store.uri, None, crop_config(patches={"factor": 2}, ipc=2), OFF, tmp_path, None, teacher.uri)
    expected = open_artifact(go_through(run), "synthetic").read(IMAGES)
    place = round_uri(run, 1)
    assert MOMENTUM not in open_artifact(place, "round").manifest.files
    for later in (round_uri(run, 2), f"{run}/synthetic"):
        shutil.rmtree(later)
    write_state(round_state(open_artifact(place, "round")), tmp_path / CHECKPOINT, tmp_path / MOMENTUM)
    for name in (CHECKPOINT, MOMENTUM):
        put(place, name, (tmp_path / name).read_bytes())
    distill_round(run, 2)
    assert open_artifact(finish_run(run), "synthetic").read(IMAGES) == expected


def test_classes_smaller_than_the_pool_and_pruning_change_the_pool_alone(store: Store, teacher: StoredTeacher, tmp_path: Path) -> None:
    """Digits have about 144 images a class: of a pool of 300 all, of a tenth that is kept 14."""
    config = crop_config(patches={"pool": 300}, ipc=3, iterations=2)
    tenth = prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)
    states = {}
    for name, selection in (("all", None), ("tenth", tenth)):
        run = start_run(store.uri, selection, config, OFF, tmp_path, None, teacher.uri)
        go_through(run)
        states[name] = round_state(open_artifact(round_uri(run, 2), "round")).method
    everything, kept = states["all"], states["tenth"]
    assert len(everything[IDS]) == len(store.dataset.train)
    assert 130 <= len(kept[IDS]) <= 150
    rows = {int(sample): row for row, sample in enumerate(everything[IDS])}
    same = torch.tensor([rows[int(sample)] for sample in kept[IDS]])
    assert torch.allclose(kept[SCORES], everything[SCORES][same], rtol=1e-4, atol=1e-6), "the same crops of the same images, one teacher"
    assert torch.equal(kept[BOXES], everything[BOXES][same])
    images, labels = load_synthetic(f"{run}/synthetic")
    assert images.shape == (30, 1, 8, 8)
    assert labels.bincount().tolist() == [3] * 10


def test_pools_are_a_random_order_of_the_class_of_which_some_take_part(few: Few, store: Store) -> None:
    config = crop_config(patches={"pool": 5})
    whole, part = pools(config, RealPool(store.dataset), range(10)), pools(config, few(40), range(3, 5))
    assert [len(ids) for ids in (*whole, *part)] == [5] * 12
    for c, ids in zip(range(3, 5), part, strict=True):
        allowed = store.dataset.train.by_class()[c][:40]
        assert torch.isin(ids, allowed).all()
        (ordered,) = pools(crop_config(patches={"pool": 1000}), RealPool(store.dataset), [c])
        assert ids.tolist() == [sample for sample in ordered.tolist() if sample in allowed.tolist()][:5], "the order of the whole class"
    others = pools(config.model_copy(update={"seed": 1}), RealPool(store.dataset), range(10))
    assert whole[0].tolist() != others[0].tolist()


def test_what_is_carried_is_checked(few: Few, teacher: StoredTeacher) -> None:
    config, pool = crop_config(ipc=1), few(4)
    state, _ = _run(config, pool, teacher, 1)
    require_crops(state.method, config, pool, "here")
    ids = state.method[IDS]
    for change, problem in (
        ({IDS: ids[:-1]}, "instead of float32"),
        ({IDS: torch.cat([ids[:1], ids[:-1]])}, "one crop of each image"),
        ({IDS: ids + 10**6}, "samples that the data set does not have"),
        ({BOXES: state.method[BOXES] + 1}, "beyond the images"),
        ({LOGITS: state.method[LOGITS] * torch.nan}, "not finite"),
        ({SCORES: state.method[SCORES].double()}, "scores as float64"),
    ):
        with pytest.raises(DamagedArtifact, match=problem):
            require_crops({**state.method, **change}, config, pool, "here")
    other = assemble(config.model_copy(update={"seed": 5, "patches": PatchesConfig(pool=3)}), pool, teacher)
    with pytest.raises(DamagedArtifact, match="other real samples"):
        distill(other, state, 2, None, guard_for(other))


def test_what_is_refused(store: Store, few: Few, teacher: StoredTeacher, tmp_path: Path) -> None:
    def refusal(config: DistillConfig, reselect: ReselectConfig = OFF, teacher_uri: str | None = teacher.uri) -> str:
        with pytest.raises(ConfigError) as caught:
            start_run(store.uri, None, config, reselect, tmp_path, None, teacher_uri)
        return str(caught.value)

    assert "asks a teacher: train one (train_teacher) and name it" in refusal(crop_config(), teacher_uri=None)
    assert "asks no teacher" in refusal(spelled_out({"method": "dm", "network": NARROW}))
    adaptive = refusal(crop_config(), ReselectConfig(beta=0.1))
    assert "does not apply to method rded, which chooses real samples and optimizes nothing: set beta = 0" in adaptive
    assert "takes 12 images of a class" in refusal(crop_config(patches={"factor": 2}, ipc=3))
    short = refusal(crop_config(patches={"pool": 300}, ipc=200))
    assert "needs 200 real samples in every class" in short
    assert "have no 8 x 8 tiles" not in short
    config = crop_config()
    setting = Setting.assemble(config, OFF, few(4), "cpu")
    with pytest.raises(ConfigError, match="start the run with a teacher and beta = 0"):
        distill(setting, initial_state(config, few(4)), 1, None, guard_for(setting))
    setting = assemble(config, few(4), teacher)
    pruner = AdaptivePruner(store.dataset.train.labels, 10, ReselectConfig())
    with pytest.raises(ConfigError, match="has no adaptive pruning"):
        distill(setting, initial_state(config, few(4)), 1, pruner, guard_for(setting))
    with pytest.raises(ConfigError, match="compares nothing"):
        matching_for("rded").real_mean(setting.network, torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64))
    assert not list(tmp_path.glob(f"runs/*/{RECORD}"))


def test_a_teacher_of_other_samples_is_refused(teacher: StoredTeacher) -> None:
    with pytest.raises(IncompatibleArtifact, match="train one on the dataset of the run"):
        teacher.require("another")


@pytest.mark.parametrize(
    ("form", "patches"), [("float16", {}), ("top_k", {"soft_labels": "top_k", "top_k": 3}), ("none", {"soft_labels": "none"})]
)
def test_a_set_stores_and_states_its_soft_labels(
    store: Store, teacher: StoredTeacher, tmp_path: Path, form: str, patches: dict[str, object]
) -> None:
    run = start_run(store.uri, None, crop_config(patches=patches, ipc=2), OFF, tmp_path, None, teacher.uri)
    uri = go_through(run)
    artifact, logits = open_artifact(uri, "synthetic"), read_soft_labels(open_artifact(uri, "synthetic"))
    told = artifact.stated(SyntheticFacts).soft_labels
    assert artifact.parents["teacher"] == teacher.uri
    if form == "none":
        assert told is None
        assert logits is None
        assert "labels.safetensors" not in artifact.manifest.files
        return
    assert told is not None
    assert logits is not None
    images, _ = load_synthetic(uri)
    with torch.no_grad():
        said = teacher.network(store.dataset, "float32")(images)
    assert told.form == form
    assert divergence(said, logits, 20.0) == pytest.approx(told.divergence, rel=1e-3, abs=1e-9)
    assert told.divergence < (1e-7 if form == "float16" else 0.02)
    assert told.bytes == len(artifact.read("labels.safetensors"))
    loaded = load_distilled(run)
    assert loaded.logits is not None
    assert torch.equal(loaded.logits, logits)
    (file,) = export_set(run, "safetensors", tmp_path / "out")
    assert torch.equal(decode_tensors(Path(file).read_bytes(), file)["logits"], logits)


def test_damaged_soft_labels_are_told(store: Store, teacher: StoredTeacher, tmp_path: Path) -> None:
    run = start_run(store.uri, None, crop_config(patches={"soft_labels": "top_k", "top_k": 3}), OFF, tmp_path, None, teacher.uri)
    uri = go_through(run)
    tensors = decode_tensors(content_of(uri, "labels.safetensors"), "here")
    for change, problem in (
        ({"classes": tensors["classes"] + 10}, "classes that the set does not have"),
        ({"logits": tensors["logits"].float()}, "logits as float32"),
        ({"others": tensors["others"] * torch.inf}, "not finite"),
    ):
        put(uri, "labels.safetensors", encode_tensors({**tensors, **change}))
        with pytest.raises(DamagedArtifact, match=problem):
            read_soft_labels(open_artifact(uri, "synthetic"))
    put(uri, "labels.safetensors", encode_tensors(tensors))
    state(uri, soft_labels={"form": "float16", "temperature": 20.0, "divergence": 0.0, "agreement": 1.0, "bytes": 5})
    with pytest.raises(DamagedArtifact, match="must not hold the tensors classes, others"):
        read_soft_labels(open_artifact(uri, "synthetic"))


def test_the_table_of_tiles_leads_back_to_the_real_images(store: Store, teacher: StoredTeacher, tmp_path: Path) -> None:
    run = start_run(store.uri, None, crop_config(patches={"factor": 2}, ipc=2), OFF, tmp_path, None, teacher.uri)
    uri = go_through(run)
    images, labels = load_synthetic(uri)
    tiles = read_tiles(open_artifact(uri, "synthetic"), len(store.dataset.train))
    assert tiles is not None
    rows = tiles.to_pylist()
    assert [(row["image"], row["place"]) for row in rows] == [(image, place) for image in range(20) for place in range(4)]
    for row in rows:
        assert row["label"] == labels[row["image"]] == store.dataset.train.labels[row["sample_id"]]
        real = store.dataset.train.batch(torch.tensor([row["sample_id"]]))
        tile = cut_out(real, torch.tensor([[row[side] for side in ("top", "left", "height", "width")]]), (4, 4))[0]
        top, left = 4 * (row["place"] // 2), 4 * (row["place"] % 2)
        assert torch.allclose(images[row["image"]][:, top : top + 4, left : left + 4], tile, atol=1e-5)
    first = [row["cross_entropy"] for row in rows if row["label"] == 0 and row["place"] == 0]
    assert first == sorted(row["cross_entropy"] for row in rows if row["label"] == 0)[:2], "the best lie in the upper left"
    plain = start_run(store.uri, None, spelled_out({"method": "dm", "iterations": 1, "rounds": 1, "network": NARROW}), OFF, tmp_path)
    assert read_tiles(open_artifact(go_through(plain, 1), "synthetic"), len(store.dataset.train)) is None


def test_a_killed_run_goes_on_in_another_process_to_the_same_bytes(store: Store, teacher: StoredTeacher, tmp_path: Path) -> None:
    config = crop_config(patches={"factor": 2}, ipc=2, iterations=4)
    whole, disturbed = (start_run(store.uri, None, config, OFF, tmp_path / name, None, teacher.uri) for name in ("whole", "disturbed"))
    finished = open_artifact(go_through(whole), "synthetic")
    for number in (1, 2):
        killed.until_killed(killed.distill, disturbed, number, 1)
    found = open_artifact(go_through(disturbed), "synthetic")
    assert {name: found.read(name) for name in found.manifest.files} == {name: finished.read(name) for name in finished.manifest.files}
    assert set(found.manifest.files) == {"synthetic.safetensors", "labels.safetensors", "tiles.parquet", "grid.png"}
