"""What a run consists of: the kinds of its artifacts, the names of their files, and where they lie below it."""

from __future__ import annotations

from bilp.storage.objects import join

RECORD = "_run.json"
"""The record of a run, which is no artifact."""
ROUND, RESELECT, SYNTHETIC = "round", "reselect", "synthetic"
"""Kinds of artifacts: the state after a round, what was decided before it, and the synthetic set, the product of the run."""

CHECKPOINT, LOSS_TABLE = "checkpoint.safetensors", "losses.parquet"
"""Files of a round, which has a grid, too."""
ITE_TABLE, PRUNER_STATE = "ite.parquet", "pruner.safetensors"
"""Files of a reselection."""
IMAGES = "synthetic.safetensors"
"""The file of a synthetic set, which has a grid, too."""
GRID = "grid.png"
"""The synthetic images as one picture."""


def synthetic_uri(run_uri: str) -> str:
    """Where the synthetic set of a run lies."""
    return join(run_uri, SYNTHETIC)


def shard_uri(run_uri: str, shard: int) -> str:
    """Below which the rounds of a shard lie, as those of the run lie below the run."""
    return join(run_uri, "shards", f"{shard:04d}")


def round_uri(folder: str, number: int) -> str:
    """Where the artifact of a round lies; `folder` is the run or the shard."""
    return join(folder, "rounds", f"{number:04d}")


def reselect_uri(folder: str, number: int) -> str:
    """Where the reselection of a round lies; `folder` is the run or the shard."""
    return join(folder, "rounds", f"{number:04d}", "reselect")
