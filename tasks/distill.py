"""Tasks of stage distill: a run is registered, goes through its rounds, and is finished."""

from __future__ import annotations

from bilp import distill
from bilp.config import DistillConfig, ReselectConfig
from tasks.artifacts import show_synthetic
from tasks.execution import device
from tasks.progress import progress
from tasks.stage import stage


@stage("register {label}")
def start_run(
    dataset_uri: str, selection_uri: str | None, config: DistillConfig, reselect: ReselectConfig, root: str, label: str = "run"
) -> str:
    """Register a run, or find the one that is registered; its URI."""
    return distill.start_run(dataset_uri, selection_uri, config, reselect, root)


@stage("reselect {label} round {round_number}/{rounds}")
def reselect_round(run_uri: str, round_number: int, rounds: int, label: str = "run") -> str:
    """Measure causal effects and decide which samples sit this round out; the URI of what was measured."""
    return distill.reselect_round(run_uri, round_number, device(), progress())


@stage("distill {label} round {round_number}/{rounds}")
def distill_round(run_uri: str, round_number: int, rounds: int, label: str = "run") -> str:
    """Advance the synthetic images by one round; the URI of its checkpoint."""
    return distill.distill_round(run_uri, round_number, device(), progress())


@stage("finish {label}")
def finish_run(run_uri: str, label: str = "run") -> str:
    """Publish the synthetic set of a run that went through all its rounds; its URI."""
    uri = distill.finish_run(run_uri)
    show_synthetic(uri)
    return uri
