"""Networks that are trained on real images beforehand: what identifies them, where they lie, how iterations read them.

Each is an artifact of its own, found by everything that its training depends on. Runs on the same samples share them: the
arms of a comparison with the same static selection, and the shards of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bilp.artifacts.artifact import Artifact, content_key, find, there_already
from bilp.artifacts.tensors import load_network
from bilp.config import DistillConfig
from bilp.config.base import as_recorded
from bilp.config.methods.spec import StartsFromPretrained
from bilp.distill.step.real_training import without_cutout
from bilp.errors import ConfigError, MissingArtifact
from bilp.nets import Network, initialize
from bilp.seeds import generator
from bilp.storage.objects import join

VERSION = 1
KIND = "pretrained_network"
FILE = "network.safetensors"


@dataclass(frozen=True)
class Pretraining:
    """One training set-up, which the networks of a run share."""

    root: str
    """Storage root of the run."""
    dataset: str
    """Fingerprint of the dataset."""
    selection: str | None
    """Key of the static selection, or None for the whole train split."""
    distill: DistillConfig

    @property
    def starting(self) -> StartsFromPretrained:
        """The settings of the method that say how they are trained. Raises ConfigError for a method that starts from none."""
        starting = self.distill.starting
        if starting is None:
            raise ConfigError(f"method {self.distill.method} starts from no pretrained networks")
        return starting

    @property
    def families(self) -> tuple[str, ...]:
        """Families of augmentation: those of the image steps, without cutout where mini-batches are mixed."""
        return without_cutout(self.distill.augment, self.starting.cutmix)

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes the training; how many networks there are does not."""
        config, starting = self.distill, self.starting
        return {
            **as_recorded(starting.pretrained, {"networks": True}),
            "network": config.network.model_dump(mode="json"),
            "momentum": starting.network_momentum,
            "cutmix": starting.cutmix,
            "augment": list(self.families),
            "gpu": config.gpu,
            **({"gpu_revision": config.gpu_revision} if config.gpu_revision else {}),
            "seed": config.seed,
        }

    @property
    def training(self) -> str:
        """Key of the set-up."""
        version = VERSION + self.distill.network.revision
        return content_key("pretraining", version, dataset=self.dataset, selection=self.selection, config=self.settings)

    @property
    def folder(self) -> str:
        """Below which the networks lie."""
        return join(self.root, "pretrained", self.dataset, self.training)

    def initialize(self, network: Network, number: int) -> None:
        """The parameters that network `number` has before its training, on a CPU."""
        initialize(network, generator(self.distill.seed, "pretrained", number))

    def uri(self, number: int) -> str:
        """Where network `number` (from 0) lies."""
        return join(self.folder, f"{number:04d}")

    def key(self, number: int) -> str:
        """Key of that network's artifact."""
        return content_key(KIND, VERSION, training=self.training, number=number)

    def find(self, number: int) -> Artifact | None:
        """That network's artifact, or None if it has not been trained."""
        return find(self.uri(number), KIND, self.key(number))

    def there_already(self, number: int) -> bool:
        """Whether that network need not be trained again. Raises as `bilp.artifacts.artifact.there_already`."""
        return there_already(self.uri(number), KIND, self.key(number)) is not None


class PretrainedNetworks:
    """The networks of a set-up, of which one at a time is read, verified, when an iteration asks for it."""

    def __init__(self, pretraining: Pretraining) -> None:
        """Raises MissingArtifact, naming the networks that have not been trained."""
        count = pretraining.distill.pretrained.networks
        found = [pretraining.find(number) for number in range(count)]
        missing = [str(number) for number, artifact in enumerate(found) if artifact is None]
        if missing:
            raise MissingArtifact(
                f"pretrained networks {', '.join(missing)} of {count} have not been trained (expected below {pretraining.folder}): "
                "run pretrain_network for them first"
            )
        self.pretraining = pretraining
        self._artifacts = [artifact for artifact in found if artifact is not None]

    def __len__(self) -> int:
        return len(self._artifacts)

    def load(self, number: int, network: Network) -> None:
        """Parameters and statistics of network `number` become those of `network`, in place.

        Raises DamagedArtifact, also if they are of another architecture.
        """
        artifact = self._artifacts[number]
        load_network(network, artifact.read(FILE), artifact.place(FILE))
