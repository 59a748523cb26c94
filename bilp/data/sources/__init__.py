"""Where real images come from: one module per kind of source, all handing over `bilp.data.contents.Contents`."""

from __future__ import annotations

from bilp.config import IngestConfig
from bilp.data.contents import Source
from bilp.data.sources.digits import Digits
from bilp.data.sources.folder.source import ImageFolder
from bilp.data.sources.parquet import HuggingFaceParquet
from bilp.data.sources.torchvision import TORCHVISION, TorchvisionSet
from bilp.errors import ConfigError


def open_source(config: IngestConfig) -> Source:
    """The source that a configuration names; cheap, reads nothing. Raises ConfigError for an unknown one."""
    if config.source == "digits":
        return Digits()
    if config.source in TORCHVISION:
        return TorchvisionSet(config.source)
    if config.source == "folder" and config.uri:
        return ImageFolder(config.uri, config.train, config.test, config.classes)
    if config.source == "parquet" and config.uri:
        return HuggingFaceParquet(config)
    raise ConfigError(f"source {config.source!r} is unknown or lacks its uri: use digits, {', '.join(TORCHVISION)}, folder or parquet")
