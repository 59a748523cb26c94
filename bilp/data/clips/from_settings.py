"""What the settings of ingestion ask of every clip."""

from __future__ import annotations

from bilp.config import IngestConfig
from bilp.config.clip_settings import SAMPLINGS, size_of
from bilp.config.sources import SOURCES
from bilp.data.clips.conversion import ClipConversion
from bilp.data.clips.frame_size import FrameSize
from bilp.data.clips.sampling import Wanted


def clip_conversion_of(config: IngestConfig) -> ClipConversion | None:
    """Which frames are taken and what becomes of them; None for a source whose samples are no video files."""
    if not SOURCES[config.source].video_files:
        return None
    size = FrameSize(
        color=config.color,
        side=config.resolution,
        before=None if config.pre_crop is None else size_of(config.pre_crop),
        stretched=config.fit == "stretch",
        max_pixels=config.max_pixels,
        filter=config.filter,
    )
    return ClipConversion(SAMPLINGS[config.sampling].chooser, Wanted(config.frames, config.fps, config.stride), size)
