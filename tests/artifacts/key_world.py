"""A storage in which every stage has been at work, at the smallest settings, and twice where another input is needed."""

from __future__ import annotations

import io
import itertools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from PIL import Image
from torchvision.models import get_model

from bilp.artifacts.manifest_file import MANIFEST
from bilp.config import (
    CharacteristicConfig,
    DistillConfig,
    EvaluateConfig,
    ExpertsConfig,
    IngestConfig,
    LinearConfig,
    NetworkConfig,
    PruneConfig,
    ReselectConfig,
    ScoreConfig,
    TeacherConfig,
    TrajectoryConfig,
)
from bilp.config.decode import DecodeConfig
from bilp.config.methods.idc import IdcConfig
from bilp.config.methods.ncfm import TrainedFurtherConfig
from bilp.config.methods.pretrained import PretrainedConfig
from bilp.data import Dataset, ingest, open_dataset, read_source
from bilp.data.alterations.corrections_file import COLUMNS
from bilp.distill import distill_round, finish_run, reselect_round, start_run
from bilp.distill.outside import encoder_of
from bilp.evaluate import evaluate_baseline, evaluate_synthetic, train_teacher
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.pruning.prune import prune
from bilp.scoring.summary import summarize
from bilp.scoring.trial import score_trial

NARROW = NetworkConfig(width=4, depth=2)
SCORE = ScoreConfig(trials=2, epochs=2, init_epochs=2, network=NARROW)
DISTILL = DistillConfig(iterations=4, rounds=2, batch_real=8, network=NARROW)
RESELECT = ReselectConfig(candidates_per_class=8)
EXPERTS = ExpertsConfig(count=2, epochs=2)
EVALUATE = EvaluateConfig(networks=(NARROW,), seeds=2, epochs=1, full_epochs=1, teacher=TeacherConfig(network=NARROW, epochs=1))
TRAJECTORY = TrajectoryConfig(steps=2, expert_epochs=1, max_start=1)
SEVERAL = DISTILL.model_copy(
    update={"method": "idc", "idc": IdcConfig(pretrained=PretrainedConfig(networks=1, epochs=1)), "decode": DecodeConfig(factor=2)}
)
BETWEEN = SEVERAL.model_copy(
    update={
        "method": "ncfm",
        "idc": IdcConfig(),
        "characteristic": CharacteristicConfig(frequencies=8, pretrained=TrainedFurtherConfig(networks=1, epochs=1)),
    }
)
ENCODER, SIDE = "shufflenet_v2_x0_5", 32
"""An encoder of the user's own: a small network of torchvision, and the side of what it sees."""
RECIPE = "published/dc/mnist-ipc1"


@dataclass(frozen=True)
class World:
    """What the stages before left in a storage, twice where another input is needed."""

    root: str
    dataset: str
    other_dataset: str
    renamed_dataset: str
    """The same data set under another name."""
    scores: str
    other_scores: str
    selection: str
    other_selection: str
    experts: str
    other_experts: str
    teacher: str
    other_teacher: str
    synthetic: str
    other_synthetic: str
    learned: str
    run: str
    evaluations: tuple[str, ...]
    other_evaluations: tuple[str, ...]
    record: str
    """What the source of the data set said of itself."""
    noisy: str
    """The same of digits some of whose labels are wrong."""
    other_noisy: str
    folder: Path
    """Files of the user's own."""
    extendable: tuple[str, str]
    """Two summaries of scores of the other data set."""


def make_world(root: str, folder: Path) -> World:
    dataset = ingest(IngestConfig(source="digits"), root)
    other = with_another_fingerprint(dataset)
    for seed, of in itertools.product((0, 1), (dataset, other)):
        for trial in range(2):
            score_trial(of, SCORE.model_copy(update={"seed": seed, "keep_networks": of == other}), trial, root)
    scores, other_scores = (summarize(dataset, SCORE.model_copy(update={"seed": seed}), root) for seed in (0, 1))
    extendable = [summarize(other, SCORE.model_copy(update={"seed": seed}), root) for seed in (0, 1)]
    selections = [prune(dataset, scores, PruneConfig(keep=keep), root) for keep in (0.5, 0.6)]
    buffers = []
    for seed in (0, 1):
        for expert in range(2):
            train_expert(dataset, None, EXPERTS.model_copy(update={"seed": seed}), NARROW, expert, root)
        buffers.append(collect_experts(dataset, None, EXPERTS.model_copy(update={"seed": seed}), NARROW, root))
    teachers = [train_teacher(dataset, EVALUATE.teacher, seed, root) for seed in (5, 6)]
    runs, synthetic = [], []
    for seed in (0, 1):
        runs.append(start_run(dataset, selections[0], DISTILL.model_copy(update={"seed": seed}), RESELECT, root))
        synthetic.append(go_through(runs[-1], 2))
    imitating = DISTILL.model_copy(update={"method": "mtt", "iterations": 1, "rounds": 1, "trajectory": TRAJECTORY})
    learned = go_through(start_run(dataset, None, imitating, ReselectConfig(beta=0.0), root, buffers[0]), 1)
    evaluations = [
        (
            evaluate_baseline(dataset, "full", 1, EVALUATE.model_copy(update={"seed": seed}), root),
            evaluate_baseline(dataset, "random", 1, EVALUATE.model_copy(update={"seed": seed}), root),
            evaluate_synthetic(dataset, synthetic[0], "unpruned", 0, EVALUATE.model_copy(update={"seed": seed}), root),
        )
        for seed in (0, 1)
    ]
    write_files(folder, len(open_dataset(dataset).train))
    write_encoders(folder, open_dataset(dataset))
    places = (
        dataset,
        other,
        renamed(dataset),
        scores,
        other_scores,
        *selections,
        *buffers,
        *teachers,
        *synthetic,
        learned,
        runs[0],
    )
    settings: list[dict[str, Any]] = [{}, *({"label_noise": {"kind": "cyclic", "share": share}} for share in (0.2, 0.4))]
    records = [read_source(IngestConfig.model_validate(each), root) for each in settings]
    return World(root, *places, evaluations[0], evaluations[1], *records, folder, (extendable[0], extendable[1]))


def write_encoders(folder: Path, dataset: Dataset) -> None:
    """Weights of two encoders, and tables of the features of the first that are as good as equal."""
    for name in ("weights", "other weights"):
        safetensors.torch.save_file(get_model(ENCODER, weights=None, num_classes=2).state_dict(), str(folder / name))
    linear = LinearConfig(encoder=ENCODER, weights=str(folder / "weights"), side=SIDE)
    encoder = encoder_of(DISTILL.model_copy(update={"linear": linear}), dataset)
    with torch.no_grad():
        features = torch.cat([encoder.embed(dataset.train.batch(ids)) for ids in torch.arange(len(dataset.train)).split(64)])
    for name, factor in (("features", 1.0), ("other features", 1.0 + 1e-6)):
        table = pa.table({"sample_id": range(len(features)), "features": list((factor * features.double()).numpy())})
        pq.write_table(table, folder / name)


def go_through(run: str, rounds: int) -> str:
    for number in range(1, rounds + 1):
        reselect_round(run, number)
        distill_round(run, number)
    return finish_run(run)


def with_another_fingerprint(dataset: str) -> str:
    """The same artifact as that of a data set which differs in something that is part of the fingerprint."""
    place = Path(dataset)
    copy = place.with_name(place.name[::-1])
    shutil.copytree(place, copy)
    content = json.loads((copy / MANIFEST).read_bytes())
    content["key"] = content["facts"]["fingerprint"] = copy.name
    (copy / MANIFEST).write_text(json.dumps(content))
    return str(copy)


def renamed(dataset: str) -> str:
    """The same pixels, as they would lie there if their source had another name."""
    place = Path(dataset)
    copy = place.parent.with_name("renamed") / place.name
    shutil.copytree(place, copy)
    content = json.loads((copy / MANIFEST).read_bytes())
    content["facts"]["name"] = "renamed"
    (copy / MANIFEST).write_text(json.dumps(content))
    return str(copy)


def write_files(folder: Path, samples: int) -> None:
    """Image folders, score lists and published sets: each under two names, and another one of each kind."""
    folder.mkdir()
    for name, value in (("list", 0.0), ("copy", 0.0), ("other", 1.0)):
        (folder / f"{name}.json").write_text(json.dumps([value] + [float(k) for k in range(samples - 1)]))
        (folder / f"labels {name}.json").write_text(json.dumps([int(value), 0, 1, 1]))
        (folder / f"corrections {name}.csv").write_text(f"{','.join(COLUMNS)}{',note of them' if value else ''}\n")
        images = torch.full((20, 1, 8, 8), value)
        torch.save({"data": [[images, torch.arange(20) % 10], [images + 2, torch.arange(20) % 10]]}, folder / f"{name}.pt")
    for name in ("pictures", "others"):
        for split in ("train", "test"):
            for kind in ("cat", "dog"):
                place = folder / name / split / kind
                place.mkdir(parents=True)
                for k in range(2):
                    Image.new("L", (8, 8), 20 * k + (100 if kind == "cat" else 0)).save(place / f"{k}.png")
    for name, shade in (("tables", 0), ("other tables", 7)):
        (folder / name).mkdir()
        for split in ("train", "test"):
            rows = [{"image": _png(shade + 20 * k + 100 * label), "label": label} for label in (0, 1) for k in range(2)]
            pq.write_table(pa.Table.from_pylist(rows), folder / name / f"{split}.parquet")


def _png(shade: int) -> dict[str, bytes]:
    """A picture as Hugging Face's tables hold it."""
    file = io.BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return {"bytes": file.getvalue()}
