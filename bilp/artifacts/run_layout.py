"""What a run consists of: the kinds of its artifacts, the names of their files, and where they lie below it."""

from __future__ import annotations

from bilp.storage.objects import join

RECORD = "_run.json"
"""The record of a run, which is no artifact."""
NAMED_BY_KEY = ("dataset", "selection", "experts", "teacher", "ranking")
"""Fields of the record that say where what the run is made from lies, in folders that are named by its key, null for what it does without;
keys by the same names."""
INPUTS = (*NAMED_BY_KEY, "start")
"""These, and the set that it starts from, which lies in a folder of its own kind."""
ROUND, RESELECT, STATE, SYNTHETIC = "round", "reselect", "round_state", "synthetic"
"""Kinds of artifacts: a round, what was decided before it, the state after a round that does not keep it, and the synthetic set, the
product of the run."""

CHECKPOINT, MOMENTUM = "checkpoint.safetensors", "momentum.safetensors"
"""Files of the state after a round, the second with the momentum of the images; earlier versions wrote all of it into the first."""
LOSS_TABLE, SNAPSHOT = "losses.parquet", "snapshot.safetensors"
"""Files of a round, which has a grid, too; earlier versions wrote no snapshot."""
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


def state_uri(folder: str, number: int) -> str:
    """Where the state after a round that does not keep it lies until it is needed no more; `folder` is the run or the shard."""
    return join(folder, "rounds", f"{number:04d}", "state")
