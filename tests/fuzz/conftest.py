"""The world that cases change, limits that keep a bad one from taking the machine, and the figures at the end."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fuzz_world import World, build
from judging import FAULT, OTHER, REFUSED, SAME, Conclude, Tally
from made_once import made_once

ROOM = 6 << 30  # bytes of address space beyond what the process has: a case that asks for more gets a MemoryError


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = made_once(tmp_path_factory, "fuzz-world", World, build)
    content = made.content()
    yield made
    assert made.content() == content, "a case wrote into the world that all are copies of"


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc/self/statm").exists() else None
    if taken is not None:
        resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def conclude(record_property: Callable[[str, object], None]) -> Conclude:
    """Take down the figures of a kind, and fail if there was a fault."""

    def end(tally: Tally) -> None:
        record_property("fuzz", [tally.kind, dict(tally.outcomes)])
        assert not tally.faults, f"{tally.kind}: {sum(tally.faults.values())} of {tally.outcomes.total()} cases\n{tally.told()}"

    return end


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures as a table, whichever process made the cases."""
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "fuzz"
    ]
    if not rows:
        return
    names = (REFUSED, SAME, OTHER, FAULT)
    terminalreporter.section("changed inputs and what they led to")
    terminalreporter.write_line(f"{'kind':32}" + "".join(f"{name:>15}" for name in ("cases", *names)))
    for kind, found in [*sorted(rows), ("all", {name: sum(found.get(name, 0) for _, found in rows) for name in names})]:
        terminalreporter.write_line(f"{kind:32}{sum(found.values()):15}" + "".join(f"{found.get(name, 0):15}" for name in names))
