"""The package of docs/plugins.md, built and installed from that page as a user would do it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "plugins.md"
VERSION = "1.5"
_FILE = re.compile(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files() -> dict[str, str]:
    """Content of each file that the page shows, by its path."""
    return dict(_FILE.findall(PAGE.read_text(encoding="utf-8")))


def install(sources: Path, target: Path, version: str = VERSION) -> Path:
    """Build the package in a version and install it into a folder of its own, for PYTHONPATH; no network is needed."""
    for name, content in files().items():
        path = sources / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace(f'version = "{VERSION}"', f'version = "{version}"'), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(target), str(sources)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target
