"""What a name or a path that somebody typed says about where images come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bilp.config.sources import OWN, SOURCES, UNKNOWN_DATA
from bilp.errors import ConfigError
from bilp.storage.objects import as_uri, exists


def named_source(text: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a pipeline that the name of a data set, a path or a URI stands for; a kind of source is taken out of `settings`.

    Raises ConfigError if nothing lies there.
    """
    named = text in SOURCES.choosable()
    if named and not (SOURCES[text].needs_uri and not settings.get("uri")):
        return {"dataset": text}
    if "://" not in text and not exists(as_uri(text)):
        if named:
            raise ConfigError(f"{text!r} is not downloaded, and nothing says where it lies: give uri, a folder or s3://...")
        raise ConfigError(f"{text!r} is no data set ({', '.join(SOURCES.choosable())}), and no file or folder lies there: correct it")
    kind = settings.pop("source", None) or next((entry.name for entry in OWN if entry.suffix and _holds(text, entry.suffix)), UNKNOWN_DATA)
    return {"dataset": kind, "ingest": {"uri": text}}


def _holds(text: str, suffix: str) -> bool:
    """Whether a path is such a file, or a folder with some in it or one level below."""
    folder = Path(text).expanduser()
    return text.endswith(suffix) or (
        "://" not in text and folder.is_dir() and any((*folder.glob(f"*{suffix}"), *folder.glob(f"*/*{suffix}")))
    )
