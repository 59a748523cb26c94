"""Labels that networks are sure of: probabilities from what trials record, who gets another label, and that these are right."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SuspectsFacts
from bilp.suspects.relabeling import Predicted, Surest, relabeled, surest
from bilp.suspects.stage import CORRECTIONS, KIND
from bilp.truth.table import open_truth

SCORE = {
    "trials": 1,
    "epochs": 10,
    "init_epochs": 2,
    "converge_epochs": 3,
    "network": {"width": 16, "depth": 2},
    "batch_size": 32,
    "learning_rate": 0.02,
}
NOISE = {"kind": "symmetric", "share": 0.4}


def test_the_surest_class_is_that_of_the_mean_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against softmax itself, of logits that two trials gave in three epochs; in blocks of a few samples as at once."""
    stream = torch.Generator().manual_seed(7)
    labels = torch.randint(5, (40,), generator=stream)
    trials, expected = [], np.zeros((40, 5))
    for _ in range(2):
        logits = 3.0 * torch.randn(3, 40, 5, generator=stream, dtype=torch.float64)
        own = logits.gather(2, labels.expand(3, -1).unsqueeze(2)).squeeze(2)
        others = logits.scatter(2, labels.expand(3, -1).unsqueeze(2), -torch.inf).max(2).values
        loss = torch.stack([functional.cross_entropy(each, labels, reduction="none") for each in logits])
        predicted = logits.argmax(2)
        trials.append(Predicted(loss.numpy(), (own - others).numpy(), predicted.numpy()))
        best = logits.softmax(2).gather(2, predicted.unsqueeze(2)).squeeze(2)
        for epoch in range(3):
            expected[np.arange(40), predicted[epoch].numpy()] += best[epoch].numpy() / 6
    whole = surest(trials, labels.numpy(), 5)
    np.testing.assert_allclose(whole.confidence, expected.max(1), rtol=1e-12)
    assert (whole.classes == expected.argmax(1)).all()
    monkeypatch.setattr("bilp.suspects.relabeling.BLOCK", 35)
    parts = surest(trials, labels.numpy(), 5)
    assert (parts.classes == whole.classes).all() and (parts.confidence == whole.confidence).all()


def test_who_gets_another_label() -> None:
    sure = Surest(np.array([1, 1, 1, 0, 1]), np.array([0.95, 0.94, 0.99, 0.99, 0.99]))
    left_out = np.array([True, True, False, True, True])
    assert relabeled(sure, np.array([0, 0, 0, 0, 1]), 0.95, left_out).tolist() == [True, False, False, False, False]


@pytest.mark.slow
def test_relabeled_labels_are_right_far_more_often_than_before(tmp_path: Path) -> None:
    """Of digits of which 40 % are wrong; what is kept by a selection or has been reviewed keeps its label."""
    data = bilp.ingest("digits", root=tmp_path, label_noise=NOISE)
    truth = open_truth(str(data.record_uri))
    assert truth is not None
    right = bilp.ingest("digits", root=tmp_path).opened.train.labels.numpy()
    found = bilp.suspects(data, relabel=0.4, **SCORE)
    artifact = open_artifact(found.uri, KIND)
    rows = list(csv.DictReader(io.StringIO(artifact.read(CORRECTIONS).decode())))
    decided = [row for row in rows if row["action"]]
    assert {row["action"] for row in decided} == {"relabel"}
    assert rows[: len(decided)] == decided, "they stand at the top"
    assert artifact.stated(SuspectsFacts).relabeled == len(decided)
    numbers = found.table.set_index("path")["sample_id"]
    ids = np.array([numbers[row["path"]] for row in decided])
    new = np.array([data.opened.class_names.index(row["new_label"]) for row in decided])
    assert len(ids) > 0.5 * truth.wrong.sum()
    assert truth.wrong[ids].mean() > 0.9, "labels that were wrong"
    assert (new == right[ids]).mean() > 0.95, "and are right now"
    (tmp_path / "corrections.csv").write_bytes(artifact.read(CORRECTIONS))
    corrected = bilp.ingest("digits", root=tmp_path, label_noise=NOISE, corrections=str(tmp_path / "corrections.csv"))
    wrong = (corrected.opened.train.labels.numpy() != right).mean()
    assert wrong < 0.5 * truth.wrong.mean()
    again = bilp.suspects(corrected, relabel=0.4, **SCORE)
    texts = open_artifact(again.uri, KIND).read(CORRECTIONS).decode()
    assert not {row["path"] for row in csv.DictReader(io.StringIO(texts)) if row["action"]} & {row["path"] for row in decided}
    assert found.uri != bilp.suspects(data, **SCORE).uri
