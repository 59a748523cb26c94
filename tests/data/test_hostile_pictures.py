"""Hostile pictures: a reason for each, before memory is taken; and what is decoded at the same time stays within bounds."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_pictures import REFUSED, TAKEN, encoded, png
from PIL import Image
from tiers import first_tier

from bilp.config import IngestConfig
from bilp.data import decode as decoding
from bilp.data import ingest, open_recorded, opening, pipeline, read_source
from bilp.data.contents import Group
from bilp.data.decode import Conversion, Depth, decode, required_bytes
from bilp.data.opening import DecodeError
from bilp.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about what it passes over


COSTLY = {"WebP that claims 16383 x 16383", "PNG with 70 MiB of texts"}
"""Pictures that take half a second or more; the first tier reads them in a folder with all others."""


@pytest.mark.parametrize("name", first_tier(REFUSED, *(name for name in REFUSED if name not in COSTLY)))
def test_a_reason_for_each(name: str) -> None:
    data, reason = REFUSED[name]
    for conversion in (Conversion(), Conversion(resolution=8), Conversion(color="gray")):
        with pytest.raises(DecodeError, match=reason) as caught:
            decode(data, conversion)
        assert "0x" not in str(caught.value)


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_odd_but_a_picture_is_taken(name: str) -> None:
    data, shape = TAKEN[name]
    assert decode(data, Conversion()).shape == shape
    assert required_bytes(data, Conversion()) >= 3 * shape[1] * shape[2]


def test_what_is_too_large_is_refused_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    for name, (data, _) in REFUSED.items():
        if ("x" in name and "13000" in name) or "170" in name:
            with pytest.raises(DecodeError, match="too"):
                decode(data, Conversion())


def test_all_of_them_in_one_folder(pets: Any, write_folder: Any, tmp_path: Path) -> None:
    """One error with the list, or a ledger and the data set of the others; never a traceback."""
    root = write_folder({**pets, **{f"train/cat/hostile {number:02d}.png": data for number, (data, _) in enumerate(REFUSED.values())}})
    config = IngestConfig(source="folder", uri=str(root))
    with pytest.raises(DataError, match=f"{len(REFUSED)} images cannot be used"):
        ingest(config, str(tmp_path / "store"))
    dataset = open_recorded(read_source(config.model_copy(update={"on_corrupt": "skip"}), str(tmp_path / "store")))
    assert dataset.record is not None and dataset.record.artifact.fact("skipped") == {"train": len(REFUSED), "test": 0}
    root = write_folder(pets)
    for path in root.glob("train/cat/hostile*"):
        path.unlink()
    assert open_recorded(read_source(config, str(tmp_path / "store"))).fingerprint == dataset.fingerprint


def test_a_setting_takes_what_the_limit_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("RGB", (40, 30), "PNG")
    monkeypatch.setattr(opening, "DECODING_BYTES", 8 * 40 * 20)
    with pytest.raises(DecodeError, match=r"too large \(40 x 30 = 1,200 pixels, the limit is \d+\): set ingest.max_pixels to 1200 or more"):
        decode(data, Conversion())
    assert decode(data, Conversion(max_pixels=1200)).shape == (3, 30, 40)


def test_a_file_over_the_limit_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> bytes:
        raise AssertionError("it was read")

    monkeypatch.setattr(opening, "FILE_BYTES", 1000)
    group = Group(["large.png", "small.png"], [read, lambda: png(8, 8, pixels=bytes(72))], [1001, 90])
    ((_, (large, small)),) = pipeline.decoded(iter([group]), Conversion(), Depth(), 2)
    assert isinstance(large, DecodeError)
    assert str(large).startswith("too large a file (1,001 bytes, the limit is 1,000): compress it, or set ingest.max_pixels to 126 or more")
    assert isinstance(small, np.ndarray)
    group = Group(["large.png"], [lambda: bytes(1001)])
    ((_, (large,)),) = pipeline.decoded(iter([group]), Conversion(), Depth(), 2)
    assert str(large).startswith("too large a file"), "where the size is not known before it is read"


MODES = ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "LAB", "I;16")


@pytest.mark.parametrize("mode", first_tier(MODES, *(mode for mode in MODES if mode != "LAB")))
def test_rows_that_are_converted_apart_give_the_same_pixels(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    picture = Image.fromarray(draw.integers(0, 65536, (23, 17), dtype=np.uint16))
    if mode != "I;16":
        colors = Image.fromarray(draw.integers(0, 256, (23, 17, 4), dtype=np.uint8))
        picture = colors if mode == "RGBA" else colors.convert("RGB").convert(mode)
    stream = io.BytesIO()
    options = {"transparency": 3} if mode in ("L", "P", "I;16") else {}
    picture.save(stream, "TIFF" if mode in ("CMYK", "LAB") else "PNG", **options)
    rules = [Conversion(color, side) for color in ("auto", "gray", "rgb") for side in (None, 8, 40)]
    whole = [decode(stream.getvalue(), rule) for rule in rules]
    monkeypatch.setattr(decoding, "STRIP_PIXELS", 50)
    for rule, expected in zip(rules, whole, strict=True):
        assert np.array_equal(decode(stream.getvalue(), rule), expected), rule


@pytest.mark.parametrize("size", [(10, 4000), (4000, 10), (30, 700)])
def test_a_long_picture_is_cropped_before_it_is_scaled(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    width, height = size
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    sizes: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def watched(image: Image.Image, size: tuple[int, int], *arguments: Any) -> Image.Image:
        sizes.append(size)
        return resize(image, size, *arguments)

    monkeypatch.setattr(Image.Image, "resize", watched)
    monkeypatch.setattr(decoding, "RESIZED_PIXELS", 10_000)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    found = decode(stream.getvalue(), Conversion(resolution=64))
    assert sizes == [(64, 64)]
    short = min(size)
    left, top = (width - short) // 2, (height - short) // 2
    middle = Image.fromarray(values[top : top + short, left : left + short])
    assert np.array_equal(found, np.asarray(resize(middle, (64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1))


def test_pictures_that_are_decoded_together_stay_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a picture needs more than the bound: then it is alone."""
    small, large = encoded("RGB", (20, 20), "PNG"), encoded("RGB", (90, 90), "PNG")
    needed = {len(data): required_bytes(data, Conversion()) for data in (small, large)}
    bound = 5 * needed[len(small)]
    assert needed[len(large)] > bound
    running, most, lock = [0], [0], threading.Lock()
    plain: Callable[[bytes, Conversion, Depth], Any] = vars(pipeline)["decode"]

    def watched(data: bytes, conversion: Conversion, depth: Depth) -> Any:
        with lock:
            running[0] += needed[len(data)]
            most[0] = max(most[0], running[0] if len(data) == len(small) else running[0] - needed[len(large)] + bound)
        return plain(data, conversion, depth)

    def reader(data: bytes) -> Callable[[], bytes]:
        return lambda: data

    def groups() -> Iterator[Group]:
        for number in range(30):
            data = [large if number % 10 == 7 and place == 1 else small for place in range(4)]
            yield Group([f"{number}-{place}" for place in range(4)], [reader(item) for item in data], [len(item) for item in data])

    monkeypatch.setattr(pipeline, "decode", watched)
    monkeypatch.setattr(pipeline, "DECODING_BYTES", bound)
    monkeypatch.setattr(pipeline, "RUN_BYTES", 2 * needed[len(small)])
    names: list[str] = []
    for origins, pixels in pipeline.decoded(groups(), Conversion(), Depth(), 4):
        names += origins
        with lock:  # taken over by whoever asked for them
            running[0] -= sum(needed[len(large if np.asarray(image).shape[1] == 90 else small)] for image in pixels)
    assert names == [f"{number}-{place}" for number in range(30) for place in range(4)]
    assert 0 < most[0] <= bound
