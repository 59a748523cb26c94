"""The finished synthetic set that a run starts from, if its settings name one (`distill.coarse_to_fine.start`).

A run's key covers the set's own key, not where it lies; the place is a field of the run's record, as those of its other inputs.
"""

from __future__ import annotations

from torch import Tensor

from bilp.artifacts.artifact import Artifact, find, open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.run_layout import SYNTHETIC, synthetic_uri
from bilp.config import METHODS, DistillConfig
from bilp.data.store import Dataset
from bilp.distill.synthetic_set import read_set
from bilp.errors import ConfigError, IncompatibleArtifact
from bilp.storage.objects import as_uri


def starting_uri(distill: DistillConfig) -> str | None:
    """Where the set lies: the one at the place that the settings name, or that of the run there. None if a method starts otherwise."""
    named = distill.coarse_to_fine.start
    if named is None or not METHODS[distill.method].begins:
        return None
    place = as_uri(named)
    return synthetic_uri(place) if find(synthetic_uri(place), SYNTHETIC) is not None else place


def without_start(distill: DistillConfig) -> DistillConfig:
    """The same settings but for the place of the set."""
    return distill.model_copy(update={"coarse_to_fine": distill.coarse_to_fine.model_copy(update={"start": None})})


def open_starting(uri: str, distill: DistillConfig, dataset: Dataset) -> Artifact:
    """The set, if a run of these settings can start from it.

    Raises MissingArtifact if it is not there, IncompatibleArtifact for one of another data set, and ConfigError for one of too few images
    per class, of images that stand for several, or with a real part.
    """
    artifact = open_artifact(uri, SYNTHETIC, expect={"dataset": dataset.fingerprint})
    facts, first = artifact.stated(SyntheticFacts), distill.coarse_to_fine.begins(distill.ipc)
    if facts.ipc < first:
        raise ConfigError(
            f"{uri} has {facts.ipc} images of each class, and {first} of {distill.ipc} are to come from it: "
            "lower distill.coarse_to_fine.share"
        )
    if (facts.decode or {}).get("factor", 1) != 1:
        raise ConfigError(f"the images of {uri} stand for several ones each: start from a set of decode.factor 1")
    if facts.real is not None:
        raise ConfigError(f"{uri} has real images of its own: start from a set that is distilled throughout")
    return artifact


def starting_images(uri: str, key: str, distill: DistillConfig, dataset: Dataset) -> Tensor:
    """The images of the set by class, `[classes, m, C, H, W]`. Raises IncompatibleArtifact if it is not the one of this key."""
    artifact = open_starting(uri, distill, dataset)
    if artifact.manifest.key != key:
        raise IncompatibleArtifact(
            f"the set at {uri} has key {artifact.manifest.key}, but the run was started with {key}: restore it or start a new run"
        )
    images, _ = read_set(artifact)
    by_class: Tensor = images.unflatten(0, (dataset.classes, -1))
    return by_class
