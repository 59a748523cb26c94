"""Arrays and torch data sets as sources: the same content is the same data set, and what is wrong is one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bilp
from bilp.config import IngestConfig, PipelineConfig
from bilp.config.command_line import parse
from bilp.data import read_source
from bilp.data.sources.given_arrays import items_of
from bilp.errors import BilpError, ConfigError, DataError

COLORS = (np.arange(24 * 4 * 5 * 3) * 7 % 251).astype(np.uint8).reshape(24, 4, 5, 3)
GRAY = COLORS[..., 0]
LABELS = np.arange(24) % 3


class Pairs(torch.utils.data.Dataset[tuple[Any, Any]]):
    """A data set of these images and labels, each as `form` makes it."""

    classes = ("ant", "bee", "cat")

    def __init__(self, form: Any, images: Any = COLORS) -> None:
        self.form, self.images = form, images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.form(self.images[index]), int(LABELS[index])


def keys(data: bilp.Dataset) -> tuple[str, str | None]:
    return data.uri, data.record_uri


def test_too_few_images_are_told_before_experts_or_a_teacher_are_trained(tmp_path: Path) -> None:
    data = bilp.ingest(images=COLORS, labels=LABELS, root=tmp_path)
    with pytest.raises(ConfigError, match="ipc = 50 needs 50 real samples in every class"):
        bilp.distill(data, method="mtt", ipc=50, network={"depth": 1})
    with pytest.raises(ConfigError, match="ipc = 50 needs 50 real samples in every class"):
        bilp.distill(data, method="ccfs", ipc=50, network={"depth": 1})
    assert not any((tmp_path / made).exists() for made in ("experts", "scores", "selections", "teachers"))


def test_the_same_content_is_the_same_source_in_every_form(tmp_path: Path) -> None:
    data = bilp.ingest(images=COLORS, labels=LABELS, root=tmp_path)
    assert repr(data).startswith("18 training and 6 test images, 3 classes, 3x4x5, arrays, from datasets/arrays/")
    tensor = torch.from_numpy(COLORS.transpose(0, 3, 1, 2).copy())
    again = [
        bilp.ingest(images=tensor, labels=torch.from_numpy(LABELS), root=tmp_path),
        bilp.ingest(images=COLORS, labels=LABELS.tolist(), class_names=["0", "1", "2"], layout="NHWC", root=tmp_path),
    ]
    assert {keys(one) for one in again} == {keys(data)}
    changed = COLORS.copy()
    changed[3, 2, 1, 0] += 1
    assert bilp.ingest(images=changed, labels=LABELS, root=tmp_path).record_uri != data.record_uri
    assert bilp.ingest(images=COLORS, labels=(LABELS + 1) % 3, root=tmp_path).record_uri != data.record_uri


def test_pixels_labels_and_origins_arrive(tmp_path: Path) -> None:
    names = np.array(["ant", "bee", "cat"])[LABELS]
    data = bilp.ingest(images=GRAY[:18], labels=names[:18], test=(GRAY[18:], names[18:]), root=tmp_path)
    assert data.class_names == ("ant", "bee", "cat")
    assert torch.equal(data.opened.train.images()[:, 0], torch.from_numpy(GRAY[:18].copy()))
    frame = data.to_pandas()
    assert frame["class"].tolist() == names.tolist()
    assert frame["origin"].tolist() == [f"train row {i}" for i in range(18)] + [f"test row {i}" for i in range(6)]


@pytest.mark.parametrize(
    "form",
    [
        Image.fromarray,
        lambda image: image,
        lambda image: torch.from_numpy(image.transpose(2, 0, 1).copy()),
        lambda image: torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255,
    ],
    ids=["PIL", "array", "tensor", "ToTensor"],
)
def test_items_of_a_torch_data_set_are_what_their_pixels_are(form: Any, tmp_path: Path) -> None:
    data = bilp.ingest(Pairs(form), test=Pairs(form, COLORS[:6]), root=tmp_path)
    assert data.class_names == Pairs.classes
    assert torch.equal(data.opened.train.images(), torch.from_numpy(COLORS.transpose(0, 3, 1, 2).copy()))
    assert len(data.opened.test) == 6
    part = bilp.ingest(torch.utils.data.Subset(Pairs(form), range(12)), root=tmp_path)
    assert part.class_names == Pairs.classes and part.origins()[0].startswith("train item ")


def wrong() -> Iterator[tuple[str, dict[str, Any]]]:
    floats = GRAY / np.float32(255)
    nan = floats.copy()
    nan[2, 0, 0] = np.nan
    yield r"train images are float32 of 0.0 to .*give uint8 pixels of 0 to 255, such as \(images \* 255\)", {"images": floats}
    yield r"without NaN and infinite values \(image 2 has some\)", {"images": nan}
    yield r"train images are float32 .*before any normalization", {"images": floats * 4 - 2}
    yield r"train images are int64 .*astype", {"images": GRAY.astype(np.int64)}
    yield r"have shape \[24, 20\]: give \[N, H, W\]", {"images": GRAY.reshape(24, 20)}
    yield r"shape \[24, 4, 5, 2\] has no axis of 1 or 3", {"images": COLORS[..., :2]}
    yield r"may be both NCHW and NHWC: state layout", {"images": COLORS.reshape(24, 3, 20, 1)}
    yield r"which is not NCHW of 1 or 3 channels", {"images": COLORS, "layout": "NCHW"}
    yield r"unknown layout 'CHWN': use NHW", {"images": COLORS, "layout": "CHWN"}
    yield r"24 images and labels of shape \[23\]", {"labels": LABELS[1:]}
    yield r"train labels are float64: give whole numbers", {"labels": LABELS / 2}
    yield r"label 1000000000 makes more classes than there are images", {"labels": np.where(LABELS == 2, 10**9, LABELS)}
    yield r"label -1 of image 0 is outside 0..1", {"labels": LABELS - 1}
    yield r"label 2 of image 2 is outside 0..1", {"class_names": ["ant", "bee"]}
    yield r"label 'cat' is none of the 2 class names", {"labels": np.array(["ant", "bee", "cat"])[LABELS], "class_names": ["ant", "bee"]}
    yield r"class_names is the text 'ant'", {"class_names": "ant"}
    yield r"test: give a pair of images and labels", {"test": GRAY}
    yield r"give one of both", {"labels": None}
    yield r"no array: rows differ in length", {"images": [[[1, 2], [3]]]}
    yield r"did you mean .*resolution", {"resolutoin": 8}


@pytest.mark.parametrize(("told", "changed"), list(wrong()))
def test_what_does_not_fit_is_one_line(told: str, changed: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BilpError, match=told) as raised:
        bilp.ingest(root=tmp_path, **({"images": GRAY, "labels": LABELS} | changed))
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir()), "nothing was stored"


@pytest.mark.parametrize(
    ("told", "data"),
    [
        (
            r"train item 0 is float32 of .*leave Normalize out",
            Pairs(lambda image: torch.from_numpy(image.copy()).permute(2, 0, 1) / 127.5 - 1),
        ),
        (r"train item 0: str is no image", Pairs(lambda image: "ant.png")),
        (r"has not 1 or 3 channels", Pairs(lambda image: torch.from_numpy(image.copy()))),
        (r"train item 1 differs in size from the first \(5 x 4 and 5 x 3\)", Pairs(np.asarray, [COLORS[0], COLORS[1][1:], COLORS[2]])),
        (r"train: the data set is empty", Pairs(np.asarray, [])),
        (r"a list is no source|is no pair", [1, 2]),
        (r"a float is no source", 1.0),
        (r"a ndarray is no source: .*images=", GRAY),
    ],
)
def test_items_that_are_no_images_are_one_line(told: str, data: Any, tmp_path: Path) -> None:
    with pytest.raises((DataError, ConfigError), match=told):
        bilp.ingest(data, root=tmp_path)


def test_arrays_are_of_python_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"source 'arrays' is of Python alone: call bilp.ingest\(images=..., labels=...\) there, or set"):
        PipelineConfig.model_validate(parse(["--dataset", "arrays"], "bilp", "").given)
    with pytest.raises(DataError, match=r"this process does not hold the arrays arrays://0{32}: call bilp.ingest"):
        read_source(IngestConfig(source="arrays", uri=f"arrays://{'0' * 32}"), tmp_path)
    assert "arrays" not in str(IngestConfig.model_json_schema())


def test_whoever_has_the_address_finds_what_was_ingested(tmp_path: Path) -> None:
    data = bilp.ingest(images=COLORS, labels=LABELS, root=tmp_path)
    config, record = data.config, data.record_uri
    del data
    assert read_source(config, tmp_path) == record


def test_pictures_become_what_their_files_would() -> None:
    ramp = (np.arange(20).reshape(4, 5) * 3000).astype(np.uint16)
    clear = Image.fromarray(np.dstack([COLORS[0], np.zeros((4, 5), np.uint8)]), "RGBA")

    def first(picture: Image.Image) -> Any:
        return items_of([(picture, 0), (picture, 1)]).sides["train"].images[0]

    assert (first(Image.fromarray(ramp)) == np.rint(ramp / 257)).all()
    assert (first(clear) == 255).all()
    assert (first(Image.fromarray(GRAY[0] > 100)) == 255 * (GRAY[0] > 100)).all()
    for mode in ("I", "F"):
        with pytest.raises(DataError, match="train item 0: mode . .*has no agreed range"):
            first(Image.new(mode, (5, 4)))


def test_names_of_classes_may_be_objects_as_pandas_keeps_them(tmp_path: Path) -> None:
    names = np.array(["ant", "bee", "cat"])[LABELS]
    plain = bilp.ingest(images=GRAY, labels=names, root=tmp_path)
    assert keys(bilp.ingest(images=GRAY, labels=names.astype(object), root=tmp_path)) == keys(plain)


def test_what_is_no_array_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train images cannot be read as an array .*BFloat16"):
        bilp.ingest(images=torch.zeros(24, 4, 5, dtype=torch.bfloat16), labels=LABELS, root=tmp_path)


def test_arrays_that_were_written_to_are_not_taken_for_what_they_were(tmp_path: Path) -> None:
    images = GRAY.copy()
    data = bilp.ingest(images=images, labels=LABELS, root=tmp_path / "one")
    images[0, 0, 0] ^= 1
    with pytest.raises(DataError, match="something was written to the arrays since they were given"):
        read_source(data.config, str(tmp_path / "other"))
    assert keys(bilp.ingest(images=GRAY, labels=LABELS, root=tmp_path / "one")) == keys(data)
