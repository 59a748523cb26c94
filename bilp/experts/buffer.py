"""The trajectories of experts as a distillation reads them: parameters of single epochs, which a GPU keeps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from bilp.artifacts.artifact import Artifact, find, open_artifact
from bilp.artifacts.facts import BufferFacts
from bilp.config import METHODS, DistillConfig
from bilp.errors import ConfigError, IncompatibleArtifact, MissingArtifact
from bilp.experts.files import BUFFER, EXPERT, Parameters, expert_key, expert_uri, parameter_shapes, read_parameters
from bilp.experts.resident_experts import Resident, moved


class ExpertBuffer:
    """Experts of one training set-up."""

    def __init__(self, uri: str) -> None:
        """Open the buffer at `uri`; raises MissingArtifact if there is none. Experts are opened when they are read."""
        artifact = open_artifact(uri, BUFFER)
        self.uri = uri
        self.key = artifact.manifest.key
        self._facts = artifact.stated(BufferFacts)
        self.count: int = self._facts.count
        self.epochs: int = self._facts.epochs
        self._shapes = [(name, list(shape)) for name, shape in self._facts.parameters]
        self._training: str = self._facts.training
        self._folder = uri.rstrip("/").rsplit("/", 2)[0]
        self._opened: dict[int, Artifact] = {}
        self._resident = Resident()

    def require(self, config: DistillConfig, parents: Mapping[str, str]) -> None:
        """Raise IncompatibleArtifact if the experts saw other data than `parents` (fingerprint of dataset, key of selection)
        name or have another network, ConfigError if they were not trained for long enough."""
        if self._facts.dataset != parents["dataset"]:
            raise IncompatibleArtifact(
                f"the experts at {self.uri} learned the dataset {self._facts.dataset}, but the run distills {parents['dataset']}: "
                "train experts on the dataset of the run"
            )
        if self._facts.selection != parents.get("selection"):
            raise IncompatibleArtifact(
                f"the experts at {self.uri} learned {_samples(self._facts.selection)}, but the run distills "
                f"{_samples(parents.get('selection'))}: train experts on the selection of the run, or start the run with theirs"
            )
        if self._facts.network != config.network.model_dump(mode="json"):
            raise IncompatibleArtifact(
                f"the experts at {self.uri} are networks {self._facts.network}, but the run distills with "
                f"{config.network.model_dump(mode='json')}: train experts with the network of the run"
            )
        try:
            METHODS[config.method].check_experts(config, self.epochs, f"those at {self.uri} have {self.epochs}")
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def require_network(self, network: nn.Module) -> None:
        """Raise IncompatibleArtifact unless the experts have the parameters of `network`, in their order."""
        if self._shapes != parameter_shapes(network):
            raise IncompatibleArtifact(
                f"the experts at {self.uri} have other parameters than the network of the run: train experts with that network"
            )

    def parameters(self, expert: int, epoch: int, device: torch.device | str = "cpu") -> Parameters:
        """An expert's parameters after `epoch` epochs, in the network's order: copies, which a GPU keeps, so do not write into them.

        Raises MissingArtifact, DamagedArtifact or IncompatibleArtifact if the expert is not what the buffer was made of.
        """
        place = torch.device(device)
        if (kept := self._resident.find(place, expert, epoch)) is not None:
            return kept
        if expert not in self._opened:
            uri = expert_uri(self._folder, expert)
            found = find(uri, EXPERT, expert_key(self._training, expert))
            if found is None:
                raise MissingArtifact(f"expert {expert} is no longer at {uri}: train the experts again")
            self._opened[expert] = found
        values = moved(read_parameters(self._opened[expert], epoch, self._shapes), place)
        self._resident.keep(place, expert, epoch, values)
        return values


def _samples(selection: str | None) -> str:
    return "all real samples" if selection is None else f"what selection {selection} keeps"
