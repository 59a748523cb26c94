"""Dataset distillation with bi-level data pruning (BiLP): the science, free of orchestration."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bilp.api.calls import distill, evaluate, ingest, prune, report, score
    from bilp.api.critical_share import CriticalShares, critical
    from bilp.api.distilled import DistilledSet, load_distilled
    from bilp.api.evaluated import Evaluation, Report
    from bilp.api.ingested import Dataset
    from bilp.api.pruned import Scores, Selection
    from bilp.api.resized import resize
    from bilp.api.studied import StudyResult, study
    from bilp.api.suspected import Suspects, suspects
    from bilp.api.whole import run
    from bilp.config import settings
    from bilp.results.data_frame import runs

__version__ = "0.2.0"
"""The one place of the version: packaging reads it from here."""

_OFFERED = {
    **dict.fromkeys(("ingest", "score", "prune", "distill", "evaluate", "report"), "bilp.api.calls"),
    **dict.fromkeys(("critical", "CriticalShares"), "bilp.api.critical_share"),
    "run": "bilp.api.whole",
    **dict.fromkeys(("Suspects", "suspects"), "bilp.api.suspected"),
    "settings": "bilp.config",
    "Dataset": "bilp.api.ingested",
    **dict.fromkeys(("Scores", "Selection"), "bilp.api.pruned"),
    **dict.fromkeys(("DistilledSet", "load_distilled"), "bilp.api.distilled"),
    **dict.fromkeys(("Evaluation", "Report"), "bilp.api.evaluated"),
    "resize": "bilp.api.resized",
    "runs": "bilp.results.data_frame",
    **dict.fromkeys(("study", "StudyResult"), "bilp.api.studied"),
}
"""Names, and the modules that hold them."""

__all__ = [
    "CriticalShares",
    "Dataset",
    "DistilledSet",
    "Evaluation",
    "Report",
    "Scores",
    "Selection",
    "StudyResult",
    "Suspects",
    "__version__",
    "critical",
    "distill",
    "evaluate",
    "ingest",
    "load_distilled",
    "prune",
    "report",
    "resize",
    "run",
    "runs",
    "score",
    "settings",
    "study",
    "suspects",
]


_STAGES = ("critical", "distill", "evaluate", "report", "suspects")
"""Stages that are called like the packages which carry them out: both are at the same name, as a package that can be called."""


def __getattr__(name: str) -> Any:
    """What `bilp` offers, imported when it is asked for: torch takes seconds that `import bilp` must not."""
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return importlib.import_module(f"{__name__}.{name}") if name in _STAGES else _offered(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _offered(name: str) -> Any:
    import importlib

    return getattr(importlib.import_module(_OFFERED[name]), name)


class _Stage(ModuleType):
    """A package that is called as the stage of its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Any:  # what inspect.signature and help look for
        return _offered(self.__name__.rpartition(".")[2])


class _Package(ModuleType):
    """This package: whoever imports one of its packages binds it here, where it becomes one that can be called."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _STAGES and type(value) is ModuleType:
            value.__class__ = _Stage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
