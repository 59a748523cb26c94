"""What the fuzzing changes: sources of every kind, and a storage in which every stage has been at work once, as small as can be."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from flax_state import array, centered, checkpoint
from PIL import Image

from bilp.config import (
    DistillConfig,
    EvaluateConfig,
    ExpertsConfig,
    IngestConfig,
    NetworkConfig,
    PipelineConfig,
    PruneConfig,
    ReselectConfig,
    ScoreConfig,
    TrajectoryConfig,
)
from bilp.data import read_source
from bilp.data.ingestion import dataset_of
from bilp.distill import distill_round, finish_run, reselect_round, start_run
from bilp.evaluate import evaluate_baseline, evaluate_synthetic
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.pruning.prune import prune
from bilp.scoring.summary import summarize
from bilp.scoring.trial import score_trial

CLASSES, TRAIN, TEST, SIDE = ("cat", "dog"), 6, 2, 8
NETWORK = NetworkConfig(width=4, depth=1)
SCORE = ScoreConfig(trials=1, epochs=1, init_epochs=1, early_from=1, early_to=1, network=NETWORK, batch_size=8)
PRUNE = PruneConfig(keep=0.7)
DISTILL = DistillConfig(iterations=2, rounds=2, batch_real=4, network=NETWORK)
RESELECT = ReselectConfig(candidates_per_class=4)
OFF = ReselectConfig(beta=0.0)
EXPERTS = ExpertsConfig(count=1, epochs=2)
TRAJECTORY = TrajectoryConfig(steps=1, expert_epochs=1, max_start=1, step_rate=1e-7)
MTT = DISTILL.model_copy(update={"method": "mtt", "iterations": 1, "rounds": 1, "trajectory": TRAJECTORY})
EVALUATE = EvaluateConfig(networks=(NETWORK,), seeds=2, epochs=1, full_epochs=1)


@dataclass(frozen=True)
class World:
    """Places relative to `root`, which is copied for each case; `files` holds the sources."""

    root: Path
    files: Path
    dataset: str
    whitened: str
    record: str
    trial: str
    scores: str
    selection: str
    run: str
    imitating: str
    experts: str
    evaluations: tuple[str, ...]

    def uri(self, place: str) -> str:
        """Where something lies in this world."""
        return str(self.root / place)

    @contextmanager
    def copied(self, folder: Path) -> Iterator[World]:
        """The same world elsewhere, for one case. Its files are links: whoever changes one puts another in its place."""
        place = folder / f"case-{next(_numbers)}"
        shutil.copytree(self.root, place / "store", copy_function=os.link)
        shutil.copytree(self.files, place / "files", copy_function=os.link)
        try:
            yield World(**{**self.__dict__, "root": place / "store", "files": place / "files"})
        finally:
            shutil.rmtree(place)

    def content(self) -> dict[str, str]:
        """Checksum of every file."""
        files = [path for folder in (self.root, self.files) for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


_numbers = count()


def config_of(files: Path) -> IngestConfig:
    """The folder of pictures as a source."""
    return IngestConfig(source="folder", uri=str(files / "pictures"))


def build(folder: Path) -> World:
    """Write the sources and run every stage."""
    files, root = folder / "files", folder / "store"
    write_sources(files)
    store = str(root)
    record = read_source(config_of(files), store)
    dataset = dataset_of(record, config_of(files))
    whitened = dataset_of(record, config_of(files).model_copy(update={"whitening": "zca"}))
    trial = score_trial(dataset, SCORE, 0, store)
    scores = summarize(dataset, SCORE, store)
    selection = prune(dataset, scores, PRUNE, store)
    run = start_run(dataset, selection, DISTILL, RESELECT, store)
    for number in (1, 2):
        reselect_round(run, number)
        distill_round(run, number)
    synthetic = finish_run(run)
    train_expert(dataset, None, EXPERTS, NETWORK, 0, store)
    experts = collect_experts(dataset, None, EXPERTS, NETWORK, store)
    imitating = start_run(dataset, None, MTT, OFF, store, experts)
    distill_round(imitating, 1)
    finish_run(imitating)
    evaluations = [
        evaluate_baseline(dataset, "random", 1, EVALUATE, store),
        evaluate_synthetic(dataset, synthetic, "bilp", 0, EVALUATE, store),
    ]
    places = (dataset, whitened, record, trial, scores, selection, run, imitating, experts)
    return World(root, files, *(os.path.relpath(place, root) for place in places), tuple(os.path.relpath(uri, root) for uri in evaluations))


def pipeline_config(world: World) -> PipelineConfig:
    """Settings of the page."""
    return PipelineConfig.model_validate({"dataset": "folder", "ingest": {"uri": str(world.files / "pictures")}, "arms": ["bilp"]})


def write_sources(files: Path) -> None:
    """A folder of pictures in every usual format, tables as on the Hugging Face hub, published sets, a score list and a recipe."""
    files.mkdir(parents=True)
    pixels = np.random.default_rng(0)
    formats = ("png", "jpg", "bmp", "gif", "webp", "tiff")
    rows: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
    for split, amount in (("train", TRAIN), ("test", TEST)):
        for label, name in enumerate(CLASSES):
            (files / "pictures" / split / name).mkdir(parents=True)
            for number in range(amount):
                picture = Image.fromarray(pixels.integers(0, 255, (SIDE, SIDE), dtype=np.uint8))
                picture.save(files / "pictures" / split / name / f"{number}.{formats[number % len(formats)]}")
                buffer = io.BytesIO()
                picture.save(buffer, "PNG")
                rows[split].append({"image": {"bytes": buffer.getvalue(), "path": f"{number}.png"}, "label": label})
    (files / "tables").mkdir()
    for split, found in rows.items():
        pq.write_table(pa.Table.from_pylist(found), files / "tables" / f"{split}-00000-of-00001.parquet")
    images, labels = torch.zeros(4, 1, SIDE, SIDE), torch.tensor([0, 0, 1, 1])
    torch.save({"data": [[images, labels]], "accs_all_exps": {"ConvNet": [0.5]}}, files / "dc.pt")
    torch.save(images, files / "images.pt")
    torch.save(labels, files / "labels.pt")
    torch.save([images, labels], files / "idc.pt")
    by_frepo, learned = images.permute(0, 2, 3, 1).numpy(), centered(2, 2)
    (files / "checkpoint").write_bytes(checkpoint(array(by_frepo), array(learned)))
    np.savez(files / "step.npz", image=by_frepo, label=learned)
    (files / "scores.json").write_text(json.dumps([float(number) for number in range(TRAIN * len(CLASSES))]))
    (files / "recipe.yaml").write_text(RECIPE)


RECIPE = """# a comment
dataset: digits
method: dm
ipc: 2
keep: 0.5
seed: 3
score: {trials: 2, network: {name: convnet, width: 16}}
distill:
  iterations: 20
  learning_rate: 1e-1
  augment: [flip, crop]
evaluate:
  networks:
    - convnet
    - {name: mlp}
  pool: ~
report:
  max_classes: 5
"""
