"""Units on a Ray cluster, for owners of one: needs the extra `ray` (prefect-ray). Ray runs a unit again whose node died.

BILP_EXECUTION=ray with RAY_ADDRESS uses that cluster; without an address, a local instance for as long as the flow runs.
"""

from __future__ import annotations

import os
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from bilp.allocator import ENVIRONMENT
from bilp.errors import BilpError
from flows.units.unit import Call
from tasks.execution import Execution
from tasks.run_name import RunName


@task(task_run_name=RunName("{label}"), persist_result=False, cache_policy=NO_CACHE, retries=2)
def unit_on_node(label: str, unit: str, arguments: dict[str, Any]) -> str:
    """Carry the unit out on the node that Ray chose; the URI of its artifact."""
    from flows.units.table import UNITS

    return str(UNITS[unit](**arguments))


def task_runner() -> Any:
    """The RayTaskRunner. Raises BilpError if prefect-ray is not installed."""
    try:
        from prefect_ray import RayTaskRunner
    except ImportError as error:
        raise BilpError(f"BILP_EXECUTION=ray needs prefect-ray ({error}): pip install 'bilp[ray]', or set local or workers") from error
    return RayTaskRunner(address=os.environ.get("RAY_ADDRESS"))


def submit(call: Call) -> PrefectFuture[str]:
    """Have a call carried out on a node with `BILP_GPUS_PER_UNIT` free GPUs; in a flow with Ray's task runner."""
    from prefect_ray.context import remote_options

    # Processes of Ray have threads before they import a unit.
    with remote_options(num_gpus=Execution().gpus_per_unit, runtime_env={"env_vars": ENVIRONMENT}):
        return unit_on_node.submit(call.label, call.unit.name, call.parameters)
