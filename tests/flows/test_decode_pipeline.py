"""IDC, DREAM and IDM through every stage on digits, decoded for training and stored for show; killed and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import killed
import pytest
import torch

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import EVALUATION, LOSSES
from bilp.config import PipelineConfig
from bilp.config.arms import planned_runs
from bilp.data import ingest, open_dataset
from bilp.distill import distill_round, finish_run, load_synthetic, reselect_round, start_run
from bilp.errors import IncompatibleArtifact
from bilp.evaluate import evaluate_synthetic
from bilp.exchange import load_distilled
from bilp.images.decode_stored import decoded
from bilp.images.multiformation import decode_set, gray
from bilp.pruning.prune import prune
from bilp.report import report
from bilp.storage import objects

pytestmark = pytest.mark.slow

NETWORK = {"width": 8, "depth": 2}


def config_of(method: str, **distill: Any) -> PipelineConfig:
    """Two rounds of a fraction of a second; random static pruning, so that nothing is scored."""
    settings: dict[str, Any] = {"iterations": 4, "rounds": 2, "batch_real": 8, "batch_train": 16, "network": NETWORK, "outer_loops": 2}
    settings |= {"decode": {"factor": 2, "kind": "multi"}, "idc": {"train_samples": 32}, "idm": {"networks": 2, "train_steps": 2}}
    values = {
        "dataset": "digits",
        "method": method,
        "ipc": 1,
        "keep": 0.3,
        "beta": 0.2,
        "arms": ["unpruned", "adaptive", "bilp"],
        "prune": {"criterion": "random"},
        "reselect": {"candidates_per_class": 10, "interval": 1 if method == "dream" else 0},
        "distill": settings | distill,
        "evaluate": {"networks": [NETWORK], "seeds": 2, "epochs": 2, "baselines": []},
    }
    return PipelineConfig.model_validate(values)


@pytest.mark.parametrize("method", ["idc", "dream", "idm"])
def test_every_arm_runs_from_ingestion_to_the_page(method: str, tmp_path: Path) -> None:
    root, config = str(tmp_path), config_of(method)
    dataset_uri = ingest(config.ingest, root)
    dataset, selection = open_dataset(dataset_uri), prune(dataset_uri, None, config.prune, root)
    runs: dict[str, list[str]] = {}
    evaluations, seen = [], set()
    for plan in planned_runs(config):
        run = start_run(dataset_uri, selection if plan.static else None, plan.distill, plan.reselect, root)
        for number in (1, 2):
            reselect_round(run, number)
            table = open_artifact(distill_round(run, number), "round").table("losses.parquet", LOSSES)
            assert (table["dropped_share"].to_numpy() > 0).all() == (plan.arm != "unpruned")
        synthetic = finish_run(run)
        images, labels = load_synthetic(synthetic)
        assert images.shape == (10, *dataset.shape)
        facts = open_artifact(synthetic, "synthetic").manifest.facts
        assert facts["decode"] == {"factor": 2, "kind": "multi", "bound": 128}
        trained_on = load_distilled(synthetic)
        wanted, repeated = decode_set(images, labels, plan.distill.decode, gray(dataset.mean, dataset.std))
        assert torch.equal(trained_on.images, wanted)
        assert trained_on.labels.tolist() == repeated.tolist() == [c for c in range(10) for _ in range(5)]
        evaluations.append(evaluate_synthetic(dataset_uri, synthetic, plan.arm, 0, config.evaluate, root))
        table = open_artifact(evaluations[-1], "evaluation").table("evaluation.parquet", EVALUATION)
        assert table["train_images"].to_pylist() == [50, 50]
        runs[plan.arm] = [run]
        seen.add(images.numpy().tobytes())
    assert len(seen) == 3
    page = objects.read(report(config, dataset_uri, None, selection, runs, evaluations, root)).decode()
    assert f"({method.upper()})" in page
    assert "1 image per class" in page


def test_a_manifest_that_says_nothing_means_images_as_they_are_and_nonsense_is_named() -> None:
    images, labels = torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])
    facts: dict[str, Any] = {"mean": [0.5], "std": [0.25]}
    assert decoded(images, labels, facts, "here")[0] is images
    assert decoded(images, labels, facts | {"decode": {"factor": 1, "kind": "single"}}, "here")[0] is images
    assert len(decoded(images, labels, facts | {"decode": {"factor": 3, "kind": "single"}}, "here")[0]) == 18
    for nonsense in ({"factor": 0}, {"factor": 2, "kind": "spiral"}, {"codec": 1}):
        with pytest.raises(IncompatibleArtifact, match="here holds images that stand for several, which this version cannot decode"):
            decoded(images, labels, facts | {"decode": nonsense}, "here")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dream", "idm"])
def test_a_killed_run_goes_on_in_another_process_to_the_bytes_of_an_undisturbed_one(method: str, tmp_path: Path) -> None:
    config = config_of(method, iterations=6)
    plan = planned_runs(config)[1]
    uris = []
    for name in ("disturbed", "calm"):
        root = str(tmp_path / name)
        uris.append(start_run(ingest(config.ingest, root), None, plan.distill, plan.reselect, root))
    disturbed, calm = uris
    killed.until_killed(killed.distill, disturbed, 2, 2)
    assert not objects.exists(objects.join(disturbed, "rounds", "0002", "_manifest.json"))
    for run in (disturbed, calm):
        for number in (1, 2):
            reselect_round(run, number)
            distill_round(run, number)
        finish_run(run)
    for name in ("rounds/0001/checkpoint.safetensors", "rounds/0002/checkpoint.safetensors", "synthetic/synthetic.safetensors"):
        assert objects.read(objects.join(disturbed, name)) == objects.read(objects.join(calm, name)), name
