"""Named tensors as safetensors files, and what is checked of them when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from bilp.errors import DamagedArtifact

Form = tuple[torch.dtype, Sequence[int]]
"""Type and shape of a tensor."""
_REMEDY = "delete its folder and run the stage again"


def encode_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Named tensors as safetensors; equal tensors give equal bytes."""
    return save({name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())})


def decode_tensors(data: bytes, where: str) -> dict[str, Tensor]:
    """Read safetensors; raises DamagedArtifact naming `where` if they are not, or are of types that torch does not have."""
    try:
        return load(data)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise DamagedArtifact(f"{where} is not a safetensors file ({error}): {_REMEDY}") from error


def require_tensors(tensors: Mapping[str, Tensor], forms: Mapping[str, Form], where: str, finite: bool = True) -> None:
    """Raise DamagedArtifact, naming `where` and the first difference, unless `tensors` have these names, types and shapes.

    With `finite`, floats are numbers.
    """
    missing, unknown = sorted(forms.keys() - tensors.keys()), sorted(tensors.keys() - forms.keys())
    if missing or unknown:
        differences = (("lacks", missing), ("must not hold", unknown))
        parts = [f"{word} the tensors {', '.join(names)[:200]}" for word, names in differences if names]
        raise DamagedArtifact(f"{where} {' and '.join(parts)}: {_REMEDY}")
    for name, (kind, shape) in forms.items():
        value = tensors[name]
        if value.dtype != kind or tuple(value.shape) != tuple(shape):
            found = f"{_word(value.dtype)} {list(value.shape)}"
            raise DamagedArtifact(f"{where} holds {name} as {found} instead of {_word(kind)} {list(shape)}: {_REMEDY}")
        if finite and value.is_floating_point() and not bool(value.isfinite().all()):
            raise DamagedArtifact(f"{where} holds numbers in {name} that are not finite: {_REMEDY}")


def load_network(network: nn.Module, data: bytes, where: str) -> None:
    """Parameters and statistics of a safetensors file become those of `network`, in place; DamagedArtifact if they are of another."""
    tensors = decode_tensors(data, where)
    require_tensors(tensors, {name: (own.dtype, own.shape) for name, own in network.state_dict().items()}, where)
    network.load_state_dict(tensors)


def _word(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
