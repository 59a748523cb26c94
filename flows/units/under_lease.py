"""One process at a time works on an artifact: who comes second waits, and takes over when the first one's run has ended."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Failed

from bilp.artifacts import lease
from bilp.errors import StorageError
from flows.workplace import workplace
from tasks.execution import Execution
from tasks.notice_lines import say
from tasks.parameters import Root
from tasks.remote import OUT_OF_REACH, is_published, lease_uri, owner_of
from tasks.task import PERMANENT


def under_lease(root: Root, address: Callable[[str], str], work: Callable[[str], object]) -> str | State[Any]:
    """Do the work under a lease (`bilp.artifacts.lease`) unless its artifact is published; the artifact's URI.

    Ends in a state of its own if the object storage is out of reach for longer than anybody waits: whoever submitted the run then
    tries again later. Raises LeaseLost if the work was given to another run meanwhile.

    Args:
        root: The storage root, or None for BILP_STORAGE.
        address: The artifact's URI below a root.
        work: What publishes it there.
    """
    try:
        place = workplace(root)
        artifact = address(place)
        watch, told = lease.Watch(Execution().lease_seconds), lease.Holder(0, "")
        while not is_published(artifact):
            taken = lease.take(lease_uri(artifact, place), owner(), Execution().lease_seconds, ended, watch)
            if taken is None:
                if watch.holder not in (None, told):
                    told = watch.holder or told
                    say(_waiting(artifact, told, watch.timeout))
                time.sleep(Execution().poll_seconds)
                continue
            with lease.holding(taken):
                work(place)
        return artifact
    except StorageError as error:
        if isinstance(error, PERMANENT):
            raise
        return Failed(name=OUT_OF_REACH, message=str(error))


def _waiting(artifact: str, holder: lease.Holder, timeout: float) -> str:
    """What is waited for, and for how long."""
    return (
        f"{artifact} waits since {time.strftime('%H:%M:%S')}: {holder.owner or 'somebody unknown'} holds its lease "
        f"(attempt {holder.attempt}); taken over {timeout:.0f} s after its last renewal at the latest"
    )


def owner() -> str:
    """The flow run; what runs outside of one is nobody whose end could be asked for."""
    context = FlowRunContext.get()
    return owner_of(context.flow_run.id) if context and context.flow_run else f"process:{uuid.uuid4()}"


def ended(holder: str) -> bool:
    """Whether the run that holds a lease is recorded as ended; False if this Prefect server does not know it."""
    kind, _, identifier = holder.partition(":")
    if kind != "flow-run":
        return False
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(uuid.UUID(identifier)).state
    except Exception:  # another server's run, or no answer: the lease then lasts until it expires
        return False
    return state is not None and state.is_final()
