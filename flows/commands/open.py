"""bilp open 3f2a

Open a report, or the page of a study, in the browser; one that lies on S3 is copied to the cache first. Where there is no browser, its
path is printed.
"""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.report_places import FILE, KIND
from bilp.results.find import find
from bilp.storage import copies
from flows import program

NAME = "bilp open"
PAGES = {KIND: FILE, "study": "study.html"}
"""The page of each kind that has one."""


def main(arguments: Sequence[str]) -> None:
    """Open what `arguments` name."""
    parser = program.Parser(prog=NAME, description=program.described(__doc__)[1], allow_abbrev=False)
    parser.add_argument("key", metavar="KEY", help="key of a report or a study, the first digits of it, a path or a URI")
    parser.add_argument("--storage", metavar="URI", help="storage root (default: $BILP_STORAGE, or bilp-storage)")
    parser.add_argument("--path", action="store_true", help="print the path and open nothing")
    typed = parser.typed(arguments)

    def show(page: Path) -> None:
        program.show_uri("report", str(page))
        if not typed.path:
            _open(page)

    program.looked_up(NAME, lambda: local_page(typed.key, typed.storage), show)


def local_page(key: str, storage: str | None) -> Path:
    """The report as a local file that a browser takes for a page. Raises as `find`, and DamagedArtifact for another content."""
    found = find(key, storage, tuple(PAGES))
    page = open_artifact(found.uri, found.kind).local(PAGES[found.kind])
    return page if page.suffix == ".html" else copies.named(page, ".html")


def _open(page: Path) -> None:
    try:
        webbrowser.open(page.as_uri())
    except webbrowser.Error:  # the path is printed
        return
