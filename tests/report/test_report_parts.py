"""Further parts of the page: cautions, samples, downloads, LaTeX, citation, time and the heading."""

from __future__ import annotations

import base64
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from bilp.artifacts import duration
from bilp.artifacts.artifact import Artifact, open_artifact
from bilp.artifacts.publication import publish
from bilp.config import METHODS, ReselectConfig
from bilp.evaluate import Difference
from bilp.experts.files import BUFFER, EXPERT
from bilp.report.accuracy import accuracy
from bilp.report.caution import cautions
from bilp.report.citation import bibtex, papers
from bilp.report.collect import Effects, Run, Snapshot
from bilp.report.comparison import Training, percent
from bilp.report.downloads import figure_file
from bilp.report.figures import Curve, Whisker, curves, whiskers
from bilp.report.learning import learning
from bilp.report.lineage import versions
from bilp.report.run_parents import ReportedArtifact
from bilp.report.samples import fate, joined
from bilp.report.timing import duration as worded
from bilp.report.timing import seconds_of, stage_times
from bilp.report.wording import of_class

NETWORK = "convnet width 64"


def trainings(arm: str, *accuracies: float) -> list[Training]:
    return [Training(arm, 0, NETWORK, seed, value, value, 10, 5) for seed, value in enumerate(accuracies)]


def test_few_trainings_are_called_few() -> None:
    enough = trainings("bilp", 0.50, 0.51, 0.52, 0.53, 0.54)
    assert cautions(enough, 10) == [] and cautions([], 10) == []
    assert cautions(trainings("bilp", 0.5, 0.6) + enough, 10) == []  # seven of one arm
    (line,) = cautions(trainings("unpruned", 0.5, 0.6) + enough, 10)
    assert line.startswith("2 trainings are too few") and "Train 5 or more (evaluate.seeds)" in line
    assert cautions(trainings("bilp", 0.5), 10)[0].startswith("One training per set says nothing")


def test_guessing_and_ties_are_called_so() -> None:
    found = cautions(trainings("bilp", *[0.001] * 5) + trainings("full", 0.4, 0.5, 0.6, 0.5, 0.4), 1000)
    assert "Guessing reaches 0.1\xa0%, and BiLP hardly more" in found[0]
    assert found[1].startswith("All trainings of BiLP have the same accuracy.")
    assert len(found) == 2


def test_an_interval_that_rounds_to_nothing_gets_another_decimal() -> None:
    assert percent(Difference(0.00104, 0.0002, 5)) == "0.10\xa0%\xa0±\xa00.02"
    assert percent(Difference(0.9, 0.018, 5)) == "90.0\xa0%\xa0±\xa01.8"
    assert percent(Difference(0.9, math.inf, 1)) == "90.0\xa0%"


def test_latex_has_rules_a_caption_and_the_difference() -> None:
    told = accuracy(trainings("unpruned", 0.5, 0.6, 0.7) + trainings("bilp", 0.55, 0.65, 0.72), what="Digits & co")
    assert told is not None
    lines = told.latex.split("\n")
    assert [line for line in lines if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    assert r"\caption{Digits \& co: test accuracy" in told.latex and r"95 \% interval" in told.latex
    assert r"BiLP $-$ Unpruned & ConvNet (width 64) & $+4.0 \pm 4.3$ & 3 \\" in lines
    assert lines[0] == r"% \usepackage{booktabs}" and told.latex.count(r"\begin") == told.latex.count(r"\end") == 2
    alone = accuracy(trainings("unpruned", 0.5, 0.6, 0.7))
    assert alone is not None and alone.latex.count(r"\midrule") == 1


def test_networks_by_arms_is_the_same_numbers() -> None:
    rows = trainings("unpruned", 0.5, 0.6, 0.7) + [Training("unpruned", 0, "mlp", seed, 0.3, 0.3, 10, 5) for seed in range(3)]
    told = accuracy([*rows, *trainings("bilp", 0.7, 0.7, 0.7)])
    assert told is not None and told.networks == ("ConvNet (width 64)", "MLP")
    assert {words.title: cells for words, cells in told.across} == {
        "Unpruned": (percent(Difference(0.6, 0.2484, 3)), "30.0\xa0%\xa0±\xa00.0"),
        "BiLP": ("70.0\xa0%\xa0±\xa00.0", "–"),
    }


def test_learning_curves_are_means_over_the_trainings() -> None:
    nothing = float("nan")
    rows = [(seed, epoch, 2.0 / epoch + seed, 0.5 + 0.1 * seed if epoch == 4 else nothing) for seed in (0, 1) for epoch in (2, 4)]
    course = pd.DataFrame(rows, columns=["seed", "epoch", "loss", "accuracy"]).assign(arm="bilp", experiment=0, network=NETWORK)
    (told,) = learning(course, trainings("bilp", 0.5, 0.6))
    assert told.epochs == "BiLP 5" and len(told.charts) == 2
    assert "BiLP from 1.5 to 1" in str(told.loss) and "BiLP from 55.0 % to 55.0 %" in str(told.accuracy)
    assert learning(course.iloc[:0], trainings("bilp", 0.5)) == []


def run_of(*rounds: pd.DataFrame) -> Run:
    empty = Snapshot("final", np.zeros((0, 1, 1, 1)), np.zeros(0))
    effects = tuple(Effects(number + 1, table) for number, table in enumerate(rounds))
    return Run("bilp", 0, pd.DataFrame(), effects, (), ReselectConfig(), (), empty)


def test_scores_and_effects_of_a_sample_meet_in_one_row() -> None:
    selection = pd.DataFrame({"sample_id": [0, 1, 2, 3], "label": 0, "score": [0.1, 0.2, 0.3, 0.9], "kept": [True, True, True, False]})
    first = pd.DataFrame({"sample_id": [0, 1, 2], "label": 0, "ite": [1.0, 2.0, 4.0], "dropped": [False, False, True]})
    second = pd.DataFrame({"sample_id": [1, 2], "label": 0, "ite": [3.0, 1.0], "dropped": [True, True]})
    table = joined(selection, run_of(first, second)).set_index("sample_id")
    assert table["effect"].tolist()[:3] == [0.5, 1.5, 0.5] and math.isnan(table["effect"][3])
    assert table["out"].tolist() == [0, 1, 2, 0] and table["of"].tolist() == [1, 2, 2, 0]
    assert table["score"].tolist() == [0.1, 0.2, 0.3, 0.9]
    unscored = joined(None, run_of(first, second)).set_index("sample_id")
    assert unscored["out"].tolist() == [0, 1, 2] and unscored["kept"].all()
    assert joined(selection, None)["of"].tolist() == [0] * 4 and joined(None, None).empty


@pytest.mark.parametrize(
    ("kept", "out", "of", "words"),
    [
        (False, 0, 0, "dropped by score"),
        (True, 0, 0, "kept"),
        (True, 0, 3, "kept, measured in 3 rounds"),
        (True, 2, 3, "left out by effect in 2 of 3 rounds"),
        (True, 1, 1, "left out by effect in 1 of 1 round"),
    ],
)
def test_a_fate_names_the_level_that_decided(kept: bool, out: int, of: int, words: str) -> None:
    assert fate(kept, out, of) == words


def test_a_figure_stands_alone() -> None:
    chart = whiskers([("", [Whisker("<a>", 0.6, 0.1, "c-full")])], "accuracy", "alt")
    curve = curves([Curve("one", np.arange(3.0), np.arange(3.0), "c-bilp")], "x", "y", "alt")
    file = figure_file("both", "Both", [chart, curve], 2)
    kind, data = file.uri.split(",", 1)
    assert file.name == "both.svg" and kind == "data:image/svg+xml;base64"
    content = base64.b64decode(data).decode()
    root = ElementTree.fromstring(content)
    inner = root.findall("{http://www.w3.org/2000/svg}svg")
    assert len(inner) == 2 and float(inner[1].attrib["x"]) > float(inner[0].attrib["x"]) + 400
    style = root.findtext("{http://www.w3.org/2000/svg}style") or ""
    assert "--bilp: #bf4a22" in style and ".curve" in style and "url(" not in style
    used = set(re.findall(r"var\((--[\w-]+)\)", style))
    assert used <= set(re.findall(r"(--[\w-]+):", style)), "every color has a value in the file itself"


def test_every_method_of_this_package_has_a_paper_to_cite() -> None:
    for name in METHODS:
        first, second = papers(METHODS[name])
        assert first.number == "2305.18381" and re.fullmatch(r"\d{4}\.\d{4,5}", second.number)
        text = bibtex(METHODS[name])
        assert f"title = {{{METHODS[name].paper_title}}}" in text and f"eprint = {{{second.number}}}" in text
        assert text.count("{") == text.count("}") and text.count("\n@") == 1
    assert "author = {Zhao and Bilen}" in bibtex(METHODS["dm"]) and "author = {Kim and others}" in bibtex(METHODS["idc"])


def test_the_time_of_a_stage_is_that_of_its_artifacts(tmp_path: str) -> None:
    def made(key: str) -> ReportedArtifact:
        artifact = publish(f"{tmp_path}/{key}", "thing", key, {"a.txt": b"a"}, config={}, parents={})
        return ReportedArtifact(key, f"Stage {key}", artifact)

    untimed = made("before")
    assert duration.SECONDS not in untimed.artifact.manifest.provenance
    assert stage_times([untimed], ()) == []
    with duration.timed():
        timed = made("now")
    assert duration.told() == {}
    assert open_artifact(timed.artifact.uri, "thing").manifest.provenance[duration.SECONDS] >= 0
    told = stage_times([untimed, timed], ())
    assert (told[0].stage, told[0].time, told[0].parts) == ("Stage before", "not recorded", "1 artifact")
    assert told[1].time.endswith(" s") and duration.SECONDS not in dict(versions([timed]))


def test_the_time_of_experts_is_that_of_all_of_them(tmp_path: Path) -> None:
    key = "0" * 16
    known: dict[str, object] = {"dataset": key, "selection": None, "samples": 7}
    of_all: dict[str, object] = {**known, "training": key, "network": {}, "count": 3, "epochs": 1, "parameters": []}

    def made(kind: str, name: str, facts: dict[str, object], parents: dict[str, str]) -> Artifact:
        return publish(f"{tmp_path}/{name}", kind, key, {"a.txt": b"a"}, config={}, parents=parents, facts=facts)

    with duration.timed():
        experts = [made(EXPERT, f"{number}", {**known, "expert": number, "losses": [1.0]}, {}) for number in range(3)]
        parents = {f"expert {number}": expert.uri for number, expert in enumerate(experts)} | {"dataset": f"{tmp_path}/gone"}
        buffer = made(BUFFER, "buffer", of_all, parents)
    (told,) = stage_times([ReportedArtifact("experts 0", "3 experts", buffer)], ())
    assert told.parts == "4 artifacts"
    took = [each.manifest.provenance[duration.SECONDS] for each in (*experts, buffer)]
    assert seconds_of(ReportedArtifact("experts 0", "", buffer), ()) == pytest.approx(sum(took))


def test_durations_are_read_at_a_glance() -> None:
    assert [worded(value) for value in (0.04, 9.96, 59.4, 60, 3599, 7500)] == [
        "0.0 s",
        "10.0 s",
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "2 h 5 min",
    ]


def test_a_name_that_says_class_needs_it_no_second_time() -> None:
    assert of_class("class_0000") == "class_0000" and of_class("cat") == "class cat"
