"""What the run that somebody started shows of itself in Prefect's UI: artifacts of its own, one of each kind however often it is continued.

Artifacts of Prefect belong to the run that made them: what a task of an inner flow shows is not seen where people look, at the run that
they started.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ParamSpec
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.logging import get_logger, get_run_logger

from bilp.text.escaping import shown

P = ParamSpec("P")

PLAN, PROGRESS, RESULT = "plan", "progress", "result"
"""Keys of the artifacts; Prefect's list of artifacts has a page for each, with those of all runs."""


@dataclass
class Display:
    """The artifacts of one flow run; they may be shown from any thread. A UI that is out of reach is no reason to fail."""

    run: FlowRun
    _known: dict[str, UUID] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def markdown(self, key: str, text: str, description: str) -> None:
        """Show Markdown."""
        self._put("markdown", key, text, description)

    def progress(self, percent: float, description: str) -> None:
        """Show how far the run is."""
        self._put("progress", PROGRESS, percent, description)

    def tag(self, tags: Iterable[str]) -> None:
        """Add tags to the run."""
        wanted = sorted({*self.run.tags, *tags})
        if wanted == sorted(self.run.tags):
            return
        try:
            with get_client(sync_client=True) as client:
                client.update_flow_run(self.run.id, tags=wanted)
            self.run.tags = wanted
        except Exception as error:
            get_logger("tasks").warning("no tags in the UI: %s", error)

    def _put(self, kind: str, key: str, data: object, description: str) -> None:
        try:
            with self._lock, get_client(sync_client=True) as client:
                if key not in self._known and self.run.run_count > 1:  # this run was begun before
                    self._find(key)
                if key in self._known:
                    client.update_artifact(self._known[key], ArtifactUpdate(data=data, description=description))
                    return
                made = ArtifactCreate(key=key, type=kind, data=data, description=description, flow_run_id=self.run.id)
                self._known[key] = client.create_artifact(made).id
        except Exception as error:
            get_logger("tasks").warning("nothing to see in the UI: %s", error)

    def _find(self, key: str) -> None:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self.run.id]), key=ArtifactFilterKey(any_=[key]))
        with get_client(sync_client=True) as client:
            for artifact in client.read_artifacts(artifact_filter=mine, limit=1):
                self._known[key] = artifact.id


def display() -> Display:
    """The display of the flow run that asks."""
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None, "only a flow run can show something"
    return Display(context.flow_run)


def log(line: str) -> None:
    """One line in the log of the run that says it; a terminal shows its own lines and not these."""
    if FlowRunContext.get() is not None:
        get_run_logger().info("%s", shown(line))


def tell(line: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Have `line` log something about a result, which is there whether anything can be said about it or not."""
    try:
        line(*args, **kwargs)
    except Exception as error:
        get_logger("tasks").warning("nothing to say about a result: %s", error)
