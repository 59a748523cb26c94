"""What the set of a method that adds real images in rounds holds beside its images: which round added each, and why."""

from __future__ import annotations

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
from bilp.distill.loops.coarse_to_fine import ADDED, MISTAKE
from bilp.distill.step.state import DistillState

TABLE = "curriculum.parquet"
_NUMBER = (0, 2**31)
CURRICULUM = declare(
    pa.schema({"image": pa.int32(), "label": pa.int32(), "round": pa.int32(), "mistake": pa.bool_()}),
    Rules(ranges=dict.fromkeys(("image", "label", "round"), _NUMBER), places="image"),
)
"""Every image of a set: its class, the round that added it, from 1, or 0 if it was there at the beginning, and whether the network of that
round took it for another class although the teacher knew it."""


def product(state: DistillState, config: DistillConfig, pool: RealPool) -> tuple[dict[str, Content], dict[str, Any]]:
    """Files by name, and facts, that a synthetic set has beside those of every method.

    Args:
        state: after the last iteration.
        config: settings of the run.
        pool: its real samples.
    """
    columns = {
        "image": torch.arange(len(state.labels)),
        "label": state.labels,
        "round": state.method[ADDED],
        "mistake": state.method[MISTAKE],
    }
    arrays = [pa.array(columns[name].numpy()).cast(CURRICULUM.field(name).type) for name in CURRICULUM.names]
    return {TABLE: encode(pa.Table.from_arrays(arrays, schema=CURRICULUM), CURRICULUM, {"stage": "curriculum"})}, {}


def read_curriculum(artifact: Artifact) -> pa.Table | None:
    """Which round added each image of a set; None for a set of another method. Raises DamagedArtifact for rows that cannot be."""
    if TABLE not in artifact.manifest.files:
        return None
    images = artifact.stated(SyntheticFacts).images[0]
    return artifact.table(TABLE, CURRICULUM, rows=images, below={"image": images})
