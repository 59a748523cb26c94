"""The stages as functions: results lead to each other, are found again, and may be given as paths, URIs and keys."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bilp
from bilp.api import composition
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import RECORD
from bilp.distill import distill_round
from bilp.errors import BilpError

NARROW = {"width": 4, "depth": 1}
SCORE: dict[str, Any] = {"trials": 1, "epochs": 1, "init_epochs": 1, "network": NARROW}
DISTILL: dict[str, Any] = {"method": "dm", "ipc": 1, "iterations": 2, "rounds": 2, "batch_real": 16, "network": NARROW}
DISTILL_ALONE = {name: value for name, value in DISTILL.items() if name not in ("method", "ipc")}
RESELECT = {"candidates_per_class": 12}
EVALUATE: dict[str, Any] = {"seeds": 2, "epochs": 1, "networks": [NARROW], "baselines": ["random"]}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> bilp.Report:
    """Every stage, one after the other, on digits."""
    data = bilp.ingest("digits", root=tmp_path_factory.mktemp("called"))
    scores = bilp.score(data, **SCORE)
    kept = bilp.prune(scores, keep=0.8)
    result = bilp.distill(data, selection=kept, beta=0.1, reselect=RESELECT, **DISTILL)
    return bilp.report(bilp.evaluate(result, **EVALUATE))


def stored(report: bilp.Report) -> dict[str, bytes | int]:
    """What every file holds whose time is that of its last use, and when every other one was written."""
    paths = [path for path in Path(report.data.root).rglob("*") if path.is_file()]
    used = (MANIFEST, RECORD)
    return {str(path): path.read_bytes() if path.name in used else path.stat().st_mtime_ns for path in paths}


def test_results_say_what_they_are_in_a_line(report: bilp.Report) -> None:
    assert report.scores is not None and report.selection is not None
    assert repr(report.data).startswith("1,438 training and 359 test images, 10 classes, 1x8x8, digits, from datasets/digits/")
    assert repr(report.scores).startswith("scores of 1,438 images from 1 trial by loss_init, ")
    assert repr(report.selection).startswith("1,151 of 1,438 images kept (80%), by loss_init, from selections/")
    (made,) = report.sets
    assert made.accuracy is not None
    assert repr(made).startswith("10 images, 10 classes, 1x8x8, DM, from runs/")
    assert repr(made).endswith(f", accuracy {100 * made.accuracy:.1f} %")
    assert repr(report.evaluation).startswith("accuracy on 359 test images: Random real images ")
    assert f"BiLP {100 * made.accuracy:.1f} ± " in repr(report.evaluation)


def test_tables_name_classes_and_origins(report: bilp.Report) -> None:
    assert report.scores is not None and report.selection is not None
    scores, kept = report.scores.to_pandas(), report.selection.to_pandas()
    for frame in (scores, kept, report.scores.by_score()):
        assert list(frame.columns[:4]) == ["sample_id", "class", "label", "origin"]
        assert frame["class"].tolist() == [str(label) for label in frame["label"]]
        assert frame["origin"].str.fullmatch(r"digits/\d{4}").all()
    assert report.scores.by_score()["score"].is_monotonic_decreasing
    assert kept["kept"].sum() == len(report.selection.kept) == 1151
    assert list(report.accuracy["arm"]) == ["random", "bilp"]
    assert len(report.evaluation.to_pandas()) == 4
    assert len(report.data.to_pandas()) == 1438 + 359


def test_nothing_is_made_twice(report: bilp.Report) -> None:
    before = stored(report)
    again = bilp.run(
        dataset="digits",
        method="dm",
        keep=0.8,
        beta=0.1,
        arms=["bilp"],
        root=report.data.root,
        score=SCORE,
        reselect=RESELECT,
        distill={name: DISTILL[name] for name in ("iterations", "rounds", "batch_real", "network")},
        evaluate=EVALUATE,
    )
    new = {path for path in stored(report) if path not in before}
    assert {path: when for path, when in stored(report).items() if path in before} == before
    assert all("/reports/" in path for path in new), "the page alone, which tells what was given"
    assert again.evaluation.uris == report.evaluation.uris


def test_results_are_found_by_path_uri_place_and_key(report: bilp.Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (made,) = report.sets
    run, root = Path(made.run_uri), report.data.root
    monkeypatch.chdir(tmp_path)
    for given in (made, run, str(run), made.path, f"runs/{run.name}", run.name, run.name[:8]):
        found = bilp.load_distilled(given, root)
        assert found.uri == made.uri and found.images.equal(made.images)
    assert os.fspath(made) == str(made.path)
    before = stored(report)
    assert report.scores is not None and report.selection is not None
    assert bilp.prune(report.scores.path, keep=0.8).uri == report.selection.uri
    assert bilp.score(report.data.path.name, root=root, **SCORE).uri == report.scores.uri
    found = bilp.load_distilled(run)
    assert found.made.arm == "bilp" and found.made.selection is not None and found.made.selection.uri == report.selection.uri
    assert bilp.evaluate(run, **EVALUATE).uris == report.evaluation.uris
    kept = Path(report.selection.uri)
    assert bilp.distill(report.data.path, selection=kept, beta=0.1, reselect=RESELECT, **DISTILL).uri == made.uri
    assert stored(report) == before


def test_an_interrupted_distillation_goes_on_after_its_last_round(report: bilp.Report, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []

    def interrupted(uri: str, number: int, *rest: Any) -> str:
        computed.append(number)
        if len(computed) == 2:
            raise KeyboardInterrupt
        return distill_round(uri, number, *rest)

    monkeypatch.setattr(composition, "distill_round", interrupted)
    before = set(stored(report))
    with pytest.raises(KeyboardInterrupt):
        bilp.distill(report.data, experiment=1, **DISTILL)
    first = {path: when for path, when in stored(report).items() if path not in before}
    assert computed == [1, 2] and first
    again = bilp.distill(report.data, experiment=1, **DISTILL)
    assert {path: when for path, when in stored(report).items() if path in first} == first
    assert again.made.arm == "unpruned" and again.uri not in {made.uri for made in report.sets}
    monkeypatch.undo()
    assert bilp.distill(report.data, seed=1, distill={**DISTILL_ALONE, "seed": 1}, method="dm", ipc=1).uri == again.uri


@pytest.mark.parametrize(
    ("told", "call"),
    [
        (r"an? data ?set|is of kind dataset, not a synthetic set: give the run", lambda r: bilp.load_distilled(r.data)),
        (r"'zz' is no key", lambda r: bilp.load_distilled("zz", r.data.root)),
        (r"score knows no setting 'trails': did you mean trials\?", lambda r: bilp.score(r.data, trails=3)),
        (r"score.trials = 0: input should be greater", lambda r: bilp.score(r.data, trials=0)),
        (r"a value of type dict is none of dataset, source", lambda r: bilp.score({"a": 1})),
        (r"criterion loss_init ranks by scores: give what bilp.score returns", lambda r: bilp.prune(r.data)),
        (r"'nowhere' is no data set \(digits, .*npz\), and no file or folder lies there", lambda r: bilp.ingest("nowhere")),
        (r"'digits' is the name of a source, and .* give bilp.ingest\('digits'\)", lambda r: bilp.score("digits")),
        (r"criterion loss_init ranks by scores", lambda r: bilp.prune(r.data.path)),
        (r"nothing to evaluate", lambda r: bilp.evaluate([])),
        (r"report is about an evaluation", lambda r: bilp.report(r.data)),
        (r"device=abacus cannot be used here", lambda r: bilp.score(r.data, device="abacus", **SCORE)),
        (r"settings is a whole configuration: give it alone", lambda r: bilp.run(settings=bilp.settings(), ipc=2)),
    ],
)
def test_wrong_arguments_are_one_line(told: str, call: Callable[[bilp.Report], object], report: bilp.Report) -> None:
    with pytest.raises(BilpError, match=told) as raised:
        call(report)
    assert "\n" not in str(raised.value)
    assert "delete" not in str(raised.value), "nobody is told to delete what was only named by mistake"


def test_stages_and_packages_of_one_name_are_both_there() -> None:
    import bilp.report.page
    from bilp.distill import start_run

    assert callable(start_run) and callable(bilp.report.page.report)
    assert {name: getattr(bilp, name) for name in bilp.__all__}.keys() == set(bilp.__all__) <= set(dir(bilp))
    for stage, parameter in ((bilp.distill, "experiment"), (bilp.evaluate, "sets"), (bilp.report, "evaluation"), (bilp.score, "data")):
        assert parameter in inspect.signature(stage).parameters


def test_a_set_that_is_not_downloaded_is_asked_for_its_place(tmp_path: Path) -> None:
    with pytest.raises(BilpError, match="'imagenet1k' is not downloaded, and nothing says where it lies: give uri"):
        bilp.ingest("imagenet1k", root=tmp_path)
