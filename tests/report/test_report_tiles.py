"""The numbers at the top of the page stay inside of their tiles, however wide an interval is and a window is not."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import bilp.report
from bilp.report.comparison import Training
from bilp.report.verdict import Amounts, Tile, tiles

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PROBE = """<script>
const over = [...document.querySelectorAll("dd, dl, div")]
  .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.textContent);
const told = document.createElement("pre");
told.id = "found";
told.textContent = JSON.stringify({over, wide: document.documentElement.scrollWidth - document.documentElement.clientWidth});
document.body.append(told);
</script>"""


def wide_tiles() -> list[Tile]:
    """Those of two trainings that are far apart: with one degree of freedom their interval is that of 12.7 standard errors."""
    rows = [
        Training(arm, 0, "mlp", seed, value, value, 10, 5) for arm in ("random", "full", "bilp") for seed, value in ((0, 0.8), (1, 1.0))
    ]
    return tiles(rows, Amounts(10, 1437, None, None))


def test_an_interval_may_come_on_a_line_of_its_own() -> None:
    assert [tile.value for tile in wide_tiles()[1:]] == ["90.0\u00a0% ±\u00a0127.1"] * 3


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the page in")
@pytest.mark.parametrize("width", [500, 1280])
def test_tiles_hold_wide_intervals_in_a_browser(width: int, tmp_path: Path) -> None:
    style = (Path(bilp.report.__file__).parent / "style.css").read_text(encoding="utf-8")
    values = [*(tile.value for tile in wide_tiles()), "45.2\u00a0% ±\u00a012,711.8"]
    told = "".join(f"<div><dt>with as many random real clips</dt><dd>{html.escape(value)}</dd></div>" for value in values)
    page = tmp_path / "page.html"
    page.write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><style>{style}</style><body><dl class="tiles">{told}</dl>{PROBE}</body>', encoding="utf-8"
    )
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    match = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert match and json.loads(html.unescape(match[1])) == {"over": [], "wide": 0}
