"""The page about several reports as a file: beside them where one storage has them all, named by which they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bilp.artifacts.artifact import content_key
from bilp.artifacts.report_places import FILE, KIND, comparison
from bilp.results import cells
from bilp.results.compare import comparison_page
from bilp.results.find import Found
from bilp.results.result import Result
from bilp.results.stored import result_at
from bilp.storage import objects
from bilp.storage.objects import as_uri


def publish_comparison(results: Sequence[Result], out: str | None = None) -> str:
    """Write the page; its URI. By default it lies beside the reports, or in the working directory if they are of several storages."""
    digits = cells.key_digits(results)
    own = _place([result.uri for result in results])
    uri = as_uri(out or own or f"compare-{'-'.join(result.key[:digits] for result in results)}.html")
    objects.write(uri, comparison_page(results, _links(results, uri, uri == own)))
    return uri


def compare_reports(page_uris: Sequence[str]) -> str | None:
    """Write the page about these reports, each told by its report.html; its URI, None if they are fewer than two."""
    folders = _folders(page_uris)
    if len(folders) < 2:
        return None
    return publish_comparison([result_at(Found(KIND, _split(uri)[2], "/".join(_split(uri)[1:]), _split(uri)[0])) for uri in folders])


def written_about(page_uris: Sequence[str]) -> str | None:
    """The URI of the page that `compare_reports` wrote about them; None if there is none."""
    folders = _folders(page_uris)
    uri = _place(folders) if len(folders) > 1 else None
    return uri if uri is not None and objects.exists(uri) else None


def _folders(page_uris: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(as_uri(uri).removesuffix(f"/{FILE}") for uri in page_uris))


def _split(folder: str) -> list[str]:
    """Root, name of the folder of all reports, and key."""
    return folder.rsplit("/", 2)


def _place(folders: Sequence[str]) -> str | None:
    """Where in the storage of these reports the page lies; None if they are of several."""
    roots = {_split(folder)[0] for folder in folders}
    key = content_key("comparison", 1, reports=[_split(folder)[2] for folder in folders])
    return objects.join(roots.pop(), comparison(key)) if len(roots) == 1 else None


def _links(results: Sequence[Result], page: str, beside: bool) -> dict[str, str]:
    """How a page leads to reports, by their URI: relative within a storage and between files, nowhere where it could not."""
    if beside:
        return {result.uri: f"../{result.key}/{FILE}" for result in results}
    if "://" in page:
        return {}
    folder = Path(page).parent
    return {result.uri: os.path.relpath(result.report, folder) for result in results if result.report and "://" not in result.report}
