"""What a task calls the samples that it works on: of a data set of clips, errors and notes speak of clips, whoever runs the task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from bilp.artifacts import layout
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.called import DATASET
from bilp.artifacts.facts import DatasetFacts
from bilp.config import IngestConfig, PipelineConfig
from bilp.config.shapes import sample_noun
from bilp.errors import BilpError
from bilp.text.sample_words import noun_of_samples, speaking_of


@contextmanager
def speaking_of_given(given: Mapping[str, Any]) -> Iterator[None]:
    """Within, samples are called as those of the data set that the arguments of a task or unit mean: of `config` where it says what is
    ingested, else of `dataset_uri` or `run_uri`. Where none of these says it, or what they name is not there, the noun stays."""
    with speaking_of(_noun(given)):
        yield


def _noun(given: Mapping[str, Any]) -> str:
    config = given.get("config")
    if isinstance(config, IngestConfig):
        return config.noun
    if isinstance(config, PipelineConfig):
        return config.ingest.noun
    with suppress(BilpError):  # the task meets the same error, and tells of it
        if dataset := given.get("dataset_uri"):
            return _noun_of_dataset(dataset)
        if run := given.get("run_uri"):
            return _noun_of_run(run)
    return noun_of_samples()


@lru_cache(maxsize=256)  # what lies under a fingerprint never changes
def _noun_of_dataset(uri: str) -> str:
    return sample_noun(open_artifact(uri, DATASET).stated(DatasetFacts).shape)


@lru_cache(maxsize=256)
def _noun_of_run(uri: str) -> str:
    from bilp.distill import open_run  # which imports torch
    from bilp.distill.inputs import root_of

    return _noun_of_dataset(layout.resolve(open_run(uri).dataset, root_of(uri)))
