"""Trains networks that iterations of IDC, DREAM and NCFM start from (Kim et al. 2022, pretrain.py of their program), and LGM's encoders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from bilp.artifacts.publication import publish
from bilp.artifacts.tensors import encode_tensors
from bilp.config import METHODS
from bilp.distill.inputs import lineage, open_pool, pretraining_of
from bilp.distill.run import open_run
from bilp.distill.step.pretrained import FILE, KIND
from bilp.distill.step.real_training import RealTraining, sgd
from bilp.errors import ConfigError, Diverged
from bilp.nets import build
from bilp.nets.arithmetic import arithmetic, place
from bilp.progress import Progress, silent
from bilp.storage.objects import Uri, as_uri


def pretrain_network(run_uri: Uri, number: int, device: torch.device | str = "cpu", progress: Progress = silent) -> str:
    """Train network `number` (from 0) on the real samples of a run and return its URI; one that is there is not repeated.

    SGD with momentum for `pretrained.epochs` passes in random order over the samples that the run's static selection
    keeps, with the augmentation and the CutMix of the training between image steps. Initial weights, order, augmentation
    and mixing are streams of (seed, number), so every run with these samples and settings gets the same bytes. The facts of
    its manifest tell the share of images that it classified correctly in each epoch, augmented and mixed as they were.
    Progress counts mini-batches. Raises ConfigError for a network that the run does not have, and Diverged.
    """
    run_uri = as_uri(run_uri)
    run = open_run(run_uri)
    config, settings = run.distill, run.distill.pretrained
    field = METHODS[config.method].pretrained or "distill"
    if not 0 <= number < settings.networks:
        raise ConfigError(f"network {number} does not exist: {field}.pretrained.networks = {settings.networks}, counted from 0")
    pretraining = pretraining_of(run_uri, run)
    uri = pretraining.uri(number)
    if pretraining.there_already(number):
        return uri
    pool = open_pool(run_uri, run)
    network = build(config.network, pool.dataset.shape, pool.classes)
    pretraining.initialize(network, number)
    place(network, config.gpu, device)
    starting = pretraining.starting
    optimizer = sgd(network, settings.learning_rate, starting.network_momentum, settings.weight_decay)
    real = RealTraining(pool, settings.batch_size, pretraining.families, starting.cutmix, config.seed, torch.device(device))
    per_epoch = -(-len(pool) // settings.batch_size)
    right: list[float] = []
    with arithmetic(config.gpu, device):
        for epoch in range(settings.epochs):
            rate = settings.learning_rate * settings.decay_factor ** sum(epoch >= share * settings.epochs for share in settings.decay_at)
            if rate != optimizer.param_groups[0]["lr"]:
                optimizer.param_groups[0]["lr"] = rate
                real = replace(real)  # a step that was recorded on a GPU holds the step size of before
            streams = ("pretrained", number, epoch)
            note = f"pretrained network {number} epoch {epoch + 1}/{settings.epochs}"
            batches = _told(real.epoch(*streams), progress, epoch * per_epoch, settings.epochs * per_epoch, note)
            correct, seen = real.run(network, optimizer, batches, *streams)
            right.append(int(correct) / max(seen, 1))
            if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
                raise Diverged(
                    f"pretrained network {number} diverged in epoch {epoch + 1} with learning_rate {settings.learning_rate:g}: "
                    f"lower distill.{field}.pretrained.learning_rate, for example to {settings.learning_rate / 10:g}"
                )
    facts = {"dataset": pretraining.dataset, "selection": pretraining.selection, "number": number, "samples": len(pool), "correct": right}
    parents = {role: parent for role, parent in lineage(run_uri, run).items() if role in ("dataset", "selection")}
    files = {FILE: encode_tensors(dict(network.state_dict()))}
    key, told = pretraining.key(number), pretraining.settings
    return publish(uri, KIND, key, files, config=told, parents=parents, facts=facts, device=device).uri


def untrained(run_uri: str) -> list[int]:
    """Numbers of the pretrained networks that a run needs and that have not been trained."""
    run = open_run(run_uri)
    pretraining = pretraining_of(run_uri, run)
    return [number for number in range(run.distill.pretrained.networks) if not pretraining.there_already(number)]


def _told(batches: Iterator[Tensor], progress: Progress, done: int, total: int, note: str) -> Iterator[Tensor]:
    """The same mini-batches; progress is told when the next one is asked for.

    Args:
        batches: mini-batches of one epoch.
        progress: whom to tell.
        done: mini-batches of the epochs before.
        total: mini-batches of all epochs.
        note: what is being trained.
    """
    for place_in_epoch, ids in enumerate(batches, start=1):
        yield ids
        progress(done + place_in_epoch, total, note)
