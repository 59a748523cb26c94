"""Where experts lie, what identifies them, and the files that hold their parameters.

An expert is one file per epoch, so that a distillation reads, and fetches from object storage, only the epochs that it
starts from and aims at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bilp.artifacts.artifact import Artifact, content_key
from bilp.artifacts.tensors import require_tensors
from bilp.config import ExpertsConfig, NetworkConfig
from bilp.config.base import as_recorded, unrevised
from bilp.errors import DamagedArtifact, IncompatibleArtifact
from bilp.scoring.summary import summary_key
from bilp.storage.objects import join

VERSION = 1
EXPERT, BUFFER = "expert", "expert_buffer"

Parameters = tuple[Tensor, ...]
"""The parameters of a network in the order of `network.parameters()`."""


def training_settings(config: ExpertsConfig, network: NetworkConfig) -> dict[str, Any]:
    """What shapes an expert's training; how many experts there are does not, and a curriculum without a criterion is none."""
    curriculum = {} if config.curriculum.criterion is None else {"curriculum": as_recorded(config.curriculum)}
    own = config.model_dump(mode="json", exclude={"count", "curriculum", *unrevised(config)})
    return {**own, **curriculum, "network": network.model_dump(mode="json")}


def training_key(fingerprint: str, selection: str | None, config: ExpertsConfig, network: NetworkConfig) -> str:
    """Key of one training set-up, which more experts share. `selection` is the key of the static selection, or None."""
    scores = {} if config.curriculum.criterion is None else {"scores": summary_key(fingerprint, config.curriculum.score)}
    settings = training_settings(config, network)
    return content_key("experts", VERSION + network.revision, dataset=fingerprint, selection=selection, config=settings, **scores)


def experts_uri(root: str, fingerprint: str, training: str) -> str:
    """Folder of the experts and buffers of one training set-up."""
    return join(root, "experts", fingerprint, training)


def expert_uri(folder: str, expert: int) -> str:
    """Folder of one expert below that of its set-up."""
    return join(folder, "trainings", f"{expert:04d}")


def expert_key(training: str, expert: int) -> str:
    """Key of one expert's artifact."""
    return content_key(EXPERT, VERSION, training=training, expert=expert)


def epoch_file(epoch: int) -> str:
    """Name of the file with the parameters after `epoch` epochs; 0 is the initial network."""
    return f"epoch-{epoch:04d}.safetensors"


def parameter_shapes(network: nn.Module) -> list[tuple[str, list[int]]]:
    """Name and shape of every parameter, in order."""
    return [(name, list(parameter.shape)) for name, parameter in network.named_parameters()]


def read_parameters(expert: Artifact, epoch: int, shapes: Sequence[tuple[str, list[int]]]) -> Parameters:
    """An expert's parameters after `epoch` epochs, from a memory map, verified.

    Raises IncompatibleArtifact if they are not of `shapes`, and DamagedArtifact if the file cannot be read.
    """
    name = epoch_file(epoch)
    try:
        with safe_open(expert.local(name), framework="pt") as file:
            held = set(file.keys())
            found = [(part, list(file.get_slice(part).get_shape())) for part, _ in shapes if part in held]
            if found != list(shapes) or len(held) != len(shapes):
                raise IncompatibleArtifact(
                    f"{expert.place(name)} holds the parameters of another network: train experts with the network of the distillation"
                )
            tensors = {part: file.get_tensor(part) for part, _ in shapes}
        require_tensors(tensors, {part: (torch.float32, shape) for part, shape in shapes}, expert.place(name))
        return tuple(tensors.values())
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise DamagedArtifact(f"{expert.place(name)} is not a safetensors file ({error}): delete the expert and train it again") from error
