"""Dataset distillation with bi-level data pruning (BiLP): the science, free of orchestration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bilp.config import settings
    from bilp.exchange.loaded import load_distilled
    from bilp.results.data_frame import runs

__version__ = "0.2.0"
"""The one place of the version: packaging reads it from here."""

__all__ = ["__version__", "load_distilled", "runs", "settings"]


def __getattr__(name: str) -> Any:
    """What `bilp` offers, imported when it is asked for: torch takes seconds that `import bilp` must not."""
    if name == "load_distilled":
        from bilp.exchange.loaded import load_distilled

        return load_distilled
    if name == "settings":
        from bilp.config import settings

        return settings
    if name == "runs":
        from bilp.results.data_frame import runs

        return runs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
