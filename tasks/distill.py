"""Tasks of stage distill: a run is registered, its networks are pretrained if it has any, it goes through its rounds, and is finished."""

from __future__ import annotations

from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import SYNTHETIC as SYNTHETIC
from bilp.config import DistillConfig, ReselectConfig
from bilp.storage.objects import exists, join
from tasks.execution import device
from tasks.progress_bars import progress
from tasks.task import stage
from tasks.ui_artifacts import show_dropped, show_synthetic


@stage("register {label}")
def start_run(
    dataset_uri: str,
    selection_uri: str | None,
    config: DistillConfig,
    reselect: ReselectConfig,
    root: str,
    label: str = "run",
    experts_uri: str | None = None,
) -> str:
    """Register a run, or find the one that is registered; its URI."""
    from bilp import distill

    return distill.start_run(dataset_uri, selection_uri, config, reselect, root, experts_uri)


@stage("pretrained network {number} of {label}")
def pretrain_network(run_uri: str, number: int, label: str = "run") -> str:
    """Train one of the networks that the iterations of a run start from; its URI."""
    from bilp import distill

    return distill.pretrain_network(run_uri, number, device(), progress())


def untrained(run_uri: str) -> list[int]:
    """Numbers of the pretrained networks that a run still lacks."""
    from bilp.distill import pretraining

    return pretraining.untrained(run_uri)


@stage("reselect {label} round {round_number}/{rounds}")
def reselect_round(run_uri: str, round_number: int, rounds: int, label: str = "run", shard: int | None = None) -> str:
    """Measure causal effects and decide which samples sit this round out; the URI of what was measured."""
    from bilp import distill

    return distill.reselect_round(run_uri, round_number, device(), progress(), shard)


@stage("distill {label} round {round_number}/{rounds}")
def distill_round(run_uri: str, round_number: int, rounds: int, label: str = "run", shard: int | None = None) -> str:
    """Advance the synthetic images by one round; the URI of its checkpoint."""
    from bilp import distill

    return distill.distill_round(run_uri, round_number, device(), progress(), shard)


@stage("merge {label} round {round_number}/{rounds}")
def merge_round(run_uri: str, round_number: int, rounds: int, label: str = "run") -> str:
    """Join what the shards of a run published in a round; the URI of the whole round."""
    from bilp import distill

    return distill.merge_round(run_uri, round_number)


def went_through(run_uri: str) -> bool:
    """Whether every round of a run, and its synthetic set, are there already: then no round needs a task of its own."""
    return exists(join(run_uri, SYNTHETIC, MANIFEST)) and all_rounds(run_uri)


def all_rounds(run_uri: str, shard: int | None = None) -> bool:
    """Whether every round of a run, or of one of its shards, is there. Raises DamagedArtifact if one is not whole."""
    from bilp.distill import round_files

    return round_files.is_complete(run_uri, shard)


@stage("finish {label}")
def finish_run(run_uri: str, label: str = "run") -> str:
    """Publish the synthetic set of a run that went through all its rounds; its URI."""
    from bilp import distill

    uri = distill.finish_run(run_uri)
    show_synthetic(uri)
    show_dropped(run_uri)
    return uri
