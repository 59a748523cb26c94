"""python -m deployments.warm.worker worker start --pool gpu --type process

`prefect` with a process worker whose runs are forked where that is as good as a new process (`deployments.warm`).
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.utilities.processutils import command_to_string
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from deployments.state_folder import REPOSITORY
from deployments.warm.protocol import ADDRESS

PR_SET_PDEATHSIG = 1
HERE = "prefect.deployments.steps.set_working_directory"


class WarmConfiguration(ProcessJobConfiguration):
    """How the process of a run is started: by the program that has it forked, unless the run comes with a command or code of its own."""

    def prepare_for_flow_run(self, flow_run: Any, deployment: Any = None, *others: Any, **named: Any) -> None:
        super().prepare_for_flow_run(flow_run, deployment, *others, **named)
        if self._command_configured or deployment is None or not runs_here(deployment.pull_steps):
            self.env.pop(ADDRESS, None)
            return
        self.command = command_to_string([sys.executable, "-P", "-m", "deployments.warm.run"])
        self._command_configured = True


def runs_here(steps: Sequence[dict[str, Any]] | None) -> bool:
    """Whether a deployment's code is that of this checkout, and not one that each run fetches."""
    folders = [step.get(HERE, {}).get("directory") for step in steps or ()]
    return bool(folders) and all(folder and Path(folder).resolve() == REPOSITORY for folder in folders)


def end_with_parent() -> None:
    """Stop when the program that keeps workers running was killed: its successor would start a second worker for the same GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> None:
    """Be Prefect's command line, with that worker in the place of the process worker if there is a server that forks."""
    end_with_parent()
    if os.environ.get(ADDRESS):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Type 'WarmWorker' at .* matches existing registered type")

            class WarmWorker(ProcessWorker):
                type = "process"
                job_configuration = WarmConfiguration

    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
