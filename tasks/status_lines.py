"""Lines about running work that fit a terminal: where one is too long, words give way and never a number."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from tasks.estimate import Left

BAR = 24  # cells
BAR_FROM = 100  # cells of a terminal that has room for a bar
LEAST_TOLD = 5.0  # seconds; that at least so few are left tells nobody anything
SHORTEST = 5  # cells of a title that is worth showing


def duration(seconds: float) -> str:
    """'8 s', '2 min 5 s', '14 min', '3 h 20 min', '2 days 4 h'."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days {hours % 24} h" if hours % 24 else f"{hours // 24} days"


def remaining(left: Left | None) -> str:
    """'about 12 min left', 'at least 3 min left'; empty where nobody knows."""
    if left is None or (not left.whole and left.seconds < LEAST_TOLD):
        return ""
    return f"{'about' if left.whole else 'at least'} {duration(max(left.seconds, 1.0))} left"


def overall(stage: str, number: int, stages: int, elapsed: float, left: Left | None, width: int) -> str:
    """'stage 4 of 6: distill, 2 min 10 s so far, about 12 min left'."""
    place = f"stage {number} of {stages}" if number else ""
    told = remaining(left)
    longest = ", ".join(part for part in (f"{place}: {stage}" if place else "", f"{duration(elapsed)} so far", told) if part)
    shorter = ", ".join(part for part in (place, duration(elapsed), told) if part)
    shortest = ", ".join(part for part in (place, told) if part) or duration(elapsed)
    return next((line for line in (longest, shorter) if cell_len(line) <= width), shortest)


def fitted(title: str, numbers: str, note: str, width: int, bar: str = "") -> str:
    """A title, a bar, numbers and a note in one line of `width` cells, or as much of it as there is room for; numbers always."""
    for parts in ((title, bar, numbers, note), (title, numbers, note), (title, bar, numbers), (title, numbers)):
        whole = "  ".join(part for part in parts if part)
        if cell_len(whole) <= width:
            return whole
    room = width - cell_len(numbers) - 2
    return f"{cut(title, room)}  {numbers}" if room >= SHORTEST else numbers


def cut(text: str, width: int) -> str:
    """The text, its middle replaced if it is longer than `width` cells: names of arms and numbers stand at both ends."""
    if cell_len(text) <= width:
        return text
    head = (width - 3) // 2
    tail, end = text, width - 3 - head
    while tail and cell_len(tail) > end:
        tail = tail[1:]
    return f"{set_cell_size(text, head)}...{tail}"


def bar(part: float, filled: str, empty: str) -> str:
    """A bar of BAR cells."""
    cells = round(BAR * min(max(part, 0.0), 1.0))
    return filled * cells + empty * (BAR - cells)
