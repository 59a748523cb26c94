"""The bounds of pyproject.toml against the versions that were tested (`make lint` asks the same of this checkout)."""

from __future__ import annotations

import pytest

from benchmarks.oldest import bounds, disagreements, passed_versions, recorded


def pyproject(*dependencies: str) -> str:
    return f"[project]\ndependencies = {list(dependencies)!r}\n"


def test_bounds_are_read_from_the_dependencies() -> None:
    assert bounds(pyproject("numpy>=2.0", "torch>=2.11,<3", "torchvision[extra]>=0.26")) == {"torch": "2.11", "torchvision": "0.26"}


@pytest.mark.parametrize("dependencies", [("torch>=2.11",), ("torch", "torchvision>=0.26"), ("torch<3", "torchvision>=0.26")])
def test_a_package_without_a_bound_is_named(dependencies: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="no lower bound .*torch"):
        bounds(pyproject(*dependencies))


@pytest.mark.parametrize(
    ("bound", "version", "agree"),
    [
        ("2.11", "2.11.0", True),
        ("2.11", "2.11.1+cu130", True),
        ("2.11.1", "2.11.1", True),
        ("2.11", "2.11", True),
        ("2.1", "2.11.0", False),
        ("2.11", "2.12.0", False),
        ("2.12", "2.11.0", False),
        ("2.11.1", "2.11.0", False),
    ],
)
def test_a_bound_is_tested_by_releases_of_that_version(bound: str, version: str, agree: bool) -> None:
    wrong = disagreements({"torch": bound}, passed_versions(f"# a comment\ntorch {version}\noutcome 3 passed: tests/nets\n"))
    assert (wrong == []) is agree
    assert all(bound in line and version in line for line in wrong)


def test_what_was_not_tested_disagrees() -> None:
    assert len(disagreements({"torch": "2.11", "torchvision": "0.26"}, {})) == 2


def test_a_record_says_what_was_tested() -> None:
    record = recorded("2085 passed, 2 skipped in 297.32s (0:04:57)", ["tests/nets", "tests/data"])
    assert record.endswith("outcome 2085 passed, 2 skipped: tests/nets tests/data\n")
    assert set(passed_versions(record)) == {"torch", "torchvision"}


@pytest.mark.parametrize("outcome", ["1 failed, 4 passed in 2.00s", "4 passed, 1 error in 2.00s", "no tests ran in 0.01s", ""])
def test_there_is_no_record_of_a_run_that_failed(outcome: str) -> None:
    with pytest.raises(ValueError, match="no record"):
        recorded(outcome, ["tests"])
