"""Where this installation of the program lies, and the folder in which a service of it works: a checkout is both.

Installed from a wheel, our packages lie among everybody's, where nothing of a service belongs. It works in the folder in which it was
started then: its state is in `.bilp` there, and the runs that its workers carry out find relative paths from there.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
"""The folder that holds the packages `flows`, `tasks`, `bilp` and `deployments`."""
IS_CHECKOUT = (CODE / "pyproject.toml").is_file()
FOLDER = "BILP_FOLDER"
"""The folder of a service that was not started from a checkout, for the runs of its workers."""
RUN = "PREFECT__FLOW_RUN_ID"
"""Set where a worker started this process for a run."""


def folder() -> Path:
    """Where a service of this installation works."""
    return CODE if IS_CHECKOUT else Path(os.environ.get(FOLDER) or Path.cwd())


def settle(environment: MutableMapping[str, str]) -> None:
    """Have runs of this process's workers find our packages and the folder of the service."""
    environment.setdefault("BILP_HOME", str(CODE))
    if not IS_CHECKOUT:
        environment.setdefault(FOLDER, str(folder()))


def enter(environment: MutableMapping[str, str]) -> None:
    """Work in the folder of the service, if this process is a run: Prefect has it begin among our packages."""
    if RUN in environment and FOLDER in environment:
        os.chdir(environment[FOLDER])
