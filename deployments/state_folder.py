"""The one folder in which a server and its workers on this machine keep what they need between two starts."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

from bilp.errors import StorageError
from flows import loopback
from flows.prefect_home import REMEDY

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT = REPOSITORY / ".bilp" / "service"

# Nothing asks, reports usage, or needs a network.
QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_CLI_PROMPT": "false"}


def settle(environment: MutableMapping[str, str]) -> Path:
    """Complete the environment where nothing is set; the folder, which exists then. Servers on this machine are spared by proxies.

    Raises StorageError if the folder cannot be made.
    """
    for name, value in {**QUIET, "PREFECT_HOME": str(DEFAULT), "BILP_HOME": str(REPOSITORY)}.items():
        environment.setdefault(name, value)
    folder = Path(environment["PREFECT_HOME"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot keep the state of the service in {folder} ({error.strerror}): {REMEDY}") from error
    loopback.spare(environment, environment.get("PREFECT_API_URL", ""))
    return folder
