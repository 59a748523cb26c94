"""What results show in a notebook: pictures and tables, in which names from outside are text."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bilp
from bilp.api import notebook, showing, watching
from bilp.progress import silent

HOSTILE = ("<script>alert(1)</script>", 'b" onload="alert(2)', "c\x1b[2J")
NARROW = {"width": 2, "depth": 1}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> bilp.DistilledSet:
    """A set of classes with hostile names."""
    images = (np.arange(24 * 8 * 8) * 37 % 256).astype(np.uint8).reshape(24, 8, 8)
    data = bilp.ingest(images=images, labels=np.arange(24) % 3, class_names=HOSTILE, root=tmp_path_factory.mktemp("shown"))
    kept = bilp.prune(data, criterion="random", keep=0.5, minimum_per_class=1)
    return bilp.distill(kept, method="dm", ipc=1, iterations=1, rounds=1, batch_real=4, network=NARROW, augment=[])


def pictures(html: str) -> list[tuple[int, int]]:
    """Sizes of the pictures in a piece of HTML, each of which can be opened."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(one))).size for one in found]


def test_names_from_outside_are_text(result: bilp.DistilledSet) -> None:
    made = result.made
    assert made.selection is not None
    for shown in (made.data, made.selection, result):
        html = shown._repr_html_()
        assert "<script" not in html and 'b" onload' not in html and "\x1b" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html and "b&quot; onload=&quot;" in html and r"c\x1b[2J" in html


def test_pictures_are_of_a_size_that_can_be_looked_at(result: bilp.DistilledSet) -> None:
    made = result.made
    assert made.selection is not None
    assert pictures(made.data._repr_html_()) == [(48, 48)] * len(made.data.opened.train)
    assert set(pictures(made.selection._repr_html_())) == {(48, 48)}
    (grid,) = pictures(result._repr_html_())
    assert grid[1] >= 3 * 32
    assert 'title="c\\x1b[2J, train row' in made.data._repr_html_()


def test_a_table_is_text() -> None:
    assert showing.table(("a<b",), [("&", 1)]) == (
        "<table><thead><tr><th>a&lt;b</th></tr></thead><tbody><tr><td>&amp;</td><td>1</td></tr></tbody></table>"
    )


def test_a_bar_is_one_output_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[dict[str, str]] = []
    monkeypatch.setattr(notebook.Status, "_put", lambda self, content: (put.append(content), setattr(self, "_handle", put)))
    monkeypatch.setattr(notebook, "here", lambda: True)
    with watching.watched() as watch:
        progress = watch.step("scoring <1>")
        for done in range(1001):
            progress(done, 1000)
        with watching.watched() as inner:
            assert inner is watch
    assert put[1] == {"text/html": '<div><progress max="1" value="0"></progress> scoring &lt;1&gt;</div>', "text/plain": "scoring <1> (0%)"}
    assert len(put) == 1 + 101 + 1, "the step, each whole per cent, and nothing at the end"
    assert put[-1] == {"text/html": "", "text/plain": ""}


def test_nobody_watches_a_pipe(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with watching.watched() as watch:
        assert watch.step("anything") is silent
    bilp.ingest("digits", root=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_flow_in_a_notebook_is_quiet(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import logging

    from tasks import in_notebook

    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(notebook.Status, "show", lambda self, *args: told.append(args))
    monkeypatch.setattr(notebook, "here", lambda: True)
    with in_notebook.quiet(), in_notebook.quiet():
        logging.getLogger("prefect.flow_runs").error("Finished in state Failed", extra={"send_to_api": False})
        logging.getLogger("other").error("heard")
        in_notebook.tell("distill", 1, 4)
    in_notebook.tell("distill", 2, 4)
    logging.getLogger("prefect.flow_runs").error("heard as well", extra={"send_to_api": False})
    assert told == [("distill", 0.25)]
    assert [record.message for record in caplog.records] == ["heard", "heard as well"]
