"""Where units of GPU work are carried out: in this process, on workers of the pool `gpu`, or on Ray (`tasks.execution`).

The flows of the stages make a list of calls and have it carried out. Results are the same artifacts wherever that happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bilp.artifacts.artifact import open_artifact
from bilp.config import Baseline, EvaluateConfig, ExpertsConfig, Frozen, NetworkConfig, ScoreConfig
from bilp.storage.objects import join
from flows.local.flow import flow
from flows.rounds import shard_label
from tasks.distill import SYNTHETIC
from tasks.execution import Execution
from tasks.remote import is_published, run_on_worker
from tasks.stopping import stoppable

if TYPE_CHECKING:
    from bilp.data import Dataset


class Call(Frozen):
    """One unit with its arguments."""

    unit: str
    """Name of the unit, of its flow in `flows.units.flows` and of its deployment."""
    arguments: dict[str, Any]
    """Arguments of that flow, as JSON would hold them."""
    artifact: str
    """URI of what the unit publishes."""
    label: str
    """What people read."""


def here() -> bool:
    """Whether units run in this process."""
    return Execution().execution == "local"


def score_trial(dataset_uri: str, config: ScoreConfig, trial: int, root: str) -> Call:
    """One training trial."""
    arguments = {"dataset_uri": dataset_uri, "config": config.model_dump(mode="json"), "trial": trial, "root": root}
    return Call(
        unit="score-trial", arguments=arguments, artifact=trial_address(dataset_uri, config, trial, root), label=f"score trial {trial}"
    )


def pretrain_network(run_uri: str, number: int, root: str, label: str) -> Call:
    """One of the networks that the iterations of a registered run start from; `label` is the run's."""
    arguments = {"run_uri": run_uri, "number": number, "root": root, "label": label}
    artifact = pretrained_address(run_uri, number)
    return Call(unit="pretrain-network", arguments=arguments, artifact=artifact, label=f"pretrained network {number} of {label}")


def distill_run(run_uri: str, root: str, label: str) -> Call:
    """One registered run, all its rounds."""
    arguments = {"run_uri": run_uri, "root": root, "label": label}
    return Call(unit="distill-run", arguments=arguments, artifact=join(run_uri, SYNTHETIC), label=f"distill {label}")


def distill_shard(run_uri: str, shard: int, shards: int, root: str, label: str) -> Call:
    """All rounds of one of the shards of a registered run; `label` is the run's."""
    label = shard_label(label, shard, shards)
    arguments = {"run_uri": run_uri, "shard": shard, "root": root, "label": label}
    return Call(unit="distill-shard", arguments=arguments, artifact=shard_address(run_uri, shard), label=f"distill {label}")


def evaluate_baseline(dataset_uri: str, baseline: Baseline, ipc: int, config: EvaluateConfig, root: str) -> Call:
    """All networks and seeds on real images."""
    arguments = {"dataset_uri": dataset_uri, "baseline": baseline, "ipc": ipc, "config": config.model_dump(mode="json"), "root": root}
    artifact = baseline_address(dataset_uri, baseline, ipc, config, root)
    return Call(unit="evaluate-baseline", arguments=arguments, artifact=artifact, label=f"evaluate baseline {baseline}")


def evaluate_synthetic(dataset_uri: str, synthetic_uri: str, arm: str, experiment: int, config: EvaluateConfig, root: str) -> Call:
    """All networks and seeds on one synthetic set."""
    arguments = {
        "dataset_uri": dataset_uri,
        "synthetic_uri": synthetic_uri,
        "arm": arm,
        "experiment": experiment,
        "config": config.model_dump(mode="json"),
        "root": root,
    }
    artifact = synthetic_address(dataset_uri, synthetic_uri, arm, experiment, config, root)
    return Call(unit="evaluate-synthetic", arguments=arguments, artifact=artifact, label=f"evaluate {arm} {experiment}")


def train_teacher(dataset_uri: str, config: EvaluateConfig, root: str) -> Call:
    """The network that gives soft labels and features."""
    arguments = {"dataset_uri": dataset_uri, "config": config.model_dump(mode="json"), "root": root}
    return Call(unit="train-teacher", arguments=arguments, artifact=teacher_address(dataset_uri, config, root), label="train teacher")


def train_expert(
    dataset_uri: str, selection_uri: str | None, config: ExpertsConfig, network: NetworkConfig, expert: int, root: str, label: str
) -> Call:
    """One expert trajectory."""
    arguments = {
        "dataset_uri": dataset_uri,
        "selection_uri": selection_uri,
        "config": config.model_dump(mode="json"),
        "network": network.model_dump(mode="json"),
        "expert": expert,
        "root": root,
        "label": label,
    }
    artifact = expert_address(dataset_uri, selection_uri, config, network, expert, root)
    return Call(unit="train-expert", arguments=arguments, artifact=artifact, label=f"expert {expert} of {label}")


def trial_address(dataset_uri: str, config: ScoreConfig, trial: int, root: str) -> str:
    """Where a trial is published."""
    from bilp.scoring.trial_record import trial_uri

    return trial_uri(root, _dataset(dataset_uri).fingerprint, config, trial)


def pretrained_address(run_uri: str, number: int) -> str:
    """Where a pretrained network of a run is published."""
    from bilp.distill.inputs import pretraining_of
    from bilp.distill.run import open_run

    return pretraining_of(run_uri, open_run(run_uri)).uri(number)


def shard_address(run_uri: str, shard: int) -> str:
    """Where the last round of a shard is published."""
    from bilp.artifacts.run_layout import ROUND
    from bilp.distill.part import open_part

    part = open_part(run_uri, shard)
    return part.place(ROUND, part.run.distill.rounds)


def baseline_address(dataset_uri: str, baseline: Baseline, ipc: int, config: EvaluateConfig, root: str) -> str:
    """Where the evaluation of a baseline is published."""
    from bilp.evaluate import address

    return address.of_baseline(root, config, baseline, ipc, _dataset(dataset_uri)).uri


def synthetic_address(dataset_uri: str, synthetic_uri: str, arm: str, experiment: int, config: EvaluateConfig, root: str) -> str:
    """Where the evaluation of a synthetic set is published."""
    from bilp.evaluate import address

    synthetic = open_artifact(synthetic_uri, SYNTHETIC)
    config = address.with_learned_rate(config, synthetic)
    return address.of_synthetic(root, config, arm, experiment, _dataset(dataset_uri), synthetic).uri


def teacher_address(dataset_uri: str, config: EvaluateConfig, root: str) -> str:
    """Where the teacher is published."""
    from bilp.evaluate.teacher import teacher_uri

    return teacher_uri(root, _dataset(dataset_uri), config.teacher, config.seed)


def expert_address(
    dataset_uri: str, selection_uri: str | None, config: ExpertsConfig, network: NetworkConfig, expert: int, root: str
) -> str:
    """Where an expert is published."""
    from bilp.experts.files import expert_uri
    from bilp.experts.train_experts import Plan

    return expert_uri(Plan.of(dataset_uri, selection_uri, config, network, root).folder, expert)


def _dataset(dataset_uri: str) -> Dataset:
    from bilp.data import open_dataset

    return open_dataset(dataset_uri)


def carry_out(what: str, calls: Sequence[Call]) -> list[str]:
    """The artifacts of all calls, in their order, once all are published; only for flows whose units run elsewhere."""
    if Execution().execution == "ray":
        from flows.units.ray import on_ray

        return on_ray(what, list(calls))
    return on_workers(what, list(calls))


@flow(name="units", flow_run_name="{what}")
def on_workers(what: str, calls: list[Call]) -> list[str]:
    """One task for each call; it waits for the worker's run."""
    missing = [call for call in calls if not is_published(call.artifact)]
    with stoppable():
        futures = [
            run_on_worker.submit(call.label, f"{call.unit}/gpu", call.arguments, call.artifact, call.arguments["root"], len(missing))
            for call in missing
        ]
        for future in futures:
            future.result()
    return [call.artifact for call in calls]
