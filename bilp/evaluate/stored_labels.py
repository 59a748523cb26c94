"""Labels of an evaluation that the synthetic set stores: one soft label for each image, whatever a teacher would say today."""

from __future__ import annotations

from torch import Tensor

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.config import EvaluateConfig
from bilp.config.decode import DecodeConfig
from bilp.config.labels import LABELS, instead
from bilp.distill.learned_labels import read_learned_labels
from bilp.distill.soft_labels import read_soft_labels
from bilp.errors import ConfigError, DamagedArtifact
from bilp.storage.verification import again


def require_stored(config: EvaluateConfig, artifact: Artifact) -> None:
    """Raise ConfigError if labels of the set are asked for and it stores none, or if its images are others than those that are stored."""
    entry = LABELS[config.labels]
    if not entry.stored:
        return
    facts = artifact.stated(SyntheticFacts)
    if facts.soft_labels is None:
        asked = f"which evaluate.labels {entry.name} asks for"
        raise ConfigError(f"{artifact.uri} stores no soft labels, {asked}: set evaluate.labels to {instead(entry)}")
    if DecodeConfig.model_validate(facts.decode or {}).count(facts.ipc) != facts.ipc:
        raise ConfigError(f"{artifact.uri} stores labels of images that stand for several: set evaluate.labels to {instead(entry)}")


def labels_beside(config: EvaluateConfig, artifact: Artifact, images: int) -> Tensor | None:
    """What evaluation learns from beside the images of a set: logits float32 `[N, C]` of the soft labels that it stores, or values that
    were learned with them; None where the settings ask for neither, or a set has no such values.

    Raises DamagedArtifact unless there are as many as images.
    """
    entry = LABELS[config.labels]
    if entry.regressed:
        return read_learned_labels(artifact)
    if not entry.stored:
        return None
    logits = read_soft_labels(artifact)
    if logits is None or len(logits) != images:
        raise DamagedArtifact(f"{artifact.uri} does not store a soft label for each of its {images} images: {again(artifact.uri)}")
    return logits
