"""A real data set (digits) and a synthetic set made of a few of its images."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from bilp.artifacts.publication import publish
from bilp.config import IngestConfig
from bilp.data import Dataset, ingest, open_dataset


@pytest.fixture(scope="session")
def digits_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return ingest(IngestConfig(source="digits"), str(tmp_path_factory.mktemp("digits")))


@pytest.fixture(scope="session")
def digits(digits_uri: str) -> Dataset:
    return open_dataset(digits_uri)


@pytest.fixture
def synthetic_uri(tmp_path: Path, digits: Dataset) -> str:
    chosen = torch.cat([indices[:3] for indices in digits.train.by_class()])
    images = 1.5 * digits.train.batch(chosen)  # some pixels leave the visible range, as distilled ones do
    tensors = {"images": images, "labels": digits.train.labels[chosen]}
    facts = {
        "dataset": digits.fingerprint,
        "class_names": [f"digit {name}" for name in digits.class_names],
        "shape": list(digits.shape),
        "mean": list(digits.mean),
        "std": list(digits.std),
        "ipc": 3,
        "method": "dm",
    }
    files = {"synthetic.safetensors": safetensors.torch.save(tensors)}
    return publish(str(tmp_path / "runs/a/synthetic"), "synthetic", "a", files, config={}, parents={}, facts=facts).uri
