"""What a run is made from: its real samples, its experts, its pretrained networks, and the places of all of these."""

from __future__ import annotations

import torch
from torch import Tensor

from bilp.artifacts import layout
from bilp.artifacts.run_layout import INPUTS
from bilp.data import open_dataset
from bilp.data.pool import RealPool
from bilp.distill.run import Run
from bilp.distill.starting_set import starting_images
from bilp.distill.step.initial import INITIAL, asks_experts, initial_state
from bilp.distill.step.pretrained import PretrainedNetworks, Pretraining
from bilp.distill.step.state import DistillState
from bilp.errors import IncompatibleArtifact
from bilp.experts.buffer import ExpertBuffer
from bilp.pruning.difficulty import Difficulty, difficulty_of
from bilp.pruning.selected import real_pool
from bilp.teachers.stored_teacher import StoredTeacher


def open_pool(run_uri: str, run: Run) -> RealPool:
    """The real samples of a run. Raises IncompatibleArtifact if the dataset behind its URI is no longer the same."""
    root = root_of(run_uri)
    dataset_uri = layout.resolve(run.dataset, root)
    dataset = open_dataset(dataset_uri)
    if dataset.fingerprint != run.parents["dataset"]:
        raise IncompatibleArtifact(
            f"the dataset at {dataset_uri} has fingerprint {dataset.fingerprint}, but {run_uri} was started with {run.parents['dataset']}: "
            "restore the dataset or start a new run"
        )
    return real_pool(dataset, None if run.selection is None else layout.resolve(run.selection, root), run.parents.get("selection"))


def open_experts(run_uri: str, run: Run) -> ExpertBuffer | None:
    """The experts of a run, or None if its method has none. Raises IncompatibleArtifact if they are no longer the same."""
    if run.experts is None:
        return None
    experts = ExpertBuffer(layout.resolve(run.experts, root_of(run_uri)))
    if experts.key != run.parents["experts"]:
        raise IncompatibleArtifact(
            f"the experts at {experts.uri} have key {experts.key}, but {run_uri} was started with {run.parents['experts']}: "
            "restore them or start a new run"
        )
    experts.require(run.distill, run.parents)
    return experts


def open_teacher(run_uri: str, run: Run) -> StoredTeacher | None:
    """The teacher of a run, or None if its method asks none. Raises IncompatibleArtifact if it is no longer the same."""
    if run.teacher is None:
        return None
    teacher = StoredTeacher(layout.resolve(run.teacher, root_of(run_uri)))
    if teacher.key != run.parents["teacher"]:
        raise IncompatibleArtifact(
            f"the teacher at {teacher.uri} has key {teacher.key}, but {run_uri} was started with {run.parents['teacher']}: "
            "restore it or start a new run"
        )
    teacher.require(run.parents["dataset"])
    return teacher


def open_difficulty(run_uri: str, run: Run, pool: RealPool) -> Difficulty | None:
    """How hard the samples of a run are, or None if it does not ask. Raises IncompatibleArtifact if the ranking is no longer the same."""
    if run.ranking is None:
        return None
    return difficulty_of(pool.dataset, layout.resolve(run.ranking, root_of(run_uri)), run.parents["ranking"])


def open_start(run_uri: str, run: Run, pool: RealPool) -> Tensor | None:
    """The images by class of the set that a run starts from, or None. Raises IncompatibleArtifact if it is no longer the same."""
    if run.start is None:
        return None
    uri = layout.resolve(run.start, root_of(run_uri))
    return starting_images(uri, run.parents["start"], run.distill, pool.dataset)


def first_state(
    run_uri: str,
    run: Run,
    pool: RealPool,
    classes: range | None = None,
    device: torch.device | str = "cpu",
    stream: str = INITIAL,
) -> DistillState:
    """The state before the first iteration and any decision (`bilp.distill.first_decision` has the one after it).

    Args:
        run_uri: the run.
        run: its record.
        pool: the real samples that initial images are drawn from.
        classes: those whose images start, or None for all.
        device: where experts are asked, if any are.
        stream: name of the random streams.
    """
    experts = open_experts(run_uri, run) if asks_experts(run.distill) else None
    difficulty, start = open_difficulty(run_uri, run, pool), open_start(run_uri, run, pool)
    return initial_state(run.distill, pool, classes, experts, device, difficulty, start, stream)


def pretraining_of(run_uri: str, run: Run) -> Pretraining:
    """The set-up of the networks that a run's iterations start from; runs on the same samples share them."""
    return Pretraining(root_of(run_uri), run.parents["dataset"], run.parents.get("selection"), run.distill)


def open_pretrained(run_uri: str, run: Run) -> PretrainedNetworks | None:
    """The networks that a run's iterations start from, or None if each draws a new one.

    Raises MissingArtifact, naming those that have not been trained.
    """
    return PretrainedNetworks(pretraining_of(run_uri, run)) if run.distill.pretrained.networks > 0 else None


def lineage(run_uri: str, run: Run) -> dict[str, str]:
    """URIs that an artifact of the run comes from."""
    root = root_of(run_uri)
    parents = {"run": run_uri, "dataset": layout.resolve(run.dataset, root)}
    for role, uri in ((role, getattr(run, role)) for role in INPUTS if role != "dataset"):
        if uri is not None:
            parents[role] = layout.resolve(uri, root)
    for number in range(run.distill.pretrained.networks):
        parents[f"pretrained network {number}"] = pretraining_of(run_uri, run).uri(number)
    return parents


def root_of(run_uri: str) -> str:
    """The storage root below which a run lies."""
    return run_uri.rstrip("/").rsplit("/", 2)[0]
