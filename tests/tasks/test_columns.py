"""Tables of text: what is aligned, what is cut, and that nothing from outside breaks a line."""

from __future__ import annotations

from rich.cells import cell_len

from tasks.columns import aligned


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([("name", "size"), ("a", "12"), ("bcdefg", "3")], right=[1]) == ["name    size", "a         12", "bcdefg     3"]
    assert aligned([("\u732b", "x"), ("abc", "y")]) == ["\u732b   x", "abc  y"], "a wide character takes two cells"
    assert aligned([("a\nb\x1b", "x")]) == ["a\\nb\\x1b  x"]


def test_one_column_gives_way_and_then_the_line_is_cut() -> None:
    rows = [("key", "what differs", "size"), ("0123", "keep 0.5, ipc 10, \u732b\u732b\u732b\u732b", "1 MB")]
    for width in range(1, 60):
        lines = aligned(rows, width=width, giving=1)
        assert max(map(cell_len, lines)) <= width
    assert aligned(rows, width=24, giving=1) == ["key   what differs  size", "0123  keep 0.5, i\u2026  1 MB"]
