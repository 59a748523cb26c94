"""A whole pipeline on wrong labels never looks at the truth, and computes the same without it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_world import DISTILL, EVALUATE, MEASURE, RESELECT, SCORE, go_through

from bilp.config import IngestConfig, PruneConfig
from bilp.config.label_noise import LabelNoiseConfig
from bilp.data import ingest, open_dataset, read_source
from bilp.distill import start_run
from bilp.evaluate import evaluate_baseline, evaluate_synthetic
from bilp.pruning.prune import prune
from bilp.scoring.summary import summarize
from bilp.scoring.trial import score_trial
from bilp.storage import objects
from bilp.storage.trace import tracing
from bilp.truth.table import open_truth, truth_uri

NOISY = IngestConfig(label_noise=LabelNoiseConfig(kind="symmetric", share=0.4))


def computed(root: str, dataset: str) -> dict[str, bytes]:
    """Every table and tensor that is made of a data set by scoring, pruning, distilling and evaluating."""
    for number in range(SCORE.trials):
        score_trial(dataset, SCORE, number, root)
    score_trial(dataset, MEASURE, 0, root)
    selection = prune(dataset, summarize(dataset, SCORE, root), PruneConfig(keep=0.5), root)
    synthetic = go_through(start_run(dataset, selection, DISTILL, RESELECT, root), "dm")
    evaluate_baseline(dataset, "full", 1, EVALUATE, root)
    evaluate_synthetic(dataset, synthetic, "bilp", 0, EVALUATE, root)
    names = [name for name in objects.listing(root) if name.endswith((".parquet", ".safetensors")) and not name.startswith("datasets/")]
    return {name: objects.read(objects.join(root, name)) for name in sorted(names)}


@contextmanager
def truth_watched() -> Iterator[Callable[[], list[str]]]:
    """Gives what was asked for below a folder of truth."""
    with tracing() as trace:
        yield lambda: [path for path in trace.seen if "/truth/" in path or path.endswith("/truth")]


@pytest.mark.slow
def test_a_pipeline_never_asks_for_the_truth_and_gives_the_same_bytes_without_it(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    record = read_source(NOISY, root)
    dataset = ingest(NOISY, root)
    shutil.copytree(root, tmp_path / "other")
    objects.delete(truth_uri(record.replace("/store/", "/other/")))
    with truth_watched() as asked:
        first = computed(root, dataset)
        assert asked() == []
        assert open_truth(record) is not None
        assert asked() != [], "who does is noticed"
    assert len(first) > 10
    assert computed(str(tmp_path / "other"), dataset.replace("/store/", "/other/")) == first


def test_the_data_set_itself_names_no_truth(tmp_path: Path) -> None:
    record, dataset = read_source(NOISY, str(tmp_path)), ingest(NOISY, str(tmp_path))
    with truth_watched() as asked:
        opened = open_dataset(dataset, record)
        opened.train.batch()
        opened.train.index()
        assert opened.origins("train")
        assert asked() == []
    assert b"truth" not in (Path(dataset) / "_manifest.json").read_bytes()
