"""Finished trainings of an evaluation, kept one by one so that a killed evaluation continues where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError

from bilp.artifacts import signing
from bilp.artifacts.artifact import content_key
from bilp.config import Frozen, NetworkConfig
from bilp.config.base import Fraction, Positive
from bilp.errors import DamagedArtifact, MissingArtifact
from bilp.storage import objects, strict_json
from bilp.training.course import Course

VERSION = 1


class Training(Frozen):
    """The outcome of one training; accuracies are shares of the real test split in [0, 1]."""

    later: ClassVar[frozenset[str]] = frozenset({"course", "top_k", "top_k_accuracy", "best_top_k_accuracy"})

    network: str
    """Label of the network."""
    seed: int
    """Number of the training."""
    accuracy: Fraction
    """After the last epoch: the result."""
    best_accuracy: Fraction
    """Best of a few measurements on the way, the last included: selected on the test split, as many published numbers are,
    hence optimistic. Recorded for comparison with those; it decides nothing."""
    train_images: Positive
    """Size of the set."""
    course: Course | None = None
    """How it went; None for trainings that were kept before that was recorded."""
    top_k: Annotated[int, Field(ge=2)] | None = None
    """How many of the likeliest classes an image's own one is looked for in; None where that makes every answer right, and for
    trainings that were kept before it was recorded, as the two that follow."""
    top_k_accuracy: Fraction | None = None
    """Share of test images whose class is among these, after the last epoch."""
    best_top_k_accuracy: Fraction | None = None
    """As `best_accuracy`."""


class Part(Frozen):
    """Content of a file: trainings of one computation, and a digest of them."""

    digest: str
    trainings: tuple[Training, ...]
    signature: str | None = None


@dataclass(frozen=True)
class Parts:
    """Where the trainings on one set under one protocol lie, whichever arm, list of networks or number of seeds asked for them."""

    folder: str

    @classmethod
    def of(cls, root: str, dataset: str, subject: Mapping[str, Any], protocol: Mapping[str, Any]) -> Parts:
        """`subject` identifies the set, `protocol` how networks are trained on it, less which and how many."""
        return cls(objects.join(root, "trainings", content_key("train", VERSION, dataset=dataset, subject=subject, protocol=protocol)))

    def find(self, network: NetworkConfig, seeds: Sequence[int]) -> list[Training] | None:
        """The trainings with these seeds, of one computation; None if they are not there or not whole.

        Raises UntrustedArtifact if they are not signed although a key is set.
        """
        folder, name = self._place(network, seeds)
        try:
            data = objects.read(objects.join(folder, name), most=strict_json.LARGEST)
            part = Part.model_validate_json(data)
        except (MissingArtifact, DamagedArtifact, ValidationError):
            return None
        if part.digest != _digest(part.trainings) or [each.seed for each in part.trainings] != list(seeds):
            return None
        signing.check(data, folder, name)
        return list(part.trainings)

    def keep(self, network: NetworkConfig, trainings: Sequence[Training]) -> None:
        """Write the trainings of one computation."""
        part = Part(digest=_digest(trainings), trainings=tuple(trainings))
        folder, name = self._place(network, [each.seed for each in trainings])
        content = part.model_dump_json(indent=1, exclude={"signature"}).encode()
        objects.write(objects.join(folder, name), signing.sealed(content, folder, name))

    def folder_of(self, network: NetworkConfig) -> str:
        """The folder of a network's files."""
        return objects.join(self.folder, f"{network.name}-{content_key('network', VERSION + network.revision, network=network)}")

    def _place(self, network: NetworkConfig, seeds: Sequence[int]) -> tuple[str, str]:
        """Folder and name of a file."""
        # Networks trained at once are rounded together, so that another grouping is another computation.
        span = f"{seeds[0]:04d}" if len(seeds) == 1 else f"{seeds[0]:04d}-{seeds[-1]:04d}"
        return self.folder_of(network), f"{span}.json"


def _digest(trainings: Sequence[Training]) -> str:
    return content_key("trainings", VERSION, trainings=list(trainings))
