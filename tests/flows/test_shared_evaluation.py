"""Large evaluations as units of their own: which there are, what they are called, and when each is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bilp.config import EvaluateConfig, IngestConfig, NetworkConfig
from bilp.config.evaluated_set import EvaluatedSet
from bilp.data import ingest
from bilp.evaluate import evaluate_network
from flows.units.blocks import blocks_elsewhere
from flows.units.table import UNITS
from tasks.remote import is_published

CONFIG = EvaluateConfig(networks=(NetworkConfig(name="mlp"), NetworkConfig(width=8)), seeds=3, epochs=1, batch_size=32, networks_at_once=1)


def test_an_evaluation_is_divided_where_others_carry_out_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path)
    shared: dict[str, Any] = {"dataset_uri": ingest(IngestConfig(source="digits"), root), "config": CONFIG, "root": root}
    subjects = [EvaluatedSet(baseline="random", ipc=1)]
    monkeypatch.setenv("BILP_SEEDS_PER_UNIT", "2")
    assert blocks_elsewhere(subjects, **shared) == [], "one process trains everything anyway"
    monkeypatch.setenv("BILP_EXECUTION", "workers")
    calls = blocks_elsewhere(subjects, **shared)
    assert [call.label for call in calls] == [
        "train random, network 0, seeds 0 to 1",
        "train random, network 0, seeds 2 to 2",
        "train random, network 1, seeds 0 to 1",
        "train random, network 1, seeds 2 to 2",
    ]
    assert len({call.artifact for call in calls}) == 4 and not any(is_published(call.artifact) for call in calls)
    first = calls[0]
    assert UNITS["evaluate-network"].call(**first.arguments).artifact == first.artifact
    told = json.loads(json.dumps(first.parameters))
    again = EvaluatedSet.model_validate(told["subject"]), type(first.arguments["block"]).model_validate(told["block"])
    assert again == (first.arguments["subject"], first.arguments["block"]), "as a worker reads its arguments"
    done = evaluate_network(shared["dataset_uri"], again[0], again[1], CONFIG, root)
    assert done == first.artifact and [is_published(call.artifact) for call in calls] == [True, False, False, False]
    monkeypatch.delenv("BILP_SEEDS_PER_UNIT")
    assert blocks_elsewhere(subjects, **shared) == [], "digits are no work for several"
