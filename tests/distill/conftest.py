"""The digits, ingested once for this room."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny_distillation import Store
from tiny_experts import experts

from bilp.config import IngestConfig, PruneConfig
from bilp.data import ingest, open_dataset
from bilp.data.pool import RealPool
from bilp.experts.buffer import ExpertBuffer
from bilp.pruning.prune import prune


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = str(tmp_path_factory.mktemp("distill-store"))
    uri = ingest(IngestConfig(), root)
    return Store(root, uri, open_dataset(uri))


@pytest.fixture(scope="session")
def few(store: Store) -> Callable[[int], RealPool]:
    """Makes a pool of the first `count` samples of every class."""

    def make(count: int) -> RealPool:
        return RealPool(store.dataset, torch.cat([ids[:count] for ids in store.dataset.train.by_class()]))

    return make


@pytest.fixture(scope="module")
def selection(store: Store) -> str:
    """A tenth of every class."""
    return prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)


@pytest.fixture(scope="module")
def buffer(store: Store, selection: str) -> ExpertBuffer:
    """Experts on these."""
    return ExpertBuffer(experts(store, selection))
