"""Large evaluations in blocks, which workers share."""

from __future__ import annotations

from collections.abc import Sequence

from bilp.config import EvaluateConfig
from bilp.config.evaluated_set import EvaluatedSet
from flows.units.table import evaluate_network
from flows.units.unit import Call
from tasks.execution import Execution


def blocks_elsewhere(subjects: Sequence[EvaluatedSet], dataset_uri: str, config: EvaluateConfig, root: str) -> list[Call]:
    """The units that train what evaluations of these sets need, where other processes carry units out and it is worth it.

    The units of the evaluations themselves find the trainings then, and publish their tables.

    Args:
        subjects: The sets.
        dataset_uri: Real images.
        config: Settings of the evaluations.
        root: Where results lie.
    """
    from bilp.evaluate.division import blocks_of  # which imports torch

    execution = Execution()
    if not execution.elsewhere:
        return []
    return [
        evaluate_network.call(root, dataset_uri=dataset_uri, subject=subject, block=block, config=config)
        for subject in subjects
        for block in blocks_of(dataset_uri, subject, config, root, execution.seeds_per_unit)
    ]
