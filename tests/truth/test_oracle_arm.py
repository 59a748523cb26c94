"""Arm oracle: rightly labeled samples where the truth is known, and one line before any work where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_truth_table import record_beside

from bilp.config import IngestConfig, PipelineConfig
from bilp.data import open_recorded, read_source
from bilp.errors import ConfigError
from bilp.preflight import check_choices
from bilp.pruning.chosen import Available, choose
from bilp.pruning.prune import load_selection
from bilp.truth.oracle import oracle_selection

ORACLE = PipelineConfig.model_validate({"dataset": "digits", "method": "dm", "arms": ["unpruned", "oracle"]})


def test_it_is_refused_in_one_line_where_no_truth_is_known(tmp_path: Path) -> None:
    record = read_source(IngestConfig(), str(tmp_path))
    for known in (record, None):
        with pytest.raises(ConfigError, match="set ingest.label_noise, or leave arm oracle out") as refused:
            check_choices(ORACLE, known)
        assert "\n" not in str(refused.value)
    check_choices(ORACLE.model_copy(update={"arms": ("unpruned", "bilp")}), record)


def test_it_takes_the_rightly_labeled_samples(tmp_path: Path) -> None:
    root = str(tmp_path)
    record = read_source(IngestConfig(), root)
    dataset = open_recorded(record)
    true_label = dataset.train.labels.numpy().copy()
    true_label[[3, 5]] = (true_label[[3, 5]] + 1) % 10
    dirty = record_beside(record, true_label)
    check_choices(ORACLE, dirty)
    of = Available(dataset.uri, dirty, None, 0, root)
    chosen = choose("rightly_labeled", of)
    assert chosen == oracle_selection(dataset.uri, dirty, root)
    assert np.array_equal(load_selection(chosen).numpy(), np.delete(np.arange(len(true_label)), [3, 5]))
