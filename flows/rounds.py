"""The rounds of a distillation, each a task of its own and a checkpoint at its end; before them its pretrained networks."""

from __future__ import annotations

from bilp.config import DistillConfig
from tasks.distill import (
    all_rounds,
    distill_round,
    finish_run,
    merge_round,
    pretrain_network,
    reselect_round,
    untrained,
    went_through,
)


def go_through(run_uri: str, config: DistillConfig, adaptive: bool, label: str) -> None:
    """Whatever a registered run still lacks: its rounds in order (first those of its shards, if it has any), then its synthetic set."""
    if not went_through(run_uri):
        if config.shards == 1:
            _pretrain(run_uri, config, label)
            _rounds(run_uri, config.rounds, adaptive, label)
        else:
            for shard in range(config.shards):
                go_through_shard(run_uri, shard, config, adaptive, shard_label(label, shard, config.shards))
            for number in range(1, config.rounds + 1):
                merge_round(run_uri, number, config.rounds, label)
    finish_run(run_uri, label)


def go_through_shard(run_uri: str, shard: int, config: DistillConfig, adaptive: bool, label: str) -> None:
    """Whatever a shard of a registered run still lacks."""
    if not all_rounds(run_uri, shard):
        _pretrain(run_uri, config, label)
        _rounds(run_uri, config.rounds, adaptive, label, shard)


def shard_label(label: str, shard: int, shards: int) -> str:
    """What people read."""
    return f"{label} shard {shard + 1}/{shards}"


def _pretrain(run_uri: str, config: DistillConfig, label: str) -> None:
    """Whatever a run lacks of the networks that its iterations start from; nothing where workers trained them before."""
    for number in untrained(run_uri) if config.idc.pretrained.networks > 0 else ():
        pretrain_network(run_uri, number, label)


def _rounds(run_uri: str, rounds: int, adaptive: bool, label: str, shard: int | None = None) -> None:
    for number in range(1, rounds + 1):
        if adaptive:
            reselect_round(run_uri, number, rounds, label, shard)
        distill_round(run_uri, number, rounds, label, shard)
