"""Units on a Ray cluster, for owners of one: needs the extra `ray` (prefect-ray). Ray runs a unit again whose node died.

BILP_EXECUTION=ray with RAY_ADDRESS uses that cluster; without an address, a local instance for as long as the flow runs.
"""

from __future__ import annotations

import os
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from bilp.allocator import ENVIRONMENT
from bilp.errors import BilpError
from flows.local.flow import flow
from flows.units.dispatch import Call
from tasks.execution import Execution
from tasks.run_name import RunName


@task(task_run_name=RunName("{label}"), persist_result=False, cache_policy=NO_CACHE, retries=2)
def unit_on_node(label: str, unit: str, arguments: dict[str, Any]) -> str:
    """Carry the unit out on the node that Ray chose; the URI of its artifact."""
    from flows.units.flows import UNITS

    return str(UNITS[unit](**arguments))


def on_ray(what: str, calls: list[Call]) -> list[str]:
    """All calls, each on a node with `BILP_GPUS_PER_UNIT` free GPUs. Raises BilpError if prefect-ray is not installed."""
    try:
        from prefect_ray import RayTaskRunner
        from prefect_ray.context import remote_options
    except ImportError as error:
        raise BilpError(f"BILP_EXECUTION=ray needs prefect-ray ({error}): pip install 'bilp[ray]', or set local or workers") from error

    @flow(name="units", flow_run_name="{what}", task_runner=RayTaskRunner(address=os.environ.get("RAY_ADDRESS")))
    def units(what: str) -> list[str]:
        # Processes of Ray have threads before they import a unit.
        with remote_options(num_gpus=Execution().gpus_per_unit, runtime_env={"env_vars": ENVIRONMENT}):
            futures = [unit_on_node.submit(call.label, call.unit, call.arguments) for call in calls]
        return [str(future.result()) for future in futures]

    return units(what)
