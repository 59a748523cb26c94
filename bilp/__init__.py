"""Dataset distillation with bi-level data pruning (BiLP): the science, free of orchestration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bilp.exchange.loaded import load_distilled

__all__ = ["load_distilled"]


def __getattr__(name: str) -> Any:
    """`bilp.load_distilled`, imported when it is asked for: torch takes seconds that `import bilp` must not."""
    if name == "load_distilled":
        from bilp.exchange.loaded import load_distilled

        return load_distilled
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
