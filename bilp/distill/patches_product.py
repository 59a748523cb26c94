"""What the set of a method that chooses crops holds beside its images: where each tile comes from, and soft labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.parquet import encode
from bilp.artifacts.publication import Content
from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import declare
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.crops import BOXES, IDS, LOGITS, SCORES, tiles_of_class
from bilp.distill.soft_labels import teacher_files
from bilp.distill.step.state import DistillState

TABLE = "tiles.parquet"
_NUMBER, _PIXELS = (0, 2**31), (1, 2**31)
TILES = declare(
    pa.schema(
        {
            **dict.fromkeys(("image", "place", "label"), pa.int32()),
            "sample_id": pa.int64(),
            **dict.fromkeys(("top", "left", "height", "width"), pa.int32()),
            "cross_entropy": pa.float32(),
        }
    ),
    Rules(
        ranges={
            **dict.fromkeys(("image", "place", "label", "sample_id", "top", "left"), _NUMBER),
            **dict.fromkeys(("height", "width"), _PIXELS),
            "cross_entropy": (0.0, math.inf),
        },
        ascending=("image", "place"),
    ),
)
"""The tiles of a synthetic set: image, counted from 0, and place in it, row by row; the real sample, and the box of the crop in it."""


def product(state: DistillState, config: DistillConfig, pool: RealPool) -> tuple[dict[str, Content], dict[str, Any]]:
    """Files by name, and facts, that a synthetic set has beside those of every method.

    Args:
        state: after the last iteration.
        config: settings of the run.
        pool: its real samples.
    """
    labels, facts = teacher_files(state.method[LOGITS], config.patches)
    return {TABLE: encode(tile_table(state.method, config, pool), TILES, {"stage": "tiles"}), **labels}, facts


def tile_table(carried: Mapping[str, torch.Tensor], config: DistillConfig, pool: RealPool) -> pa.Table:
    """A row for each tile of each image, from what the state of the last iteration carries."""
    labels, rows, of_class = pool.dataset.train.labels[carried[IDS]], [], tiles_of_class(config)
    for c in range(pool.classes):
        own = (labels == c).nonzero().squeeze(1)
        best = own[carried[SCORES][own].argsort(stable=True)[:of_class]]
        places = best.view(-1, config.ipc)  # tile k of image i has rank k * ipc + i
        rows.append(places.T.flatten())
    order, per_image = torch.cat(rows), config.patches.factor**2
    numbers, boxes = torch.arange(len(order)), carried[BOXES][order]
    columns = {
        "image": numbers // per_image,
        "place": numbers % per_image,
        "label": labels[order],
        "sample_id": carried[IDS][order],
        **{name: boxes[:, k] for k, name in enumerate(("top", "left", "height", "width"))},
        "cross_entropy": carried[SCORES][order],
    }
    arrays = [pa.array(columns[name].numpy()).cast(TILES.field(name).type) for name in TILES.names]
    return pa.Table.from_arrays(arrays, schema=TILES)


def read_tiles(artifact: Artifact, samples: int) -> pa.Table | None:
    """The tiles of a synthetic set, of a data set of so many training samples; None for a set that is not made of any.

    Raises DamagedArtifact for rows that cannot be.
    """
    if TABLE not in artifact.manifest.files:
        return None
    images = artifact.stated(SyntheticFacts).images[0]
    return artifact.table(TABLE, TILES, below={"image": images, "sample_id": samples})
