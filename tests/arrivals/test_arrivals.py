"""A source that grows: what is known of it, what came in, and what is told about that."""

from __future__ import annotations

import base64
import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from bilp.arrivals.arrivals_page import COLUMNS, SHOWN, _csv, _drawn_anew, _rows, report_arrivals
from bilp.arrivals.arrived import Arrivals, exchanged
from bilp.arrivals.known import known_versions
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.report_places import is_derived
from bilp.artifacts.tensors import decode_tensors
from bilp.config import IngestConfig, NetworkConfig, ScoreConfig
from bilp.data import open_dataset, read_source
from bilp.data.ingestion import dataset_of
from bilp.nets import build
from bilp.scoring.extension import extend_scores, extended_summary
from bilp.scoring.kept_networks import epoch_file, open_networks
from bilp.scoring.summary import open_summary, summarize
from bilp.scoring.trial import score_trial
from bilp.scoring.trial_record import TRIAL

CONFIG = ScoreConfig(
    trials=2, epochs=3, init_epochs=2, network=NetworkConfig(width=8, depth=1), batch_size=32, learning_rate=0.1, keep_networks=True
)
PIXELS, LABELS = load_digits(return_X_y=True)
HOSTILE = "=cmd|'x' <b>.png"


class Photos:
    """A folder of three classes, and the storage that it is read into."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder / "photos", str(folder / "store")
        self.config = IngestConfig(source="folder", uri=str(self.folder))

    def add(self, split: str, images: range, moved: int = 0, name: str = "") -> None:
        """Digits 0, 1 and 2 among these, with labels moved by so many."""
        for number in images:
            if LABELS[number] < 3:
                place = self.folder / split / f"class {(LABELS[number] + moved) % 3}"
                place.mkdir(parents=True, exist_ok=True)
                pixels = np.round(PIXELS[number].reshape(8, 8) * 255 / 16).astype(np.uint8)
                Image.fromarray(pixels).save(place / (name or f"{number:04d}.png"), "PNG")

    def read(self) -> tuple[str, str]:
        """The data set and the record of the source, as it is now."""
        record = read_source(self.config, self.root)
        return dataset_of(record, self.config), record

    def score(self, dataset: str) -> str:
        """The summary of all trials."""
        for number in range(CONFIG.trials):
            score_trial(dataset, CONFIG, number, self.root)
        return summarize(dataset, CONFIG, self.root)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    made = Photos(tmp_path_factory.mktemp("arrivals"))
    made.add("train", range(150))
    made.add("test", range(1760, 1797))
    return made


def test_what_is_told_of_new_images():
    found = Arrivals(np.array([7, 3]), ["a/x.png", "=1+1"], ["a", "b"], ["b", "b"], np.array([2.0, 0.1]), np.array([-1.0, 3.0]), ["", "-c"])
    assert found.suspicious.tolist() == [True, False]
    lines = _csv(found).decode("utf-8-sig").splitlines()
    assert lines[1:] == ["7,a/x.png,a,b,true,2,-1,", "3,'=1+1,b,b,false,0.1,3,'-c"]
    [(picture, *told)] = _rows(found, np.zeros((1, 3, 8, 8), np.uint8))
    assert told == ["a/x.png", "a", "b", "2.000", "-1.000", ""]
    assert (picture.alt, picture.width, picture.height) == ("a/x.png, given as a", 8, 8)


def rows_of(page: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(page.removesuffix(".html") + ".csv").read_text(encoding="utf-8-sig"))))


@pytest.mark.slow
def test_images_that_changed_the_split_are_neither_new_nor_gone(tmp_path: Path):
    """A folder without test images, of which some are held out anew when it has grown."""
    photos = Photos(tmp_path)
    photos.add(".", range(150))
    before = open_dataset(photos.read()[0])
    assert exchanged(before, before) == (0, 0)
    photos.add(".", range(150, 200))
    now = open_dataset(photos.read()[0])
    digests = [[store.index()["sha256"].to_pylist() for store in (of.train, of.test)] for of in (before, now)]
    (train, test), (later_train, later_test) = digests
    left, came = sum(digest in later_test for digest in train), sum(digest in later_train for digest in test)
    assert exchanged(before, now) == (left, came) and left > 0 and came > 0
    (sentence,) = _drawn_anew(left, came)
    assert sentence.startswith(f"{left} of those that have gone are test images now, and {came} of the new ones were before")
    assert _drawn_anew(0, 0) == []


def test_a_source_that_grows_is_followed_from_version_to_version(photos: Photos):
    """One test, because each version needs the one before."""
    dataset, record = photos.read()
    nothing = known_versions(dataset, record, photos.config, CONFIG, photos.root)
    assert (nothing.page, nothing.scores, nothing.before, nothing.extendable) == (None, None, None, None)
    scores = photos.score(dataset)
    first = report_arrivals(dataset, record, None, scores, photos.root)
    assert first.sentences[0] == f"This is the first version that was scored: {len(open_dataset(dataset).train):,} images."
    assert known_versions(dataset, record, photos.config, CONFIG, photos.root).page == first.page

    photos.add("train", range(150, 190))
    photos.add("train", range(300, 310), moved=1, name=HOSTILE)
    photos.add("train", range(1), moved=2, name="again.png")
    later, newer = photos.read()
    known = known_versions(later, newer, photos.config, CONFIG, photos.root)
    assert (known.page, known.scores, known.before, known.extendable) == (None, None, scores, scores)
    growth = extend_scores(later, CONFIG.model_copy(update={"extend": scores}), photos.root)
    extended = extended_summary(growth, CONFIG)
    assert extended is not None
    assert known_versions(later, newer, photos.config, CONFIG, photos.root).scores == extended
    arrived = report_arrivals(later, newer, scores, extended, photos.root)
    check_rows(photos, arrived.page, later, newer, extended)
    assert f"{len(arrived.found.given)} images are new; there were {len(open_dataset(dataset).train)}." == arrived.sentences[0]
    assert "1 of them have the pixels of an image that was there before, under another class." in arrived.sentences
    assert sum(each.added for each in arrived.classes) == len(arrived.found.given)
    page = Path(arrived.page).read_text()
    assert "<b>" not in page and "&lt;b&gt;" in page
    shown = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    ids = torch.tensor(np.asarray(arrived.found.sample_id[:SHOWN]))
    assert len(shown) == min(SHOWN, len(arrived.found.given))
    assert np.array_equal(np.stack([np.asarray(image) for image in shown]), open_dataset(later).train.images(ids).numpy()[:, 0])
    assert is_derived(arrived.page.removeprefix(f"{photos.root}/"))
    assert known_versions(later, newer, photos.config, CONFIG, photos.root).page == arrived.page


def check_rows(photos: Photos, page: str, later: str, record: str, summary: str) -> None:
    """The CSV file against a loop over images and networks."""
    dataset, rows = open_dataset(later, record), rows_of(page)
    assert list(rows[0]) == list(COLUMNS)
    losses = [float(row["loss_converge"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    origins = dataset.origins("train")
    names = {row["path"]: row for row in rows}
    assert any(HOSTILE in path for path in names) and not any(path.startswith("=") for path in names)
    assert [row["known_as"] for row in rows if row["path"].endswith("again.png")] == ["class 0"]
    images = dataset.train.images().float() / 255
    total = {int(row["sample_id"]): 0.0 for row in rows}
    for number in range(CONFIG.trials):
        networks = open_networks(open_artifact(open_summary(summary).parents[f"trial {number}"], TRIAL))
        learned = open_dataset(networks.parents["dataset"])
        network = build(CONFIG.network, learned.shape, learned.classes).eval()
        network.load_state_dict(decode_tensors(networks.read(epoch_file(CONFIG.epochs)), ""))
        for sample in total:
            total[sample] = (
                total[sample] + network((images[sample : sample + 1] - learned.mean[0]) / learned.std[0])[0].detach().softmax(0).numpy()
            )
    for row in rows:
        sample = int(row["sample_id"])
        assert row["path"].lstrip("'") == origins[sample]
        assert row["given_label"] == dataset.class_names[int(dataset.train.labels[sample])]
        assert row["predicted_label"] == dataset.class_names[int(np.argmax(total[sample]))]
        assert row["suspicious"] == str(row["given_label"] != row["predicted_label"]).lower()
