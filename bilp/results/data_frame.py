"""`bilp.runs()`: what a storage holds as a table of pandas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bilp.artifacts.report_places import KIND
from bilp.results import cells
from bilp.results.result import Result
from bilp.results.stored import results
from bilp.storage.objects import Uri

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("dataset", "method", "ipc", "status", "created", "size", "report", "uri")
"""Of every row, before the settings and the accuracies."""


def runs(root: Uri | None = None) -> pd.DataFrame:
    """One row for each report, the newest first, and for each distillation that no report shows; the index is the key.

    After COLUMNS there is one for each setting that somebody changed in any of them (`keep`, `evaluate.seeds`), with its value in every
    report, and for each arm `accuracy ARM` with its 95 % interval `accuracy ARM ±`, the paired `difference ARM` to the unpruned arm and
    the `gain ARM` over random real images likewise, all as fractions. With several networks, ` on NETWORK` follows.
    Raises MissingArtifact if nothing lies at the root.

    Args:
        root: storage root, by default BILP_STORAGE.
    """
    import pandas as pd

    found = results(root)
    several = len(cells.networks(found)) > 1
    rows = [_row(result, several) for result in found]
    table = pd.DataFrame(rows, index=pd.Index([result.key for result in found], name="key"), columns=list(_columns(rows)))
    table["created"] = pd.to_datetime(table["created"], utc=True)
    table["ipc"] = table["ipc"].astype("Int64")
    table["size"] = table["size"].astype("Int64")
    return table


def _columns(rows: list[dict[str, Any]]) -> dict[str, None]:
    settings = sorted({name for row in rows for name in row.pop("changed")})
    measured = dict.fromkeys(name for row in rows for name in row["measured"])
    for row in rows:
        values = row.pop("settings")
        row |= {path: _plain(values.get(path)) for path in settings} | row.pop("measured")
    return dict.fromkeys((*COLUMNS, *settings, *measured))


def _row(result: Result, several: bool) -> dict[str, Any]:
    measured: dict[str, float] = {}
    for each in result.results:
        what = f"{each.arm} on {each.network}" if several else each.arm
        for name, number in (("accuracy", each.accuracy), ("difference", each.difference), ("gain", each.gain)):
            if number is not None:
                half = number.half_width95 if math.isfinite(number.half_width95) else math.nan
                measured |= {f"{name} {what}": number.mean, f"{name} {what} ±": half}
    told = {name: getattr(result, name) for name in COLUMNS}
    settings = result.settings if result.kind == KIND else {}
    return told | {"created": result.created or None, "changed": result.changed, "settings": settings, "measured": measured}


def _plain(value: Any) -> Any:
    """A number or a text; what is not there is None."""
    return value if value is None or isinstance(value, str | int | float) else cells.value(value)
