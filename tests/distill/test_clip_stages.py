"""Every stage on clips of 4 frames: scores, both prunings, DM and DC, evaluation, page; killed, a run goes on to the same bytes."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import killed
import numpy as np
import pytest
import torch
from clip_data import CLASSES, held
from PIL import Image
from small_pipeline import Outcome, run_pipeline

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import SYNTHETIC
from bilp.artifacts.tables import ITE
from bilp.config import METHODS, PipelineConfig, PruneConfig, TeacherConfig
from bilp.config.arms import planned_runs
from bilp.data import open_dataset, read_source
from bilp.data.ingestion import dataset_of
from bilp.data.sources.arrays import hold
from bilp.distill import distill_round, finish_run, grid_png, pretrain_network, reselect_round, start_run
from bilp.errors import ConfigError
from bilp.evaluate import evaluate_synthetic, train_teacher
from bilp.exchange import load_distilled
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.preflight import check_fit
from bilp.pruning.prune import prune
from bilp.scoring.summary import summarize
from bilp.scoring.trial import score_trial
from bilp.storage import objects
from bilp.suspects.stage import find_suspects

pytestmark = pytest.mark.slow

FRAME_MEAN = {"name": "video_convnet_mean", "width": 8, "depth": 2}
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {"video_convnet_mean": (FRAME_MEAN, 16), "convnet3d": ({"name": "convnet3d"}, 44)}


def config_of(uri: str, network: dict[str, Any], **given: Any) -> PipelineConfig:
    """Everything as small as it can be."""
    settings: dict[str, Any] = {
        "dataset": "clip_arrays",
        "ingest": {"uri": uri},
        "ipc": 1,
        "keep": 0.7,
        "beta": 0.2,
        "score": {"trials": 2, "epochs": 2, "init_epochs": 2, "network": network},
        "experts": {"count": 1, "epochs": 3},
        "reselect": {"candidates_per_class": 4},
        "distill": {"iterations": 4, "rounds": 2, "batch_real": 4, "network": network},
        "evaluate": {"networks": [network], "seeds": 2, "epochs": 4, "full_epochs": 2},
        "report": {"samples_per_class": 2},
    }
    return PipelineConfig.model_validate(settings | given)


def files_of(run: str) -> dict[str, bytes]:
    """Every file of a run; of manifests what does not tell when they were written."""
    found = {name: objects.read(objects.join(run, name)) for name in objects.listing(run)}
    for name, content in found.items():
        if name.endswith("_manifest.json"):
            manifest = json.loads(content)
            found[name] = json.dumps({part: manifest[part] for part in ("kind", "key", "files", "facts")}).encode()
    return found


@pytest.mark.parametrize("method", ["dm", "dc"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_stage_takes_clips(name: str, method: str, tmp_path: Path) -> None:
    network, side = NETWORKS[name]
    arrays = held(side=side)
    made = run_pipeline(config_of(hold(arrays), network, method=method), str(tmp_path / "root"))
    shape = (4, 3, side, side)
    check_fit(made.config, made.dataset)
    synthetic = load_distilled(made.runs["bilp"][0])
    assert synthetic.images.shape == (CLASSES, *shape)
    assert synthetic.facts["shape"] == list(shape)
    effects = open_artifact(f"{made.runs['bilp'][0]}/rounds/0001/reselect", "reselect").table("ite.parquet", ITE)
    assert (effects["ite"].to_numpy() > 0).all()
    assert 0 < sum(effects["dropped"].to_pylist()) < len(effects)
    assert {open_artifact(uri, "evaluation").fact("arm") for uri in made.evaluations} >= {"full", "random", "unpruned", "bilp"}
    page = objects.read(made.page()).decode()
    assert f"24 training clips and 12 test clips of 4 classes, 4 frames of {side} x {side} pixels, color" in page
    assert 'style="--frames:4"' in page and "Every sample is a clip" in page
    if (name, method) != ("convnet3d", "dc"):  # a minute, and nothing that the other three do not meet
        _goes_on_to_the_same_bytes(made, tmp_path)


def _goes_on_to_the_same_bytes(made: Outcome, tmp_path: Path) -> None:
    """The same runs in a root of their own, killed in the first round and again in the second."""
    for plan in planned_runs(made.config):
        if plan.experiment:
            continue
        whole = made.runs[plan.arm][0]
        run = start_run(made.dataset, made.selection if plan.static else None, plan.distill, plan.reselect, str(tmp_path / "again"))
        for number in (1, 2):
            killed.until_killed(killed.distill, run, number, 1)
        for number in (1, 2):
            reselect_round(run, number)
            distill_round(run, number)
        finish_run(run)
        found, wanted = files_of(f"{run}/{SYNTHETIC}"), files_of(f"{whole}/{SYNTHETIC}")
        assert found == wanted
        rounds = [name for name in files_of(whole) if name.startswith("rounds/") and not name.endswith("_manifest.json")]
        assert len(rounds) >= 6
        assert {name: files_of(run)[name] for name in rounds} == {name: files_of(whole)[name] for name in rounds}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_clips(name: str, tmp_path: Path) -> None:
    method, root, arrays = METHODS[name], str(tmp_path), held()
    distill: dict[str, Any] = {"iterations": 2, "rounds": 1, "batch_real": 4, "network": FRAME_MEAN}
    distill |= {"trajectory": {"steps": 1, "expert_epochs": 1, "max_start": 1}} if method.needs_experts else {}
    distill |= {"decode": {"factor": 2}} if method.decodes else {}
    distill |= {"characteristic": {"frequencies": 32, "pretrained": {"networks": 2, "epochs": 2}}} if name == "ncfm" else {}
    distill |= {"memories": {"steps": 2}} if name == "linba" else {}
    distill |= {"alignment": {"most_steps": 2, "most_epochs": 1, "measured_per_class": 4}} if name == "cafe" else {}
    distill |= {"learning_rate": 0.01, "hallucinators": {"learning_rate": 1e-3}} if name == "haba" else {}
    arm = "bilp" if method.adaptive else "unpruned"
    beta, score = 0.2 if method.adaptive else 0.0, {"trials": 1, "epochs": 4, "init_epochs": 2, "network": FRAME_MEAN}
    config = config_of(hold(arrays), FRAME_MEAN, method=name, keep=1.0, arms=[arm], distill=distill, beta=beta, score=score)
    dataset = dataset_of(read_source(config.ingest, root), config.ingest)
    experts = None
    if method.needs_experts:
        train_expert(dataset, None, config.experts, config.distill.network, 0, root)
        experts = collect_experts(dataset, None, config.experts, config.distill.network, root)
    asked = {**FRAME_MEAN, "norm": "batch"} if method.inverts_teacher else FRAME_MEAN
    teacher = train_teacher(dataset, TeacherConfig(network=asked, epochs=1), 0, root) if method.needs_teacher else None
    plan = next(iter(planned_runs(config)))
    ranking = prune(dataset, None, PruneConfig(criterion="random").ranking, root) if plan.distill.ranks else None
    run = start_run(dataset, None, plan.distill, plan.reselect, root, experts, teacher, ranking)
    for network in range(plan.distill.pretrained.networks):
        pretrain_network(run, network)
    reselect_round(run, 1)
    distill_round(run, 1)
    synthetic = load_distilled(finish_run(run))
    assert synthetic.images.shape[1:] == (4, 3, 16, 16)
    assert bool(synthetic.images.isfinite().all())


@pytest.mark.parametrize(
    "evaluate",
    [
        {"protocol": "idc"},
        {"protocol": "soft", "teacher": {"network": FRAME_MEAN, "epochs": 1}},
        {"augment_each": ["crop", "rotate"], "test_enlarged": True},
        {"networks": [{**FRAME_MEAN, "norm": "batch"}], "augment": ["color", "scale"], "cutmix": 1.0},
    ],
    ids=["idc", "soft", "dc", "batch"],
)
def test_protocols_and_augmentations_of_evaluation_take_clips(evaluate: dict[str, Any], tmp_path: Path) -> None:
    arrays, root = held(), str(tmp_path)
    small: dict[str, Any] = {"networks": [FRAME_MEAN], "seeds": 2, "epochs": 2, "full_epochs": 1, "batch_size": 4}
    config = config_of(hold(arrays), FRAME_MEAN, arms=["unpruned"], evaluate=small | evaluate, beta=0.0)
    dataset = dataset_of(read_source(config.ingest, root), config.ingest)
    run = start_run(dataset, None, next(iter(planned_runs(config))).distill, config.reselect, root)
    for number in (1, 2):
        distill_round(run, number)
    uri = evaluate_synthetic(dataset, finish_run(run), "unpruned", 0, config.evaluate, root)
    assert open_artifact(uri, "evaluation").fact("arm") == "unpruned"


def test_what_makes_no_sense_for_clips_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    arrays, root = held(), str(tmp_path)

    def told(**given: Any) -> str:
        config = config_of(hold(arrays), FRAME_MEAN, **given)
        with pytest.raises(ConfigError) as refused:
            check_fit(config, dataset_of(read_source(config.ingest, root), config.ingest))
        assert "\n" not in str(refused.value)
        return str(refused.value)

    convnet = {"networks": [{"name": "convnet"}], "seeds": 2}
    assert "convnet takes images (channels, height, width), not videos of 4x3x16x16" in told(evaluate=convnet)
    assert "convnet3d cannot take videos of 4x3x16x16" in told(distill={"network": "convnet3d"})
    assert "set ingest.resolution to 43 or more" in told(distill={"network": "convnet3d"})
    assert "protocol cda_hl is for images of 128 pixels and more" in told(evaluate={"protocol": "cda_hl", "seeds": 2})


def test_suspicious_labels_are_found_among_clips(tmp_path: Path) -> None:
    arrays, root = held(), str(tmp_path)
    config = config_of(hold(arrays), FRAME_MEAN)
    record = read_source(config.ingest, root)
    dataset = dataset_of(record, config.ingest)
    for trial in range(2):
        score_trial(dataset, config.score, trial, root)
    uri = find_suspects(dataset, summarize(dataset, config.score, root), {}, root, record)
    assert open_artifact(uri, "suspects").fact("samples") == 24
    page = objects.read(objects.join(uri, "suspects.html")).decode()
    shown = base64.b64decode(page.partition("data:image/png;base64,")[2].partition('"')[0])
    assert Image.open(BytesIO(shown)).size == (4 * 16 + 3, 16)


def test_a_clip_is_shown_by_its_middle_frame_in_grids(tmp_path: Path) -> None:
    arrays = held()
    config = config_of(hold(arrays), FRAME_MEAN)
    dataset = open_dataset(dataset_of(read_source(config.ingest, str(tmp_path)), config.ingest))
    clips = dataset.train.batch(torch.tensor([0, 6, 12, 18]))
    grid = np.asarray(Image.open(BytesIO(grid_png(clips, 1, dataset.mean, dataset.std))))
    assert grid.shape == (2 * (4 * 17 + 1), 2 * 18, 3)
    wanted = dataset.train.images(torch.tensor([6]))[0, 2].permute(1, 2, 0).numpy()
    assert np.array_equal(grid[2 * 18 : 2 * 34 : 2, 2:34:2], wanted)
