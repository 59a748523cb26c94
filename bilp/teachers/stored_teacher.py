"""A stored teacher: which samples it learned, and its network."""

from __future__ import annotations

import torch

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import TeacherFacts
from bilp.artifacts.tensors import load_network
from bilp.config import NetworkConfig, TeacherConfig
from bilp.data import Dataset
from bilp.errors import DamagedArtifact, IncompatibleArtifact
from bilp.nets import Network, build, label
from bilp.nets.arithmetic import place
from bilp.storage.verification import again

KIND = "teacher"
FILE = "teacher.safetensors"


class StoredTeacher:
    """The artifact of a teacher. Its network is read when it is asked for."""

    def __init__(self, uri: str) -> None:
        """Open the teacher at `uri`. Raises MissingArtifact if there is none, and IncompatibleArtifact for something else."""
        self._artifact = open_artifact(uri, KIND)
        self._facts = self._artifact.stated(TeacherFacts)
        self.uri = uri
        self.key = self._artifact.manifest.key

    def require(self, fingerprint: str) -> None:
        """Raise IncompatibleArtifact unless it learned the data set of this fingerprint."""
        if self._facts.dataset != fingerprint:
            raise IncompatibleArtifact(
                f"the teacher at {self.uri} learned the dataset {self._facts.dataset}, but the run distills {fingerprint}: "
                "train one on the dataset of the run"
            )

    def require_samples(self, selection: str | None) -> None:
        """Raise IncompatibleArtifact unless it learned what the selection of this key keeps, or all samples with None.

        One from a file has learned elsewhere, and is taken for any.
        """
        if "supplied" not in self._artifact.manifest.config and self._facts.selection != selection:
            raise IncompatibleArtifact(
                f"the teacher at {self.uri} learned {_samples(self._facts.selection)}, but distill.teacher_samples asks for one that "
                f"learned {_samples(selection)}: train that one, or leave teacher_samples out"
            )

    def network(self, dataset: Dataset, gpu: str, device: torch.device | str = "cpu") -> Network:
        """The trained network in eval mode, its parameters fixed. Raises DamagedArtifact if it is not what the manifest states.

        Args:
            dataset: the data set that it learned.
            gpu: arithmetic on a GPU.
            device: where it computes.
        """
        self.require(dataset.fingerprint)
        network = build(self.config, dataset.shape, dataset.classes)
        load_network(network, self._artifact.read(FILE), self._artifact.place(FILE))
        place(network, gpu, device)
        return network.eval().requires_grad_(False)

    @property
    def config(self) -> NetworkConfig:
        """Settings of the network. Raises DamagedArtifact if they are not those that the facts name."""
        settings = self._artifact.manifest.config
        try:
            found = TeacherConfig.model_validate(settings["teacher"]).network
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedArtifact(f"{self.uri} does not tell what its network is ({error}): {again(self.uri)}") from error
        if label(found) != self._facts.network:
            raise DamagedArtifact(f"{self.uri} holds settings of {label(found)} and states {self._facts.network}: {again(self.uri)}")
        return found


def _samples(selection: str | None) -> str:
    return "all real samples" if selection is None else f"what selection {selection} keeps"


def load_teacher(uri: str, dataset: Dataset, config: TeacherConfig, device: str = "cpu") -> Network:
    """The trained network in eval mode, its parameters fixed. Raises MissingArtifact, IncompatibleArtifact or DamagedArtifact."""
    artifact = open_artifact(uri, KIND, expect={"dataset": dataset.fingerprint, "network": label(config.network)})
    network = build(config.network, dataset.shape, dataset.classes)
    load_network(network, artifact.read(FILE), artifact.place(FILE))
    return network.to(device).eval().requires_grad_(False)
