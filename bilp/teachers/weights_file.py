"""Weights of a network that somebody trained elsewhere, read from a file of safetensors or of PyTorch's."""

from __future__ import annotations

from torch import Tensor

from bilp.artifacts.tensors import read_tensors
from bilp.errors import DamagedArtifact, DataError
from bilp.storage import objects
from bilp.storage.pickled import load_pickled
from bilp.storage.saved_tensors import OLD, ZIP


def read_weights(place: str) -> dict[str, Tensor]:
    """The tensors of a file of safetensors, or of a state that `torch.save` wrote, of which nothing is executed.

    Raises MissingArtifact if there is no file, and DataError for one that is neither.
    """
    with objects.fetched(place) as file:
        with file.open("rb") as content:
            begins = content.read(max(len(ZIP), len(OLD)))
        if not begins.startswith((ZIP, OLD)):
            try:
                return read_tensors(file, place)
            except DamagedArtifact as error:
                raise DataError(f"{place} is neither a safetensors file nor a state that torch.save wrote") from error
        found = load_pickled(file.read_bytes(), place, {})
    if not isinstance(found, dict) or not found or not all(isinstance(v, Tensor) and isinstance(k, str) for k, v in found.items()):
        raise DataError(f"{place} is no state of a network, which is a dictionary of tensors by name: save network.state_dict() alone")
    return {name: value.detach() for name, value in found.items()}
