"""What the set of a method holds beside its images where it is stored as something smaller, from which they follow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.facts.distillation import StorageFacts
from bilp.artifacts.publication import Content
from bilp.artifacts.tensors import Form, encode_tensors, read_tensors, require_tensors
from bilp.config import METHODS, DistillConfig
from bilp.config.storage import equivalent_ipc
from bilp.data.pool import RealPool
from bilp.distill.step.state import DistillState
from bilp.errors import DamagedArtifact, MissingArtifact
from bilp.images.factors import Factors
from bilp.registry import resolve
from bilp.storage.verification import again

FILE = "factors.safetensors"


def product(state: DistillState, config: DistillConfig, pool: RealPool) -> tuple[dict[str, Content], dict[str, Any]]:
    """The file of the tensors that the images follow from, and the fact of how many numbers these are.

    Args:
        state: after the last iteration.
        config: settings of the run.
        pool: its real samples.
    """
    factors: Factors = resolve(METHODS[config.method].factors)
    held = {name: state.method[name] for name in factors.names}
    values, shape = sum(value.numel() for value in held.values()), pool.dataset.shape
    facts = StorageFacts(values=values, equivalent_ipc=equivalent_ipc(values, pool.classes, shape))
    return {FILE: encode_tensors(held)}, {"storage": facts.model_dump(mode="json")}


def rendered_set(artifact: Artifact) -> Tensor:
    """The images `[M, C, H, W]` of a synthetic set, made of what it is stored as: equal to those that it holds.

    Raises MissingArtifact for a set that is stored as its images, and DamagedArtifact for tensors that cannot be those of the set.
    """
    facts, found = artifact.stated(SyntheticFacts), read_factors(artifact)
    if found is None:
        raise MissingArtifact(f"{artifact.uri} holds no {FILE}: a set of method {facts.method} is stored as its images")
    factors, tensors = found
    return factors.rendered(tensors, facts.shape)


def read_factors(artifact: Artifact) -> tuple[Factors, dict[str, Tensor]] | None:
    """What a synthetic set is stored as, and how its images follow; None for a set that is stored as its images.

    Raises DamagedArtifact for tensors that cannot be those of the set.
    """
    facts = artifact.stated(SyntheticFacts)
    if FILE not in artifact.manifest.files:
        return None
    factors: Factors = resolve(METHODS.known(facts.method).factors)
    where = artifact.place(FILE)
    with artifact.fetched(FILE) as file:
        tensors = read_tensors(file, where)
    forms: dict[str, Form] = {name: (torch.float32, tuple(tensors[name].shape) if name in tensors else ()) for name in factors.names}
    require_tensors(tensors, forms, where)
    if not factors.fit(tensors, facts.images):
        raise DamagedArtifact(f"{where} does not make images {list(facts.images)}: {again(artifact.uri)}")
    return factors, tensors
