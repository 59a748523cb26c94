"""The one folder in which a server and its workers on this machine keep what they need between two starts."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

from bilp.errors import BilpError, StorageError
from flows.server import home, installation, loopback

REPOSITORY = installation.CODE
DEFAULT = home.SERVICE

# Nothing asks, reports usage, or needs a network.
QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_CLI_PROMPT": "false"}


def settle(environment: MutableMapping[str, str]) -> Path:
    """Complete the environment where nothing is set; the folder, which exists then. Servers on this machine are spared by proxies.

    Raises StorageError if the folder cannot be made or is not this user's alone.
    """
    for name, value in {**QUIET, "PREFECT_HOME": str(DEFAULT)}.items():
        environment.setdefault(name, value)
    installation.settle(environment)
    folder = Path(environment["PREFECT_HOME"]).expanduser()
    try:
        home.check(folder)
    except BilpError as error:
        raise StorageError(f"cannot keep the state of the service: {error}") from error
    if home.is_open_to_others(folder):
        raise StorageError(
            f"others can look into {folder}, where a service keeps parameters, logs and its login: set PREFECT_HOME to a folder of its own "
            f"that belongs to this user; or, if {folder} is nothing but that, chmod 700 {folder}"
        )
    loopback.spare(environment, environment.get("PREFECT_API_URL", ""))
    return folder
