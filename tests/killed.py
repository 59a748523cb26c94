"""Processes that kill themselves with SIGKILL in the middle of work of ours.

They are forked from a server that has imported torch and nothing of ours, which takes seconds less than to start an interpreter each
time; what they do before they die is real, and so is their death.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping

import torch

from bilp.config import ExpertsConfig, NetworkConfig
from bilp.distill import distill_round, open_run, pretrain_network, reselect_round
from bilp.experts.train_experts import train_expert
from bilp.progress import Progress

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["torch"])


def until_killed(work: Callable[..., None], *arguments: object) -> None:
    """Carry out a function of this module in a process of its own, which must end by SIGKILL."""
    process = _server.Process(target=_carry_out, args=(dict(os.environ), torch.get_num_threads(), work, arguments))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _carry_out(environment: Mapping[str, str], threads: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    os.environ.clear()  # that of the server, which began in another test
    os.environ.update(environment)
    torch.set_num_threads(threads)
    work(*arguments)


def _killing(here: bool, after: int) -> Progress:
    """Dies at a step if `here`."""

    def look(done: int, total: int, note: str = "") -> None:
        if here and done == after:
            os.kill(os.getpid(), signal.SIGKILL)

    return look


def distill(run_uri: str, kill_in: int, kill_after: int, shard: int | None = None) -> None:
    """Work on a run, or on a shard of it: its pretrained networks first, of which number k (from 1) is round -k here.

    The process dies after `kill_after` steps, which are what progress counts, of round `kill_in`.
    """
    config = open_run(run_uri).distill
    for network in range(1, config.pretrained.networks + 1):
        pretrain_network(run_uri, network - 1, progress=_killing(-network == kill_in, kill_after))
    for number in range(1, config.rounds + 1):
        reselect_round(run_uri, number, shard=shard)
        distill_round(run_uri, number, progress=_killing(number == kill_in, kill_after), shard=shard)


def killed_in_round(run_uri: str, kill_in: int, moment: int) -> bool:
    """Work on a run until a process dies right before the change number `moment` that round `kill_in` makes in the storage, from 0.

    False if the round is done before that, and nobody died.
    """
    process = _server.Process(
        target=_carry_out, args=(dict(os.environ), torch.get_num_threads(), _until_change, (run_uri, kill_in, moment))
    )
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _until_change(run_uri: str, kill_in: int, moment: int) -> None:
    for number in range(1, kill_in):
        distill_round(run_uri, number)
    changes = itertools.count()

    def dying(change: Callable[..., object]) -> Callable[..., object]:
        def instead(*arguments: object, **options: object) -> object:
            if next(changes) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **options)

        return instead

    for name in ("link", "replace", "rename", "rmdir"):
        setattr(os, name, dying(getattr(os, name)))
    distill_round(run_uri, kill_in)


def train(dataset: str, selection: str, config: ExpertsConfig, network: NetworkConfig, root: str, kill_in: int, kill_after: int) -> None:
    """Train experts; the process dies after `kill_after` batches of expert `kill_in`."""
    for number in range(config.count):
        train_expert(dataset, selection, config, network, number, root, progress=_killing(number == kill_in, kill_after))
