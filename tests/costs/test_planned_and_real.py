"""What a plan says of a small run, beside what is counted in the run itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small_pipeline import run_pipeline, small_config

from bilp.artifacts.artifact import Artifact, open_artifact
from bilp.artifacts.run_layout import CHECKPOINT, ITE_TABLE, LOSS_TABLE, MOMENTUM
from bilp.artifacts.tables import ITE, LOSSES, TRAJECTORY
from bilp.costs.data_counts import data_counts
from bilp.costs.gpu_profiles import GPU_PROFILES
from bilp.costs.run_plan import PRETRAINING, plan_of
from bilp.costs.speed import Speed
from bilp.data import open_dataset
from bilp.distill import open_run
from bilp.distill.inputs import lineage
from bilp.distill.part import open_part
from bilp.distill.round_files import open_reselection, open_round
from bilp.evaluate.results import evaluation_rows
from bilp.scoring.trial_record import TRIAL, TRIAL_FILE, trial_uri

pytestmark = pytest.mark.slow


def sizes(artifact: Artifact, *names: str) -> int:
    return sum(artifact.manifest.files[name].size for name in names)


NETWORK = {"width": 8, "depth": 2}
BETWEEN = {"networks": 2, "epochs": 2, "batch_size": 64}
OTHERS: dict[str, dict[str, Any]] = {
    "dm": {},
    "ncfm": {
        "distill": {
            "iterations": 4,
            "rounds": 2,
            "batch_real": 32,
            "network": NETWORK,
            "characteristic": {"frequencies": 64, "pretrained": BETWEEN},
        }
    },
}


@pytest.mark.parametrize("method", OTHERS)
def test_samples_and_bytes_are_those_of_the_run(method: str, tmp_path: Path) -> None:
    config = small_config(method=method, arms=["unpruned", "bilp"], **OTHERS[method])
    data = data_counts(config.ingest, listed=True)
    plan = plan_of(config, data, Speed(GPU_PROFILES["h100"], data), workers=2)
    made = run_pipeline(config, str(tmp_path))

    stored, dataset = open_artifact(made.dataset, "dataset"), open_dataset(made.dataset)
    assert plan.stored["store"] == sizes(stored, *(name for name in stored.manifest.files if name.endswith(".arrow")))
    assert data.shape == dataset.shape
    assert data.train.tolist() == [len(ids) for ids in dataset.train.by_class()]

    planned: Counter[tuple[str, str]] = Counter()
    for unit in plan.units:
        for work in unit.works:
            planned[unit.stage, work.what] += work.samples
    counted: Counter[tuple[str, str]] = Counter()
    checkpoints = 0
    for run in (uri for runs in made.runs.values() for uri in runs):
        part = open_part(run, None)
        for number in range(1, config.distill.rounds + 1):
            done = open_round(part, number)
            checkpoints += sizes(done, CHECKPOINT, MOMENTUM)
            counted["distill", "real"] += sum(done.table(LOSS_TABLE, LOSSES)["real_used"].to_pylist())
            if part.run.reselect.active:
                counted["distill", "measured"] += len(open_reselection(part, number).table(ITE_TABLE, ITE))
    networks = [uri for runs in made.runs.values() for run in runs for uri in lineage(run, open_run(run)).values() if "/pretrained/" in uri]
    for uri in networks:
        counted["pretrain", "trained"] += open_artifact(uri, "pretrained_network").fact("samples") * config.distill.pretrained.epochs
    assert len(networks) == sum(unit.stage == PRETRAINING for unit in plan.units)
    for trial in range(config.score.trials):
        table = open_artifact(trial_uri(str(tmp_path), dataset.fingerprint, config.score, trial), TRIAL).table(TRIAL_FILE, TRAJECTORY)
        counted["score", "recorded"] += len(table)
    rows = [row for uri in made.evaluations for row in evaluation_rows(open_artifact(uri, "evaluation"))]
    more = int(config.evaluate.decay == "half")  # makes one epoch more
    counted["evaluate", "trained"] = sum(row["train_images"] * (row["epochs"] + more) for row in rows)
    assert plan.stored["checkpoints"] == checkpoints
    assert {what: planned[what] for what in counted} == dict(counted)
