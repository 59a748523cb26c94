"""Teachers, each trained by one unit whoever asks it: evaluations, and methods that choose by its opinion or invert it."""

from __future__ import annotations

from collections.abc import Mapping

from bilp.config import EvaluateConfig
from bilp.config.arm_entries import ALL_SAMPLES
from bilp.config.arms import Chosen
from bilp.teachers.supplied import named
from flows.units.execute import execute
from flows.units.table import train_teacher


def taught(dataset_uri: str, config: EvaluateConfig, root: str) -> str:
    """The URI of the teacher of these settings that learned all samples, to be called inside of a flow."""
    everything = Chosen(ALL_SAMPLES)
    return taught_each(dataset_uri, {everything: None}, config, root)[everything]


def taught_each(dataset_uri: str, selections: Mapping[Chosen, str | None], config: EvaluateConfig, root: str) -> dict[Chosen, str]:
    """The URIs of the teachers of these choices of samples, side by side; to be called inside of a flow.

    Args:
        dataset_uri: The real images.
        selections: Where the selection of each choice lies; None for all samples.
        config: Its settings under teacher are those of all.
        root: Where results lie.
    """
    config = named(config)
    calls = [
        train_teacher.call(
            root, dataset_uri=dataset_uri, config=config, selection_uri=uri, learned="" if uri is None else f" of {chosen.label}"
        )
        for chosen, uri in selections.items()
    ]
    told = "train teacher" if len(calls) == 1 else f"train {len(calls)} teachers"
    return dict(zip(selections, execute(told, calls), strict=True))
