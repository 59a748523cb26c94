"""Where a browser finds a report: at the server that the run reports to, if it is one of ours and sees the same storage; and their list."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from prefect.settings import get_current_settings

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.report_places import FILE, KIND, REPORTS, comparison
from bilp.errors import BilpError
from bilp.storage import objects
from bilp.storage.verification import digest
from tasks import terminal

SECONDS = 10.0  # for an answer


def link_to(report_uri: str) -> str | None:
    """The path of a report on the server, which shows it; None for any other server, and where it does not see this report."""
    folder = report_uri.removesuffix(f"/{FILE}")
    path = f"/{REPORTS}/{folder.rpartition('/')[2]}/"
    return path if _shows(path, lambda: open_artifact(folder, KIND).manifest.files[FILE].sha256) else None


def link_to_comparison(uri: str) -> str | None:
    """The path of a comparison on the server, as `link_to` tells that of a report."""
    path = f"/{comparison(uri.rpartition('/')[2].removesuffix('.html'))}"
    return path if _shows(path, lambda: digest(objects.read(uri))) else None


def _shows(path: str, sha256: Callable[[], str]) -> bool:
    """Whether the server shows a page of that checksum there."""
    settings = get_current_settings()
    api, login = settings.api.url, settings.api.auth_string
    if not api or not api.endswith("/api"):
        return False
    expected = sha256()
    user, _, password = (login.get_secret_value() if login else "").partition(":")
    try:
        answer = httpx.head(f"{api.removesuffix('/api')}{path}", auth=(user, password), follow_redirects=True, timeout=SECONDS)
    except httpx.HTTPError:
        return False
    # Prefect's own server answers every address with its UI, and another storage may have a report of the same key.
    return answer.status_code == 200 and answer.headers.get("etag") == f'"{expected}"'


def refresh_index(root: str) -> None:
    """Have the list of all reports show a new one, too; that it cannot be written is said, and fails nothing: the report is there."""
    from bilp.results.index_page import publish_index

    try:
        publish_index(root)
    except BilpError as error:
        terminal.say(f"          the list of reports was not brought up to date: {error}")
