"""The digits, ingested once for this room, and a selection of a few samples of every class."""

from __future__ import annotations

import pytest
from tiny_training import Store

from bilp.config import IngestConfig, PruneConfig
from bilp.data import ingest, open_dataset
from bilp.pruning.prune import prune


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = str(tmp_path_factory.mktemp("experts-store"))
    uri = ingest(IngestConfig(), root)
    return Store(root, uri, open_dataset(uri), prune(uri, None, PruneConfig(criterion="random", keep=0.1), root))
