"""Every test is in one of two tiers, and what starts a service is never in the first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiers

TESTS = Path(__file__).parent
MAKEFILE = (TESTS.parent / "Makefile").read_text(encoding="utf-8")
FILE = """
import pytest
def test_first(): pass
@pytest.mark.slow
def test_slow(): pass
@pytest.mark.service
def test_service(): pass
@pytest.mark.slow
@pytest.mark.service
def test_both(): pass
"""


def collected(folder: Path, *options: str) -> tuple[int, list[str], str]:
    """Exit status, names in their order, and errors of a collection of the tests below a folder."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow\n    service\n")
    command = [sys.executable, "-m", "pytest", "-p", "tiers", "-p", "no:cacheprovider", "-q", "--collect-only", *options]
    environment = os.environ | {"PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, str(folder)], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, re.findall(r"::(\w+)", done.stdout), done.stderr


def test_the_two_runs_of_the_makefile_are_all_tests_without_one_twice(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FILE)
    first, rest = (re.search(rf'^{name} := "(.*)"$', MAKEFILE, re.MULTILINE) for name in ("FIRST_TIER", "SECOND_TIER"))
    assert first is not None and rest is not None and first[1] == tiers.FIRST_TIER
    assert collected(tmp_path, "-m", first[1])[1] == ["test_first"]
    assert collected(tmp_path, "-m", rest[1])[1] == ["test_both", "test_service", "test_slow"]
    assert collected(tmp_path)[1] == ["test_both", "test_service", "test_slow", "test_first"]


@pytest.mark.slow
def test_the_first_tier_does_not_import_folders_and_files_of_the_second(tmp_path: Path) -> None:
    for folder in (tiers.SERVICES, *tiers.SLOW):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"test_{folder}.py").write_text(f"raise ImportError('{folder} is imported')")
    (tmp_path / "test_it.py").write_text(FILE)
    for place, mark in (("slow", "pytest.mark.slow  # why"), ("service", "[pytest.mark.service, pytest.mark.s3]")):
        (tmp_path / f"test_{place}.py").write_text(f"import pytest\npytestmark = {mark}\nraise ImportError('{place} is imported')")
    assert collected(tmp_path, "-m", tiers.FIRST_TIER)[:2] == (0, ["test_first"])
    assert collected(tmp_path)[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("integration/test_it.py", "def test_it(): pass"),
        ("test_it.py", "import pytest\n@pytest.fixture\ndef service(): pass\ndef test_it(service): pass"),
    ],
)
def test_what_starts_a_service_and_is_not_marked_is_refused(tmp_path: Path, place: str, source: str) -> None:
    (tmp_path / "integration").mkdir()
    (tmp_path / place).write_text(source)
    status, _, errors = collected(tmp_path)
    assert status == 4
    assert "mark these tests with pytest.mark.service" in errors
    (tmp_path / place).write_text(f"{source}\nimport pytest\npytestmark = pytest.mark.service")
    assert collected(tmp_path)[:2] == (0, ["test_it"])
