"""What the settings of ingestion ask of every picture."""

from __future__ import annotations

from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data.clips.conversion import ClipConversion
from bilp.data.clips.from_settings import clip_conversion_of
from bilp.data.decode import Conversion


def conversion_of(config: IngestConfig) -> Conversion | ClipConversion:
    """The rules of decoding; what becomes of EXIF orientation is known of the source."""
    return clip_conversion_of(config) or Conversion(
        color=config.color,
        resolution=config.resolution,
        bits=config.bits,
        max_pixels=config.max_pixels,
        fit=config.fit,
        filter=config.filter,
        orientation=SOURCES[config.source].orientation,
    )
