"""Task of reproduction: what was published beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from bilp.config import PipelineConfig
from tasks.execution import device
from tasks.task import stage


@stage("compare with {recipe}")
def compare_with_published(recipe: str, config: PipelineConfig, evaluation_uris: Sequence[str], root: str) -> str:
    """Publish the distance to a published value and every deviation from its protocol; the artifact's URI."""
    from bilp.evaluate import reproduction

    return reproduction.publish_reproduction(recipe, config, evaluation_uris, device(), root)
