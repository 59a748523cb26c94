"""Tables as lines of text: columns as wide as their widest cell, for many rows at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len, set_cell_size

from bilp.text.escaping import shown
from tasks.output import as_printed

BETWEEN = "  "


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = (), width: int | None = None, giving: int = 0) -> list[str]:
    """One line for each row; cells are made fit to be shown.

    Args:
        rows: As many cells in each.
        right: Columns whose cells end at the same place, rather than begin there.
        width: Terminal cells that a line may take.
        giving: The column that is cut where lines would be wider than that.
    """
    table = [[as_printed(shown(cell)) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    if width is not None:
        rest = sum(widths) - widths[giving] + len(BETWEEN) * (len(widths) - 1)
        widths[giving] = min(widths[giving], max(width - rest, 0))
    lines = []
    for row in table:
        cells = [_cell(text, wide, place in right) for place, (text, wide) in enumerate(zip(row, widths, strict=True))]
        lines.append(_cut(BETWEEN.join(cells).rstrip(), width))
    return lines


def _cell(text: str, width: int, right: bool) -> str:
    text = _cut(text, width)
    room = " " * (width - cell_len(text))
    return room + text if right else text + room


def _cut(text: str, width: int | None) -> str:
    """The text in so many terminal cells, with an ellipsis at its end if that is not all of it."""
    if width is None or cell_len(text) <= width:
        return text
    mark = as_printed("…")
    return set_cell_size(text, width - len(mark)) + mark if width > len(mark) else set_cell_size(text, width)
