"""Tables of a study: what is computed of rows, how incomplete cells are marked, and that no name is taken for anything but text."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest
from study_parts import Told, plan_of, row

from bilp.studies.study_exports import as_csv, as_latex, as_records
from bilp.studies.study_page import study_page
from bilp.studies.study_plan import Plan
from bilp.studies.study_table import Table, table_of
from bilp.studies.study_words import sentences
from tasks import study_lines

ACCURACY = {"random": 0.6, "unpruned": 0.8, "static": 0.8, "bilp": 0.8}


def parts(plan: Plan, blocks: int) -> list[Told]:
    """Of the first blocks: bilp gains 10 points where labels are wrong, and nothing but a trifle elsewhere."""
    found = []
    for block in plan.blocks[:blocks]:
        rows = []
        for arm in plan.study.arms:
            gain = 0.1 if (arm, block.cell.title) == ("bilp", "20 % wrong") else 0.0
            trifle = 0.001 * (block.seed - 1) * (arm == "bilp")
            rows += [row(block.cell.title, block.seed, arm, k, ACCURACY[arm] + gain + trifle + 0.01 * k) for k in (1, 0)]
        score = {"score": "loss_init", "arm": "", "samples": 100, "wrong": 20, "auroc": 0.99, "auprc": 0.9, "precision": 0.95}
        told = [{"cell": block.cell.title, "seed": block.seed, **score, "kept": 70, "wrong_kept": 1}] if block.cell.number else []
        found.append(Told(rows, [{"cell": block.cell.title, "arm": "bilp", "stage": "distill", "seconds": 2.0}], told))
    return found


def table(blocks: int = 6, **changes: object) -> Table:
    plan = plan_of(**changes)
    return table_of(plan, parts(plan, blocks))  # type: ignore[arg-type]


def test_every_arm_of_every_cell_is_compared_in_pairs() -> None:
    found = table(tolerance=1)
    clean, wrong = found.plan.cells
    gain = found.of(wrong, "bilp", "convnet")
    assert gain is not None and gain.against["unpruned"].value.mean == pytest.approx(0.1) and gain.against["unpruned"].significant
    nothing = found.of(clean, "bilp", "convnet")
    assert nothing is not None and not nothing.against["unpruned"].significant and nothing.against["unpruned"].equivalent
    reference = found.of(clean, "unpruned", "convnet")
    assert reference is not None and not reference.against and reference.accuracy.trainings == 6
    assert gain.seconds == 2.0 and math.isnan(reference.seconds)
    assert found.complete and len(found.entries) == 8


def test_sentences_say_what_was_found_and_gained() -> None:
    first, second = (line.replace("\u00a0", " ") for line in sentences(table(tolerance=1)))
    assert first.startswith(
        "Clean: BiLP reaches 80.5 % ± 0.2; Unpruned 80.5 % ± 0.0, a difference of +0.0 ± 0.2 points: equal within the tolerance"
    )
    assert "Unpruned 80.5 % ± 0.0, a difference of +10.0 ± 0.2 points: a gain beyond chance (p" in second
    assert "of the 20 most suspicious images by" in second and "95 % have a wrong label (AUROC 0.990)" in second


def test_where_no_wrong_label_was_among_what_was_measured_nothing_can_be_said() -> None:
    plan = plan_of(grid={}, seeds=2)
    score = {"cell": "as given", "arm": "bilp", "score": "ite", "samples": 70, "kept": -1, "wrong_kept": -1}
    nothing = {"wrong": 0, "auroc": math.nan, "auprc": math.nan, "precision": math.nan}
    for second, shown in ((nothing, "–"), ({"wrong": 1, "auroc": 0.5, "auprc": 0.1, "precision": 0.0}, "0.500")):
        rows = [row("as given", seed, arm, 0, 0.5) for seed in (0, 1) for arm in plan.study.arms]
        told = Told(rows, detection=[{**score, "seed": 0, **nothing}, {**score, "seed": 1, **second}])
        page = study_page(table_of(plan, [told]), "0" * 16, "", []).decode()  # type: ignore[list-item]
        assert f'<td class="n">{shown}</td>' in page.partition('id="wrong-labels"')[2]


def test_cells_that_lack_seeds_say_so() -> None:
    found = table(3)
    assert not found.complete and dict(found.done) == {0: 2, 1: 1}
    page = study_page(found, "0" * 16, "name: x\n", []).decode()
    assert "Not complete: 3 of 6 blocks" in page and "clean (2 of 3 seeds)" in page and "20 % wrong (1 of 3 seeds)" in page
    assert "one seed: not tested" in page
    assert "not complete" in as_latex(found)


def test_the_page_holds_tables_detection_files_and_the_study_and_equal_parts_give_equal_bytes() -> None:
    page = study_page(table(), "0" * 16, "name: <b>\nseeds: 3\n", [("clean, seed 0", "../../reports/1/report.html")])
    text = page.decode()
    assert text.startswith("<!DOCTYPE html>") and "Random &lt;real&gt;" in text and "<real>" not in text.replace("&lt;real&gt;", "")
    assert "name: &lt;b&gt;\nseeds: 3" in text and 'href="../../reports/1/report.html"' in text
    assert re.search(r"0\.990 ± 0\.000", text) and "95\u00a0%" in text
    assert "after Holm&#39;s correction for 6 comparisons" in text
    assert study_page(table(), "0" * 16, "name: <b>\nseeds: 3\n", [("clean, seed 0", "../../reports/1/report.html")]) == page


MANY = {"labels": {str(k): {"keep": k / 10} for k in range(2, 9)}}


def many(**changes: object) -> Table:
    """Seven cells, of which the first gains by bilp and by static and the others do not."""
    plan = plan_of(grid=MANY, reference=["unpruned", "static"], tolerance=1, **changes)
    score = {
        "arm": "",
        "score": "aum",
        "samples": 100,
        "wrong": 20,
        "auroc": 0.99,
        "auprc": 0.9,
        "precision": 0.5,
        "kept": -1,
        "wrong_kept": -1,
    }
    found = []
    for block in plan.blocks:
        gain = {"static": 0.05, "bilp": 0.1} if block.cell.number == 0 else {}
        rows = []
        for place, arm in enumerate(plan.study.arms):
            trifle = 0.001 * ((block.seed * (place + 1)) % 3)
            rows += [row(block.cell.title, block.seed, arm, k, ACCURACY[arm] + gain.get(arm, 0) + trifle) for k in (0, 1)]
        found.append(Told(rows, detection=[{"cell": block.cell.title, "seed": block.seed, **score}]))
    return table_of(plan, found)  # type: ignore[arg-type]


def test_many_cells_are_rows_and_are_counted_in_words() -> None:
    found = many()
    assert sentences(found) == [
        "Random <real> against Unpruned, 7 cells: 0 gains and 7 losses beyond chance, 0 equal within 1 points.",
        "Random <real> against Static pruning, 7 cells: 0 gains and 7 losses beyond chance, 0 equal within 1 points.",
        "Static pruning against Unpruned, 7 cells: 1 gain and 0 losses beyond chance, 6 equal within 1 points.",
        "BiLP against Unpruned, 7 cells: 1 gain and 0 losses beyond chance, 6 equal within 1 points.",
        "BiLP against Static pruning, 7 cells: 1 gain and 0 losses beyond chance, 6 equal within 1 points.",
    ]
    page = study_page(found, "0" * 16, "", []).decode()
    accuracies = page.partition("<thead>")[2].partition("</tbody>")[0]
    heads = re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', accuracies)
    assert heads == ["", "Random &lt;real&gt;", "Unpruned", "Static pruning", "BiLP"]
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', accuracies)
    assert [title for title, _ in rows] == [cell.title for cell in found.plan.cells]
    marks = [re.findall(r"<small>[^<]*±\s[0-9.]+\s?([^<]*)</small>", cells) for _, cells in rows]
    assert marks == [["*"] * 5, *[["*", "*", "≈", "≈", "≈"]] * 6]
    assert "top 5" not in accuracies and "p =" not in accuracies
    assert page.count("<small>aum, 2 and 6 more cells</small>") == 1 and "<small>aum, 3" not in page


def test_many_cells_are_rows_of_latex_and_of_the_terminal() -> None:
    found = many()
    text = as_latex(found)
    assert r"\begin{tabular}{lrrrr}" in text and r" & Random <real> & Unpruned & Static pruning & BiLP \\" in text
    assert len(re.findall(r"^[2-8] & ", text, re.MULTILINE)) == 7
    lines = list(study_lines.table(found))
    assert len(lines) == 1 + 7 * 4 + 1 and max(map(len, lines)) < 100
    assert re.fullmatch(r"2 +BiLP +90\.1 % ± 0\.2 +\+10\.0 ± 0\.\d \* +\+5\.\d ± 0\.\d \*", lines[4].strip())


def test_csv_has_every_number_and_no_formula() -> None:
    found = table(arms={"unpruned": {"title": "=1+1"}, "static": {}, "bilp": {}, "random": {"baseline": "random"}})
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert len(rows) == 8 and rows[0]["title"].startswith("'=1+1")
    gain = next(line for line in rows if (line["cell"], line["arm"]) == ("20 % wrong", "bilp"))
    assert float(gain["difference_to_unpruned"]) == pytest.approx(10) and float(gain["p_holm_to_unpruned"]) < 0.05
    assert rows[0]["difference_to_unpruned"] == "" and gain["equivalent_to_unpruned"] == ""
    assert as_records(found)[0]["accuracy"] == pytest.approx(80.5)


def test_latex_is_booktabs_with_escaped_names() -> None:
    text = as_latex(table(title="50 % & more"))
    assert r"\toprule" in text and r"50 \% \& more: test accuracy" in text and r"20 \% wrong" in text
    assert r"BiLP & $80.5 \pm 0.2$ & $90.5 \pm 0.2$ \\" in text
    assert r"\quad to Unpruned & $+0.0 \pm 0.2$ & $+10.0 \pm 0.2^*$ \\" in text
    assert text.count("{") == text.count("}")


def test_several_networks_have_a_table_each() -> None:
    plan = plan_of(grid={}, seeds=2)
    rows = [row("as given", seed, arm, 0, 0.5, network) for seed in (0, 1) for arm in plan.study.arms for network in ("convnet", "mlp")]
    found = table_of(plan, [Told(rows)])  # type: ignore[list-item]
    assert found.networks == ("convnet", "mlp")
    page = study_page(found, "0" * 16, "", []).decode()
    assert "over 2 seeds, on convnet; in" in page and "over 2 seeds, on mlp; in" in page and r"\multicolumn{2}{l}{mlp}" in as_latex(found)
