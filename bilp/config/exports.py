"""The registry of formats that a synthetic set can be exported to."""

from __future__ import annotations

from dataclasses import dataclass

from bilp.registry import Registry


@dataclass(frozen=True)
class ExportEntry:
    """A format."""

    name: str
    writer: str
    """"module:name" of a `bilp.exchange.export.Writer`."""
    clips_read_by: str = ""
    """The source that reads clips again that were written so."""


FORMATS: Registry[ExportEntry] = Registry(
    "format",
    ExportEntry,
    (
        ExportEntry("folder", "bilp.exchange.export:folder_files", clips_read_by="video_folder"),
        ExportEntry("parquet", "bilp.exchange.export:parquet_files"),
        ExportEntry("safetensors", "bilp.exchange.export:safetensors_files"),
    ),
)


def clip_name(number: int) -> str:
    """Name of the folder of a clip in that of its class, and of an image without suffix, by its number in the class from 0."""
    return f"{number:04d}"


def frame_name(number: int) -> str:
    """Name of the file of a frame in the folder of its clip, by its number from 0."""
    return f"{number:02d}.png"
