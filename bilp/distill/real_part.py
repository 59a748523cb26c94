"""The real part of a synthetic set: real training images as they are, known by their numbers in the data set.

It is checked wherever a state or a set is read beside the data set: each number is of a sample of the class, no sample is there twice,
and the stored image is that sample to the bit.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.parquet import encode
from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import declare
from bilp.config import DistillConfig
from bilp.data import Dataset
from bilp.data.pool import RealPool
from bilp.distill.step.state import DISTILLED, DistillState
from bilp.errors import DamagedArtifact
from bilp.storage.verification import again

FILE = "real.parquet"
_NUMBER = (0, 2**31)
REAL = declare(
    pa.schema({"image": pa.int32(), "label": pa.int32(), "sample_id": pa.int64()}),
    Rules(ranges=dict.fromkeys(("image", "label", "sample_id"), _NUMBER), ascending=("image",), once=("sample_id",)),
)
"""The real images of a synthetic set: image, counted from 0 in the set's order, class, and the number of the training sample."""
AT_ONCE = 1024
"""Images that are compared together."""


def count_of(real: Tensor | None) -> int:
    """How many images of a set are real ones."""
    return 0 if real is None else int((real != DISTILLED).sum())


def table_of(real: Tensor, labels: Tensor) -> pa.Table:
    """A row for each real image, from `real` and `labels` `[N]` of a set."""
    image = (real != DISTILLED).nonzero().squeeze(1)
    columns = {"image": image, "label": labels[image], "sample_id": real[image]}
    return pa.Table.from_arrays([pa.array(columns[name].numpy()).cast(REAL.field(name).type) for name in REAL.names], schema=REAL)


def file_of(real: Tensor, labels: Tensor) -> bytes:
    """The file of a set's real part."""
    return encode(table_of(real, labels), REAL, {"stage": "real part"})


def wrong_in(real: Tensor, images: Tensor, labels: Tensor, dataset: Dataset) -> str:
    """What is wrong with a real part, as the end of a sentence; empty if nothing is.

    Args:
        real: sample_ids `[N]`, int64, and DISTILLED for images that are not real.
        images: all of the set `[N, C, H, W]`, normalized, on the CPU.
        labels: theirs `[N]`.
        dataset: the data set whose training samples the numbers are of.
    """
    rows = (real != DISTILLED).nonzero().squeeze(1)
    ids, samples = real[rows], len(dataset.train)
    if len(ids) and not (int(ids.min()) >= 0 and int(ids.max()) < samples):
        return f"names real samples {int(ids.min())} to {int(ids.max())}, of {samples:,} that there are"
    if len(ids.unique()) != len(ids):
        return "names a real sample twice"
    if not torch.equal(dataset.train.labels[ids], labels[rows]):
        return "names real samples of other classes"
    for part, own in zip(rows.split(AT_ONCE), ids.split(AT_ONCE), strict=True):
        differs = (images[part] != dataset.train.batch(own)).flatten(1).any(dim=1)
        if bool(differs.any()):
            first = int(differs.nonzero()[0])
            return f"holds another image {int(part[first])} than the real sample {int(own[first])} that it is said to be"
    return ""


def require_real(state: DistillState, config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless the real part of a state is that of a run of these settings and samples."""
    real, wanted = state.real, config.has_real_part
    if (real is not None) != wanted:
        raise DamagedArtifact(f"{where} holds {'no' if wanted else 'a'} real part, and the run has {'one' if wanted else 'none'}: {_AGAIN}")
    if real is None:
        return
    if wrong := wrong_in(real, state.images.cpu(), state.labels.cpu(), pool.dataset):
        raise DamagedArtifact(f"{where} {wrong}: {_AGAIN}")
    per_class = config.real_part.real(config.ipc)
    fixed = (real.view(-1, config.ipc) != DISTILLED)[:, config.ipc - per_class :]
    if config.real_part.share > 0 and not (bool(fixed.all()) and count_of(real) == fixed.numel()):
        raise DamagedArtifact(f"{where} does not hold {per_class} real images at the end of each class: {_AGAIN}")
    candidates = torch.cat(pool.by_class)
    if not bool(torch.isin(real[real != DISTILLED], candidates).all()):
        raise DamagedArtifact(f"{where} holds real samples that take no part in the run: {_AGAIN}")


_AGAIN = "run the round again"


def read_real(artifact: Artifact, dataset: Dataset | None = None) -> Tensor | None:
    """sample_ids `[N]`, int64, of the images of a synthetic set, DISTILLED for those that are not real; None for a set without a real part.

    Raises DamagedArtifact unless the file is what the facts state.

    Args:
        artifact: the set.
        dataset: the data set that it is of, whose number of samples bounds theirs; None where it is not at hand.
    """
    facts = artifact.stated(SyntheticFacts)
    if facts.real is None:
        return None
    count = facts.images[0]
    below = {"image": count, **({} if dataset is None else {"sample_id": len(dataset.train)})}
    table = artifact.table(FILE, REAL, rows=facts.real, below=below)
    rows = torch.from_numpy(table["image"].to_numpy().astype(np.int64))
    if not np.array_equal(table["label"].to_numpy(), rows.numpy() // facts.ipc):
        raise DamagedArtifact(f"{artifact.place(FILE)} holds other classes than the set has in these places: {again(artifact.uri)}")
    real = torch.full((count,), DISTILLED)
    real[rows] = torch.from_numpy(table["sample_id"].to_numpy().astype(np.int64))
    return real
