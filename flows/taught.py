"""The teacher of a data set, trained by one unit whoever asks it: evaluations, and methods that choose by its opinion."""

from __future__ import annotations

from bilp.config import EvaluateConfig
from bilp.teachers.supplied import named
from flows.units.execute import execute
from flows.units.table import train_teacher


def taught(dataset_uri: str, config: EvaluateConfig, root: str) -> str:
    """The URI of the teacher of these settings, to be called inside of a flow."""
    (uri,) = execute("train teacher", [train_teacher.call(root, dataset_uri=dataset_uri, config=named(config))])
    return uri
