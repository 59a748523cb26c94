"""Top-k accuracies: against a table by hand, through the stage, and absent where so few classes make every answer right."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from bilp.artifacts import parquet
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import EVALUATION, TOP_K
from bilp.config import EvaluateConfig, NetworkConfig
from bilp.data import open_dataset
from bilp.evaluate import evaluate_baseline, evaluate_synthetic, summary
from bilp.evaluate.metrics import Measurement, mean_top_k
from bilp.evaluate.results import FILE, KIND
from bilp.evaluate.rows import evaluation_rows
from bilp.evaluate.stacked_training import answers_of_all, fresh_stack
from bilp.nets import build, initialize
from bilp.report.accuracy import accuracy
from bilp.report.comparison import Training
from bilp.seeds import generator
from bilp.training.answers import Answers, within_top
from bilp.training.train import ImageSet, answers

BY_HAND = (
    # logits of six classes, label, and the place of the label's logit among them, from 1
    ((9, 1, 2, 3, 4, 5), 0, 1),
    ((9, 1, 2, 3, 4, 5), 5, 2),
    ((9, 1, 2, 3, 4, 5), 2, 5),
    ((9, 1, 2, 3, 4, 5), 1, 6),
    ((0, 0, 0, 0, 0, 0), 0, 1),  # of equal ones the lower class comes first
    ((0, 0, 0, 0, 0, 0), 4, 5),
    ((0, 0, 0, 0, 0, 0), 5, 6),
    ((1, 1, 3, 1, 1, 1), 3, 4),
)


def test_the_place_of_a_label_by_hand() -> None:
    logits = torch.tensor([row[0] for row in BY_HAND], dtype=torch.float32)
    labels, places = torch.tensor([row[1] for row in BY_HAND]), [row[2] for row in BY_HAND]
    for k in range(1, 7):
        expected = [place <= k for place in places]
        assert within_top(logits, labels, k).tolist() == expected, k
        assert within_top(torch.stack([logits, -logits]), labels, k)[0].tolist() == expected, "of several networks"
    assert Answers.of(logits, labels, 5).top_k_shares() == [6 / 8]
    assert Answers.of(logits, labels, 6).within is None, "among six classes the six likeliest are all"
    assert Answers.of(logits, labels, None).top_k_shares() == []
    assert within_top(logits, labels, 1).tolist() == (logits.argmax(1) == labels).tolist()


def test_networks_alone_and_together_answer_alike() -> None:
    stream = generator(0, "images")
    data = ImageSet.of_tensors(torch.randn(300, 1, 8, 8, generator=stream), torch.randint(10, (300,), generator=stream))
    network = build(NetworkConfig(name="mlp"), (1, 8, 8), 10)
    stacked = fresh_stack(network, [generator(7, k) for k in range(3)])
    together = answers_of_all(network, stacked, data, 5)
    assert together.within is not None and together.within.shape == (3, 300)
    for k in range(3):
        initialize(network, generator(7, k))
        alone = answers(network, data, 5)
        assert torch.equal(alone.predicted, together.predicted[k]) and alone.within is not None
        assert torch.equal(alone.within, together.within[k])
        with torch.no_grad():
            best = network(data.images(torch.arange(300))).topk(5).indices
        assert alone.top_k_shares() == [(best == data.labels[:, None]).any(1).double().mean().item()]


@pytest.fixture
def config(small: EvaluateConfig) -> EvaluateConfig:
    return small.model_copy(update={"networks": (NetworkConfig(name="mlp"),), "seeds": 2, "epochs": 2})


def test_the_stage_records_both(digits_uri: str, config: EvaluateConfig, tmp_path: Path) -> None:
    uri = evaluate_baseline(digits_uri, "random", 1, config, str(tmp_path))
    rows = evaluation_rows(open_artifact(uri, KIND))
    for row in rows:
        assert row["top_k"] == 5
        assert row["accuracy"] < row["top_k_accuracy"] <= row["best_top_k_accuracy"] <= 1.0
    (told,) = summary([uri])
    assert told.top_k is not None and (told.top_k.k, told.top_k.share.n) == (5, 2)
    assert told.top_k.share.mean == pytest.approx(np.mean([row["top_k_accuracy"] for row in rows]))
    page = accuracy([Training(**row) for row in rows])
    assert page is not None and page.top_k == "Top 5" and page.rows[0].within.startswith(f"{100 * told.top_k.share.mean:.1f}")
    three = evaluate_baseline(digits_uri, "random", 1, config.model_copy(update={"top_k": 3}), str(tmp_path))
    assert three != uri
    for wide, narrow in zip(rows, evaluation_rows(open_artifact(three, KIND)), strict=True):
        assert narrow["top_k"] == 3 and narrow["accuracy"] == wide["accuracy"]
        assert narrow["accuracy"] < narrow["top_k_accuracy"] < wide["top_k_accuracy"]


def test_where_all_answers_would_be_right_nothing_is_told(digits_uri: str, config: EvaluateConfig, tmp_path: Path) -> None:
    assert open_dataset(digits_uri).classes == 10
    uri = evaluate_baseline(digits_uri, "random", 1, config.model_copy(update={"top_k": 10}), str(tmp_path))
    rows = evaluation_rows(open_artifact(uri, KIND))
    assert {row["top_k"] for row in rows} == {0}
    assert all(math.isnan(row[name]) for row in rows for name in TOP_K[1:])
    assert summary([uri])[0].top_k is None
    page = accuracy([Training(**row) for row in rows])
    assert page is not None and page.top_k == "" and page.rows[0].within == ""
    (line, *_) = csv.DictReader(io.StringIO(base64.b64decode(page.csv_uri.partition("base64,")[2]).decode()))
    assert line["top_k_accuracy"] == ""


def test_tables_from_before_are_read(digits_uri: str, config: EvaluateConfig, publish_set: Callable[..., str], tmp_path: Path) -> None:
    uri = evaluate_synthetic(digits_uri, publish_set("a"), "static", 0, config, str(tmp_path))
    table = open_artifact(uri, KIND).table(FILE, EVALUATION)
    former = pa.schema([field for field in EVALUATION if field.name not in TOP_K])
    assert [field.name for field in EVALUATION][len(former) :] == list(TOP_K), "what is added comes last"
    read = parquet.read(parquet.encode(table.select(former.names), former, {}), EVALUATION)
    assert read["accuracy"].to_pylist() == table["accuracy"].to_pylist()
    assert read["top_k"].to_pylist() == [0, 0]
    assert all(map(math.isnan, read["top_k_accuracy"].to_pylist()))


def test_a_mean_needs_one_k_for_all() -> None:
    def row(seed: int, k: int, value: float) -> Measurement:
        return Measurement("bilp", 0, "mlp", seed, 0.1, top_k=k, top_k_accuracy=value)

    found = mean_top_k([row(0, 5, 0.25), row(1, 5, 0.75)])
    assert found is not None and (found.k, found.share.mean) == (5, 0.5)
    assert mean_top_k([row(0, 5, 0.25), row(1, 0, math.nan)]) is None, "one was not recorded"
    assert mean_top_k([row(0, 5, 0.25), row(1, 3, 0.25)]) is None
