"""The digits, ingested once for this room."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny_distillation import NARROW, Store
from tiny_experts import experts

from bilp.config import IngestConfig, PruneConfig, TeacherConfig
from bilp.data import ingest, open_dataset
from bilp.data.pool import RealPool
from bilp.evaluate import train_teacher
from bilp.experts.buffer import ExpertBuffer
from bilp.pruning.prune import prune
from bilp.teachers.stored_teacher import StoredTeacher


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


@pytest.fixture(scope="module")
def teacher(store: Store) -> StoredTeacher:
    """Of all samples, after a short training."""
    return StoredTeacher(train_teacher(store.uri, TeacherConfig(network=NARROW, epochs=3, batch_size=64), 0, store.root))


@pytest.fixture(scope="module")
def ranking(store: Store) -> str:
    """All samples in random order."""
    return prune(store.uri, None, PruneConfig(criterion="random", seed=3).ranking, store.root)
