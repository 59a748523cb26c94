"""Preflight checks of a pipeline against its images, before anything is trained or scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bilp.config import EvaluateConfig, PipelineConfig, PruneConfig
from bilp.config.arm_entries import ARMS
from bilp.config.arms import PlannedRun, planned_runs, ranks_samples
from bilp.config.labels import LABELS, instead
from bilp.config.methods import METHODS
from bilp.config.methods.spec import never
from bilp.config.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from bilp.config.shapes import Shape, side_of
from bilp.errors import ConfigError
from bilp.registry import resolve

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bilp.data import Dataset
    from bilp.data.pool import RealPool
    from bilp.pruning.reach_words import ReachTold


def check_fit(config: PipelineConfig, dataset_uri: str) -> None:
    """Raise ConfigError if the samples of an ingested data set do not fit the networks, and what `check_distillation` raises."""
    from bilp.data import open_dataset
    from bilp.evaluate.linear_probe import load_encoder
    from bilp.evaluate.train_all import check_networks
    from bilp.nets import build

    dataset = open_dataset(dataset_uri)
    if ranks_samples(config):
        build(config.score.network, dataset.shape, dataset.classes)
    check_protocol(config.evaluate, dataset.shape)
    check_networks(config.evaluate, dataset.shape, dataset.classes)
    if config.evaluate.encoder.name is not None:
        load_encoder(config.evaluate.encoder, dataset)
    check_labels(config)
    check_distillation(config, dataset_uri)


def check_distillation(config: PipelineConfig, dataset_uri: str) -> None:
    """Raise ConfigError if the samples of an ingested data set do not fit the network or are too few for a distillation that is planned,
    and what opening it raises for a set that they start from if it is not there or not of these samples.

    How many samples of a class static pruning leaves is known beforehand if it ranks within classes and keep is a number; otherwise
    only the whole data set is looked at.
    """
    from bilp.data import open_dataset
    from bilp.data.pool import RealPool
    from bilp.distill.checks import check_beforehand

    dataset, pools = open_dataset(dataset_uri), dict[bool, RealPool]()
    for run in planned_runs(config):
        pruned = run.chosen.entry.after_static  # as many as the static selection, which ones does not matter
        if pruned not in pools:
            pools[pruned] = _pruned(dataset, config.prune) if pruned else RealPool(dataset)
        check_beforehand(pools[pruned], run.distill, run.reselect)


def check_protocol(config: EvaluateConfig, shape: Shape) -> None:
    """Raise ConfigError if images or clips of `shape` are smaller than those that the protocol is made for."""
    least = PROTOCOLS[config.protocol].least_side
    height, width = side_of(shape)
    if min(height, width) < least:
        raise ConfigError(
            f"protocol {config.protocol} is for images of {least} pixels and more, and these have {height} x {width}: "
            f"use another evaluate.protocol, such as {DEFAULT_PROTOCOL}"
        )


def check_labels(config: PipelineConfig) -> None:
    """Raise ConfigError if an evaluation asks for soft labels that the sets of the method do not store."""
    entry, method = LABELS[config.evaluate.labels], METHODS[config.method]
    if entry.stored and not method.stores_labels(config.distill):
        able = ", ".join(other.name for other in METHODS.values() if other.stores_labels is not never)
        raise ConfigError(
            f"evaluate.labels {entry.name} asks for soft labels that synthetic sets store, and those of method {method.name} store none "
            f"with these settings (sets of {able} can): use {instead(entry)}"
        )


def check_choices(config: PipelineConfig, record_uri: str | None) -> None:
    """Raise ConfigError if the samples of an arm cannot be chosen from the images whose source has this record."""
    for arm in config.arms:
        check = ARMS[arm].choice.check
        if check is not None:
            resolve(check)(record_uri)


def adaptive_reach(config: PipelineConfig, dataset_uri: str) -> ReachTold:
    """How much of each class of an ingested data set adaptive pruning can keep away with these settings, in words."""
    import numpy as np

    from bilp.data import open_dataset
    from bilp.data.pool import RealPool
    from bilp.pruning.reach_words import told_reach

    dataset = open_dataset(dataset_uri)

    def samples(run: PlannedRun) -> npt.NDArray[np.integer]:
        pool = _pruned(dataset, config.prune) if run.chosen.entry.after_static else RealPool(dataset)
        return np.array([len(ids) for ids in pool.by_class])

    return told_reach(planned_runs(config), samples)


def _pruned(dataset: Dataset, config: PruneConfig) -> RealPool:
    """As many samples of every class as static pruning leaves; which ones does not matter here."""
    import numpy as np
    import torch

    from bilp.data.pool import RealPool
    from bilp.pruning.static import select

    if not config.per_class or isinstance(config.keep, str):
        return RealPool(dataset)
    labels = dataset.train.labels.numpy()
    scores = np.arange(len(labels), dtype=np.float64)  # every rule keeps as many as a cut at one end
    minimum = config.minimum_per_class
    cut = select(scores, labels, dataset.class_names, keep=config.keep, drop=config.drop, band=config.band, minimum_per_class=minimum)
    return RealPool(dataset, torch.from_numpy(np.flatnonzero(cut.kept)))
