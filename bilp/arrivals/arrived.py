"""What came in: a row for each new image with its scores, what the networks take it for, and whether its pixels were known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from bilp.artifacts.artifact import Artifact, open_artifact
from bilp.artifacts.facts import NetworksFacts, SummaryFacts
from bilp.artifacts.tensors import load_network
from bilp.config.criteria import LATE_LOSS
from bilp.data import Dataset, open_dataset
from bilp.nets import build
from bilp.nets.arithmetic import arithmetic, place
from bilp.progress import Progress, silent
from bilp.scoring.extension import settings_of
from bilp.scoring.kept_networks import epoch_file, open_networks
from bilp.scoring.short_training import batches
from bilp.scoring.summary import load_summary
from bilp.scoring.trial_record import TRIAL
from bilp.scoring.versions import Integers, growth


@dataclass(frozen=True)
class Arrivals:
    """New images, the most suspicious first, and what is known of them: lists and arrays `[n]`.

    predicted is the class that the networks of all trials take an image for, by the mean of their softmax after the last epoch; known_as
    the class that has the very same pixels in the version before, empty if none has.
    """

    sample_id: Integers
    origin: list[str]
    given: list[str]
    predicted: list[str]
    loss: np.ndarray
    margin: np.ndarray
    known_as: list[str]

    @property
    def suspicious(self) -> np.ndarray:
        """Which of them the networks take for something else, `[n]`."""
        return np.array([given != predicted for given, predicted in zip(self.given, self.predicted, strict=True)], dtype=np.bool_)


@dataclass(frozen=True)
class ClassCount:
    """How one class grew."""

    name: str
    before: int
    added: int
    suspicious: int


def exchanged(before: Dataset, dataset: Dataset) -> tuple[int, int]:
    """How many pictures left the train split for the test split since the version before, and how many came from there."""
    was, now = (
        {split: set(store.index()["sha256"].to_pylist()) for split, store in (("train", of.train), ("test", of.test))}
        for of in (before, dataset)
    )
    return len((was["train"] - now["train"]) & now["test"]), len((now["train"] - was["train"]) & was["test"])


def arrivals(dataset: Dataset, before: Dataset | None, summary_uri: str, device: str = "cpu", progress: Progress = silent) -> Arrivals:
    """What `dataset` has and the version before lacks, everything without one.

    Args:
        dataset: The later version, opened with the record of its source.
        before: The version before.
        summary_uri: Scores of the later version, whose networks were kept.
        device: Where networks are evaluated.
        progress: Told the batches.
    """
    ids = np.arange(len(dataset.train)) if before is None else growth(before, dataset).added
    scores = load_summary(summary_uri, dataset.fingerprint)
    losses, margins = (scores[name].to_numpy()[ids] for name in (LATE_LOSS, "aum"))
    order = np.argsort(-losses, kind="stable")
    ids, losses, margins = ids[order], losses[order], margins[order]
    names = dataset.class_names
    predicted = predicted_labels(dataset, ids, open_artifact(summary_uri, "score_summary"), device, progress)
    origins = dataset.origins("train")
    return Arrivals(
        ids,
        [origins[sample] for sample in ids],
        [names[label] for label in dataset.train.labels.numpy()[ids]],
        [names[label] for label in predicted],
        losses,
        margins,
        [""] * len(ids) if before is None else _known(before, dataset, ids),
    )


def class_counts(dataset: Dataset, before: Dataset | None, found: Arrivals) -> list[ClassCount]:
    """How each class of a data set grew."""
    earlier = (
        {} if before is None else dict(zip(before.class_names, np.bincount(before.train.labels, minlength=before.classes), strict=True))
    )
    added, suspicious = Counter(found.given), Counter([name for name, odd in zip(found.given, found.suspicious, strict=True) if odd])
    return [ClassCount(name, int(earlier.get(name, 0)), added[name], suspicious[name]) for name in dataset.class_names]


def predicted_labels(dataset: Dataset, ids: Integers, summary: Artifact, device: str, progress: Progress) -> Integers:
    """The classes that samples of the train split are taken for by the networks of a summary's trials, after the last epoch, int64 `[n]`.

    Args:
        dataset: Has the samples.
        ids: Which, `[n]`.
        summary: Whose trials' networks were kept.
        device: Where they are evaluated.
        progress: Told the batches.
    """
    config, chosen = settings_of(summary), torch.from_numpy(ids)
    total = torch.zeros(len(ids), dataset.classes, dtype=torch.float64)
    parts, trials = batches(chosen, config.batch_size), summary.stated(SummaryFacts).trials
    with arithmetic(config.gpu, device), torch.no_grad():
        for number in range(trials):
            networks = open_networks(open_artifact(summary.parents[f"trial {number}"], TRIAL))
            learned = open_dataset(networks.parents["dataset"])
            columns = torch.tensor([learned.class_names.index(name) for name in dataset.class_names])
            network = build(config.network, learned.shape, learned.classes).eval()
            place(network, config.gpu, device)
            last = epoch_file(networks.stated(NetworksFacts).epochs)
            load_network(network, networks.read(last), networks.place(last))
            for step, part in enumerate(parts):
                logits = network(learned.train.normalized(dataset.train.images(part), device)).float()
                rows = slice(step * config.batch_size, step * config.batch_size + len(part))
                total[rows] += logits.softmax(dim=1).cpu().double()[:, columns]
                progress(number * len(parts) + step + 1, trials * len(parts), "what networks take new images for")
    return total.argmax(dim=1).numpy()


def _known(before: Dataset, dataset: Dataset, ids: Integers) -> list[str]:
    """The class of the first image of the version before that has the same pixels, for each sample; empty if there is none."""
    earlier = before.train.index()
    digests = pc.take(dataset.train.index()["sha256"].combine_chunks(), pa.array(ids))
    found = pc.index_in(digests, value_set=earlier["sha256"].combine_chunks()).to_pylist()
    labels = earlier["label"].to_numpy()
    return ["" if place is None else before.class_names[labels[place]] for place in found]
