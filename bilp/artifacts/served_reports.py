"""What a server may show of a storage: report pages, pages about several of them, and published files to which a page links."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bilp.artifacts.artifact import Artifact, find, manifest_kind
from bilp.artifacts.layout import PLACES
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.report_places import FILE, KIND, REPORTS, is_derived
from bilp.errors import MissingArtifact
from bilp.storage.objects import exists, join, read, size
from bilp.storage.uris import parse
from bilp.storage.verification import digest

KEY = re.compile(r"[0-9a-f]{16}")
PAGE = "text/html; charset=utf-8"
BYTES = "application/octet-stream"
TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".csv": "text/csv; charset=utf-8",
    ".png": "image/png",
    ".safetensors": BYTES,
    ".arrow": BYTES,
}
"""Content types of the files that a page may link to; none of them is a document that a browser would run."""
STANDING = {"studies": ("study", "study.html"), "suspects": ("suspects", "suspects.html"), "critical": ("critical", "report.html")}
"""Folders of artifacts that have pages of their own: kind and name of the page. Such a page names the files beside it alone."""
MOST = 256 << 20
"""Bytes of the largest file that is shown; a server holds it in memory."""
_PLACE = re.compile("|".join(PLACES))


@dataclass(frozen=True)
class Shown:
    """A file that may be shown, and where it lies."""

    name: str
    type: str
    sha256: str
    artifact: Artifact | None
    content: bytes = b""
    """Where no artifact holds it."""

    def read(self) -> bytes:
        """Its content. Raises DamagedArtifact if that is not what was published."""
        return self.content if self.artifact is None else self.artifact.read(self.name)


def page_of(root: str, key: str) -> Shown | None:
    """The page of a report, None if there is none with this key. Raises BilpError if the storage cannot be asked."""
    report = _report(root, key)
    return None if report is None else _file(report, FILE, PAGE, root)


def derived_page(root: str, place: str) -> Shown | None:
    """A file that is made of stored results: the index of all reports, a comparison of some, a page about new images or its table.

    None if `place` is that of no such file or nothing lies there.
    """
    if not is_derived(place):
        return None
    uri = join(root, place)
    try:
        if not _lies_below(uri, root) or size(uri) > MOST:
            return None
        content = read(uri)
    except MissingArtifact:
        return None
    return Shown(place, PAGE if place.endswith(".html") else TYPES[posixpath.splitext(place)[1]], digest(content), None, content)


def standing_page(root: str, folder: str, key: str, name: str) -> Shown | None:
    """A file of an artifact that has a page of its own, by the folder of STANDING: the page, a table or a picture beside it.

    None for every other file, or if there is none with this key. Raises BilpError if the storage cannot be asked.
    """
    found = _published(root, folder, key, STANDING[folder][0]) if folder in STANDING else None
    page = name == STANDING[folder][1] if found is not None else False
    kind = PAGE if page else TYPES.get(posixpath.splitext(name)[1])
    return None if found is None or kind is None else _file(found, name, kind, root)


def linked(root: str, key: str, place: str) -> Shown | None:
    """The file at `place` below the root if the page with this key links to it, else None."""
    folder, _, name = place.rpartition("/")
    kind = TYPES.get(posixpath.splitext(name)[1])
    page = page_of(root, key)
    if kind is None or page is None or not _PLACE.fullmatch(folder) or place not in _links(root, key, page.sha256):
        return None
    uri = join(root, folder)
    found = manifest_kind(uri) if exists(join(uri, MANIFEST)) else None
    artifact = None if found is None else find(uri, found)
    if artifact is None:
        return None
    named = next((own for own in artifact.manifest.files if name in (own, artifact.manifest.files[own].stored)), None)
    return None if named is None else _file(artifact, named, kind, root)


def places(page: str, folder: str) -> Iterator[str]:
    """Places below the storage root to which a page in `folder` links."""
    links = _Links()
    links.feed(page)
    for link in links.found:
        try:
            parts = urlsplit(link)
        except ValueError:
            continue
        place = posixpath.normpath(f"{folder}/{unquote(parts.path)}")
        if not (parts.scheme or parts.netloc or parts.path.startswith("/") or place.startswith("..") or "\\" in place or "\0" in place):
            yield place


@lru_cache(maxsize=64)
def _links(root: str, key: str, sha256: str) -> frozenset[str]:
    """What the page with this checksum links to."""
    page = page_of(root, key)
    if page is None or page.sha256 != sha256:
        return frozenset()
    return frozenset(places(page.read().decode("utf-8", "replace"), f"reports/{key}"))


def _report(root: str, key: str) -> Artifact | None:
    return _published(root, REPORTS, key, KIND)


def _published(root: str, folder: str, key: str, kind: str) -> Artifact | None:
    uri = join(root, folder, key)
    if not KEY.fullmatch(key) or not _lies_below(uri, root) or not exists(join(uri, MANIFEST)):
        return None
    return find(uri, kind) if manifest_kind(uri) == kind else None


def _file(artifact: Artifact, name: str, kind: str, root: str) -> Shown | None:
    entry = artifact.manifest.files.get(name)
    if entry is None or entry.size > MOST or not _lies_below(artifact.place(name), root):
        return None
    return Shown(name, kind, entry.sha256, artifact)


def _lies_below(uri: str, root: str) -> bool:
    """Whether the file lies in the storage once links of a file system are followed; a bucket has none."""
    (scheme, path), (_, top) = parse(uri), parse(root)
    return scheme != "file" or Path(path).resolve().is_relative_to(Path(top).resolve())


class _Links(HTMLParser):
    """Collects what the links of a page lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
