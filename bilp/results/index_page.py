"""reports/index.html: every report of a storage by data set, with what differs among them. It is derived from them, and no artifact."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bilp.artifacts.report_places import FILE, INDEX
from bilp.report.comparison import judgment
from bilp.report.wording import arm_words, count, dataset_title
from bilp.results import cells
from bilp.results.choosing import chosen
from bilp.results.pages import render
from bilp.results.result import FINISHED, Result
from bilp.results.stored import report_keys, results
from bilp.storage import objects
from bilp.storage.objects import Uri, as_uri

ATTEMPTS = 5
"""How often the page is written again because reports were published meanwhile."""


@dataclass(frozen=True)
class Group:
    """The reports on one data set, the best first."""

    title: str
    caption: str
    rows: tuple[dict[str, Any], ...]


def publish_index(root: Uri | None = None) -> str:
    """Write the page of a storage, in one step; its URI. Raises MissingArtifact if nothing lies at the root.

    Of several who write it at the same time, whoever comes last looks whether reports were added since it read them, and then writes it
    once more: so none is missing in the end.
    """
    root = objects.storage_root() if root is None else as_uri(root)
    uri = objects.join(root, INDEX)
    for _ in range(ATTEMPTS):
        listed = report_keys(root)
        objects.write(uri, index_page([result for result in results(root) if result.status == FINISHED]))
        if report_keys(root) == listed:
            break
    return uri


def index_page(reports: Sequence[Result]) -> bytes:
    """The page; equal reports give equal bytes."""
    by_dataset: dict[str, list[Result]] = defaultdict(list)
    for result in reports:
        by_dataset[result.dataset].append(result)
    groups = [_group(name, chosen(found, sort="accuracy")) for name, found in sorted(by_dataset.items())]
    summary = f"{count(len(reports), 'report')} on {count(len(groups), 'data set')}." if reports else "There is no report yet."
    return render("index.html.j2", summary=summary, groups=groups)


def varying(reports: Sequence[Result]) -> list[str]:
    """Settings, by path, that are not the same for all of them, those that differ in most of them first."""
    told: dict[str, set[str]] = defaultdict(set)
    for result in reports:
        for path, value in result.changed.items():
            told[path].add(cells.value(value))
    everywhere = {path for path in told if all(path in result.changed for result in reports) and len(told[path]) == 1}
    return sorted(told.keys() - everywhere, key=lambda path: (-len(told[path]), path))


def _group(name: str, reports: Sequence[Result]) -> Group:
    found = varying(reports)
    caption = "The best first: accuracy of the most pruned arm, mean with 95 % interval; difference paired, to the unpruned arm."
    return Group(dataset_title(name), caption, tuple(_row(result, found) for result in reports))


def _row(result: Result, found: Sequence[str]) -> dict[str, Any]:
    main = result.main
    difference = None if main is None else main.difference
    words = None if main is None else arm_words(main.arm)
    return {
        "link": f"{result.key}/{FILE}",
        "key": result.key,
        "method": result.method,
        "ipc": result.ipc,
        "settings": cells.differences({path: result.changed[path] for path in found if path in result.changed}),
        "accuracy": cells.accuracy(main),
        "arm": "" if words is None else words.title,
        "css": "" if words is None else words.css,
        "difference": cells.difference(main),
        "judgment": judgment(difference) if difference else "",
        "when": cells.when(result),
        "size": cells.size(result),
    }
