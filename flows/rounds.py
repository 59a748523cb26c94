"""The rounds of a distillation, each a task of its own and a checkpoint at its end; before them its pretrained networks."""

from __future__ import annotations

from bilp.config import DistillConfig
from bilp.config.base import Count
from flows.local.flow import flow
from tasks import addresses, run_progress
from tasks.parameters import Label, RunUri
from tasks.stages import (
    distill_round,
    finish_run,
    has_all_rounds,
    is_complete,
    merge_round,
    pretrain_network,
    reselect_round,
    untrained,
)


@flow(name="distill-run", flow_run_name="distill {label}")
def distill_run(run_uri: RunUri, label: Label = "run") -> str:
    """What a registered run still lacks: its rounds, each with a checkpoint, and its synthetic set."""
    from bilp.distill import open_run

    run = open_run(run_uri)
    return complete_run(run_uri, run.distill, run.reselect.active, label)


@flow(name="distill-shard", flow_run_name="distill {label}")
def distill_shard(run_uri: RunUri, shard: Count, label: Label = "shard") -> str:
    """What one shard of a registered run still lacks: its rounds, each with a checkpoint.

    Args:
        shard: Number of the shard, from 0.
    """
    from bilp.distill import open_run

    run = open_run(run_uri)
    complete_shard(run_uri, shard, run.distill, run.reselect.active, label)
    return addresses.last_round(run_uri, shard)


def complete_run(run_uri: str, config: DistillConfig, adaptive: bool, label: str) -> str:
    """Compute whatever a registered run still lacks: its rounds in order (first those of its shards, if it has any), then its
    synthetic set, whose URI is returned."""
    if not is_complete(run_uri):
        if config.shards == 1:
            _pretrain(run_uri, config, label)
            _rounds(run_uri, config.rounds, adaptive, label)
        else:
            for shard in range(config.shards):
                complete_shard(run_uri, shard, config, adaptive, shard_label(label, shard, config.shards))
            for number in range(1, config.rounds + 1):
                merge_round(run_uri, number, config.rounds, label)
    return finish_run(run_uri, label)


def complete_shard(run_uri: str, shard: int, config: DistillConfig, adaptive: bool, label: str) -> None:
    """Compute whatever a shard of a registered run still lacks."""
    if not has_all_rounds(run_uri, shard):
        _pretrain(run_uri, config, label)
        _rounds(run_uri, config.rounds, adaptive, label, shard)


def shard_label(label: str, shard: int, shards: int) -> str:
    """The display name of a shard."""
    return f"{label} shard {shard + 1}/{shards}"


def _pretrain(run_uri: str, config: DistillConfig, label: str) -> None:
    """Whatever a run lacks of the networks that its iterations are initialized from; nothing where they were trained before."""
    for number in untrained(run_uri) if config.pretrained.networks > 0 else ():
        pretrain_network(run_uri, number, label)


def _rounds(run_uri: str, rounds: int, adaptive: bool, label: str, shard: int | None = None) -> None:
    for number in range(1, rounds + 1):
        run_progress.begin_part(number - 1, rounds)
        if adaptive:
            reselect_round(run_uri, number, rounds, label, shard)
        distill_round(run_uri, number, rounds, label, shard)
