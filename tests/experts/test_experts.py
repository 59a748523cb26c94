"""Experts: their training against a plain restatement, their artifacts, and who may imitate them."""

from __future__ import annotations

from pathlib import Path

import killed
import pandas as pd
import pytest
import safetensors.torch
import torch
from tiny_training import NARROW, TINY, Store
from torch.nn import functional

from bilp.artifacts.artifact import open_artifact
from bilp.config import DistillConfig, ExpertsConfig, IngestConfig, NetworkConfig, PruneConfig, ReselectConfig, TrajectoryConfig
from bilp.data import ingest
from bilp.distill import start_run
from bilp.errors import ConfigError, DamagedArtifact, Diverged, IncompatibleArtifact, MissingArtifact
from bilp.experts.buffer import ExpertBuffer
from bilp.experts.files import epoch_file
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.images import augment
from bilp.nets import build, initialize
from bilp.pruning.prune import load_selection, prune
from bilp.seeds import generator
from bilp.storage import objects

OFF = ReselectConfig(beta=0.0)
SHORT = TrajectoryConfig(steps=2, expert_epochs=1, max_start=2, step_rate=1e-5)
IMITATE = DistillConfig(method="mtt", network=NARROW, iterations=2, rounds=1, learning_rate=1.0, trajectory=SHORT)


@pytest.fixture(scope="module")
def buffer(store: Store) -> str:
    """Experts of the selection."""
    return make(store, store.root)


def make(store: Store, root: str, config: ExpertsConfig = TINY, selection: str | None = "theirs", network: NetworkConfig = NARROW) -> str:
    selection = store.selection if selection == "theirs" else selection
    for number in range(config.count):
        train_expert(store.uri, selection, config, network, number, root)
    return collect_experts(store.uri, selection, config, network, root)


def test_an_expert_is_the_plain_training(store: Store, buffer: str) -> None:
    ids = load_selection(store.selection)
    ids = torch.cat([ids[store.dataset.train.labels[ids] == c] for c in range(10)])
    images, labels = store.dataset.train.batch(ids), store.dataset.train.labels[ids]
    net = build(NARROW, store.dataset.shape, 10)
    initialize(net, generator(0, "expert", 2, "network"))
    weights = list(net.parameters())
    read = ExpertBuffer(buffer)
    losses = []
    for epoch in range(TINY.epochs + 1):
        for found, wanted in zip(read.parameters(2, epoch), weights, strict=True):
            torch.testing.assert_close(found, wanted.detach(), rtol=1e-4, atol=1e-6)
        order = torch.randperm(len(ids), generator=generator(0, "expert", 2, "order", epoch))
        stream = generator(0, "expert", 2, "augment", epoch)
        total = 0.0
        for start in range(0, len(ids), TINY.batch_size):
            rows = order[start : start + TINY.batch_size]
            shown = augment.apply(images[rows], augment.draw(TINY.augment, (8, 8), stream, count=len(rows)))
            loss = functional.cross_entropy(net(shown), labels[rows], reduction="sum")
            gradients = torch.autograd.grad(loss / len(rows), weights)
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight -= TINY.learning_rate * gradient
            total += loss.item()
        losses.append(total / len(ids))
    table = pd.read_parquet(buffer)
    assert table.columns.tolist() == ["expert", "epoch", "loss"]
    assert table[table.expert == 2].loss.tolist() == pytest.approx(losses[: TINY.epochs], rel=1e-4)
    assert len(table) == TINY.count * TINY.epochs


def test_a_buffer_says_what_its_experts_saw(store: Store, buffer: str) -> None:
    artifact = open_artifact(buffer, "expert_buffer")
    facts = artifact.manifest.facts
    assert (facts["dataset"], facts["count"], facts["epochs"]) == (store.dataset.fingerprint, 3, 3)
    assert facts["selection"] == open_artifact(store.selection, "selection").manifest.key
    assert facts["samples"] == len(load_selection(store.selection))
    assert facts["network"] == NARROW.model_dump(mode="json")
    expert = open_artifact(artifact.parents["expert 1"], "expert")
    assert sorted(expert.manifest.files) == [epoch_file(epoch) for epoch in range(4)]
    assert len(expert.fact("losses")) == 3
    assert expert.parents == {"dataset": store.uri, "selection": store.selection}


def test_more_experts_share_those_that_are_there(store: Store, buffer: str) -> None:
    more = TINY.model_copy(update={"count": 4})
    with pytest.raises(MissingArtifact, match="experts 3 of 4 have not been trained"):
        collect_experts(store.uri, store.selection, more, NARROW, store.root)

    def never(done: int, total: int, note: str = "") -> None:
        raise AssertionError("trained again")

    train_expert(store.uri, store.selection, more, NARROW, 0, store.root, progress=never)
    assert collect_experts(store.uri, store.selection, TINY, NARROW, store.root) == buffer
    assert not torch.equal(ExpertBuffer(buffer).parameters(0, 0)[0], ExpertBuffer(buffer).parameters(1, 0)[0])


def test_killed_and_run_again_only_what_is_missing_is_trained_to_the_same_bytes(store: Store, buffer: str, tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    killed.until_killed(killed.train, store.uri, store.selection, TINY, NARROW, root, 1, 7)
    seen: set[int] = set()
    for number in range(TINY.count):
        train_expert(store.uri, store.selection, TINY, NARROW, number, root, progress=lambda d, t, n="", k=number: seen.add(k))
    assert seen == {1, 2}
    again = collect_experts(store.uri, store.selection, TINY, NARROW, root)
    for number in range(TINY.count):
        for epoch in range(TINY.epochs + 1):
            one, other = (open_artifact(f"{uri.rsplit('/', 2)[0]}/trainings/{number:04d}", "expert") for uri in (buffer, again))
            assert one.read(epoch_file(epoch)) == other.read(epoch_file(epoch))


def test_only_the_epochs_that_are_asked_for_are_read(store: Store, tmp_path: Path) -> None:
    uri = make(store, str(tmp_path), TINY.model_copy(update={"count": 1}))
    expert = Path(uri).parent.parent / "trainings" / "0000"
    (expert / epoch_file(2)).unlink()
    (expert / epoch_file(3)).write_bytes(b"x" * 100)
    read = ExpertBuffer(uri)
    held = safetensors.torch.load((expert / epoch_file(1)).read_bytes())
    net = build(NARROW, store.dataset.shape, 10)
    for (name, _), found in zip(net.named_parameters(), read.parameters(0, 1), strict=True):
        assert torch.equal(held[name], found)
    for epoch in (2, 3):
        with pytest.raises(DamagedArtifact, match=epoch_file(epoch)):
            read.parameters(0, epoch)
    (expert / "_manifest.json").unlink()
    with pytest.raises(MissingArtifact, match="expert 0 is no longer at"):
        ExpertBuffer(uri).parameters(0, 1)


def _cached(folder: Path) -> list[Path]:
    """The copies of files in the cache, without the stamp and the lock beside each."""
    return [path for path in (folder / "cache").rglob("*") if path.is_file() and path.suffix not in (".stamp", ".lock")]


@pytest.mark.s3
def test_from_object_storage_only_the_epochs_needed_arrive(store: Store, s3_root: str, tmp_path: Path) -> None:
    dataset = ingest(IngestConfig(), s3_root)
    one = TINY.model_copy(update={"count": 1, "epochs": 5})
    train_expert(dataset, None, one, NARROW, 0, s3_root)
    uri = collect_experts(dataset, None, one, NARROW, s3_root)
    before = set(_cached(tmp_path))
    found = ExpertBuffer(uri).parameters(0, 4)
    arrived = set(_cached(tmp_path)) - before
    assert len(arrived) == 1
    assert all(torch.isfinite(value).all() for value in found)


# --- the same selection in both stages ---------------------------------------------------------------------------------


def test_a_run_names_its_experts(store: Store, buffer: str, tmp_path: Path) -> None:
    run = start_run(store.uri, store.selection, IMITATE, OFF, str(tmp_path), buffer)
    assert start_run(store.uri, store.selection, IMITATE, OFF, str(tmp_path), buffer) == run
    others = make(store, store.root, TINY.model_copy(update={"count": 1}))
    assert start_run(store.uri, store.selection, IMITATE, OFF, str(tmp_path), others) != run


def test_experts_of_other_samples_are_refused(store: Store, buffer: str, tmp_path: Path) -> None:
    key = open_artifact(store.selection, "selection").manifest.key
    with pytest.raises(IncompatibleArtifact, match=f"learned what selection {key} keeps, but the run distills all real samples: train"):
        start_run(store.uri, None, IMITATE, OFF, str(tmp_path), buffer)
    other = prune(store.uri, None, PruneConfig(criterion="random", keep=0.1, seed=1), store.root)
    with pytest.raises(IncompatibleArtifact, match=f"selection {key} keeps, but the run distills what selection .* keeps"):
        start_run(store.uri, other, IMITATE, OFF, str(tmp_path), buffer)
    one = TINY.model_copy(update={"count": 1, "epochs": 1})
    with pytest.raises(IncompatibleArtifact, match="learned all real samples, but the run distills what selection"):
        start_run(store.uri, store.selection, IMITATE, OFF, str(tmp_path), make(store, str(tmp_path), one, selection=None))
    assert not objects.exists(str(tmp_path / "runs"))


def test_other_networks_and_short_experts_are_refused(store: Store, buffer: str, tmp_path: Path) -> None:
    wide = IMITATE.model_copy(update={"network": NetworkConfig(width=16, depth=2)})
    with pytest.raises(IncompatibleArtifact, match="train experts with the network of the run"):
        start_run(store.uri, store.selection, wide, OFF, str(tmp_path), buffer)
    long = IMITATE.model_copy(update={"trajectory": TrajectoryConfig(steps=2, expert_epochs=2, max_start=2)})
    with pytest.raises(ConfigError, match=r"needs experts of 4 epochs .* have 3: train them longer or lower max_start"):
        start_run(store.uri, store.selection, long, OFF, str(tmp_path), buffer)


def test_a_method_and_its_experts_belong_together(store: Store, buffer: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="method mtt imitates experts: train them"):
        start_run(store.uri, store.selection, IMITATE, OFF, str(tmp_path))
    with pytest.raises(ConfigError, match="method dm imitates no experts"):
        start_run(store.uri, store.selection, DistillConfig(network=NARROW, iterations=2, rounds=1), OFF, str(tmp_path), buffer)
    with pytest.raises(ConfigError, match="does not apply to method mtt"):
        start_run(store.uri, store.selection, IMITATE, ReselectConfig(beta=0.1), str(tmp_path), buffer)


def test_refusals_before_any_work(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expert 3 does not exist: experts.count = 3"):
        train_expert(store.uri, None, TINY, NARROW, 3, str(tmp_path))
    with pytest.raises(MissingArtifact, match="no complete expert_buffer"):
        ExpertBuffer(str(tmp_path / "nothing"))


def test_a_diverging_expert_says_so(store: Store, tmp_path: Path) -> None:
    wild = TINY.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(Diverged, match=r"expert 0 diverged in epoch \d .* lower experts.learning_rate, for example to 1e\+29"):
        train_expert(store.uri, store.selection, wild, NARROW, 0, str(tmp_path))


def test_two_samples_per_class_and_a_batch_larger_than_all(store: Store, tmp_path: Path) -> None:
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.014), store.root)
    assert torch.bincount(store.dataset.train.labels[load_selection(few)]).tolist() == [2] * 10
    uri = make(store, str(tmp_path), TINY.model_copy(update={"batch_size": 256, "count": 1}), few)
    assert (
        ExpertBuffer(uri).require(
            IMITATE, {"dataset": store.dataset.fingerprint, "selection": open_artifact(few, "selection").manifest.key}
        )
        is None
    )
