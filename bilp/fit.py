"""Whether the networks of a pipeline fit its images: asked before anything is trained."""

from __future__ import annotations

from bilp.arms import needs_selection
from bilp.config import PipelineConfig


def check_fit(config: PipelineConfig, dataset_uri: str) -> None:
    """Raise ConfigError if a network that scores, distils or is evaluated cannot take the samples of an ingested data set."""
    from bilp.data import open_dataset
    from bilp.evaluate.protocol import check_networks
    from bilp.nets import build

    dataset = open_dataset(dataset_uri)
    build(config.distill.network, dataset.shape, dataset.classes)
    if needs_selection(config):
        build(config.score.network, dataset.shape, dataset.classes)
    check_networks(config.evaluate, dataset.shape, dataset.classes)
