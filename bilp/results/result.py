"""What there is to know of a pipeline's run, or of a distillation that belongs to no finished one, without reading more than that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bilp.artifacts.report_places import FILE, KIND
from bilp.config.changed import changed, leaves_of
from bilp.config.former import today
from bilp.config.on_purpose import changes_on_purpose
from bilp.config.pipeline import PipelineConfig
from bilp.report.outcome import ArmResult, main_result
from bilp.storage import objects

FINISHED = "finished"


@dataclass(frozen=True)
class Result:
    """One row of a listing."""

    kind: str
    """'report' for what a pipeline finished, 'run' for a distillation that no report shows."""
    key: str
    """Of the report, or of the run."""
    uri: str
    """Where it lies."""
    status: str
    """'finished', how far a distillation has come, or what is wrong, in a few words."""
    created: str = ""
    """When it was published (UTC, ISO 8601); empty where nothing says that."""
    name: str = ""
    """Of the data set."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings as they are recorded: the pipeline's, or those of the stages of a distillation."""
    results: tuple[ArmResult, ...] = ()
    """What was evaluated."""
    stated: Mapping[str, Any] | None = None
    """The settings that are changed, where the report states them."""
    size: int | None = None
    """Bytes of the artifacts that the report rests on, its own included."""
    scores_version: int = 1
    """Which scoring of data that grow it rests on; 1 where all images were scored together."""
    problem: str = ""
    """The whole sentence about what is wrong, if something is."""

    @property
    def place(self) -> str:
        """Relative to the root."""
        return "/".join(self.uri.rsplit("/", 2)[1:])

    @property
    def report(self) -> str | None:
        """URI of the page."""
        return objects.join(self.uri, FILE) if self.kind == KIND and self.status == FINISHED else None

    @property
    def dataset(self) -> str:
        """Name of the data set, or of its source where that alone is known."""
        return self.name or _text(self.config.get("dataset"))

    @property
    def on_purpose(self) -> str:
        """What was changed of the data set on purpose: '20 % symmetric label noise'; empty if nothing was, or nobody says."""
        ingest = self.config.get("ingest")
        return changes_on_purpose(ingest) if isinstance(ingest, Mapping) else ""

    @property
    def method(self) -> str:
        """The distillation method's name."""
        return _text(self.config.get("method", _inside(self.config, "distill", "method")))

    @property
    def ipc(self) -> int | None:
        """Synthetic images per class."""
        found = self.config.get("ipc", _inside(self.config, "distill", "ipc"))
        return found if isinstance(found, int) else None

    @cached_property
    def changed(self) -> dict[str, Any]:
        """Settings by dotted path that are not what data set, method and images per class imply; nothing for single distillations."""
        if self.stated is not None:
            return today(PipelineConfig, self.stated)
        return today(PipelineConfig, changed(self.config)) if self.kind == KIND else {}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by dotted path, under its present name."""
        return today(PipelineConfig, dict(leaves_of(self.config)))

    @property
    def main(self) -> ArmResult | None:
        """The result that the report is about."""
        return main_result(self.results)


def _inside(values: Mapping[str, Any], group: str, name: str) -> Any:
    below = values.get(group)
    return below.get(name) if isinstance(below, Mapping) else None


def _text(value: Any) -> str:
    """The name of an entry, which is recorded with its package if another one offers it."""
    if isinstance(value, Mapping):
        value = value.get("name")
    return value if isinstance(value, str) else ""
