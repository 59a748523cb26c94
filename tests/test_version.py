"""The version is said once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import bilp
from bilp.artifacts.provenance import provenance

REPOSITORY = Path(__file__).resolve().parent.parent


def test_everything_that_tells_the_version_tells_the_same() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "bilp.__version__"}
    assert yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))["version"] == bilp.__version__
    (latest, *_) = re.findall(r"^## (\d\S*)", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert latest == bilp.__version__
    assert provenance()["bilp"] == bilp.__version__
