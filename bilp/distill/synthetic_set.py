"""The one way to read a synthetic set, whoever is to train on it, show it or write it in another format."""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.run_layout import IMAGES
from bilp.artifacts.tensors import read_tensors, require_tensors
from bilp.errors import DamagedArtifact
from bilp.storage.verification import again


def read_set(artifact: Artifact) -> tuple[Tensor, Tensor]:
    """The stored images `[classes * ipc, C, H, W]` (float32, normalized, never decoded) and labels `[classes * ipc]` (int64) of a set.

    Raises DamagedArtifact unless they are what its facts state: ipc finite images of each class, in the order of the classes.
    """
    facts, where = artifact.stated(SyntheticFacts), artifact.place(IMAGES)
    with artifact.fetched(IMAGES) as file:
        tensors = read_tensors(file, where)
    require_tensors(tensors, {"images": (torch.float32, facts.images), "labels": (torch.int64, facts.images[:1])}, where)
    if not torch.equal(tensors["labels"], torch.arange(len(facts.class_names)).repeat_interleave(facts.ipc)):
        raise DamagedArtifact(
            f"{where} does not hold {facts.ipc} images of each of {len(facts.class_names)} classes in their order: {again(artifact.uri)}"
        )
    return tensors["images"], tensors["labels"]
