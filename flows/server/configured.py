"""Before a flow begins: does the Prefect server that was configured answer, and does it let us in?"""

from __future__ import annotations

import os

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import FlowRunContext
from prefect.settings import Settings

from bilp.errors import BilpError
from bilp.text.redaction import redacted
from bilp.text.unexpected import one_line
from flows.server import login, loopback

SECONDS = 10.0  # for an answer
NAME = "PREFECT_API_URL"
ALLOWED_HOSTS = "BILP_ALLOWED_HOSTS"
EPHEMERAL = "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"
OTHERWISE = f"correct or unset {NAME}; without it, a private server starts"
PROFILE = "choose another profile (prefect profile ls, prefect profile use)"

_answered: set[str] = set()


def check(url: str) -> None:
    """Raise BilpError unless the server at `url` answers as Prefect's API does; asked once per process, before its first flow run.

    Inside of a flow run nothing is asked: a server that is away for a while then is waited for, as Prefect does.
    """
    if url in _answered or FlowRunContext.get() is not None:
        return
    place = redacted(f"the Prefect server at {url} ({_source()})", os.environ)
    if "@" not in url and not url.startswith(("http://", "https://")):
        raise BilpError(f"{place}: the address begins with neither http:// nor https://; {_remedy()}")
    login.check_address(url, NAME if NAME in os.environ else f"the address {_source()}")
    loopback.spare(os.environ, url)
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": SECONDS}) as client:
            _ask(client)
    except httpx.HTTPStatusError as error:
        raise BilpError(f"{place} {_refusal(error.response.status_code)}; {_remedy()}") from error
    except (httpx.TransportError, RuntimeError) as error:
        raise BilpError(
            f"{place} does not answer ({one_line(error.__cause__ or error)}): start it (bilp server), or {_remedy()}"
        ) from error
    except ValueError as error:  # what answers speaks no JSON
        raise BilpError(f"{place} is no Prefect API: its address ends with /api, as in http://127.0.0.1:4200/api; {_remedy()}") from error
    except ImportError as error:
        raise BilpError(
            f"{place} is to be reached through a proxy that needs another package ({error}): install it, or set NO_PROXY"
        ) from error
    _answered.add(url)


def check_private_allowed(settings: Settings) -> None:
    """Raise BilpError if no server is configured and the user has forbidden to start one."""
    ephemeral = settings.server.ephemeral
    if "enabled" in ephemeral.model_fields_set and not ephemeral.enabled:
        raise BilpError(
            f"no Prefect server is configured, and {EPHEMERAL}=false forbids to start a private one: set {NAME} to a server (bilp server), "
            f"or unset {EPHEMERAL}, or {PROFILE}"
        )


def _ask(client: SyncPrefectClient) -> None:
    if client.server_type.name == "CLOUD":
        error = client.api_healthcheck()
        if error:
            raise error
    else:
        client.api_version()


def _refusal(status: int) -> str:
    if status in (401, 403):
        return (
            "does not let this client in: set PREFECT_API_AUTH_STRING to what PREFECT_SERVER_API_AUTH_STRING is there, or to what the file "
            "login in its folder holds (PREFECT_API_KEY for Prefect Cloud)"
        )
    if status == 400:
        return f"does not answer to the name in that address: add it to {ALLOWED_HOSTS} there, or use another of its names"
    if status == 404:
        return "is no Prefect API: its address ends with /api, as in http://127.0.0.1:4200/api"
    return f"answers with status {status}"


def _source() -> str:
    return NAME if NAME in os.environ else "of the active Prefect profile, or a prefect.toml or .env file here"


def _remedy() -> str:
    return OTHERWISE if NAME in os.environ else f"{PROFILE}, or set {NAME}"
