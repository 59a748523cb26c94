"""Named tensors as safetensors files, and what is checked of them when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file
from torch import Tensor, nn

from bilp.errors import DamagedArtifact

Form = tuple[torch.dtype, Sequence[int]]
"""Type and shape of a tensor."""
_REMEDY = "delete its folder and run the stage again"
_UNREADABLE = (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, AttributeError)
CHECKED_AT_ONCE = 1 << 22
"""Numbers of a tensor that are looked at together."""


def encode_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Named tensors as safetensors; equal tensors give equal bytes."""
    return save({name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())})


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write to a file what `encode_tensors` gives, without a copy of it in memory."""
    save_file({name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())}, file)


def read_tensors(file: Path, where: str) -> dict[str, Tensor]:
    """The tensors of a file, mapped: they take memory as they are used, and stay when the file is removed.

    Raises DamagedArtifact as `decode_tensors`.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except _UNREADABLE as error:
        raise DamagedArtifact(f"{where} is not a safetensors file ({error}): {_REMEDY}") from error


def decode_tensors(data: bytes, where: str) -> dict[str, Tensor]:
    """Read safetensors; raises DamagedArtifact naming `where` if they are not, or are of types that torch does not have."""
    try:
        return load(data)
    except _UNREADABLE as error:
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
        if finite and value.is_floating_point() and not _is_finite(value):
            raise DamagedArtifact(f"{where} holds numbers in {name} that are not finite: {_REMEDY}")


def load_network(network: nn.Module, data: bytes, where: str) -> None:
    """Parameters and statistics of a safetensors file become those of `network`, in place; DamagedArtifact if they are of another."""
    tensors = decode_tensors(data, where)
    require_tensors(tensors, {name: (own.dtype, own.shape) for name, own in network.state_dict().items()}, where)
    network.load_state_dict(tensors)


def _is_finite(value: Tensor) -> bool:
    """Whether all numbers are; by pieces, for the answers to each take memory, too."""
    return all(bool(piece.isfinite().all()) for piece in value.reshape(-1).split(CHECKED_AT_ONCE))


def _word(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
