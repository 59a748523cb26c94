"""Runs whose classes are divided: the same result as undivided ones, in any order, after any interruption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import killed
import numpy as np
import pytest
import torch
from tiny_distillation import Store, small_config

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import reselect_uri, round_uri, shard_uri
from bilp.artifacts.tables import ITE, LOSSES
from bilp.config import DistillConfig, PruneConfig, ReselectConfig
from bilp.distill import distill_round, finish_run, load_synthetic, merge_round, open_run, reselect_round, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.part import parts_of
from bilp.errors import ConfigError, Diverged, MissingArtifact
from bilp.pruning.prune import prune
from bilp.storage import objects

pytestmark = pytest.mark.slow

OFF = ReselectConfig(beta=0.0)
NORMAL = ReselectConfig(beta=0.25, candidates_per_class=12, interval=2)
SHRINK = ReselectConfig(beta=0.25, candidates_per_class=8, networks=2, mode="shrink", threshold="quantile")
# With momentum, the number of a pass's steps matters, which is that of the shard's classes: see test_pretrained.py.
KERNELS = {"momentum": 0.0, "learning_rate": 0.002, "augment": ("color", "crop", "cutout"), "idc": {"train_samples": 24}}
OF_A_ROUND = ("checkpoint.safetensors", "losses.parquet", "grid.png", "reselect/ite.parquet", "reselect/pruner.safetensors")


@pytest.fixture(scope="module")
def selection(store: Store) -> str:
    """A fifth of every class."""
    return prune(store.uri, None, PruneConfig(criterion="random", keep=0.2), store.root)


@pytest.fixture
def begin(store: Store, selection: str, tmp_path: Path) -> Callable[..., str]:
    """Starts a run in a root of its own."""

    def start(config: DistillConfig, reselect: ReselectConfig = OFF, root: str = "root") -> str:
        return start_run(store.uri, selection, config, reselect, str(tmp_path / root))

    return start


def _go_through(run_uri: str, shard: int | None) -> None:
    for number in range(1, open_run(run_uri).distill.rounds + 1):
        reselect_round(run_uri, number, shard=shard)
        distill_round(run_uri, number, shard=shard)


def _complete(run_uri: str, order: Sequence[int]) -> str:
    for shard in order:
        _go_through(run_uri, shard)
    for number in range(1, open_run(run_uri).distill.rounds + 1):
        merge_round(run_uri, number)
    return finish_run(run_uri)


@pytest.mark.parametrize(
    ("changes", "reselect"),
    [
        ({"method": "dm", "ipc": 2, "iterations": 6}, NORMAL),
        ({"method": "dm", "ipc": 1, "init": "noise"}, SHRINK),
        ({"method": "dm", "ipc": 2, "init": "kmeans"}, OFF),
        ({"method": "dsa", "outer_loops": 1}, NORMAL),
        ({"method": "dc", "outer_loops": 1, "ipc": 2}, SHRINK),
        ({"method": "idc", **KERNELS}, NORMAL),
        pytest.param({"method": "dream", **KERNELS, "ipc": 3, "batch_real": 4}, SHRINK, marks=pytest.mark.slow),
    ],
    ids=lambda value: value["method"] if isinstance(value, dict) else "",
)
def test_divided_and_undivided_runs_agree(begin: Callable[..., str], changes: dict[str, Any], reselect: ReselectConfig) -> None:
    whole = begin(small_config(**changes), reselect)
    _go_through(whole, None)
    finish_run(whole)
    divided = begin(small_config(**changes, shards=3), reselect)
    assert divided != whole, "the same configuration gives the same bytes, and rounding depends on what is computed together"
    _complete(divided, range(3))

    for number in range(1, open_run(whole).distill.rounds + 1):
        one, other = (open_artifact(round_uri(run, number), "round") for run in (whole, divided))
        losses, joined = (artifact.table("losses.parquet", LOSSES) for artifact in (one, other))
        assert joined["iteration"] == losses["iteration"]
        assert joined["real_used"] == losses["real_used"]
        for name in ("loss", "dropped_share"):
            np.testing.assert_allclose(joined[name], losses[name], rtol=1e-4)
        expected, found = round_state(one), round_state(other)
        assert torch.equal(found.labels, expected.labels)
        assert found.iteration == expected.iteration
        assert found.reference_loss == pytest.approx(expected.reference_loss, rel=1e-4)
        torch.testing.assert_close(found.images, expected.images, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.momentum, expected.momentum, rtol=1e-3, atol=1e-4)
        _assert_same_memory(found.pruner, expected.pruner)
        assert {**other.manifest.facts, "loss": 0.0} == {**one.manifest.facts, "loss": 0.0}
        if reselect.beta > 0:
            _assert_same_reselection(reselect_uri(divided, number), reselect_uri(whole, number))
    for images, expected_images in zip(load_synthetic(f"{divided}/synthetic"), load_synthetic(f"{whole}/synthetic"), strict=True):
        torch.testing.assert_close(images, expected_images, rtol=1e-4, atol=1e-4)


def _assert_same_memory(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name in ("last_score", "log_mean", "log_variance"):
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, equal_nan=True)
        else:
            assert torch.equal(found[name], value), name


def _assert_same_reselection(found_uri: str, expected_uri: str) -> None:
    one, other = (open_artifact(uri, "reselect") for uri in (expected_uri, found_uri))
    table, joined = (artifact.table("ite.parquet", ITE) for artifact in (one, other))
    for name in ("sample_id", "label", "round", "visits", "dropped"):
        assert joined[name] == table[name], name
    for name in ("ite", "ite_std"):
        np.testing.assert_allclose(joined[name], table[name], rtol=1e-3, atol=1e-6)
    assert other.manifest.facts == one.manifest.facts


def test_a_shard_holds_its_own_classes_only(store: Store, begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm", ipc=2, shards=3), NORMAL)
    parts = parts_of(run_uri, open_run(run_uri))
    assert [part.classes(10) for part in parts] == [range(4), range(4, 7), range(7, 10)]
    labels = store.dataset.train.labels
    for part in parts:
        reselect_round(run_uri, 1, shard=part.shard)
        distill_round(run_uri, 1, shard=part.shard)
        classes = part.classes(10)
        state = round_state(open_artifact(part.place("round", 1), "round"))
        assert state.labels.tolist() == [c for c in classes for _ in range(2)]
        assert len(state.images) == len(state.momentum) == 2 * len(classes)
        assert len(state.pruner["log_mean"]) == len(classes)
        assert len(state.pruner["visits"]) == sum(int((labels == c).sum()) for c in classes)
        table = open_artifact(part.place("reselect", 1), "reselect").table("ite.parquet", ITE)
        assert set(table["label"].to_pylist()) == set(classes)


@pytest.mark.slow
def test_killed_shards_and_merges_go_on_to_the_bytes_of_an_undisturbed_run(begin: Callable[..., str]) -> None:
    config = small_config("dm", ipc=2, iterations=8, shards=2)
    disturbed, calm = (begin(config, NORMAL, root) for root in ("disturbed", "calm"))
    _complete(calm, (0, 1))
    _go_through(disturbed, 1)
    killed.until_killed(killed.distill, disturbed, 2, 3, 0)
    second = round_uri(shard_uri(disturbed, 0), 2)
    assert objects.exists(objects.join(round_uri(shard_uri(disturbed, 0), 1), "_manifest.json"))
    assert not objects.exists(objects.join(second, "_manifest.json"))
    _go_through(disturbed, 0)
    merge_round(disturbed, 1)
    Path(round_uri(disturbed, 1), "_manifest.json").unlink()  # as if the merge had died between the reselection and the state
    _complete(disturbed, ())
    places = ["", "shards/0000/", "shards/0001/"]
    names = [f"{place}rounds/{number}/{name}" for place in places for number in ("0001", "0002") for name in OF_A_ROUND]
    for name in ("synthetic/synthetic.safetensors", *names):
        assert objects.read(objects.join(disturbed, name)) == objects.read(objects.join(calm, name)), name


def test_what_is_there_is_not_computed_or_merged_again(begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm", shards=2), NORMAL)
    synthetic = _complete(run_uri, (1, 0))
    before = {path: path.read_bytes() for path in Path(run_uri).rglob("*") if path.is_file()}
    assert _complete(run_uri, (0, 1)) == synthetic
    assert {path: path.read_bytes() for path in Path(run_uri).rglob("*") if path.is_file()} == before


def test_the_order_of_stages_is_enforced(begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm", shards=2), NORMAL)
    for stage in (reselect_round, distill_round):
        for shard in (None, -1, 2):
            with pytest.raises(ConfigError, match=f"shards 0 to 1, not {shard}"):
                stage(run_uri, 1, shard=shard)
    with pytest.raises(MissingArtifact, match="shards/0000.*reselect_round"):
        merge_round(run_uri, 1)
    reselect_round(run_uri, 1, shard=0)
    with pytest.raises(MissingArtifact, match=r"round 1 of .*shards/0000 is not there .*distill_round"):
        distill_round(run_uri, 2, shard=0)
    _go_through(run_uri, 0)
    with pytest.raises(MissingArtifact, match="shards/0001"):
        merge_round(run_uri, 1)
    _go_through(run_uri, 1)
    with pytest.raises(MissingArtifact, match="round 1 of .*merge_round"):
        merge_round(run_uri, 2)
    with pytest.raises(MissingArtifact, match="round 2 of .*merge_round"):
        finish_run(run_uri)
    with pytest.raises(ConfigError, match="rounds 1 to 2"):
        merge_round(run_uri, 3)

    undivided = begin(small_config("dm"))
    with pytest.raises(ConfigError, match="not divided into shards, so it has no shard 0"):
        distill_round(undivided, 1, shard=0)
    with pytest.raises(ConfigError, match="nothing to merge"):
        merge_round(undivided, 1)


def test_more_shards_than_classes_are_refused_before_anything_is_written(begin: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="11 shards cannot share 10 classes: set distill.shards to 10 or less"):
        begin(small_config("dm", shards=11))
    assert not (tmp_path / "root").exists()
    _complete(begin(small_config("dm", shards=10, iterations=1, rounds=1)), range(10))


def test_a_shard_that_diverges_names_its_class_and_leaves_the_others_alone(begin: Callable[..., str]) -> None:
    run_uri = begin(small_config("dm", learning_rate=1e20, rounds=4, shards=2))
    with pytest.raises(Diverged, match=r"class [5-9] \([5-9]\)"):
        _go_through(run_uri, 1)
    with pytest.raises(Diverged, match=r"class [0-4] \([0-4]\)"):
        _go_through(run_uri, 0)
