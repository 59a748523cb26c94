"""The package that decodes video files, which not everybody needs."""

from __future__ import annotations

from importlib.util import find_spec

from bilp.errors import ConfigError


def require_decoder() -> None:
    """Raise ConfigError with what to install unless video files can be decoded here."""
    if find_spec("av") is None:
        raise ConfigError("video files are decoded by PyAV, which is not installed: pip install 'bilp[video]'")
