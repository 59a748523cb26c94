"""What the samples of an artifact's data set are called while something is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bilp.artifacts.artifact import Artifact, open_artifact
from bilp.artifacts.facts import DatasetFacts
from bilp.config.shapes import sample_noun
from bilp.text.sample_words import speaking_of

DATASET = "dataset"


@contextmanager
def speaking_of_dataset(uri: str) -> Iterator[None]:
    """Within, samples are called as those of the data set at `uri`: images or clips. Raises as opening it does."""
    with speaking_of(sample_noun(open_artifact(uri, DATASET).stated(DatasetFacts).shape)):
        yield


@contextmanager
def speaking_of_samples(artifact: Artifact) -> Iterator[None]:
    """Within, samples are called as those of the data set that an artifact was made with, if it names one."""
    parent = artifact.parents.get(DATASET)
    if parent is None:
        yield
        return
    with speaking_of_dataset(parent):
        yield
