"""The curriculum of experts (PAD; Li et al. 2024): easy samples first, then all, and in the end no longer the easiest.

Its program takes its shares of 5000 samples of a class whatever the data set is, and its scores from files of sorted indices. Here shares
are those of each class, and scores come from the trials of static scoring, which are trained if they are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from bilp.artifacts.artifact import open_artifact
from bilp.config import CurriculumConfig
from bilp.config.criteria import CRITERIA
from bilp.data import Dataset
from bilp.progress import Progress, silent
from bilp.scoring.summary import KIND, criterion_scores, summarize
from bilp.scoring.trial import score_trial

Samples = Callable[[int], Tensor]
"""From the number of an epoch, counted from 0, to the sample_ids that it learns, int64 `[n]`, by class."""


def scored(dataset_uri: str, config: CurriculumConfig, root: str, device: str = "cpu", progress: Progress = silent) -> str:
    """The URI of the summary of the curriculum's scores, whose trials are trained if they are not there.

    Args:
        dataset_uri: the data set, all of whose training samples are scored.
        config: the curriculum; it has a criterion.
        root: storage root.
        device: where trials are trained.
        progress: told of each trial.
    """
    for trial in range(config.score.trials):
        score_trial(dataset_uri, config.score, trial, root, device, progress)
    return summarize(dataset_uri, config.score, root)


def samples_of(dataset: Dataset, ids: Tensor, config: CurriculumConfig, scores_uri: str | None) -> Samples:
    """What each epoch learns of the sample_ids `ids` `[n]`: all of them without a criterion.

    Raises what opening scores raises.

    Args:
        dataset: the real images.
        ids: what experts learn, by class.
        config: the curriculum.
        scores_uri: the summary of its scores; None without a criterion.
    """
    if config.criterion is None or scores_uri is None:
        return lambda epoch: ids
    scores = criterion_scores(open_artifact(scores_uri, KIND, expect={"dataset": dataset.fingerprint}), config.criterion)
    hardness = scores if CRITERIA[config.criterion].drop == "high" else -scores
    labels = dataset.train.labels[ids]
    by_class = [easiest_first(ids[labels == c], hardness) for c in range(dataset.classes)]
    return lambda epoch: learned(by_class, config, epoch)


def easiest_first(ids: Tensor, hardness: np.ndarray) -> Tensor:
    """The sample_ids `[n]` in the order of their hardness; equal ones in that of their numbers. `hardness` `[N]` is of all samples."""
    ascending = ids.sort().values.numpy()
    return torch.from_numpy(ascending[np.argsort(hardness[ascending], kind="stable")])


def learned(by_class: Sequence[Tensor], config: CurriculumConfig, epoch: int) -> Tensor:
    """What an epoch learns of the sample_ids of each class, which are in the order of their hardness."""
    parts = []
    for ids in by_class:
        ranks = config.ranks(epoch, len(ids))
        parts.append(ids[ranks.start : ranks.stop])
    return torch.cat(parts)
