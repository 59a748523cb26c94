"""What the server does by itself when a process or a machine dies; without these, a run that was killed stays "Running" for ever."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

SILENCE = timedelta(seconds=90)
"""Three heartbeats (PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 in prefect.yaml)."""


def zombies(silence: timedelta = SILENCE) -> AutomationCore:
    """A run that sends no heartbeat any more is recorded as crashed; whoever submitted it submits it again."""
    return AutomationCore(
        name="bilp: no heartbeat means crashed",
        description="A flow run whose process or machine died is recorded as crashed.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat", "prefect.flow-run.Running"},  # it may die before its first heartbeat
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            # Whatever workers run sends heartbeats that often (prefect.yaml); a run from a command line need not.
            match_related=ResourceSpecification({"prefect.resource.role": "work-pool"}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=f"no heartbeat for {silence.seconds} s")],
    )
