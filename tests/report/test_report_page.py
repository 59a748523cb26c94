"""The page of a whole small pipeline: complete, self-contained, accessible, and the same numbers as the tables."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq
import pytest
from page_reader import Page, decode
from PIL import Image
from scipy import stats
from small_pipeline import Outcome, run_pipeline, small_config

from bilp.artifacts import layout, parquet, tables
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.publication import publish
from bilp.data import open_dataset
from bilp.distill import load_synthetic
from bilp.errors import MissingArtifact
from bilp.evaluate import evaluate_baseline, evaluate_synthetic, load_robustness, summary, variants
from bilp.evaluate.robustness import robustness
from bilp.storage import objects

SECTIONS = ["accuracy", "source", "pruning", "effect", "samples", "synthetic", "provenance", "settings", "citation"]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_pipeline(small_config(), str(tmp_path_factory.mktemp("storage")))


@pytest.fixture(scope="module")
def page(outcome: Outcome) -> Page:
    return read(outcome.page())


def read(uri: str) -> Page:
    return Page(objects.read(uri).decode())


def rows_of(*path: str) -> list[dict[str, object]]:
    """A table as pyarrow reads it, without our own code."""
    rows: list[dict[str, object]] = pq.ParquetFile(Path(*path)).read().to_pylist()
    return rows


def test_sections_are_all_there_and_can_be_reached(page: Page) -> None:
    assert [attributes["id"] for attributes in page.all("section")] == SECTIONS
    targets = [link["href"] for link in page.all("a") if link["href"].startswith("#")]
    assert targets == [f"#{name}" for name in SECTIONS]
    assert max(Counter(page.ids()).values()) == 1
    assert page.text.strip().startswith("Digits, distribution matching (DM), 1 image per class")


def test_nothing_is_loaded_from_anywhere(outcome: Outcome, page: Page) -> None:
    html = objects.read(outcome.page()).decode()
    assert "http:" not in html and "//" not in page.styles
    assert not page.all("script") and "@import" not in page.styles and "url(" not in page.styles
    loads = [attributes[name] for _, attributes in page.elements for name in ("src", "srcset", "data") if name in attributes]
    loads += [attributes["href"] for tag, attributes in page.elements if tag != "a" and "href" in attributes]
    assert len(loads) > 100
    assert all(target.startswith("data:") for target in loads)
    ways = {link["href"].split(":")[0] for link in page.all("a") if not link["href"].startswith(("#", "../../"))}
    assert ways == {"data", "https"}, "papers are linked to, and opened only by who clicks"
    assert html.count("https:") == sum(link["href"].startswith("https://arxiv.org/abs/") for link in page.all("a")) == 2


def test_every_picture_and_chart_has_words(page: Page) -> None:
    assert all(image["alt"] and image["title"] == image["alt"] for image in page.all("img"))
    charts = [chart for chart in page.all("svg") if chart["viewbox"] != "0 0 28 10"]  # lines of legends, which are hidden
    assert all(chart["role"] == "img" and len(chart["aria-label"]) > 20 for chart in charts)
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert all(len(row) == len(table[0]) for table in page.tables for row in table)


def test_images_are_the_samples_they_claim_to_be(outcome: Outcome, page: Page) -> None:
    dataset = open_dataset(outcome.dataset, outcome.record)
    claimed = 0
    for image in page.all("img"):
        pixels = decode(image["src"])
        assert (int(image["height"]), int(image["width"])) == pixels.shape[1:] == (8, 8)
        if match := re.search(r"sample (\d+), class (\S+?)(,|$)", image["alt"]):
            sample = int(match[1])
            assert (pixels == dataset.train.images()[sample].numpy()).all()
            assert dataset.class_names[int(dataset.train.labels[sample])] == match[2]
            assert image["alt"].endswith(f", from {dataset.origins('train')[sample]}")
            claimed += 1
    assert claimed == 10 * (3 * 3 + 3 * 3 + 4)  # classes * (pruning + effect + examples)


def test_synthetic_images_are_those_of_the_runs(outcome: Outcome, page: Page) -> None:
    dataset = open_dataset(outcome.dataset)
    for arm, title in (("unpruned", "Unpruned"), ("bilp", "BiLP")):
        images, labels = load_synthetic(objects.join(outcome.runs[arm][0], "synthetic"))
        visible = np.clip(images.numpy() * dataset.std[0] + dataset.mean[0], 0, 1) * 255
        shown = {image["alt"]: decode(image["src"]) for image in page.all("img")}
        for k, label in enumerate(labels.tolist()):
            pixels = shown[f"synthetic image 1 of class {dataset.class_names[label]}, {title}"]
            assert np.abs(pixels - visible[k]).max() <= 0.51
    assert (shown["synthetic image of class 3, after 9 iterations"] == shown["synthetic image 1 of class 3, BiLP"]).all()
    first = {tuple(image.flatten()) for image in dataset.train.images().numpy()}
    assert tuple(shown["synthetic image of class 3, start"].flatten()) in first  # init real starts from real samples


def test_accuracy_table_says_what_the_evaluations_say(outcome: Outcome, page: Page) -> None:
    titles = {"full": "All real images", "random": "Random real images", "unpruned": "Unpruned", "bilp": "BiLP"}
    expected = {}
    for row in summary(outcome.evaluations):
        assert row.top_k is not None
        means = ((row.mean, row.half_width95), (row.top_k.share.mean, row.top_k.share.half_width95))
        expected[titles[row.arm]] = (*(f"{100 * mean:.1f} % ± {100 * half:.1f}" for mean, half in means), str(row.n))
    shown = page.table("Set", "Network", "Images", "Accuracy", "Top 5")
    assert {row[0]: (row[3], row[4], row[5]) for row in shown} == expected
    assert [row[0] for row in shown] == list(titles.values())
    assert {row[0]: row[2] for row in shown} == {"All real images": "1,438", "Random real images": "10", "Unpruned": "10", "BiLP": "10"}
    assert {row[1] for row in shown} == {"ConvNet (width 8, depth 2)"}


def test_difference_is_that_of_an_independent_paired_test(outcome: Outcome, page: Page) -> None:
    rows = [row for uri in outcome.evaluations for row in rows_of(uri, "evaluation.parquet")]
    ours, theirs = ([row["accuracy"] for row in rows if row["arm"] == arm] for arm in ("bilp", "unpruned"))
    ends = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    mean, half = 100 * (ends.low + ends.high) / 2, 100 * (ends.high - ends.low) / 2
    conclusion = "no clear difference" if ends.low <= 0 <= ends.high else "a clear gain" if mean > 0 else "a clear loss"
    words = f"{mean:+.1f} ± {half:.1f} points".replace("-", "−")
    assert page.table("Against the unpruned run") == [["BiLP", "ConvNet (width 8, depth 2)", words, "3", conclusion]]
    assert f"BiLP is {words} against the unpruned run: {conclusion}." in page.text


def test_test_selected_accuracy_stands_apart(outcome: Outcome, page: Page) -> None:
    rows = [row for uri in outcome.evaluations for row in rows_of(uri, "evaluation.parquet") if row["arm"] == "bilp"]
    best = f"{100 * np.mean([row['best_accuracy'] for row in rows]):.1f} %"
    (shown,) = [row for row in page.table("Set", "Network", "Best epoch, test-selected") if row[0] == "BiLP"]
    assert shown[2].startswith(best)
    assert [table[0] for table in page.tables if any("est epoch" in cell for row in table for cell in row)] == [
        ["Set", "Network", "Best epoch, test-selected", "Top 5, likewise"]
    ]


def test_csv_holds_every_training(outcome: Outcome, page: Page) -> None:
    (link,) = [link for link in page.all("a") if link.get("download") == "accuracy.csv"]
    text = base64.b64decode(link["href"].split(",", 1)[1]).decode()
    rows = [row for uri in outcome.evaluations for row in rows_of(uri, "evaluation.parquet")]
    random = {(row["network"], row["seed"]): float(str(row["accuracy"])) for row in rows if row["arm"] == "random"}
    told = list(csv.DictReader(io.StringIO(text)))
    gains = [float(row.pop("over_random")) for row in told]
    assert told == [{name: str(value) for name, value in row.items()} for row in rows]
    assert gains == [float(str(row["accuracy"])) - random[row["network"], row["seed"]] for row in rows]


def test_pruning_table_says_what_the_selection_says(outcome: Outcome, page: Page) -> None:
    assert outcome.selection
    rows = rows_of(outcome.selection, "selection.parquet")
    for name, total, kept, share, threshold, mean_kept, mean_dropped in page.table("Class", "Images", "Kept"):
        mine = [row for row in rows if row["label"] == int(name)]
        stay, go = ([float(str(row["score"])) for row in mine if row["kept"] is fate] for fate in (True, False))
        assert (total, kept) == (str(len(mine)), str(len(stay)))
        assert float(share.removesuffix(" %")) == pytest.approx(100 * len(stay) / len(mine), abs=0.051)
        assert float(threshold) == pytest.approx((max(stay) + min(go)) / 2, rel=6e-3)
        assert (float(mean_kept), float(mean_dropped)) == pytest.approx((np.mean(stay), np.mean(go)), rel=6e-3)
    fates = {row["sample_id"]: "kept" if row["kept"] else "dropped" for row in rows}
    told = [re.fullmatch(r"sample (\d+), class \S+, loss \S+, (kept|dropped), from \S+", image["alt"]) for image in page.all("img")]
    assert sum(match is not None and fates[int(match[1])] == match[2] for match in told) == 10 * 3 * 3


def test_effect_table_and_gallery_say_what_the_rounds_say(outcome: Outcome, page: Page) -> None:
    run = outcome.runs["bilp"][0]
    for number, measured, dropped, share, so_far, low, high in page.table("Round", "Images measured"):
        rows = rows_of(run, "rounds", f"{int(number):04d}", "reselect", "ite.parquet")
        out = sum(bool(row["dropped"]) for row in rows)
        assert (measured, dropped) == (str(len(rows)), str(out))
        assert float(share.removesuffix(" %")) == pytest.approx(100 * out / len(rows), abs=0.051)
        everything, least, most = (float(value) for value in re.findall(r"([\d.]+)\s%", so_far))
        assert least <= everything <= most
        assert low == "–" or float(low.removesuffix(" ×")) < 1
        assert high == "–" or float(high.removesuffix(" ×")) > 1
    assert number == "3"
    taking_part = Counter(row["label"] for row in rows_of(str(outcome.selection), "selection.parquet") if row["kept"])
    told_reach = re.search(r"with (\d+) images, all are measured in 3 rounds, and at most (\d+) \(\d+ %\) can be away at once", page.text)
    assert told_reach is not None
    size, most = map(int, told_reach.groups())
    tables_of_rounds = [rows_of(run, "rounds", f"{n:04d}", "reselect", "ite.parquet") for n in (1, 2, 3)]
    out_of_class = Counter(row["label"] for table in tables_of_rounds for row in table if row["dropped"])
    of_that_size = [out_of_class[label] for label, number in taking_part.items() if number == size]
    assert of_that_size and all(abs(away - most) <= 0.02 * size + 2 for away in of_that_size)  # each sample was measured once
    effects = {int(str(row["sample_id"])): row for row in rows}  # of the last round
    told = [re.fullmatch(r"sample (\d+), class (\S+), effect \S+, (kept|dropped), from \S+", image["alt"]) for image in page.all("img")]
    shown = [match for match in told if match]
    assert len(shown) == 10 * 3 * 3
    assert all(("dropped" if effects[int(match[1])]["dropped"] else "kept") == match[3] for match in shown)
    by_class = [[float(str(effects[int(match[1])]["ite"])) for match in shown if match[2] == str(c)] for c in range(10)]
    for c, values in enumerate(by_class):
        everyone = sorted(float(str(row["ite"])) for row in effects.values() if row["label"] == c)
        assert values[:3] == everyone[:3] and values[-3:] == everyone[-3:] and values[4] == pytest.approx(median(everyone), rel=0.1)


def test_provenance_names_every_artifact_and_its_checksums(outcome: Outcome, page: Page) -> None:
    shown = {objects.join(outcome.root, row[5]): row for row in page.table("Stage", "Created (UTC)")}
    sets = [objects.join(run, "synthetic") for runs in outcome.runs.values() for run in runs]
    kinds = {outcome.dataset: "dataset", outcome.record: "source", outcome.scores: "score_summary", outcome.selection: "selection"}
    kinds |= dict.fromkeys(sets, "synthetic") | dict.fromkeys(outcome.evaluations, "evaluation")
    assert shown.keys() == kinds.keys()
    checksums = {row[2] for row in page.table("Stage", "File")}
    for uri, kind in kinds.items():
        manifest = open_artifact(str(uri), kind).manifest
        assert shown[uri][4] == manifest.key and shown[uri][2] == str(len(manifest.files))
        assert {entry.sha256 for entry in manifest.files.values()} <= checksums
    assert ["torch", open_artifact(outcome.dataset, "dataset").manifest.provenance["torch"]] in page.table("What", "Version")


def test_what_was_computed_again_with_other_digits_is_on_another_page(outcome: Outcome, tmp_path: Path) -> None:
    """As on another device: under the same key, but with other checksums."""
    root = tmp_path / "copy"
    shutil.copytree(outcome.root, root)
    before = outcome.page(root=str(root))
    here = next(uri for uri in outcome.evaluations if "random" in open_artifact(uri, "evaluation").fact("arm"))
    again = root / layout.relative(here, outcome.root)
    artifact = open_artifact(str(again), "evaluation")
    table = artifact.table("evaluation.parquet", tables.EVALUATION)
    shutil.rmtree(again)
    files = {"evaluation.parquet": parquet.encode(table, tables.EVALUATION, {"computed": "elsewhere"})}
    told = artifact.manifest
    publish(str(again), told.kind, told.key, files, config=told.config, parents=artifact.parents, facts=told.facts)
    evaluations = [str(again) if uri == here else uri for uri in outcome.evaluations]
    assert outcome.page(root=str(root), evaluations=evaluations).rpartition("/")[0] != before.rpartition("/")[0]


def test_each_class_is_counted_as_the_evaluations_counted_it(outcome: Outcome, page: Page) -> None:
    titles = {"full": "All real images", "random": "Random real images", "unpruned": "Unpruned", "bilp": "BiLP"}
    right: dict[str, dict[str, str]] = {}
    for uri in outcome.evaluations:
        arm = str(rows_of(uri, "evaluation.parquet")[0]["arm"])
        for c in range(10):
            mine = [row for row in rows_of(uri, "confusion.parquet") if row["label"] == c]
            hits, total = (sum(int(str(row["images"])) for row in mine if every or row["predicted"] == c) for every in (False, True))
            right.setdefault(str(c), {})[titles[arm]] = f"{100 * hits / total:.1f} %"
    heads = list(titles.values())
    shown = page.table("Class", *heads)
    assert {row[0]: dict(zip(heads, row[1:5], strict=True)) for row in shown} == right
    differences = [float(row[5].removesuffix(" points").replace("−", "-")) for row in shown]
    assert differences == sorted(differences)
    assert len(page.table("Images of", "taken for")) > 0


def test_what_an_older_version_did_not_record_is_said(outcome: Outcome, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(outcome.root, root)
    evaluations = []
    for uri in outcome.evaluations:
        old = root / layout.relative(uri, outcome.root)
        artifact = open_artifact(str(old), "evaluation")
        content, told = artifact.read("evaluation.parquet"), artifact.manifest
        shutil.rmtree(old)
        files = {"evaluation.parquet": content}
        publish(str(old), told.kind, told.key, files, config=told.config, parents=artifact.parents, facts=told.facts)
        evaluations.append(str(old))
    before = read(outcome.page(root=str(root), evaluations=evaluations))
    assert before.text.count("recorded by the version that wrote these evaluations") == 2
    assert [row[3] for row in before.table("Set", "Network", "Images")] == [
        row[3] for row in read(outcome.page()).table("Set", "Network", "Images")
    ]


def test_links_lead_to_the_stored_files(outcome: Outcome, page: Page) -> None:
    folder = Path(outcome.page()).parent
    ways = {link["href"] for link in page.all("a") if link["href"].startswith("../../")}
    assert len(ways) > 10 and all((folder / way).is_file() for way in ways)
    evaluations = {str((folder / way).resolve()) for way in ways if way.endswith("evaluation.parquet")}
    assert evaluations == {str(Path(uri, "evaluation.parquet").resolve()) for uri in outcome.evaluations}


def test_samples_at_the_ends_are_those_of_the_tables(outcome: Outcome, page: Page) -> None:
    assert outcome.selection
    dataset = open_dataset(outcome.dataset, outcome.record)
    scores = {row["sample_id"]: row for row in rows_of(outcome.selection, "selection.parquet")}
    left_out: Counter[int] = Counter()
    measured: Counter[int] = Counter()
    for number in (1, 2, 3):
        for row in rows_of(outcome.runs["bilp"][0], "rounds", f"{number:04d}", "reselect", "ite.parquet"):
            left_out[int(str(row["sample_id"]))] += bool(row["dropped"])
            measured[int(str(row["sample_id"]))] += 1
    tables = [table[1:] for table in page.tables if table[0][:3] == ["Image", "Class", "Sample"]]
    assert [len(table) for table in tables] == [10, 10]
    effects = [[float(row[4].removesuffix(" ×")) for row in table] for table in tables]
    assert effects[0] == sorted(effects[0], reverse=True) and effects[1] == sorted(effects[1]) and effects[0][-1] > effects[1][-1]
    for _, name, number, loss, _, fate, file in (row for table in tables for row in table):
        sample = int(number)
        assert file == dataset.origins("train")[sample] and dataset.class_names[int(dataset.train.labels[sample])] == name
        assert float(loss) == pytest.approx(float(str(scores[sample]["score"])), rel=6e-3)
        words = f"left out by effect in {left_out[sample]} of {measured[sample]} round"
        assert fate.startswith(words if left_out[sample] else "kept")


def test_the_samples_shown_are_listed_with_their_files(outcome: Outcome, page: Page) -> None:
    origins = open_dataset(outcome.dataset, outcome.record).origins("train")
    tables = [table[1:] for table in page.tables if table[0][1] == "Where above"]
    assert [len(table) for table in tables] == [10 * 3 * 3] * 2
    assert all(row[5] == origins[int(row[2])] and row[4] in ("kept", "dropped") for table in tables for row in table)


def test_the_heading_tells_when_and_which_run(outcome: Outcome, page: Page) -> None:
    key = outcome.page().split("/")[-2]
    (line,) = [line for line in page.text.split("\n") if f"run {key}" in line]
    created = max(open_artifact(uri, "evaluation").manifest.created_at for uri in outcome.evaluations)
    assert line.startswith(f"{created[:10]} {created[11:16]} UTC; ") and line.endswith("keep 0.7, beta 0.2")


def test_same_inputs_give_the_same_bytes(outcome: Outcome) -> None:
    uri = outcome.page()
    before = objects.read(uri)
    objects.delete(uri.rpartition("/")[0])
    assert outcome.page() == uri and objects.read(uri) == before
    assert len(before) < 500_000


def test_order_of_arms_and_evaluations_makes_no_difference(outcome: Outcome) -> None:
    runs = dict(reversed(outcome.runs.items()))
    assert list(runs) != list(outcome.runs)
    assert outcome.page(runs=runs, evaluations=outcome.evaluations[::-1]) == outcome.page()


def test_a_page_that_is_there_is_not_made_again(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = outcome.page()
    monkeypatch.setattr("bilp.report.page.render", lambda *_: pytest.fail("rendered again"))
    assert outcome.page() == uri
    with pytest.raises(pytest.fail.Exception):
        outcome.page(config=small_config(report={"samples_per_class": 2}))


def test_origins_are_shown(outcome: Outcome) -> None:
    page = read(outcome.page({"distill.rounds": "recipe of the house"}))
    rows = {row[0]: row for table in page.tables if table[0][0] == "Setting" for row in table[1:]}
    assert rows["distill.rounds"][1:3] == ["3", "recipe of the house"] and rows["distill.iterations"][2] == "default"


def test_only_what_was_done_is_shown(outcome: Outcome) -> None:
    runs = {"unpruned": outcome.runs["unpruned"]}
    page = read(outcome.page(scores=None, selection=None, runs=runs, evaluations=[]))
    assert [attributes["id"] for attributes in page.all("section")] == ["source", "synthetic", "provenance", "settings", "citation"]
    assert "10 synthetic images were made; how well they teach has not been evaluated." in page.text
    assert any(chart["aria-label"].startswith("Matching loss") for chart in page.all("svg"))
    nothing = read(outcome.page(scores=None, selection=None, runs={}, evaluations=[]))
    assert [attributes["id"] for attributes in nothing.all("section")] == ["source", "provenance", "settings", "citation"]


@pytest.mark.slow
def test_rounds_that_were_cleared_away_are_passed_over(outcome: Outcome, tmp_path: Path) -> None:
    whole = run_pipeline(small_config(arms=("bilp",), evaluate=outcome.config.evaluate.model_copy(update={"baselines": ()})), str(tmp_path))
    run = whole.runs["bilp"][0]
    for number in ("0001", "0003"):
        objects.delete(objects.join(run, "rounds", number))
    page = read(whole.page())
    assert [row[0] for row in page.table("Round", "Images measured")] == ["2"]
    assert {"after 6 iterations", "start"} <= {row[0] for row in page.table("Time")}


def test_a_missing_artifact_is_named(outcome: Outcome) -> None:
    with pytest.raises(MissingArtifact, match="runs/nowhere"):
        outcome.page(runs={"bilp": [objects.join(outcome.root, "runs", "nowhere")]})


@pytest.mark.slow
def test_many_classes_with_names_of_all_kinds_and_large_color_images(tmp_path: Path) -> None:
    names = [f"<b>{c}</b> & \"co\" '{{{{ 7 }}}}'" for c in range(12)]
    rng = np.random.default_rng(0)
    for name in names:
        folder = tmp_path / "source" / name.replace("/", "∕")
        folder.mkdir(parents=True)
        for k in range(10):
            Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    source = {"uri": str(tmp_path / "source")}
    network = {"width": 4, "depth": 1}
    config = small_config(
        dataset="folder",
        ingest=source,
        arms=("static", "unpruned"),
        experiments=2,
        score={"trials": 1, "epochs": 1, "init_epochs": 1, "network": network},
        distill={"iterations": 10, "rounds": 10, "batch_real": 4, "network": network},
        evaluate={"networks": [network, {"name": "mlp"}], "seeds": 2, "epochs": 1, "full_epochs": 1, "baselines": ["random"]},
    )
    outcome = run_pipeline(config, str(tmp_path / "storage"))
    page = read(outcome.page())
    assert not page.all("b") and "{{ 7 }}" in page.text
    assert {row[0] for row in page.table("Class", "Images")} == {name.replace("/", "∕") for name in names}
    assert "10 of 12 classes are shown" in page.text
    assert len(page.table("Time")) == 1 + 8  # the start and at most eight rounds
    assert len(page.table("Class", "Real mean")) == 10
    assert all(decode(image["src"]).shape == (3, 48, 48) for image in page.all("img"))
    assert [attributes["id"] for attributes in page.all("section")] == [
        "accuracy",
        "source",
        "pruning",
        "samples",
        "synthetic",
        "provenance",
        "settings",
        "citation",
    ]
    compared = page.table("Against the unpruned run")
    assert [(row[0], row[3]) for row in compared] == [("Static pruning", "2"), ("Static pruning", "2")]
    assert "how 2 independent distillations differ" in page.text
    assert "Synthetic set: Static pruning, experiment 1" in page.text and "Evaluation: Random real images\n" in page.text


def test_robustness_scores_have_a_table_of_their_own(tmp_path: Path) -> None:
    network = {"width": 8, "depth": 2}
    config = small_config(
        arms=("unpruned",),
        distill={"iterations": 2, "rounds": 1, "batch_real": 8, "network": network},
        evaluate={"networks": [network], "seeds": 2, "epochs": 2, "full_epochs": 1, "robustness": True},
    )
    outcome = run_pipeline(config, str(tmp_path))
    synthetic = f"{outcome.runs['unpruned'][0]}/synthetic"
    evaluations = {}
    for variant, changed in variants(config.evaluate).items():
        ours = evaluate_synthetic(outcome.dataset, synthetic, "unpruned", 0, changed, outcome.root)
        baseline = "full" if variant == "hard" else "random"
        evaluations[variant] = [ours, evaluate_baseline(outcome.dataset, baseline, 1, changed, outcome.root)]
    scores = robustness(evaluations, outcome.root)
    page = Path(outcome.page(evaluations=[*outcome.evaluations, scores])).read_text(encoding="utf-8")
    (row,) = load_robustness(scores)
    assert f'data-label="Label robustness (LRS)">{100 * row.lrs:.1f}</td>' in page
    assert f'data-label="Augmentation robustness (ARS)">{100 * row.ars:.1f}</td>' in page
    assert 'id="robustness"' not in Path(outcome.page()).read_text(encoding="utf-8")
