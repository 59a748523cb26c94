"""The page that shows what a pipeline run did: accuracy, prunings, causal effects, synthetic images, provenance."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bilp.report.page import report

__all__ = ["report"]


def __getattr__(name: str) -> Any:
    """What the room offers, imported when it is asked for: who only reads what pages say need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("bilp.report.page"), name)
