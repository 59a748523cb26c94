"""Only named formats are read: no file is handed to another program, whatever it is called."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from bilp.config import IngestConfig
from bilp.data import ingest, open_recorded, read_source
from bilp.data.decode import Conversion, decode
from bilp.data.droppings import may_be_image
from bilp.data.opening import FORMATS, DecodeError
from bilp.errors import DataError

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nnewpath 0 0 moveto 20 20 lineto stroke\nshowpage\n%%EOF\n"
DOS_EPS = b"\xc5\xd0\xd3\xc6" + (30).to_bytes(4, "little") + len(EPS).to_bytes(4, "little") + bytes(18) + EPS
PLACEABLE = b"\xd7\xcd\xc6\x9a\x00\x00" + b"".join(n.to_bytes(2, "little") for n in (0, 0, 200, 200, 1440)) + bytes(6)
WMF = PLACEABLE + b"\x01\x00\x09\x00\x00\x03" + bytes(40)
EMF = b"\x01\x00\x00\x00" + (108).to_bytes(4, "little") + bytes(32) + b" EMF" + bytes(64)
PROGRAMS = ("gs", "gswin64c", "gswin32c", "djpeg", "cjpeg", "convert", "magick", "netpbm", "ppmquant", "giftopnm", "xv", "display")


def saved(form: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (20, 20), 1).save(buffer, form)
    return buffer.getvalue()


FOREIGN = {
    "EPS": (EPS, "is PostScript, which is not read: convert it to PNG"),
    "EPS with a preview": (DOS_EPS, "is PostScript, which is not read"),
    "EPS after a line": (b"\n" + EPS, "is PostScript"),
    "WMF": (WMF, "is a Windows metafile"),
    "EMF": (EMF, "not an image in a known format"),
    "PDF": (b"%PDF-1.7\n", "is PDF"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is SVG"),
    "PSD": (b"8BPS\x00\x01" + bytes(40), "is a Photoshop document"),
    "HEIC": (b"\x00\x00\x00\x18ftypheic" + bytes(40), "is HEIF"),
    "FITS": (b"SIMPLE  =                    T" + b" " * 50 + b"END", "is FITS"),
    "GRIB": (b"GRIB\x00\x00\x00\x01" + bytes(40), "not an image in a known format"),
    "BUFR": (b"BUFR" + bytes(40), "not an image in a known format"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "not an image in a known format"),
    "MPEG": (b"\x00\x00\x01\xb3\x01\x40\x14" + bytes(40), "not an image in a known format"),
    "text of a picture": (b"#define x_width 8\n#define x_height 1\nstatic char x_bits[] = {0};\n", "not an image in a known format"),
    **{
        form: (saved(form), "is an icon|is a DirectX texture|not an image in a known format")
        for form in ("ICO", "DDS", "TGA", "PCX", "SGI", "QOI")
    },
}


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Stand-ins for other programs, first on the PATH; whether any of them was started."""
    folder, mark = tmp_path / "programs", tmp_path / "started"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\necho {name} >> {mark}\necho 10.0\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # the library looks for it once
    return mark.exists


def test_the_library_alone_would_start_the_stand_in(started: Callable[[], bool]) -> None:
    with pytest.raises(Exception), Image.open(io.BytesIO(EPS)) as picture:  # noqa: B017 - the stand-in draws nothing
        picture.load()
    assert started()


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("resolution", [None, 8])
def test_other_formats_are_refused_with_what_to_do_and_no_program_is_started(
    name: str, resolution: int | None, started: Callable[[], bool]
) -> None:
    data, reason = FOREIGN[name]
    with pytest.raises(DecodeError, match=reason):
        decode(data, Conversion(resolution=resolution))
    assert not started()


@pytest.mark.parametrize("name", ["x.png", "cat.jpg", "picture.eps", "no-suffix"])
def test_a_program_among_the_pictures_of_a_folder(
    name: str, started: Callable[[], bool], pets: Any, write_folder: Any, tmp_path: Path
) -> None:
    root = write_folder({**pets, f"train/cat/{name}": EPS})
    config = IngestConfig(source="folder", uri=str(root))
    with pytest.raises(DataError, match=rf"train/cat/{name}: is PostScript, which is not read: convert it to PNG"):
        ingest(config, str(tmp_path / "store"))
    record = open_recorded(read_source(config.model_copy(update={"on_corrupt": "skip"}), str(tmp_path / "store"))).record
    assert record is not None and record.artifact.fact("skipped") == {"train": 1, "test": 0}
    assert not started()


def test_a_program_among_the_pictures_of_a_table(started: Callable[[], bool], write_parquet: Any, tmp_path: Path) -> None:
    write_parquet(tmp_path / "eps" / "train-0.parquet", [saved("PNG"), EPS, saved("PNG"), WMF], [0, 0, 1, 1])
    with pytest.raises(DataError, match=r"(?s)#1: is PostScript.*#3: is a Windows metafile"):
        ingest(IngestConfig(source="parquet", uri=str(tmp_path / "eps")), str(tmp_path / "store"))
    assert not started()


def test_no_file_of_a_format_that_is_read_is_passed_over_by_its_name() -> None:
    Image.init()
    suffixes = [suffix for suffix, form in Image.registered_extensions().items() if form in FORMATS]
    assert {".jpg", ".png", ".webp", ".tif", ".ppm"} <= set(suffixes)
    assert [suffix for suffix in suffixes if not may_be_image(f"cat{suffix}")] == []


def test_what_is_read_includes_the_formats_of_data_sets() -> None:
    """Also JPEGs that hold several pictures (MPO), as some cameras write them."""
    pixels = np.full((20, 20, 3), 90, dtype=np.uint8)
    for form in (*FORMATS, "MPO"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(
            buffer, form, **({"save_all": True, "append_images": [Image.new("RGB", (20, 20))]} if form == "MPO" else {})
        )
        assert abs(decode(buffer.getvalue(), Conversion()).astype(int) - 90).max() <= 3, form


@pytest.mark.slow
def test_broken_tags_of_a_picture_say_nothing_on_standard_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    tags = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00\x12\x01"  # five entries are promised, and the first one ends at once
    Image.new("RGB", (4, 4), "red").save(buffer, "JPEG", exif=tags)
    (tmp_path / "picture.jpg").write_bytes(buffer.getvalue())
    program = (
        "import sys; from bilp.data.decode import Conversion, decode; print(decode(open(sys.argv[1], 'rb').read(), Conversion()).shape)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "picture.jpg")], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("(3, 4, 4)", "")
