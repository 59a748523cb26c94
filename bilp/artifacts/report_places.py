"""Where pages lie in a storage: that of a report, the list of all, and those that put several reports side by side."""

from __future__ import annotations

import re

KIND, FILE = "report", "report.html"
"""Kind of the artifact that holds the page of a pipeline, and the page's name in it."""
REPORTS = "reports"
"""Folder of all pages, below the root."""
INDEX = f"{REPORTS}/index.html"
"""The list of all reports."""
COMPARISON = re.compile(rf"{REPORTS}/comparisons/[0-9a-f]{{16}}\.html")
"""A page that puts several reports side by side."""
ARRIVED = re.compile(rf"{REPORTS}/arrivals/[0-9a-f]{{16}}\.(html|csv)")
"""A page about new images of data that grow, and its table."""


def comparison(key: str) -> str:
    """The place of a comparison, relative to the root."""
    return f"{REPORTS}/comparisons/{key}.html"


def arrived(key: str) -> str:
    """The place of a page about new images, relative to the root; a CSV file lies beside it."""
    return f"{REPORTS}/arrivals/{key}.html"


def is_derived(place: str) -> bool:
    """Whether a place is that of a page which is made of stored results, and can be made again at any time."""
    return place == INDEX or any(pattern.fullmatch(place) for pattern in (COMPARISON, ARRIVED))
