"""FRePo's files: a checkpoint of Flax and an .npz, read with their learned labels, or refused with one clear error."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
from flax_state import array, centered, checkpoint, chunked, numbered, scalar
from numpy.typing import NDArray

from bilp.errors import ConfigError, DataError
from bilp.exchange import flax_files, reference_files
from bilp.exchange.flax_files import HEAD, is_flax
from bilp.exchange.frepo_files import is_frepo, read_frepo

IMAGES = np.random.default_rng(0).normal(0, 1, (6, 4, 5, 3)).astype(np.float32)
LABELS = centered(2, 3)
SHAPE, BYTES = IMAGES.shape, IMAGES.tobytes()


def npz(save: Callable[..., None] = np.savez, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def written(data: bytes, folder: Path, name: str = "checkpoint_93.17") -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


FORMS = {
    "checkpoint": lambda images, labels: checkpoint(array(images), array(labels)),
    "in pieces": lambda images, labels: checkpoint(chunked(images, 7), chunked(labels, 4)),
    "npz": lambda images, labels: npz(image=images, label=labels),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["float32", "float64", "float16"])
def test_images_and_labels_are_those_of_the_file(form: str, kind: str, tmp_path: Path) -> None:
    images, labels = IMAGES.astype(kind), LABELS.astype(kind)
    file = written(FORMS[form](images, labels), tmp_path, "step000500")
    assert is_frepo(file)
    found = read_frepo(file)
    assert found.layout.name == "frepo"
    assert found.images.dtype == torch.float32 and found.images.shape == (6, 3, 4, 5)
    for number, column in ((0, 1), (5, 4)):
        assert found.images[number, 2, 3, column].item() == np.float32(images[number, 3, column, 2])
    assert found.values is not None and found.values.numpy().tobytes() == labels.astype(np.float32).tobytes()
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2] and found.logits is None


def test_the_class_of_an_image_is_told_by_its_place(tmp_path: Path) -> None:
    """Even where the largest value of its label is that of another class."""
    labels = LABELS.copy()
    labels[0] = [0.1, 0.4, -0.5]
    found = read_frepo(written(FORMS["npz"](IMAGES, labels), tmp_path))
    assert found.values is not None and int(found.values[0].argmax()) == 1
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_scaled_labels_and_other_orders_of_bytes(tmp_path: Path) -> None:
    scaled = LABELS / np.float32(np.sqrt(3 / 10))
    found = read_frepo(written(npz(image=IMAGES.astype(">f4"), label=scaled), tmp_path))
    assert torch.equal(found.images, torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()))
    assert found.values is not None and found.values.numpy().tobytes() == scaled.tobytes()


def test_a_file_of_a_part_of_the_classes_is_known_by_labels_that_are_at_odds_with_places(tmp_path: Path) -> None:
    """As for continual learning: two of six classes, three images each, so that places would tell one image of each."""
    labels = (np.eye(6, dtype=np.float32)[[4, 4, 4, 5, 5, 5]] - 1 / 6).astype(np.float32)
    with pytest.raises(DataError, match="holds 6 images, of which 1 have the largest label where their place says"):
        read_frepo(written(FORMS["npz"](IMAGES, labels), tmp_path))


def test_without_the_package_a_checkpoint_is_refused_and_an_npz_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flax_files, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=r"msgpack, which is not installed: pip install 'bilp\[flax\]'"):
        read_frepo(written(FORMS["checkpoint"](IMAGES, LABELS), tmp_path))
    assert len(read_frepo(written(FORMS["npz"](IMAGES, LABELS), tmp_path, "step.npz")).images) == 6


def test_files_of_others_are_left_to_their_readers(tmp_path: Path) -> None:
    torch.save((torch.zeros(2, 1, 8, 8), torch.arange(2)), tmp_path / "zip")
    torch.save((torch.zeros(2, 1, 8, 8), torch.arange(2)), tmp_path / "old", _use_new_zipfile_serialization=False)
    others = {
        "png": b"\x89PNG\r\n\x1a\n",
        "hdf5": b"\x89HDF\r\n\x1a\n",
        "empty": b"",
        "pickle": b"\x80\x04\x95",
        "cut off": FORMS["npz"](IMAGES, LABELS)[:200],
    }
    for name, data in others.items():
        (tmp_path / name).write_bytes(data)
    assert not any(is_frepo(str(tmp_path / name)) for name in ("zip", "old", *others))


@pytest.mark.parametrize("entries", [1, 15, 16, 70_000])
def test_a_map_of_any_size_begins_a_checkpoint(entries: int) -> None:
    for key in ("step", "k" * 40):
        assert is_flax(msgpack.packb({key: 0, **{f"{number}": 0 for number in range(entries - 1)}})[:HEAD])
    assert not is_flax(msgpack.packb({1: 0})[:HEAD]) and not is_flax(msgpack.packb([1, 2])[:HEAD]) and not is_flax(msgpack.packb({}))


def extension(code: int, data: bytes) -> msgpack.ExtType:
    return msgpack.ExtType(code, data)


def inner(*parts: Any) -> msgpack.ExtType:
    """An array whose content is something else."""
    return extension(1, msgpack.packb(parts if len(parts) != 1 else parts[0], use_bin_type=True))


def replaced(images: bytes) -> bytes:
    """A state in which these bytes lie where the images should."""
    head = b"\x81" + msgpack.packb("params") + b"\x82" + msgpack.packb("y_proto") + msgpack.packb(array(LABELS))
    return head + msgpack.packb("x_proto") + images


def stored(name: str, data: bytes) -> tuple[str, bytes]:
    return f"{name}.npy", data


def zipped(*members: tuple[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def npy(shape: str, kind: str = "<f4", data: bytes = b"") -> bytes:
    """An .npy with any header."""
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def claiming(size: int) -> bytes:
    """An .npz in whose directory the images have so many bytes, as their shape has."""
    shape = f"({(size - 128) // 4},)"
    data = bytearray(zipped(stored("image", npy(shape, data=BYTES)), stored("label", npy("(1, 1)", data=b"abcd"))))
    field = data.find(b"PK\x01\x02") + 20  # of the first member: bytes as they are stored, and as they are
    data[field : field + 8] = size.to_bytes(4, "little") * 2
    return bytes(data)


X, Y = array(IMAGES), array(LABELS)
DEEP = b"\x81\xa1a" * 3000

CHECKPOINTS: dict[str, tuple[bytes, str]] = {
    "cut off": (checkpoint(X, Y)[:500], "it is cut off"),
    "cut off before its last entry": (checkpoint(X, Y)[:-1], "it is cut off"),
    "more behind it": (checkpoint(X, Y) + b"\xc0", "ends 1 bytes before the file"),
    "no branch of images": (msgpack.packb({"step": 1}), "holds no x_proto and no y_proto"),
    "no labels": (msgpack.packb({"params": {"x_proto": X}}), "holds no y_proto"),
    "a branch that is a number": (msgpack.packb({"params": 3}), "cannot be read as a checkpoint"),
    "a branch that is a list": (msgpack.packb({"params": [1]}), "cannot be read as a checkpoint"),
    "a key that is a number": (b"\x82\xa4step\x01\x07\x00", "a key that is a int"),
    "images that are a complex number": (checkpoint(extension(2, msgpack.packb((0.5, 1.0))), Y), "extension of type 2 where an array"),
    "images that are a scalar": (checkpoint(scalar(1.0), Y), "extension of type 3 where an array"),
    "an unknown extension": (checkpoint(extension(99, b"abc"), Y), "extension of type 99 where an array"),
    "a time": (checkpoint(msgpack.Timestamp(1), Y), "as x_proto, which is no array"),
    "images that are text": (checkpoint("pixels", Y), "holds a str as x_proto, which is no array"),
    "images that are bytes": (checkpoint(b"pixels", Y), "cannot be read as a checkpoint"),
    "images that are a list": (checkpoint([1.0], Y), "cannot be read as a checkpoint"),
    "images that are nothing": (checkpoint(None, Y), "holds a NoneType as x_proto"),
    "images of integers": (checkpoint(array(IMAGES.astype(np.int32)), Y), "holds an array of int32: expected float16, float32 or float64"),
    "images of Python objects": (checkpoint(inner(SHAPE, "object", BYTES), Y), "holds an array of object"),
    "images in half of another kind": (checkpoint(inner(SHAPE, "bfloat16", BYTES), Y), "holds an array of bfloat16"),
    "a type that is a number": (checkpoint(inner(SHAPE, 4, BYTES), Y), "holds an array of 4"),
    "an array of two parts": (checkpoint(inner(SHAPE, "float32"), Y), "not its shape, type and bytes"),
    "an array that is a number": (checkpoint(inner(3), Y), "not its shape, type and bytes"),
    "an array of nothing": (checkpoint(extension(1, b""), Y), "cannot be read as a checkpoint"),
    "an array that is cut off": (checkpoint(extension(1, X.data[:-1]), Y), "cannot be read as a checkpoint"),
    "an array with more behind it": (checkpoint(extension(1, X.data + b"\x00"), Y), "cannot be read as a checkpoint"),
    "half a number": (checkpoint(inner(SHAPE, "float32", BYTES[:-1]), Y), "cannot be read as a checkpoint"),
    "a shape of 12 TB": (
        checkpoint(inner((10**6, 1000, 1000, 3), "float32", BYTES), Y),
        r"claims an array of shape .* and holds 360 numbers",
    ),
    "a negative shape": (checkpoint(inner((-6, -4, 5, 3), "float32", BYTES), Y), "claims an array of shape"),
    "a shape of truth values": (checkpoint(inner((True, 6, 60), "float32", BYTES), Y), "claims an array of shape"),
    "a shape of text": (checkpoint(inner("shape", "float32", BYTES), Y), "not its shape, type and bytes"),
    "a shape of 9 sides": (checkpoint(inner((6, 4, 5, 3, 1, 1, 1, 1, 1), "float32", BYTES), Y), "cannot be read as a checkpoint"),
    "pieces without a shape": (checkpoint({**chunked(IMAGES, 7), "shape": {}}, Y), "claims an array of shape"),
    "pieces of no pieces": (checkpoint({**chunked(IMAGES, 7), "chunks": {}}, Y), "which is no array"),
    "a piece missing": (checkpoint({**chunked(IMAGES, 180), "chunks": {"0": array(IMAGES.reshape(-1)[:180])}}, Y), "holds 180 numbers"),
    "pieces in a gap": (checkpoint({**chunked(IMAGES, 180), "chunks": {"0": X, "2": X}}, Y), "which is no array"),
    "pieces of two types": (
        checkpoint({**chunked(IMAGES, 180), "chunks": numbered([array(IMAGES.reshape(-1)), array(np.zeros(2))])}, Y),
        "in pieces of several types",
    ),
    "a map that is no pieces": (checkpoint({"a": X}, Y), "holds a dict as x_proto, which is no array"),
    "maps side by side": (checkpoint({str(number): {} for number in range(20)}, Y), "holds maps in each other"),
    "maps 3,000 deep": (replaced(DEEP), "cannot be read as a checkpoint"),
    "passed over 3,000 deep": (b"\x82" + msgpack.packb("step") + DEEP, "cannot be read as a checkpoint"),
    "lists 3,000 deep in an array": (checkpoint(extension(1, b"\x91" * 3000), Y), "cannot be read as a checkpoint"),
    "a list of 4 billion": (replaced(b"\xdd" + b"\xff" * 4), "cannot be read as a checkpoint"),
    "a map of 4 billion": (replaced(b"\xdf" + b"\xff" * 4), "cannot be read as a checkpoint"),
    "a state of 4 billion": (b"\xdf\xff\xff\xff\xff" + msgpack.packb("params") + b"\xc0", "a map of 4,294,967,295 entries"),
    "text of 4 GB": (replaced(b"\xdb" + b"\xff" * 4 + b"a" * 50), "cannot be read as a checkpoint"),
    "bytes of 4 GB": (replaced(b"\xc6" + b"\xff" * 4 + b"a" * 50), "cannot be read as a checkpoint"),
    "an extension of 4 GB": (replaced(b"\xc9" + b"\xff" * 4 + b"\x01" + b"a" * 50), "cannot be read as a checkpoint"),
    "a list of 4 billion in an array": (checkpoint(extension(1, b"\xdd" + b"\xff" * 4), Y), "cannot be read as a checkpoint"),
    "what is no type of msgpack": (replaced(b"\xc1"), "cannot be read as a checkpoint"),
    "text that is no UTF-8": (b"\x81\xa2\xff\xfe\x01", "cannot be read as a checkpoint"),
}

NPZ: dict[str, tuple[bytes, str]] = {
    "pickled images": (npz(image=np.array([{}, {}], dtype=object), label=LABELS), "holds Python objects"),
    "no images": (npz(image=IMAGES[:0], label=LABELS[:0]), "holds images \\[0, "),
    "no labels": (npz(image=IMAGES), "holds no label"),
    "other arrays": (npz(x_train=IMAGES, y_train=LABELS), "holds no image and no label"),
    "compressed": (npz(np.savez_compressed, image=IMAGES, label=LABELS), "is compressed or damaged"),
    "a bomb": (zipped(stored("image", bytes(2**24)), kind=zipfile.ZIP_DEFLATED), r"damaged \(16,777,216 bytes in a file of"),
    "a directory of 2 GB": (claiming(2**31 - 1), r"damaged \(2,147,[0-9,]+ bytes in a file of"),
    "a shape of 12 TB": (zipped(stored("image", npy("(1000000, 1000, 1000, 3)")), stored("label", npy("(1, 1)"))), "claims shape"),
    "a negative shape": (zipped(stored("image", npy("(-1, -1)", data=b"abcd"))), "claims shape"),
    "a damaged header": (zipped(stored("image", npy("(((("))), "damaged header"),
    "no array": (zipped(stored("image", b"pixels")), "is no readable .npz"),
    "integers": (npz(image=IMAGES.astype(np.uint8), label=LABELS), "holds image as uint8: expected float16, float32 or float64"),
    "classes in place of labels": (npz(image=IMAGES, label=np.arange(6)), "holds label as int64: expected float16"),
    "complex images": (npz(image=IMAGES.astype(np.complex64), label=LABELS), "holds image as complex64"),
    "more than double": (zipped(stored("image", npy("(1,)", "<f16", bytes(16)))), "image as float128: expected|damaged header"),
    "stored by columns": (npz(image=np.asfortranarray(IMAGES), label=LABELS), "stored by columns"),
}

EITHER: dict[str, tuple[Any, Any, str]] = {
    "one dimension less": (IMAGES[0], LABELS, r"images \[4, 5, 3\] and labels \[6, 3\]: expected \[n, H, W, C\]"),
    "one for each device": (IMAGES[None], LABELS[None], r"images \[1, 6, 4, 5, 3\]"),
    "labels of other images": (IMAGES, LABELS[:3], r"images \[6, 4, 5, 3\] and labels \[3, 3\]"),
    "labels of one number": (IMAGES, LABELS[:, 0].copy(), r"labels \[6\]"),
    "classes that do not divide": (IMAGES, np.zeros((6, 4), np.float32), "as many of each class, class by class"),
    "no classes": (IMAGES, np.zeros((6, 0), np.float32), "class by class|cannot be read"),
    "NaN": (IMAGES * np.float32(np.nan), LABELS, "pixels that are not finite"),
    "infinite labels": (IMAGES, LABELS * np.float32(np.inf), "labels that are not finite"),
    "pixels of 1e30": (np.full_like(IMAGES, 1e30), LABELS, r"pixels up to 1e\+30"),
    "pixels beyond float32": (np.full_like(IMAGES, 1e300, dtype=np.float64), LABELS, "pixels that are not finite"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_holds_something_else_is_refused(name: str, tmp_path: Path) -> None:
    _is_refused(*CHECKPOINTS[name], tmp_path)


@pytest.mark.parametrize("name", NPZ)
def test_an_npz_that_holds_something_else_is_refused(name: str, tmp_path: Path) -> None:
    _is_refused(*NPZ[name], tmp_path)


@pytest.mark.parametrize("form", ["checkpoint", "npz"])
@pytest.mark.parametrize("name", EITHER)
def test_what_is_no_set_is_refused_in_either_form(name: str, form: str, tmp_path: Path) -> None:
    images, labels, message = EITHER[name]
    _is_refused(FORMS[form](images, labels), message, tmp_path)


def _is_refused(data: bytes, message: str, folder: Path) -> None:
    """In one line that names the file, and with no more memory than a little beside the file's own."""
    file = written(data, folder)
    assert is_frepo(file)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message) as caught:
            read_frepo(file)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(file) and "\n" not in str(caught.value)
    assert most < 2**23 + 4 * len(data)


@pytest.mark.parametrize("form", ["checkpoint", "npz"])
def test_damage_is_refused_wherever_it_is(form: str, tmp_path: Path) -> None:
    """Cut off anywhere, or with a byte that is another one: a set of the same form, or one of these errors."""
    whole = FORMS[form](IMAGES, LABELS)
    draw = np.random.default_rng(3)
    outcomes = set()
    for number in range(80):
        place = int(draw.integers(len(whole)))
        data = whole[:place] if number % 2 else whole[:place] + bytes([int(draw.integers(256))]) + whole[place + 1 :]
        file = written(data, tmp_path)
        if not is_frepo(file):
            continue
        try:
            outcomes.add(tuple(read_frepo(file).images.shape))
        except DataError as error:
            assert str(error).startswith(file)
            outcomes.add(())
    assert () in outcomes


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_files, "MOST_BYTES", 1000)
    for form in FORMS:
        with pytest.raises(DataError, match=r"has [\d,]+ bytes: a published set has at most 1,000"):
            read_frepo(written(FORMS[form](IMAGES, LABELS), tmp_path))


def test_pieces_are_those_of_an_array_that_is_whole() -> None:
    """The form itself: flat pieces in order, each of at most so many numbers."""
    parts: NDArray[Any] = np.arange(10, dtype=np.float32).reshape(2, 5)
    told = chunked(parts, 4)
    assert told["shape"] == {"0": 2, "1": 5} and sorted(told["chunks"]) == ["0", "1", "2"]
    assert told["chunks"]["2"] == array(np.array([8.0, 9.0], dtype=np.float32))
