"""A synthetic set as a torch Dataset, for whoever wants to train on it without the rest of this project."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bilp.artifacts.artifact import find, manifest_kind, open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.run_layout import RECORD, SYNTHETIC, synthetic_uri
from bilp.data.store import FIT
from bilp.data.whitening import Whitening, decode
from bilp.distill.learned_labels import read_learned_labels
from bilp.distill.real_part import read_real
from bilp.distill.soft_labels import read_soft_labels
from bilp.distill.synthetic_set import read_set
from bilp.errors import IncompatibleArtifact, MissingArtifact
from bilp.images.decode_stored import decoded
from bilp.storage.objects import Uri, as_uri, exists, join


class DistilledSet(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Labeled synthetic images; item k is (image `[C, H, W]`, label), or a clip `[T, C, H, W]` with its label.

    `images` `[n, C, H, W]`, or `[n, T, C, H, W]` of clips, are float32, normalized as x = (pixel - mean) / std with pixels in [0, 1],
    and unclamped; `labels` `[n]` are int64 positions in `class_names`. `facts` is everything that the manifest states, method and ipc
    included.
    `logits` `[n, classes]`, if not None, are what a teacher said of the images as they are, whose labels at a temperature T are
    softmax(logits / T); or those of labels softmax(logits) that were learned with the images.
    `values` `[n, classes]`, if not None, are labels that were learned with the images: what networks shall give, by squared differences.
    `real` `[n]`, if not None, are int64 numbers of training samples of the data set: of the images that are such a sample as it is, and
    -1 of those that were distilled.
    If `whitening` is not None, they are whitened as well, and so must be what networks trained on them are tested with:
    `whitening.apply` on images with this mean and std (0 and 1, so that it takes pixels in [0, 1]).
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        facts: dict[str, Any],
        whitening: Whitening | None = None,
        logits: Tensor | None = None,
        values: Tensor | None = None,
        real: Tensor | None = None,
    ) -> None:
        """Use `load_distilled`."""
        self.whitening, self.logits, self.values, self.real = whitening, logits, values, real
        self.images, self.labels, self.facts = images, labels, facts
        self.class_names: tuple[str, ...] = tuple(facts["class_names"])
        self.mean: tuple[float, ...] = tuple(facts["mean"])
        self.std: tuple[float, ...] = tuple(facts["std"])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]


def load_distilled(uri: Uri) -> DistilledSet:
    """The synthetic set at `uri`, or that of the run at `uri` (paths or s3://...), verified and decoded if need be.

    Raises MissingArtifact, DamagedArtifact, or IncompatibleArtifact for something else and for images that this version cannot
    decode.
    """
    uri = as_uri(uri)
    where = set_of(uri)
    artifact = open_artifact(where, SYNTHETIC)
    facts = artifact.manifest.facts
    images, labels = decoded(*read_set(artifact), facts, where)
    shape = artifact.stated(SyntheticFacts).shape
    whitening = decode(artifact.read(FIT), artifact.place(FIT), shape) if "whitening" in facts else None
    told = (read_soft_labels(artifact), read_learned_labels(artifact), read_real(artifact))
    return DistilledSet(images, labels, dict(facts), whitening, *told)


def set_of(uri: str) -> str:
    """The synthetic set that a URI means: its own, or the one inside of a run."""
    inside = synthetic_uri(uri)
    if find(inside, SYNTHETIC) is not None:
        return inside
    kind = manifest_kind(uri)
    if kind not in (None, SYNTHETIC):
        raise IncompatibleArtifact(
            f"{uri} is of kind {kind}, not a synthetic set: give the run that distilled one (<root>/runs/<key>) or its folder {SYNTHETIC}; "
            "bilp distill prints them"
        )
    if kind is None and exists(join(uri, RECORD)):
        raise MissingArtifact(f"the run {uri} is not finished, so it has no synthetic set yet: start the same command again")
    if kind is None:
        raise MissingArtifact(
            f"no synthetic set at {uri}: give the run that distilled one (<root>/runs/<key>) or its folder {SYNTHETIC}, with the whole path"
        )
    return uri
