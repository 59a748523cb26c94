"""Where real images come from: one module per kind of source, all handing over `bilp.data.contents.Contents`."""

from __future__ import annotations

from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data.contents import Source
from bilp.registry import resolve


def open_source(config: IngestConfig) -> Source:
    """The source that a configuration names; cheap, reads nothing. Raises ConfigError for an unknown one."""
    source: Source = resolve(SOURCES.known(config.source).opener)(config)
    return source
