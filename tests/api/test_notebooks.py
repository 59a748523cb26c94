"""Notebooks run from their first cell to the last, and hold nothing of the machine that ran them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TUTORIAL = REPOSITORY / "docs" / "tutorial.ipynb"
LARGEST = 400_000
"""Bytes of a stored notebook, pictures included."""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def executed(notebook: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The notebook after every cell has run in a kernel of its own; raises what a cell raised."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("BILP_STORAGE", "bilp-storage")
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_the_stored_tutorial_is_complete_and_of_no_machine() -> None:
    assert TUTORIAL.stat().st_size < LARGEST
    text = TUTORIAL.read_text(encoding="utf-8")
    assert not [part for part in (str(REPOSITORY), "/home/", "/tmp/", "/root/", "file://", "127.0.0.1", "localhost") if part in text]
    notebook = read(TUTORIAL)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run once, from the top"
    assert sum("image/png" in output.get("data", {}).get("text/html", "") for output in outputs(notebook)) >= 4
    assert not [output for output in outputs(notebook) if output.output_type == "error" or output.get("name") == "stderr"]


SHORTER = {"epochs=200, full_epochs=100": "epochs=4, full_epochs=4", '"iterations": 200': '"iterations": 20', "epochs=20": "epochs=6"}
"""What is typed in place of what takes minutes; the stored outputs are those of the whole."""


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_home")
def test_every_cell_of_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = read(TUTORIAL)
    for long, short in SHORTER.items():
        (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and long in cell.source]
        cell.source = cell.source.replace(long, short)
    notebook = executed(notebook, tmp_path, monkeypatch)
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]
    assert len(list((tmp_path / "exported").rglob("*.png"))) == 10


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_home")
def test_a_pipeline_in_a_notebook_leaves_no_log_and_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "import bilp\nfrom flows.pipeline import pipeline\nnarrow = {'width': 4, 'depth': 1}\n"
        "score = {'trials': 1, 'epochs': 1, 'init_epochs': 1, 'network': narrow}\n"
        "distill = {'iterations': 2, 'rounds': 2, 'batch_real': 16, 'network': narrow}\n"
        "evaluate = {'seeds': 2, 'epochs': 1, 'full_epochs': 1, 'networks': [narrow]}\n"
        "page = pipeline(bilp.settings(dataset='digits', method='dm', arms=['static'], score=score, distill=distill, evaluate=evaluate))"
    )
    last = "import os\nos.path.exists(page)"
    cells = [nbformat.v4.new_code_cell(source), nbformat.v4.new_code_cell(last)]
    first, second = executed(nbformat.v4.new_notebook(cells=cells), tmp_path, monkeypatch).cells
    assert [(output.output_type, output.data) for output in first.outputs] == [("display_data", {"text/html": "", "text/plain": ""})]
    assert second.outputs[0].data["text/plain"] == "True"
