"""The digits, ingested once for this room, and a selection of a few samples of every class."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bilp.config import ExpertsConfig, IngestConfig, NetworkConfig, PruneConfig
from bilp.data import Dataset, ingest, open_dataset
from bilp.pruning.stage import prune

NARROW = NetworkConfig(width=8, depth=2)
TINY = ExpertsConfig(count=3, epochs=3, batch_size=32, learning_rate=0.1, augment=("color", "crop", "cutout", "scale", "rotate"))


@dataclass(frozen=True)
class Store:
    """A storage root with the digits and a tenth of them selected."""

    root: str
    uri: str
    dataset: Dataset
    selection: str


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = str(tmp_path_factory.mktemp("experts-store"))
    uri = ingest(IngestConfig(), root)
    return Store(root, uri, open_dataset(uri), prune(uri, None, PruneConfig(criterion="random", keep=0.1), root))
