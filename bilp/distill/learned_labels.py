"""Labels that are learned together with the images of a set: a file beside these, and what a manifest states of it.

Values are what networks shall give for the images, compared by their squared differences; they sum to about 0 and are neither
probabilities nor logits. Each image still has its class, for whoever trains with hard labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import LearnedLabelFacts, SyntheticFacts
from bilp.artifacts.publication import Content
from bilp.artifacts.tensors import decode_tensors, encode_tensors, require_tensors
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.regression import LABELS
from bilp.distill.step.state import DistillState

FILE = "learned_labels.safetensors"
VALUES = "values"
"""The one tensor of the file, float32 `[classes * ipc, classes]`."""


def product(state: DistillState, config: DistillConfig, pool: RealPool) -> tuple[dict[str, Content], dict[str, Any]]:
    """The file by name, and the facts, of a set whose state carries learned labels, or those of the beginning if they stayed so.

    Args:
        state: after the last iteration.
        config: settings of the run.
        pool: its real samples.
    """
    return label_files(state.method[LABELS], state.labels)


def label_files(values: Tensor, labels: Tensor) -> tuple[dict[str, Content], dict[str, Any]]:
    """The file and the facts of learned labels `[N, C]` of images of the classes int64 `[N]`."""
    values = values.detach().cpu().float()
    agreement = float((values.argmax(dim=1) == labels.cpu()).double().mean())
    facts = LearnedLabelFacts(kind="values", agreement=agreement)
    return {FILE: encode_tensors({VALUES: values})}, {"learned_labels": facts.model_dump(mode="json")}


def read_learned_labels(artifact: Artifact) -> Tensor | None:
    """Learned labels float32 `[N, C]` of a synthetic set, in the order of its stored images; None for a set without.

    Raises DamagedArtifact unless they are what its facts state.
    """
    facts = artifact.stated(SyntheticFacts)
    if facts.learned_labels is None:
        return None
    tensors = decode_tensors(artifact.read(FILE), artifact.place(FILE))
    require_tensors(tensors, {VALUES: (torch.float32, (facts.images[0], len(facts.class_names)))}, artifact.place(FILE))
    return tensors[VALUES]
