"""How an evaluation is divided among workers whose devices nobody knows yet."""

from __future__ import annotations

from bilp.config import EvaluateConfig
from bilp.config.evaluated_set import Block, EvaluatedSet
from bilp.data import open_dataset
from bilp.evaluate import address
from bilp.evaluate.own import own_settings
from bilp.evaluate.stacked_training import Sampled, map_values, networks_at_once
from bilp.evaluate.training_blocks import Load, divided
from bilp.training.training_schedule import Schedule

KINDS = ("cpu", "cuda", "mps")
"""Kinds of devices, on each of which other networks are trained in one computation."""


def blocks_of(dataset_uri: str, subject: EvaluatedSet, config: EvaluateConfig, root: str, seeds_per_unit: int | None) -> list[Block]:
    """The blocks that an evaluation is worth being divided into; none if it is one unit of work, or is published.

    Args:
        dataset_uri: Real images.
        subject: What networks are trained on.
        config: Settings of the evaluation.
        root: Where results lie.
        seeds_per_unit: Trainings of a block at least; None decides by their work.
    """
    dataset = open_dataset(dataset_uri)
    publication, images = address.of_set(root, config, subject, dataset)
    if publication.exists():
        return []
    loads = loads_of(publication.config, dataset, images)
    blocks = divided(loads, seeds_per_unit)
    return [Block(network=number, first=seeds[0], last=seeds[-1]) for number, of in enumerate(blocks) for seeds in of]


def loads_of(config: EvaluateConfig, dataset: Sampled, images: int) -> list[Load]:
    """The trainings of each network on so many images."""
    found = []
    for network in config.networks:
        own = own_settings(config, network)
        schedule = Schedule.of_config(own, own.epochs)
        together = tuple(networks_at_once(config.at_once, network, dataset, images, schedule, kind) for kind in KINDS)
        values = map_values(network, dataset.shape, dataset.classes)
        found.append(Load(config.seeds, together, values * images * schedule.passes))
    return found
