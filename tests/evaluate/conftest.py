"""A real data set (digits), a synthetic set made of a few of its images, and a small configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from bilp.artifacts.publication import publish
from bilp.config import EvaluateConfig, IngestConfig, NetworkConfig
from bilp.data import Dataset, ingest, open_dataset
from bilp.distill.soft_labels import FILE as LABELS
from bilp.distill.soft_labels import soft_labels

PublishSet = Callable[..., str]


@pytest.fixture(scope="session")
def digits_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return ingest(IngestConfig(source="digits"), str(tmp_path_factory.mktemp("digits")))


@pytest.fixture(scope="session")
def digits(digits_uri: str) -> Dataset:
    return open_dataset(digits_uri)


@pytest.fixture
def small() -> EvaluateConfig:
    return EvaluateConfig(networks=(NetworkConfig(width=16),), seeds=2, epochs=8, full_epochs=2, batch_size=32, learning_rate=0.05)


@pytest.fixture
def publish_set(tmp_path: Path, digits: Dataset) -> PublishSet:
    """Publishes a synthetic set as the last step of a distillation would; facts and tensors can be replaced, soft labels added."""

    def do(key: str, per_class: int = 2, tensors: dict[str, Tensor] | None = None, logits: Tensor | None = None, **facts: Any) -> str:
        if tensors is None:
            chosen = torch.cat([indices[:per_class] for indices in digits.train.by_class()])
            tensors = {"images": digits.train.batch(chosen), "labels": digits.train.labels[chosen]}
        stated: dict[str, Any] = {
            "class_names": list(digits.class_names),
            "shape": list(digits.shape),
            "mean": list(digits.mean),
            "std": list(digits.std),
            "dataset": digits.fingerprint,
            "ipc": per_class,
            "method": "dm",
            **facts,
        }
        uri = str(tmp_path / "runs" / key / "synthetic")
        files = {"synthetic.safetensors": safetensors.torch.save(tensors)}
        if logits is not None:
            files[LABELS], told = soft_labels(logits, None, 20.0)
            stated["soft_labels"] = told.model_dump(mode="json", exclude_none=True)
        return publish(uri, "synthetic", key, files, config={}, parents={}, facts=stated).uri

    return do
