"""A data set seen through whitening: an artifact of its own that holds the fit, below the one that holds the pixels.

datasets/<name>/<fingerprint>/whitened/<key>/   the fit, and the facts of the data set under a fingerprint of its own

Pixels in [0, 1] are whitened, not normalized ones: so the programs of MTT and TESLA do, for which epsilon 0.1 is meant. (The
eigenvalues of normalized images are about 25 times as large, and many more directions would be made equally wide.) A whitened
data set therefore has the mean 0 and the standard deviation 1, and everything that normalizes or denormalizes does nothing.

Everything that is computed from a data set is kept under its fingerprint, so nothing of a whitened one meets anything of
the plain one, and whoever opens it later, evaluation for instance, gets the same fit.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bilp.artifacts.artifact import content_key, open_artifact, there_already
from bilp.artifacts.publication import publish
from bilp.config.shapes import channels_of, is_clip, values_in
from bilp.data.store import FIT, KIND, WHITENED, open_dataset
from bilp.data.whitening import MOST_VALUES, encode, fit
from bilp.errors import DataError
from bilp.progress import Progress, silent
from bilp.storage import objects

VERSION = 2
BLOCK = 2000
"""Images that are looked at together."""
NO_CLIPS = "ZCA whitens pictures, and these are clips: set ingest.whitening to none"


def whiten(dataset_uri: str, epsilon: float, progress: Progress = silent) -> str:
    """Fit ZCA on the whole train split of the data set at `dataset_uri` and publish the whitened one; its URI.

    Nothing is fitted if it is there. The test split is transformed with the same fit. Raises DataError for clips, and for images of
    more values than a covariance can be held of.
    """
    plain = open_artifact(dataset_uri, KIND)
    told = {"kind": "zca", "epsilon": epsilon, "of": plain.fact("fingerprint")}
    key = content_key("whiten", VERSION, **told)
    uri = objects.join(dataset_uri, WHITENED, key)
    if there_already(uri, KIND, key) is not None:
        return uri
    dataset = open_dataset(dataset_uri)
    if is_clip(dataset.shape):
        raise DataError(f"{dataset.name}: {NO_CLIPS}")
    values = values_in(dataset.shape)
    if values > MOST_VALUES:
        side = "x".join(map(str, dataset.shape))
        raise DataError(
            f"{dataset.name}: whitening images of {side} needs the covariance of {values:,} values (at most {MOST_VALUES:,}): "
            "set ingest.resolution to 64 or less, or ingest.whitening to none"
        )

    def blocks(turn: int) -> Iterator[Tensor]:
        parts = torch.arange(len(dataset.train)).split(BLOCK)
        for number, part in enumerate(parts):
            yield dataset.train.images(part).float() / 255
            progress(turn * len(parts) + number + 1, 2 * len(parts), "whitening")

    files = {FIT: encode(fit(blocks(0), blocks(1), epsilon))}
    unchanged = {"mean": [0.0] * channels_of(dataset.shape), "std": [1.0] * channels_of(dataset.shape)}
    facts = {**plain.manifest.facts, **unchanged, "fingerprint": key, "whitening": told}
    return publish(uri, KIND, key, files, config={"whitening": told}, parents={"dataset": dataset_uri}, facts=facts, device="cpu").uri
