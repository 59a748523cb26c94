"""The commands that bring published sets in, hand our own out, and reproduce published cells, as a user types them."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from tiny_pipeline import TINY, Finished, endings, options, outcomes

from bilp.artifacts.artifact import open_artifact
from bilp.config import PipelineConfig
from bilp.data import open_dataset
from bilp.exchange import load_distilled
from bilp.storage.objects import children
from flows.pipeline import pipeline

pytestmark = pytest.mark.slow


def typed(module: str, arguments: list[str], root: str, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Run a module as `python -m` does, in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.setenv("BILP_STORAGE", root)
    monkeypatch.delitem(sys.modules, module, raising=False)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code
    return 0


def test_a_published_set_comes_in_and_is_tested(
    copied: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (dataset_uri,) = [f"{copied.root}/datasets/digits/{name}" for name in children(f"{copied.root}/datasets/digits") if name != "sources"]
    dataset = open_dataset(dataset_uri)
    chosen = torch.cat([indices[:1] for indices in dataset.train.by_class()])
    file = tmp_path / "res_DC_digits.pt"
    torch.save({"data": [[dataset.train.batch(chosen), dataset.train.labels[chosen]]]}, file)
    arguments = [*options(TINY), "--file", str(file), "--name=dc-by-others", "--evaluated", "yes"]
    with endings() as outcome:
        assert typed("flows.import_set", arguments, copied.root, monkeypatch) == 0
    captured = capsys.readouterr()
    uri = captured.out.splitlines()[0].removeprefix("synthetic set: ")
    assert len(load_distilled(uri)) == 10
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in captured.out.splitlines() if line.startswith("│")]
    assert [row[:2] for row in cells] == [["All real images", "1,438"], ["Random real images", "10"], ["dc-by-others", "10"]]
    assert outcome[f"import {file}"] == outcome["evaluate dc-by-others 0"] == "done"
    assert outcome["ingest digits"] == outcome["evaluate baseline full"] == "there already"


def test_a_set_is_resized_and_both_are_tested(
    copied: Finished, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [*options(TINY), "--ipc", "2", "--arms", "unpruned", "--distill.iterations", "2", "--distill.rounds", "1"]
    assert typed("flows.distill", asked, copied.root, monkeypatch) == 0
    capsys.readouterr()
    runs = [f"{copied.root}/runs/{key}" for key in children(f"{copied.root}/runs")]
    larger = next(run for run in runs if open_artifact(f"{run}/synthetic", "synthetic").manifest.facts["ipc"] == 2)
    arguments = [*options(TINY), "--synthetic", larger, "--ipc", "1", "--epochs", "4", "--best_epochs=2", "--evaluated", "yes"]
    with endings() as outcome:
        assert typed("flows.resize", arguments, copied.root, monkeypatch) == 0
    captured = capsys.readouterr()
    uri = captured.out.splitlines()[0].removeprefix("synthetic set: ")
    assert len(load_distilled(uri)) == 10 and uri.startswith(f"{copied.root}/resized/")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in captured.out.splitlines() if line.startswith("│")]
    assert [row[:2] for row in cells][-2:] == [["resized", "10"], ["larger set", "20"]]
    assert outcome["resize to 1 images per class"] == outcome["evaluate resized 0"] == "done"
    assert typed("flows.resize", [*arguments, "--epochs", "1"], copied.root, monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "best_epochs = 2 exceeds epochs = 1: lower it or train longer" in line


def test_a_synthetic_set_goes_out(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = f"{finished.root}/runs/{children(f'{finished.root}/runs')[0]}"
    arguments = ["--synthetic", run, "--to", "folder", "--out", str(tmp_path / "out")]
    assert typed("flows.export", arguments, finished.root, monkeypatch) == 0
    written = capsys.readouterr().out.splitlines()
    assert len(written) == 10
    assert all(Path(line).read_bytes().startswith(b"\x89PNG") for line in written)
    assert typed("flows.export", ["--synthetic", str(tmp_path), "--to", "parquet", "--out", str(tmp_path)], finished.root, monkeypatch) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m flows.export: error: no synthetic set at ")


@pytest.mark.parametrize("module", ["flows.export", "flows.sign"])
def test_a_missing_option_is_one_line(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed(module, [], str(tmp_path), monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"python -m {module}: error: the following arguments are required: --s")


def test_a_published_cell_is_reproduced_at_a_part_of_its_size(
    copied: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = tmp_path / "cell.yaml"
    published = {"published": {"value": 50.0, "source": "a table", "arm": "bilp", "unpruned": 40.0}}
    longer = {"distill": {**TINY["distill"], "iterations": 16}, "evaluate": {**TINY["evaluate"], "seeds": 4}}
    cell.write_text(json.dumps({**published, **TINY, **longer}), encoding="utf-8")
    with endings() as done:
        assert typed("flows.reproduce", [str(cell), "--scale", "0.5"], copied.root, monkeypatch) == 0
    captured = capsys.readouterr()
    assert done.pop(f"compare with {cell}") == "done"
    assert set(done.values()) == {"there already"}, "half of twice the work is the work of the pipeline"
    lines = captured.out.splitlines()
    assert lines[0] == f"{cell}: a table"
    assert [line.split(" on ")[0] for line in lines[1:3]] == ["unpruned", "bilp"]
    assert "published 50 %" in lines[2]
    assert "deviation: distill.iterations: 16 in the recipe, 8 here" in lines
    assert lines[-1].startswith(f"reproduction: {copied.root}/reproductions/")
    with get_client(sync_client=True) as client:
        run = max(client.read_flow_runs(limit=200), key=lambda run: (run.name == f"reproduce {cell}", str(run.created)))
        shown = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id])))
    assert {"dataset:digits", "method:dm", "ipc:1", f"recipe:{cell}"} == set(run.tags)
    assert sorted(str(artifact.key) for artifact in shown) == ["plan", "progress", "result"]
    assert any("published 50 %" in str(artifact.data) for artifact in shown)


def test_a_pipeline_with_a_teacher_chosen_images_and_robustness_scores(copied: Finished) -> None:
    teacher = {"epochs": 1, "network": {"width": 8}}
    asked = {"baselines": ["herding"], "robustness": True, "teacher": teacher}
    config = PipelineConfig.model_validate({**TINY, "arms": ["unpruned"], "evaluate": {**TINY["evaluate"], **asked}})
    with outcomes() as done:
        page = Path(pipeline(config, copied.root)).read_text(encoding="utf-8")
    assert [done[stage] for stage in ("train teacher", "evaluate baseline herding", "robustness scores", "report")] == ["done"] * 4
    assert "Herded real images" in page
    assert "Label robustness (LRS)" in page


@pytest.mark.parametrize("module", ["flows.reproduce", "flows.import_set", "flows.resize", "flows.export", "flows.sign"])
def test_help_needs_nothing_else_and_is_no_error(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed(module, ["--help"], str(tmp_path), monkeypatch) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"usage: python -m {module} ")
    assert captured.err == ""


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("flows.reproduce", [], "name a recipe first"),
        ("flows.reproduce", ["published/dc/nothing"], "no file"),
        ("flows.reproduce", ["digits"], "states no published value"),
        ("flows.reproduce", ["published/dc/cifar10-ipc1", "--scale", "2"], "--scale: Input should be less than or equal to 1"),
        ("flows.reproduce", ["published/dc/cifar10-ipc1", "--ipcs", "2"], "unrecognized arguments: --ipcs 2"),
        ("flows.import_set", ["--dataset", "digits"], "--file: Field required"),
        ("flows.import_set", ["--file", "x.pt", "--ipc", "0"], "ipc"),
    ],
)
def test_what_is_typed_wrong_is_told_at_once(
    module: str, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed(module, arguments, str(tmp_path), monkeypatch) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"python -m {module}: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("module", ["flows.export", "flows.sign"])
def test_wrong_options_end_in_one_line(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--storage=x", "--synthetic=x", "--to=folder", "--out=x", "--un\x1b[31m\nknown"]
    assert typed(module, given, str(tmp_path), monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; --help lists the options")
    assert line.isprintable()
