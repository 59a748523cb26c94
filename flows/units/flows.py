"""Units of GPU work: each a flow of its own that any worker of the pool `gpu` can run, stop and go on with.

A unit is named by the artifact that it publishes. Published: nothing to do. Begun: it continues from what is there (the rounds of
a distillation). While somebody else works on it (`bilp.artifacts.lease`), it waits; when that one's run has ended, it takes over.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Failed

from bilp.artifacts import lease
from bilp.config import BaselineName, EvaluateConfig, ExpertsConfig, NetworkConfig, ScoreConfig
from bilp.config.base import Count, Positive
from bilp.errors import StorageError
from bilp.storage.objects import join
from flows.local.flow import flow
from flows.rounds import go_through, go_through_shard
from flows.units import dispatch
from flows.workplace import Root, workplace
from tasks import distill, evaluate, experts, score
from tasks.distill import SYNTHETIC
from tasks.execution import Execution
from tasks.notice_lines import say
from tasks.remote import OUT_OF_REACH, is_published, lease_uri, owner_of
from tasks.task import LASTING


@flow(name="score-trial", flow_run_name="score trial {trial}")
def score_trial(dataset_uri: str, config: ScoreConfig, trial: Count, root: Root | None = None) -> str | State[Any]:
    """One training trial that records every sample's loss.

    Args:
        dataset_uri: The dataset, as ingest published it.
        config: What is trained and recorded.
        trial: Number of the trial, from 0; each has its own random stream.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
    """
    return alone(
        root,
        lambda place: dispatch.trial_address(dataset_uri, config, trial, place),
        lambda place: score.score_trial(dataset_uri, config, trial, place),
    )


@flow(name="pretrain-network", flow_run_name="pretrained network {number} of {label}")
def pretrain_network(run_uri: str, number: Count, root: Root | None = None, label: str = "run") -> str | State[Any]:
    """One of the networks that a distillation by idc or dream trains beforehand.

    Args:
        run_uri: A run that a pipeline registered.
        number: Number of the network, from 0; each has its own random streams.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
        label: What people read.
    """
    return alone(
        root,
        lambda place: dispatch.pretrained_address(run_uri, number),
        lambda place: distill.pretrain_network(run_uri, number, label),
    )


@flow(name="distill-run", flow_run_name="distill {label}")
def distill_run(run_uri: str, root: Root | None = None, label: str = "run") -> str | State[Any]:
    """What a registered run still lacks: its rounds, each with a checkpoint, and its synthetic set.

    Args:
        run_uri: A run that a pipeline registered.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
        label: What people read.
    """

    def work(place: str) -> None:
        from bilp.distill import open_run

        run = open_run(run_uri)
        go_through(run_uri, run.distill, run.reselect.beta > 0, label)

    return alone(root, lambda place: join(run_uri, SYNTHETIC), work)


@flow(name="distill-shard", flow_run_name="distill {label}")
def distill_shard(run_uri: str, shard: Count, root: Root | None = None, label: str = "shard") -> str | State[Any]:
    """What one shard of a registered run still lacks: its rounds, each with a checkpoint.

    Args:
        run_uri: A run that a pipeline registered.
        shard: Number of the shard, from 0.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
        label: What people read.
    """

    def work(place: str) -> None:
        from bilp.distill import open_run

        run = open_run(run_uri)
        go_through_shard(run_uri, shard, run.distill, run.reselect.beta > 0, label)

    return alone(root, lambda place: dispatch.shard_address(run_uri, shard), work)


@flow(name="evaluate-synthetic", flow_run_name="evaluate {arm} {experiment}")
def evaluate_synthetic(
    dataset_uri: str, synthetic_uri: str, arm: str, experiment: Count, config: EvaluateConfig, root: Root | None = None
) -> str | State[Any]:
    """A pool of networks trained on a synthetic set and tested on real images.

    Args:
        dataset_uri: The dataset, as ingest published it.
        synthetic_uri: The synthetic set of a run.
        arm: The arm of the comparison that it belongs to.
        experiment: Number of the distillation within the arm, from 0.
        config: Networks, their training, seeds.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
    """
    return alone(
        root,
        lambda place: dispatch.synthetic_address(dataset_uri, synthetic_uri, arm, experiment, config, place),
        lambda place: evaluate.evaluate_synthetic(dataset_uri, synthetic_uri, arm, experiment, config, place),
    )


@flow(name="evaluate-baseline", flow_run_name="evaluate baseline {baseline}")
def evaluate_baseline(
    dataset_uri: str, baseline: BaselineName, ipc: Positive, config: EvaluateConfig, root: Root | None = None
) -> str | State[Any]:
    """The same on real images: all of them, or random subsets.

    Args:
        dataset_uri: The dataset, as ingest published it.
        baseline: All images, or how they are chosen.
        ipc: Images per class of a choice.
        config: Networks, their training, seeds.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
    """
    return alone(
        root,
        lambda place: dispatch.baseline_address(dataset_uri, baseline, ipc, config, place),
        lambda place: evaluate.evaluate_baseline(dataset_uri, baseline, ipc, config, place),
    )


@flow(name="train-teacher", flow_run_name="train teacher")
def train_teacher(dataset_uri: str, config: EvaluateConfig, root: Root | None = None) -> str | State[Any]:
    """The network that gives soft labels, and features by which real images are chosen.

    Args:
        dataset_uri: The dataset, as ingest published it.
        config: Its settings are those under teacher.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
    """
    return alone(
        root,
        lambda place: dispatch.teacher_address(dataset_uri, config, place),
        lambda place: evaluate.train_teacher(dataset_uri, config, place),
    )


@flow(name="train-expert", flow_run_name="expert {expert} of {label}")
def train_expert(
    dataset_uri: str,
    selection_uri: str | None,
    config: ExpertsConfig,
    network: NetworkConfig,
    expert: Count,
    root: Root | None = None,
    label: str = "all samples",
) -> str | State[Any]:
    """One expert trajectory, for methods that imitate training.

    Args:
        dataset_uri: The dataset, as ingest published it.
        selection_uri: Samples that it learns; if empty, all.
        config: How it is trained.
        network: What is trained.
        expert: Number of the expert, from 0; each has its own random streams.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
        label: What people read.
    """
    return alone(
        root,
        lambda place: dispatch.expert_address(dataset_uri, selection_uri, config, network, expert, place),
        lambda place: experts.train_expert(dataset_uri, selection_uri, config, network, expert, place, label),
    )


UNITS: dict[str, Callable[..., str | State[Any]]] = {
    "score-trial": score_trial,
    "pretrain-network": pretrain_network,
    "distill-run": distill_run,
    "distill-shard": distill_shard,
    "evaluate-synthetic": evaluate_synthetic,
    "evaluate-baseline": evaluate_baseline,
    "train-teacher": train_teacher,
    "train-expert": train_expert,
}


def alone(root: Root | None, address: Callable[[str], str], work: Callable[[str], object]) -> str | State[Any]:
    """Do the work under a lease unless its artifact is published; the artifact's URI.

    Ends in a state of its own if the object storage is out of reach for longer than anybody waits: whoever submitted the run then
    tries again later. Raises LeaseLost if the work was given to another run meanwhile.
    """
    try:
        place = workplace(root)
        artifact = address(place)
        watch, told = lease.Watch(Execution().lease_seconds), lease.Holder(0, "")
        while not is_published(artifact):
            taken = lease.take(lease_uri(artifact, place), _owner(), Execution().lease_seconds, _ended, watch)
            if taken is None:
                if watch.holder not in (None, told):
                    told = watch.holder or told
                    say(_waiting(artifact, told, watch.patience))
                time.sleep(Execution().poll_seconds)
                continue
            with lease.holding(taken):
                work(place)
        return artifact
    except StorageError as error:
        if isinstance(error, LASTING):
            raise
        return Failed(name=OUT_OF_REACH, message=str(error))


def _waiting(artifact: str, holder: lease.Holder, patience: float) -> str:
    """What is waited for, and for how long."""
    return (
        f"{artifact} waits since {time.strftime('%H:%M:%S')}: {holder.owner or 'somebody unknown'} holds its lease "
        f"(attempt {holder.attempt}); taken over {patience:.0f} s after its last renewal at the latest"
    )


def _owner() -> str:
    """The flow run; what runs outside of one is nobody whose end could be asked for."""
    context = FlowRunContext.get()
    return owner_of(context.flow_run.id) if context and context.flow_run else f"process:{uuid.uuid4()}"


def _ended(owner: str) -> bool:
    """Whether the run that holds a lease is recorded as ended; False if this Prefect server does not know it."""
    kind, _, identifier = owner.partition(":")
    if kind != "flow-run":
        return False
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(uuid.UUID(identifier)).state
    except Exception:  # another server's run, or no answer: the lease then lasts until it expires
        return False
    return state is not None and state.is_final()
