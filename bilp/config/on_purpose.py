"""What was changed of a data set on purpose, in a few words for titles and tables: nobody should take such a run for a clean one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def changes_on_purpose(ingest: Mapping[str, Any]) -> str:
    """'20 % symmetric label noise, 5 % of the images added again' by recorded settings of ingestion; empty if nothing was changed."""
    noise, tail, copies = (_group(ingest, name) for name in ("label_noise", "long_tail", "duplicates_added"))
    told = []
    if noise.get("kind"):
        share = "" if noise.get("share") is None else f"{_percent(noise['share'])} "
        told.append(f"{share}{_name(noise['kind'])} label noise")
    if tail.get("imbalance", 1.0) != 1.0:
        told.append(f"a long tail of {tail['imbalance']:g} to 1")
    if copies.get("share"):
        told.append(f"{_percent(copies['share'])} of the images added again")
    return ", ".join(told)


def _group(ingest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = ingest.get(name)
    return found if isinstance(found, Mapping) else {}


def _name(kind: Any) -> str:
    """The kind as it is typed; that of another package is recorded with it."""
    return str(kind.get("name", "")) if isinstance(kind, Mapping) else str(kind)


def _percent(share: Any) -> str:
    return f"{100 * float(share):g}\u00a0%"
