"""The page in a browser: no violation of what axe-core checks, nothing loaded, no sideways scrolling, and numbers that print apart."""

from __future__ import annotations

import html
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_pipeline import run_pipeline, small_config

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = importlib.util.find_spec("axe_playwright_python")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the page in"),
    pytest.mark.skipif(AXE is None, reason="axe-core is not installed (axe-playwright-python)"),
]

# axe.run is asynchronous; what it finds is written into the page, which Chromium prints when all is done.
PROBE = """
const opened = %s;
if (opened) document.querySelectorAll("details").forEach((each) => { each.open = true; });
axe.run(document).then((found) => {
  const told = {
    violations: found.violations.map((each) => each.id + ": " + each.nodes.slice(0, 3).map((node) => node.html).join(" ")),
    passes: found.passes.length,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    loaded: performance.getEntriesByType("resource").map((each) => each.name).filter((name) => !name.startsWith("data:")),
  };
  const result = document.createElement("pre");
  result.id = "found";
  result.textContent = JSON.stringify(told);
  document.body.append(result);
});
"""
DARK = "--blink-settings=preferredColorScheme=0"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    network = {"width": 8, "depth": 2}
    evaluate = {"networks": [network, {"name": "mlp"}], "seeds": 2, "epochs": 20, "full_epochs": 2}
    outcome = run_pipeline(small_config(evaluate=evaluate), str(tmp_path_factory.mktemp("storage")))
    yield Path(outcome.page()).read_text(encoding="utf-8")


def chromium(folder: Path, *options: str) -> str:
    assert CHROMIUM is not None
    quiet = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
    ]
    command = [CHROMIUM, *quiet, f"--user-data-dir={folder / 'profile'}", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout


def found_in(page: str, folder: Path, opened: bool, *options: str) -> dict[str, Any]:
    """What the probe tells of the page in a browser with these options."""
    assert AXE is not None and AXE.origin is not None
    axe = Path(AXE.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    probe = PROBE % json.dumps(opened)
    file = folder / "page.html"
    file.write_text(page.replace("</body>", f"<script>{axe}</script><script>{probe}</script></body>"), encoding="utf-8")
    shown = chromium(folder, "--virtual-time-budget=60000", "--dump-dom", *options, file.as_uri())
    match = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert match, "axe did not finish"
    told: dict[str, Any] = json.loads(html.unescape(match[1]))
    return told


@pytest.mark.parametrize("opened", [False, True], ids=["closed", "open"])
@pytest.mark.parametrize("scheme", [(), (DARK,)], ids=["light", "dark"])
def test_axe_finds_no_violation(page: str, tmp_path: Path, opened: bool, scheme: tuple[str, ...]) -> None:
    told = found_in(page, tmp_path, opened, "--window-size=1400,900", *scheme)
    assert told["violations"] == [] and told["passes"] > 40
    assert told["dark"] is bool(scheme) and told["loaded"] == []


def test_axe_would_find_one(page: str, tmp_path: Path) -> None:
    broken = page.replace(' alt="', ' data-alt="').replace(' title="', ' data-title="').replace('<html lang="en">', "<html>")
    violations = found_in(broken, tmp_path, False)["violations"]
    assert {line.split(":")[0] for line in violations} >= {"html-has-lang", "image-alt"}


@pytest.mark.parametrize("width", [500, 800, 1400])
def test_nothing_scrolls_sideways(page: str, tmp_path: Path, width: int) -> None:
    assert found_in(page, tmp_path, True, f"--window-size={width},900")["wide"] <= 0


def test_only_what_is_open_is_printed(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    sizes = {}
    for name, text in {"closed": page, "open": page.replace("<details", "<details open")}.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        chromium(tmp_path, f"--print-to-pdf={tmp_path / name}.pdf", "--no-pdf-header-footer", (tmp_path / f"{name}.html").as_uri())
        sizes[name] = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / f"{name}.pdf").read_bytes()))
    assert 3 < sizes["closed"] < 16 and sizes["open"] > sizes["closed"] + 8
