"""What a distillation has become so far, and its files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, decode_tensors, encode_tensors, read_tensors, require_tensors, write_tensors

PRUNER, METHOD, MOMENTUM, REAL = "pruner.", "method.", "momentum", "real"
NO_MOMENTUM = (0,)
"""Shape of what stands for a momentum that is zero, because nothing is stepped."""
DISTILLED = -1
"""What stands in `DistillState.real` for an image that is not a real one."""


@dataclass
class DistillState:
    """State after `iteration` iterations; with the run's configuration it determines everything that follows.

    Random streams are named by seed and iteration (bilp.seeds), so no generator state is part of it.
    """

    images: Tensor
    """Stored images `[classes * ipc, C, H, W]`, float32, normalized; class c owns rows c*ipc to (c+1)*ipc.

    Those of IDC and DREAM lie within the range of pixels, others anywhere. Never decoded."""
    labels: Tensor
    """Their classes `[classes * ipc]`, int64."""
    momentum: Tensor
    """Momentum buffer of SGD on the images, same shape; zeros before the first step (then SGD behaves as with none)."""
    iteration: int = 0
    """Iterations done; also the index of the next one."""
    reference_loss: float = math.nan
    """Median loss of the run's first round, the yardstick of divergence; nan until that round is done."""
    pruner: dict[str, Tensor] = field(default_factory=dict)
    """State of the adaptive pruner; empty without one."""
    method: dict[str, Tensor] = field(default_factory=dict)
    """What the method's loop carries from one iteration to the next; most carry nothing."""
    real: Tensor | None = None
    """The real part: sample_ids `[classes * ipc]`, int64, of images that are real ones as they are, and DISTILLED for the others; None for
    a set that has none. On the CPU."""

    @classmethod
    def start(cls, images: Tensor, labels: Tensor, real: Tensor | None = None) -> DistillState:
        """The state before the first iteration."""
        return cls(images=images, labels=labels, momentum=torch.zeros_like(images), real=real)

    def to(self, device: torch.device | str) -> DistillState:
        """A copy whose images, labels and momentum lie on `device`; the pruner works on the CPU."""
        return DistillState(
            images=self.images.detach().to(device, copy=True),
            labels=self.labels.to(device, copy=True),
            momentum=self.momentum.detach().to(device, copy=True),
            iteration=self.iteration,
            reference_loss=self.reference_loss,
            pruner=dict(self.pruner),
            method={name: value.to(device, copy=True) for name, value in self.method.items()},
            real=None if self.real is None else self.real.clone(),
        )


def encode_state(state: DistillState) -> bytes:
    """The state as safetensors: `images`, `labels`, `momentum`, `iteration`, `reference_loss`, `pruner.*`, `method.*`, and `real` if
    there is a real part."""
    return encode_tensors({**_carried(state), MOMENTUM: state.momentum})


def write_state(state: DistillState, checkpoint: Path, momentum: Path | None) -> None:
    """The same as two files, of which whoever wants the images alone reads the first; as one without momentum where nothing has any."""
    if momentum is None:
        write_tensors(checkpoint, {**_carried(state), MOMENTUM: torch.zeros(NO_MOMENTUM)})
        return
    write_tensors(checkpoint, _carried(state))
    write_tensors(momentum, {MOMENTUM: state.momentum})


def decode_state(data: bytes, where: str) -> DistillState:
    """Read `encode_state`'s bytes; `where` names the file in errors.

    Raises DamagedArtifact if tensors are missing, unknown, of the wrong types or shapes, or not finite. Whether it is the state
    of a certain round tells `bilp.distill.checkpoint`.
    """
    return _state(decode_tensors(data, where), where)


def read_state(checkpoint: tuple[Path, str], momentum: tuple[Path, str] | None) -> DistillState:
    """Read `write_state`'s files, or one file of `encode_state`'s bytes, each with what names it in errors; as `decode_state`."""
    tensors, where = read_tensors(*checkpoint), checkpoint[1]
    if momentum is not None:
        beside = read_tensors(*momentum)
        known = tuple(tensors["images"].shape) if "images" in tensors else ()
        require_tensors(beside, {MOMENTUM: (torch.float32, known)}, momentum[1])
        if MOMENTUM in tensors:
            require_tensors({MOMENTUM: beside[MOMENTUM]}, {}, where)
        tensors |= beside
    return _state(tensors, where)


def _carried(state: DistillState) -> dict[str, Tensor]:
    """All of a state but its momentum."""
    tensors = {
        "images": state.images,
        "labels": state.labels,
        "iteration": torch.tensor(state.iteration, dtype=torch.int64),
        "reference_loss": torch.tensor(state.reference_loss, dtype=torch.float64),
    }
    if state.real is not None:
        tensors[REAL] = state.real
    tensors.update({PRUNER + name: value for name, value in state.pruner.items()})
    tensors.update({METHOD + name: value for name, value in state.method.items()})
    return tensors


def _state(tensors: dict[str, Tensor], where: str) -> DistillState:
    known = {name: value for name, value in tensors.items() if not name.startswith((PRUNER, METHOD))}
    images = tuple(known["images"].shape) if "images" in known else ()
    if MOMENTUM in known and known[MOMENTUM].shape == NO_MOMENTUM:
        known[MOMENTUM] = torch.zeros(images)
    own: dict[str, Form] = {REAL: (torch.int64, images[:1])} if REAL in known else {}
    require_tensors(known, {**_forms(images), **own, "reference_loss": (torch.float64, ())}, where, finite=False)
    for name in ("images", MOMENTUM):
        require_tensors({name: known[name]}, {name: (torch.float32, images)}, where)
    return DistillState(
        images=known["images"],
        labels=known["labels"],
        momentum=known[MOMENTUM],
        iteration=int(known["iteration"]),
        reference_loss=float(known["reference_loss"]),
        pruner=_named(tensors, PRUNER),
        method=_named(tensors, METHOD),
        real=known.get(REAL),
    )


def _forms(images: tuple[int, ...]) -> dict[str, Form]:
    return {
        "images": (torch.float32, images),
        "labels": (torch.int64, images[:1]),
        MOMENTUM: (torch.float32, images),
        "iteration": (torch.int64, ()),
    }


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
