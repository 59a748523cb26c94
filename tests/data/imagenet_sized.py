"""A data set as large as ImageNet-1K, 1,281,167 images of 1x2x2 pixels in 1000 classes, through every stage that reads tables of it.

    python imagenet_sized.py FOLDER          ingests arrays
    python imagenet_sized.py FOLDER parts    ingests a source of named images in parts: a plan, the parts, and what joins them

prints one line of JSON: what each stage found, its seconds of CPU, and the largest resident memory of the process. It is a process of its
own, so that this is what the stages took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import large_join
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.publication import TableFile, publish_table
from bilp.artifacts.tables import TRAJECTORY
from bilp.config import DistillConfig, NetworkConfig, PipelineConfig, PruneConfig, ReselectConfig, ScoreConfig
from bilp.data import open_dataset
from bilp.distill import distill_round, finish_run, reselect_round, start_run
from bilp.pruning.prune import prune
from bilp.report import report
from bilp.scoring.criteria import Trajectory
from bilp.scoring.summary import summarize
from bilp.scoring.trial_record import TRIAL, TRIAL_FILE, training_settings, trajectory_table, trial_key, trial_uri

SAMPLES, CLASSES = 1_281_167, 1000
LARGEST, SMALLEST = 1300, 732
TEST_EACH = 50
EPOCHS = 2
NARROW = NetworkConfig(width=4, depth=1)


def labels_of_imagenet() -> NDArray[np.int64]:
    """Labels `[SAMPLES]` in random order; classes have between SMALLEST and LARGEST samples, 895 of them LARGEST, as ImageNet's do."""
    sizes, smaller = np.full(CLASSES, LARGEST), CLASSES - 895 - 1
    sizes[895] = SMALLEST
    sizes[896:], more = divmod(SAMPLES - 895 * LARGEST - SMALLEST, smaller)
    sizes[896 : 896 + more] += 1
    return np.random.default_rng(0).permutation(np.repeat(np.arange(CLASSES), sizes))


def ingested(root: str) -> str:
    """The data set, whose images are numbers from 0 in base 256."""
    labels = labels_of_imagenet()
    numbers = np.arange(SAMPLES + CLASSES * TEST_EACH, dtype=np.uint32).view(np.uint8).reshape(-1, 2, 2)
    names = [f"n{c:08d} a name as long as those of ImageNet are" for c in range(CLASSES)]
    of_test = np.arange(CLASSES * TEST_EACH) % CLASSES
    return bilp.ingest(
        images=numbers[:SAMPLES], labels=labels, class_names=names, test=(numbers[SAMPLES:], of_test), layout="NHW", root=root
    ).uri


def scored(dataset_uri: str, config: ScoreConfig, root: str) -> None:
    """A trial whose losses are drawn instead of trained for."""
    dataset, stream = open_dataset(dataset_uri), np.random.default_rng(1)
    losses = stream.gamma(2.0, 0.5, (EPOCHS, SAMPLES)).astype(np.float32)
    record = Trajectory(losses, losses < 1, losses / np.float32(2), np.float32(1) - losses)
    table = trajectory_table(dataset.train.labels.numpy(), 0, record)
    told = {"dataset": dataset.fingerprint, "trial": 0, "samples": SAMPLES, "epochs": EPOCHS, "measure": config.measure}
    publish_table(
        trial_uri(root, dataset.fingerprint, config, 0),
        TRIAL,
        trial_key(dataset.fingerprint, config, 0),
        TableFile(TRIAL_FILE, table, TRAJECTORY, {"dataset": dataset.fingerprint, "trial": 0}),
        config=training_settings(config),
        parents={"dataset": dataset_uri},
        facts={**told, "final_loss": float(losses[-1].mean()), "final_accuracy": float((losses[-1] < 1).mean())},
    )


def distilled(dataset: str, selection: str, root: str) -> str:
    """A run of one round and one iteration, which reselects; its URI."""
    distill = DistillConfig(method="dm", ipc=1, iterations=1, rounds=1, batch_real=4, augment=("color", "flip"), network=NARROW)
    reselect = ReselectConfig(beta=0.2, candidates_per_class=8, networks=1)
    run = start_run(dataset, selection, distill, reselect, root)
    reselect_round(run, 1)
    distill_round(run, 1)
    finish_run(run)
    return run


def peak_bytes() -> int:
    """Of this program: `ru_maxrss` would be that of the process which started it, if that was larger."""
    return int(Path("/proc/self/status").read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) * 1024


def main(root: str, *how: str) -> None:
    """Go through the stages."""
    told: dict[str, Any] = {"seconds": {}}
    begun = time.process_time()

    def after(stage: str) -> None:
        nonlocal begun
        told["seconds"][stage], begun = round(time.process_time() - begun, 1), time.process_time()

    score = ScoreConfig(trials=1, epochs=EPOCHS, init_epochs=1, converge_epochs=1, early_from=1, early_to=1, network=NARROW)
    if how == ("parts",):
        large_join.made_up()
        plan_uri = large_join.planned(root)
        after("plan")
        large_join.decoded(plan_uri)
        after("parts")
        dataset = large_join.joined(root)
        after("join")
    else:
        dataset = ingested(root)
        after("ingest")
    scored(dataset, score, root)
    after("a trial's table")
    scores = summarize(dataset, score, root)
    after("summarize")
    selection = prune(dataset, scores, PruneConfig(keep=0.4), root)
    after("prune")
    run = distilled(dataset, selection, root)
    after("run")
    page = Path(report(PipelineConfig(score=score, keep=0.4), dataset, scores, selection, {"bilp": [run]}, [], root))
    after("page")
    facts = open_artifact(selection, "selection").manifest.facts
    told |= {
        "samples": len(open_dataset(dataset).train),
        "summarized": sum(pq.read_metadata(path).num_rows for path in Path(scores).glob("*.parquet")),
        "kept": sum(facts["kept_per_class"]),
        "classes": len(facts["kept_per_class"]),
        "page": str(page),
        "page_bytes": page.stat().st_size,
        "peak_bytes": peak_bytes(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
