"""Score tables of ImageNet's size: write one trial's record, read it, summarize it, prune by it.

    python -m benchmarks.score_table                     # 1,281,167 samples, 1000 classes, one trial of one epoch
    python -m benchmarks.score_table --epochs 5 --repeat 5

Prints the median seconds of each step, the peak memory of the process, and how much faster the cut is than the obvious
loop over classes in Python, which must keep the same samples.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import publish
from bilp.artifacts.tables import SELECTION, SUMMARY, TRAJECTORY
from bilp.config import ScoreConfig
from bilp.pruning.prune import selection_table
from bilp.pruning.static import Cut, select
from bilp.scoring.criteria import Trajectory
from bilp.scoring.summary import summary_table
from bilp.scoring.trial_record import TRIAL, TRIAL_FILE, read_trajectory, trajectory_table

SAMPLES = 1_281_167
CLASSES = 1000
LARGEST = 1300  # images of 895 of ImageNet's classes; the others have 732 to 1299
SMALLEST = 732
KEEP = 0.1


class Watch:
    """Seconds of each named step, once per repetition."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def time(self, name: str, work: Callable[[], Any]) -> Any:
        """Do the work, remember how long it took, and hand on its result."""
        start = time.perf_counter()
        result = work()
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)
        return result


def imagenet_labels(seed: int = 0) -> NDArray[np.int64]:
    """Labels [SAMPLES] in random order, with class sizes like those of ImageNet-1k."""
    rng = np.random.default_rng(seed)
    counts = np.full(CLASSES, LARGEST)
    missing = CLASSES * LARGEST - SAMPLES
    while missing:
        chosen = rng.integers(0, 105, size=min(missing, 100))
        for index in chosen:
            if counts[index] > SMALLEST:
                counts[index] -= 1
                missing -= 1
    labels = np.repeat(np.arange(CLASSES), counts)
    rng.shuffle(labels)
    return labels


def naive_cut(scores: list[float], labels: list[int], dropped_of: Callable[[int], int]) -> set[int]:
    """Keep low scores class by class, in plain Python."""
    kept: set[int] = set()
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    for group in members.values():
        ranking = sorted(group, key=lambda index: (scores[index], index))
        kept.update(ranking[: len(ranking) - dropped_of(len(ranking))])
    return kept


def one_pass(labels: NDArray[np.int64], trajectory: Trajectory, folder: Path, watch: Watch) -> tuple[NDArray[np.float64], Cut]:
    """The steps from a trial's record in memory to a published selection."""
    config = ScoreConfig(trials=1, epochs=trajectory.epochs, init_epochs=trajectory.epochs)
    names = [str(c) for c in range(CLASSES)]

    def put(name: str, kind: str, file: str, data: bytes) -> str:
        uri = str(folder / name)
        facts = {"measure": "trajectory", "criteria": ["loss_init"]}
        publish(uri, kind, "0" * 16, {file: data}, config={}, parents={}, facts=facts)
        return uri

    uri = watch.time(
        "write trial",
        lambda: put("trial", TRIAL, TRIAL_FILE, encode(trajectory_table(labels, 0, trajectory), TRAJECTORY, {})),
    )
    record = watch.time("read trial", lambda: read_trajectory(open_artifact(uri, TRIAL), trajectory.epochs, len(labels)))
    table = watch.time("summarize", lambda: summary_table(labels, [record], config))
    summary = watch.time("write summary", lambda: put("summary", "score_summary", "summary.parquet", encode(table, SUMMARY, {})))
    scores = watch.time(
        "read summary",
        lambda: (
            open_artifact(summary, "score_summary")
            .table("summary.parquet", SUMMARY, ["loss_init"])["loss_init"]
            .to_numpy()
            .astype(np.float64)
        ),
    )
    cut = watch.time("cut", lambda: select(scores, labels, names, keep=KEEP, minimum_per_class=2))
    watch.time(
        "write selection",
        lambda: put("selection", "selection", "selection.parquet", encode(selection_table(labels, scores, cut), SELECTION, {})),
    )
    return scores, cut


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1, help="epochs of the trial")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions; medians are printed")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    labels = imagenet_labels()
    rng = np.random.default_rng(1)
    losses = rng.exponential(2.0, size=(arguments.epochs, SAMPLES)).astype(np.float32)
    el2n, margins = rng.random(losses.shape, dtype=np.float32), rng.normal(size=losses.shape).astype(np.float32)
    trajectory = Trajectory(losses, losses < 1.0, el2n, margins)
    watch = Watch()
    for _ in range(arguments.repeat):
        with tempfile.TemporaryDirectory() as folder:
            scores, cut = one_pass(labels, trajectory, Path(folder), watch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # before the naive loop takes its own

    size = f"{SAMPLES:,} samples, {CLASSES} classes, 1 trial, epochs {arguments.epochs}"
    print(f"{size}, {os.cpu_count()} cores, {arguments.threads} threads, median of {arguments.repeat}")
    for name, seconds in watch.seconds.items():
        print(f"  {name:16s} {median(seconds):7.3f} s")
    print(f"  {'total':16s} {median(map(sum, zip(*watch.seconds.values(), strict=True))):7.3f} s")
    print(f"  {'peak memory':16s} {peak:7.2f} GiB")

    plain_scores, plain_labels = scores.tolist(), labels.tolist()
    kept = watch.time("naive", lambda: naive_cut(plain_scores, plain_labels, lambda n: (2 * 9 * n + 10) // 20))
    if kept != set(np.flatnonzero(cut.kept).tolist()):
        raise SystemExit("the naive loop keeps other samples: the cut is wrong")
    naive, fast = watch.seconds["naive"][0], median(watch.seconds["cut"])
    print(f"  naive loop over classes {naive:.2f} s; the cut is {naive / fast:.1f} times as fast and keeps the same samples")


if __name__ == "__main__":
    main()
