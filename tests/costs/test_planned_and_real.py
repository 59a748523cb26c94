"""What a plan says of a small run, beside what is counted in the run itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small_pipeline import NETWORK, run_pipeline, small_config

from bilp.artifacts.artifact import Artifact, open_artifact
from bilp.artifacts.run_layout import CHECKPOINT, ITE_TABLE, LOSS_TABLE, MOMENTUM
from bilp.artifacts.tables import ITE, LOSSES, TRAJECTORY
from bilp.config.arms import needs_experts, planned_runs
from bilp.costs.data_counts import data_counts
from bilp.costs.gpu_profiles import GPU_PROFILES
from bilp.costs.run_plan import plan_of
from bilp.costs.speed import Speed
from bilp.data import ingest, open_dataset
from bilp.distill import distill_round, pretrain_network, start_run
from bilp.distill.part import open_part
from bilp.distill.round_files import open_reselection, open_round
from bilp.distill.step.pretrained import KIND as PRETRAINED
from bilp.evaluate.results import evaluation_rows
from bilp.experts.files import EXPERT
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.scoring.trial_record import TRIAL, TRIAL_FILE, trial_uri

pytestmark = pytest.mark.slow


def sizes(artifact: Artifact, *names: str) -> int:
    return sum(artifact.manifest.files[name].size for name in names)


CARRYING: dict[str, dict[str, Any]] = {
    "mtt": {"experts": {"count": 2, "epochs": 3}, "distill": {"trajectory": {"steps": 2, "expert_epochs": 1, "max_start": 1}}},
    "datm": {
        "experts": {"count": 2, "epochs": 3},
        "distill": {
            "trajectory": {"steps": 2, "expert_epochs": 1, "max_start": 1},
            "difficulty": {"early_max_start": 0, "expansion": 4},
        },
    },
    "idm": {"distill": {"idm": {"new_every": 2, "most_networks": 5, "train_steps": 1}, "keep_rounds": 2}},
    "ncfm": {"distill": {"characteristic": {"frequencies": 64, "pretrained": {"networks": 2, "epochs": 2, "batch_size": 64}}}},
    "idc": {"distill": {"outer_loops": 1, "decode": {"factor": 2}, "idc": {"pretrained": {"networks": 2, "epochs": 1}}}},
}


@pytest.mark.parametrize("method", CARRYING)
def test_what_methods_carry_and_train_first_takes_the_planned_bytes(method: str, tmp_path: Path) -> None:
    root, given = str(tmp_path), CARRYING[method]
    distill = {"iterations": 7, "rounds": 3, "batch_real": 8, "network": NETWORK} | given["distill"]
    config = small_config(method=method, arms=["unpruned"], distill=distill, beta=0.0, **{k: v for k, v in given.items() if k != "distill"})
    data = data_counts(config.ingest, listed=True)
    plan = plan_of(config, data, Speed(GPU_PROFILES["h100"], data), workers=1)
    dataset, (planned,) = ingest(config.ingest, root), planned_runs(config)
    experts = None
    if needs_experts(config):
        made = [open_artifact(train_expert(dataset, None, config.experts, planned.distill.network, k, root), EXPERT) for k in range(2)]
        assert plan.stored["experts"] == sum(sizes(expert, *expert.manifest.files) for expert in made)
        trained = sum(work.samples for unit in plan.stages["experts"] for work in unit.works)
        assert trained == sum(expert.fact("samples") * len(expert.fact("losses")) for expert in made)
        experts = collect_experts(dataset, None, config.experts, planned.distill.network, root)
    run = start_run(dataset, None, planned.distill, planned.reselect, root, experts)
    networks = [open_artifact(pretrain_network(run, k), PRETRAINED) for k in range(planned.distill.pretrained.networks)]
    if networks:
        assert plan.stored["pretrained networks"] == sum(sizes(network, *network.manifest.files) for network in networks)
        trained = planned.distill.pretrained.epochs * sum(network.fact("samples") for network in networks)
        assert sum(work.samples for unit in plan.stages["pretrain"] for work in unit.works) == trained
    for number in range(1, planned.distill.rounds + 1):
        distill_round(run, number)
    kept = [open_round(open_part(run, None), number) for number in range(1, planned.distill.rounds + 1)]
    assert plan.stored["checkpoints"] == sum(sizes(each, CHECKPOINT, MOMENTUM) for each in kept if CHECKPOINT in each.manifest.files)


def test_samples_and_bytes_are_those_of_the_run(tmp_path: Path) -> None:
    config = small_config(arms=["unpruned", "bilp"])
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
    for trial in range(config.score.trials):
        table = open_artifact(trial_uri(str(tmp_path), dataset.fingerprint, config.score, trial), TRIAL).table(TRIAL_FILE, TRAJECTORY)
        counted["score", "recorded"] += len(table)
    rows = [row for uri in made.evaluations for row in evaluation_rows(open_artifact(uri, "evaluation"))]
    more = int(config.evaluate.decay == "half")  # makes one epoch more
    counted["evaluate", "trained"] = sum(row["train_images"] * (row["epochs"] + more) for row in rows)
    assert plan.stored["checkpoints"] == checkpoints
    assert {what: planned[what] for what in counted} == dict(counted)
