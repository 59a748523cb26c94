"""The one folder in which a server and its workers on this machine keep what they need between two starts."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT = REPOSITORY / ".bilp" / "service"

# Nothing asks, reports usage, or needs a network.
QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "PREFECT_CLI_PROMPT": "false"}


def settle(environment: MutableMapping[str, str]) -> Path:
    """Complete the environment where nothing is set; the folder, which exists then."""
    for name, value in {**QUIET, "PREFECT_HOME": str(DEFAULT), "BILP_HOME": str(REPOSITORY)}.items():
        environment.setdefault(name, value)
    folder = Path(environment["PREFECT_HOME"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder
