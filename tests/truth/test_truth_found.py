"""What the metrics are for: scores of a few epochs find labels that were made wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from bilp.config import IngestConfig, NetworkConfig, ScoreConfig
from bilp.config.label_noise import LabelNoiseConfig
from bilp.data import ingest, read_source
from bilp.scoring.summary import criterion_scores, open_summary, summarize
from bilp.scoring.trial import score_trial
from bilp.truth.metrics import auprc, auroc, precision_at_errors
from bilp.truth.table import open_truth


@pytest.mark.slow
def test_the_margin_of_ten_epochs_finds_symmetric_noise(tmp_path: Path) -> None:
    config = IngestConfig(label_noise=LabelNoiseConfig(kind="symmetric", share=0.4))
    truth = open_truth(read_source(config, str(tmp_path)))
    assert truth is not None
    dataset = ingest(config, str(tmp_path))
    score = ScoreConfig(trials=1, epochs=10, init_epochs=10, batch_size=64, network=NetworkConfig(width=16))
    score_trial(dataset, score, 0, str(tmp_path))
    suspicion = -criterion_scores(open_summary(summarize(dataset, score, str(tmp_path))), "aum")
    assert auroc(suspicion, truth.wrong) > 0.9
    assert auprc(suspicion, truth.wrong) > 0.9
    assert precision_at_errors(suspicion, truth.wrong) > 0.85
