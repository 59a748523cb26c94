"""The task that takes a smaller synthetic set out of a finished one; no pipeline has it."""

from __future__ import annotations

from bilp.config.resize import ResizeConfig
from tasks.execution import device
from tasks.progress_bars import progress
from tasks.task import stage
from tasks.ui_artifacts import show_synthetic


@stage("resize to {config.ipc} images per class")
def resize(synthetic_uri: str, config: ResizeConfig, root: str) -> str:
    """Take images out of a synthetic set; the URI of the smaller set."""
    from bilp.resizing.resize_stage import resize

    uri = resize(synthetic_uri, config, root, device(), progress())
    show_synthetic(uri)
    return uri
