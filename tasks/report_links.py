"""Where a browser finds a report: at the server that the run reports to, if that is one of ours and sees the same storage."""

from __future__ import annotations

import httpx
from prefect.settings import get_current_settings

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.served_reports import FILE, KIND

SECONDS = 10.0  # for an answer


def link_to(report_uri: str) -> str | None:
    """The path of a report on the server, which shows it; None for any other server, and where it does not see this report."""
    settings = get_current_settings()
    api, login = settings.api.url, settings.api.auth_string
    if not api or not api.endswith("/api"):
        return None
    folder = report_uri.removesuffix(f"/{FILE}")
    key = folder.rpartition("/")[2]
    expected = open_artifact(folder, KIND).manifest.files[FILE].sha256
    user, _, password = (login.get_secret_value() if login else "").partition(":")
    try:
        address = f"{api.removesuffix('/api')}/reports/{key}/"
        answer = httpx.head(address, auth=(user, password), follow_redirects=True, timeout=SECONDS)
    except httpx.HTTPError:
        return None
    # Prefect's own server answers every address with its UI, and another storage may have a report of the same key.
    return f"/reports/{key}/" if answer.status_code == 200 and answer.headers.get("etag") == f'"{expected}"' else None
