"""Tasks of stage distill: a run is registered, goes through its rounds, and is finished."""

from __future__ import annotations

from bilp.config import DistillConfig, ReselectConfig
from bilp.manifest import MANIFEST
from bilp.storage import exists, join
from tasks.artifacts import show_dropped, show_synthetic
from tasks.execution import device
from tasks.progress import progress
from tasks.stage import stage

SYNTHETIC = "synthetic"
"""Folder of a run in which its synthetic set lies."""


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


@stage("reselect {label} round {round_number}/{rounds}")
def reselect_round(run_uri: str, round_number: int, rounds: int, label: str = "run") -> str:
    """Measure causal effects and decide which samples sit this round out; the URI of what was measured."""
    from bilp import distill

    return distill.reselect_round(run_uri, round_number, device(), progress())


@stage("distill {label} round {round_number}/{rounds}")
def distill_round(run_uri: str, round_number: int, rounds: int, label: str = "run") -> str:
    """Advance the synthetic images by one round; the URI of its checkpoint."""
    from bilp import distill

    return distill.distill_round(run_uri, round_number, device(), progress())


def went_through(run_uri: str, rounds: int, reselected: bool) -> bool:
    """Whether every round of a run, and its synthetic set, are there already: then no round needs a task of its own."""
    from bilp.distill.run import reselect_uri, round_uri

    numbers = range(rounds, 0, -1)  # the last one first: it is the one that an unfinished run lacks
    parts = [join(run_uri, SYNTHETIC)] + [uri(run_uri, number) for number in numbers for uri in (round_uri, reselect_uri)[: 1 + reselected]]
    return all(exists(join(part, MANIFEST)) for part in parts)


@stage("finish {label}")
def finish_run(run_uri: str, label: str = "run") -> str:
    """Publish the synthetic set of a run that went through all its rounds; its URI."""
    from bilp import distill

    uri = distill.finish_run(run_uri)
    show_synthetic(uri)
    show_dropped(run_uri)
    return uri
