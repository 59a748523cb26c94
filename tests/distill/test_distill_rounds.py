"""Runs as artifacts: what is published, what is refused, and that nothing is lost when a process dies."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import killed
import pytest
import torch
from tiny_distillation import Store, small_config

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import ITE, LOSSES
from bilp.config import DistillConfig, IngestConfig, NetworkConfig, PruneConfig, ReselectConfig
from bilp.data import ingest
from bilp.distill import distill_round, finish_run, grid_png, load_synthetic, open_run, reselect_round, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.step.round_bounds import bounds
from bilp.errors import ConfigError, DamagedArtifact, Diverged, IncompatibleArtifact, MissingArtifact
from bilp.pruning.prune import prune
from bilp.storage import objects

OFF = ReselectConfig(beta=0.0)
ON = ReselectConfig(beta=0.25, candidates_per_class=12, interval=2, threshold="quantile")


@pytest.fixture(scope="module")
def selection(store: Store) -> str:
    """A tenth of every class: 14 or 15 samples."""
    return prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)


@pytest.fixture
def begin(store: Store, selection: str, tmp_path: Path) -> Callable[..., str]:
    """Starts a run in a root of its own, so that no test meets the artifacts of another."""

    def start(config: DistillConfig, reselect: ReselectConfig = OFF) -> str:
        return start_run(store.uri, selection, config, reselect, str(tmp_path / "root"))

    return start


def _complete(run_uri: str) -> str:
    for number in range(1, open_run(run_uri).distill.rounds + 1):
        reselect_round(run_uri, number)
        distill_round(run_uri, number)
    return finish_run(run_uri)


def test_a_run_publishes_rounds_and_a_set_that_stands_on_its_own(store: Store, begin: Callable[..., str]) -> None:
    config = small_config("dm", ipc=3, iterations=5)
    run_uri = begin(config, ON)
    synthetic_uri = _complete(run_uri)

    first, last = (open_artifact(objects.join(run_uri, "rounds", name), "round") for name in ("0001", "0002"))
    tables = [artifact.table("losses.parquet", LOSSES) for artifact in (first, last)]
    assert [table["iteration"].to_pylist() for table in tables] == [[0, 1, 2], [3, 4]]
    assert all(0.1 < share < 0.4 for table in tables for share in table["dropped_share"].to_pylist())
    state = round_state(last)
    assert state.iteration == 5
    assert state.reference_loss == pytest.approx(sorted(tables[0]["loss"].to_pylist())[1])

    images, labels = load_synthetic(synthetic_uri)
    assert images.shape == (30, *store.dataset.shape)
    assert images.dtype == torch.float32
    assert torch.equal(images, state.images)
    assert labels.tolist() == [c for c in range(10) for _ in range(3)]
    artifact = open_artifact(synthetic_uri, "synthetic", expect={"class_names": store.dataset.class_names, "shape": store.dataset.shape})
    facts = artifact.manifest.facts
    assert (facts["ipc"], facts["method"], facts["iterations"], facts["dataset"]) == (3, "dm", 5, store.dataset.fingerprint)
    assert (tuple(facts["mean"]), tuple(facts["std"])) == (store.dataset.mean, store.dataset.std)
    assert artifact.read("grid.png") == last.read("grid.png") == grid_png(images, 3, store.dataset.mean, store.dataset.std)


def test_a_reselection_says_what_it_measured_and_what_it_dropped(store: Store, begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm"), ReselectConfig(beta=0.25, networks=3, threshold="quantile"))
    artifact = open_artifact(reselect_round(run_uri, 1), "reselect")
    table = artifact.table("ite.parquet", ITE)
    ids = table["sample_id"].to_numpy()
    assert len(ids) == 143  # the whole selection
    assert (ids[1:] > ids[:-1]).all()
    assert table["label"].to_pylist() == store.dataset.train.labels[torch.from_numpy(ids.copy())].tolist()
    assert set(table["round"].to_pylist()) == {1}
    assert set(table["visits"].to_pylist()) == {1}
    assert (table["ite"].to_numpy() > 0).all()
    assert (table["ite_std"].to_numpy() > 0).all()
    dropped = table["dropped"].to_numpy()
    assert 0.1 < dropped.mean() < 0.4
    assert artifact.fact("dropped_share") == pytest.approx(dropped.mean())
    distill_round(run_uri, 1)
    second = open_artifact(reselect_round(run_uri, 2), "reselect").table("ite.parquet", ITE)
    assert set(second["round"].to_pylist()) == {2}
    assert max(second["visits"].to_pylist()) == 2


@pytest.mark.parametrize("method", ["dc", pytest.param("dsa", marks=pytest.mark.slow)])
def test_gradient_matching_reselects_on_partly_trained_networks(begin: Callable[..., str], method: str) -> None:
    run_uri = begin(small_config(method, ipc=2, batch_real=8), ON)
    _complete(run_uri)
    table = open_artifact(objects.join(run_uri, "rounds", "0002", "reselect"), "reselect").table("ite.parquet", ITE)
    assert (table["ite"].to_numpy() > 0).all()
    assert 0 < sum(table["dropped"].to_pylist()) < 60


def test_without_adaptive_pruning_nothing_is_reselected(begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm"))
    assert reselect_round(run_uri, 1) == run_uri
    assert objects.children(run_uri) == ["_run.json"]
    distill_round(run_uri, 1)
    assert sorted(objects.children(objects.join(run_uri, "rounds", "0001"))) == [
        "_manifest.json",
        "checkpoint.safetensors",
        "grid.png",
        "losses.parquet",
        "momentum.safetensors",
        "snapshot.safetensors",
    ]


def test_what_is_there_is_not_computed_again(begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm"), ON)
    synthetic_uri = _complete(run_uri)

    def never(done: int, total: int, note: str = "") -> None:
        raise AssertionError("computed again")

    for number in (1, 2):
        assert reselect_round(run_uri, number, progress=never) == objects.join(run_uri, "rounds", f"000{number}", "reselect")
        assert distill_round(run_uri, number, progress=never) == objects.join(run_uri, "rounds", f"000{number}")
    assert finish_run(run_uri) == synthetic_uri


def test_equal_runs_share_a_key_and_others_do_not(store: Store, selection: str, tmp_path: Path) -> None:
    root = str(tmp_path)
    config = small_config("dm")

    def start(selected: str | None = selection, distill: DistillConfig = config, reselect: ReselectConfig = OFF) -> str:
        return start_run(store.uri, selected, distill, reselect, root)

    assert start() == start()
    assert start() == start(reselect=ReselectConfig(beta=0.0, networks=7, interval=3))
    others = [
        start(),
        start(selected=None),
        start(distill=small_config("dm", seed=1)),
        start(reselect=ON),
        start(reselect=ON.model_copy(update={"networks": 2})),
    ]
    assert len(set(others)) == 5
    record = json.loads(objects.read(objects.join(start(), "_run.json")))
    assert record["reselect"] == ReselectConfig(beta=0.0).model_dump(mode="json")


def test_a_moved_storage_tree_goes_on_where_it_was(store: Store, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    dataset_uri = ingest(IngestConfig(), str(one))
    run_uri = start_run(dataset_uri, None, small_config("dm"), OFF, str(one))
    distill_round(run_uri, 1)
    one.rename(other)
    moved = run_uri.replace(str(one), str(other))
    distill_round(moved, 2)
    assert start_run(dataset_uri.replace(str(one), str(other)), None, small_config("dm"), OFF, str(other)) == moved
    images, _ = load_synthetic(finish_run(moved))
    assert len(images) == 10


@pytest.mark.parametrize(("iterations", "rounds"), [(10, 3), (7, 7), (300, 10), (5, 1), (1009, 10)])
def test_rounds_share_the_iterations_evenly(iterations: int, rounds: int) -> None:
    config = small_config("dm", iterations=iterations, rounds=rounds)
    cuts = [bounds(config, number) for number in range(1, rounds + 1)]
    assert cuts[0][0] == 0
    assert cuts[-1][1] == iterations
    assert all(left[1] == right[0] for left, right in pairwise(cuts))
    lengths = [stop - start for start, stop in cuts]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] - lengths[-1] <= 1


@pytest.mark.parametrize("number", [0, 3, -1])
def test_rounds_that_do_not_exist_are_refused(begin: Callable[..., str], number: int) -> None:
    run_uri = begin(small_config("dm"), ON)
    for stage in (reselect_round, distill_round):
        with pytest.raises(ConfigError, match="rounds 1 to 2"):
            stage(run_uri, number)


def test_the_order_of_stages_is_enforced(begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm"), ON)
    with pytest.raises(MissingArtifact, match="reselection of round 1 .*reselect_round"):
        distill_round(run_uri, 1)
    for stage in (reselect_round, distill_round):
        with pytest.raises(MissingArtifact, match="round 1 of .*distill_round"):
            stage(run_uri, 2)
    with pytest.raises(MissingArtifact, match="round 2 of"):
        finish_run(run_uri)
    with pytest.raises(MissingArtifact, match="start_run"):
        distill_round(run_uri + "x", 1)


def test_a_damaged_checkpoint_is_named_and_not_used(begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm"))
    place = objects.join(distill_round(run_uri, 1), "checkpoint.safetensors")
    data = bytearray(objects.read(place))
    data[-1] ^= 1
    objects.write(place, bytes(data))
    with pytest.raises(DamagedArtifact, match="checkpoint.safetensors"):
        distill_round(run_uri, 2)


def test_a_changed_record_is_named(begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm"))
    place = objects.join(run_uri, "_run.json")
    record = json.loads(objects.read(place))
    for change, error in (
        ({"distill": {**record["distill"], "learning_rate": 9.0}}, DamagedArtifact),
        ({"version": 0}, IncompatibleArtifact),
        ({"key": 3}, DamagedArtifact),
    ):
        objects.write(place, json.dumps({**record, **change}).encode())
        with pytest.raises(error, match="_run.json"):
            distill_round(run_uri, 1)


def test_another_data_set_behind_the_uri_is_refused(store: Store, selection: str, tmp_path: Path) -> None:
    other = ingest(IngestConfig(test_fraction=0.3), str(tmp_path))
    with pytest.raises(IncompatibleArtifact, match="dataset"):
        start_run(other, selection, small_config("dm"), OFF, str(tmp_path))
    run_uri = start_run(other, None, small_config("dm"), OFF, str(tmp_path))
    (tmp_path / "swap").mkdir()
    place = Path(other)
    place.rename(tmp_path / "swap" / "kept")
    place.symlink_to(store.uri)
    with pytest.raises(DamagedArtifact, match="holds the artifact of key"):
        distill_round(run_uri, 1)


def test_what_cannot_work_is_refused_before_anything_is_written(store: Store, selection: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ipc = 50 needs 50 real samples"):
        start_run(store.uri, selection, small_config("dm", ipc=50), OFF, str(tmp_path))
    with pytest.raises(ConfigError, match="depth"):
        start_run(store.uri, selection, small_config("dm", network=NetworkConfig(depth=8)), OFF, str(tmp_path))
    assert objects.children(str(tmp_path)) == []
    start_run(store.uri, selection, small_config("dm", ipc=50, init="noise"), OFF, str(tmp_path))


def test_divergence_publishes_nothing_and_names_the_last_good_state(begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm", learning_rate=1e20, rounds=4))
    with pytest.raises(Diverged, match=r"1e\+20: try 1e\+19.*No round of the run was finished"):
        distill_round(run_uri, 1)
    assert objects.children(run_uri) == ["_run.json"]


def test_divergence_in_a_later_round_points_at_the_checkpoint_before_it(begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm", iterations=60, rounds=15, learning_rate=1e3, momentum=0.9))
    done = [distill_round(run_uri, 1)]
    with pytest.raises(Diverged) as error:
        done.extend(distill_round(run_uri, number) for number in range(2, 16))
    assert f"The last good state is {done[-1]}/checkpoint.safetensors (iteration {4 * len(done)})" in str(error.value)
    assert objects.children(objects.join(run_uri, "rounds")) == [f"{number:04d}" for number in range(1, len(done) + 1)]


@pytest.mark.parametrize(("method", "reselect"), [("dm", ON), pytest.param("dc", OFF, marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_in_another_process_to_the_bytes_of_an_undisturbed_one(
    store: Store, selection: str, tmp_path: Path, method: str, reselect: ReselectConfig
) -> None:
    config = small_config(method, ipc=2, iterations=8)
    disturbed, calm = (start_run(store.uri, selection, config, reselect, str(tmp_path / name)) for name in ("disturbed", "calm"))
    killed.until_killed(killed.distill, disturbed, 2, 3)
    first, second = (objects.join(disturbed, "rounds", name) for name in ("0001", "0002"))
    marker = objects.read(objects.join(first, "_manifest.json"))
    assert not objects.exists(objects.join(second, "_manifest.json"))
    _complete(disturbed)
    assert objects.read(objects.join(first, "_manifest.json")) == marker
    _complete(calm)
    of_a_round = ["checkpoint.safetensors", "momentum.safetensors", "losses.parquet", "grid.png", "snapshot.safetensors"]
    if reselect is ON:
        of_a_round += ["reselect/ite.parquet", "reselect/pruner.safetensors"]
    of_rounds = [f"rounds/{number}/{name}" for number in ("0001", "0002") for name in of_a_round]
    for name in ("synthetic/synthetic.safetensors", "synthetic/grid.png", *of_rounds):
        assert objects.read(objects.join(disturbed, name)) == objects.read(objects.join(calm, name)), name
