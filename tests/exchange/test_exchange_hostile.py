"""Files that claim to be published sets: one clear error each, and none takes more memory than it has bytes."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiers import first_tier
from torch import Tensor

from bilp.errors import DataError, ImpossibleUri
from bilp.exchange import reference_files
from bilp.exchange.reference_files import read_published

IMAGES, LABELS = torch.rand(4, 1, 8, 8), torch.arange(4)


def saved(content: object, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def rezipped(data: bytes, change: Callable[[str, bytes], bytes] = lambda _, content: content, kind: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w", kind) as after:
        for entry in before.infolist():
            after.writestr(entry.filename, change(entry.filename, before.read(entry.filename)))
    return out.getvalue()


def pickled(body: bytes) -> bytes:
    """A saved pair whose pickle is another one."""
    return rezipped(saved((IMAGES, LABELS)), lambda name, content: body if name.endswith("data.pkl") else content)


def calling(name: bytes, number: int) -> bytes:
    """A pickle that calls something with a number."""
    return b"\x80\x02c" + name + b"\n\x8a\x08" + number.to_bytes(8, "little") + b"\x85R."


def lying(claimed: int) -> bytes:
    """The first storage claims so many numbers."""
    first = b"K" + bytes([IMAGES.numel() % 256]) if IMAGES.numel() < 256 else b"M" + IMAGES.numel().to_bytes(2, "little")
    claim = b"\x8a\x08" + claimed.to_bytes(8, "little")
    whole = saved((IMAGES, LABELS))
    changed = rezipped(
        whole, lambda name, content: content.replace(first + b"t", claim + b"t", 1) if name.endswith("data.pkl") else content
    )
    assert changed != rezipped(whole)
    return changed


def program() -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Identity()), stream)
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("storages", "../outside", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return stream.getvalue()


def nested(depth: int) -> bytes:
    return pickled(b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")


def wide(*shape: int) -> Tensor:
    return torch.zeros(1).expand(*shape)


BOMB = rezipped(saved((torch.zeros(2**22, 1, 2, 2), LABELS)), kind=zipfile.ZIP_DEFLATED)

# Content -> what the error says. The first group is refused before anything is loaded.
DECLARED: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "it is empty"),
    "text": (b"no tensors", "begins as no file"),
    "another pickle": (pickle.dumps([1, 2]), "begins as no file"),
    "tar": (tar(), "begins as no file"),
    "zip bomb": (BOMB, "declares 67,[0-9,]+ bytes in a file of"),
    "zip cut off": (saved((IMAGES, LABELS))[:-30], "not a zip file"),
    "zip without a pickle": (b"PK\x03\x04" + bytes(80), "not a zip file"),
    "TorchScript": (program(), "TorchScript program|compressed"),
    "bytearray of 40 GB": (pickled(calling(b"__builtin__\nbytearray", 40 * 10**9)), "__builtin__.bytearray"),
    "tensor of 40 GB": (pickled(calling(b"torch\nFloatTensor", 10**10)), "torch.FloatTensor"),
    "storage of 40 GB": (pickled(calling(b"torch.storage\nUntypedStorage", 40 * 10**9)), "UntypedStorage"),
    "os.system": (pickled(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."), "os.system"),
    "named by the stack": (pickled(b"\x80\x04\x8c\x02os\x8c\x06system\x93."), "STACK_GLOBAL"),
    "endless pickle": (pickled(b"\x80\x02" + b"0" * 2**23), "pickled"),
    "sparse": (saved((IMAGES.to_sparse(), LABELS)), "_rebuild_sparse_tensor"),
    "quantized": (pickled(b"\x80\x02ctorch._utils\n_rebuild_qtensor\n."), "_rebuild_qtensor"),
    "on no device": (saved((IMAGES.to("meta"), LABELS)), "_rebuild_meta_tensor_no_storage"),
    "old form, cut off": (saved((IMAGES, LABELS), _use_new_zipfile_serialization=False)[:60], "cannot be read as saved tensors"),
}

LOADED: dict[str, tuple[bytes, str]] = {
    "24.6 GB over four bytes": (
        saved((wide(32_000, 3, 256, 256), torch.arange(32_000))),
        r"holds 4 bytes for images \[32000, 3, 256, 256\]",
    ),
    "12 TB over four bytes": (saved((wide(10**6, 3, 1000, 1000), torch.arange(10**6))), "holds 4 bytes for images"),
    "labels over eight bytes": (saved((IMAGES, torch.zeros(1, dtype=torch.int64).expand(4))), r"holds 8 bytes for labels \[4\]"),
    "12 TB, old form": (saved({"data": [[wide(10**6, 3, 10**3, 10**3), LABELS]]}, _use_new_zipfile_serialization=False), "holds"),
    "storage that claims more": (lying(10**12), "cannot be read as saved tensors"),
    "storage that claims less": (lying(3), "cannot be read as saved tensors"),
    "complex labels": (saved((IMAGES, LABELS.to(torch.complex64))), "labels torch.complex64: expected floats and integers"),
    "labels of truth values": (saved((IMAGES, LABELS > 1)), "labels torch.bool"),
    "complex images": (saved((IMAGES.to(torch.complex64), LABELS)), "images torch.complex64"),
    "images of integers": (saved((LABELS.view(4, 1, 1, 1), LABELS)), "images torch.int64"),
    "pixels of 1e30": (saved((IMAGES * 1e30, LABELS)), r"pixels up to 1e\+30, at most 1000|pixels up to 9.*e\+29"),
    "pixels beyond float32": (saved((IMAGES.double() * 1e300, LABELS)), "not finite"),
    "NaN": (saved((IMAGES * torch.nan, LABELS)), "not finite"),
    "infinity": (saved((IMAGES - torch.inf, LABELS)), "not finite"),
    "no pixels": (saved((torch.zeros(4, 1, 0, 8), LABELS)), r"images \[4, 1, 0, 8\]"),
    "no images": (saved((torch.zeros(0, 1, 8, 8), LABELS[:0])), r"images \[0, 1, 8, 8\]"),
    "one tensor twice too few": (saved([IMAGES]), "does not hold one tensor of images and one of labels"),
    "a number": (saved(3), "holds a int: expected"),
    "data that is no list": (saved({"data": 3}), "holds a dict: expected"),
    "an experiment that is none": (saved({"data": [7]}), "does not hold one tensor"),
    "no experiments": (saved({"data": []}), "holds 0 experiments"),
    "nested 30,000 deep": (nested(30_000), "does not hold one tensor"),
}


@pytest.mark.parametrize("name", first_tier(DECLARED, *(name for name in DECLARED if name != "endless pickle")))
def test_what_a_file_declares_is_refused_before_it_is_loaded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(torch, "load", load)
    _is_refused(*DECLARED[name], tmp_path)


@pytest.mark.parametrize("name", LOADED)
def test_what_a_file_holds_is_refused_before_it_is_computed_with(name: str, tmp_path: Path) -> None:
    _is_refused(*LOADED[name], tmp_path)


def _is_refused(data: bytes, message: str, folder: Path) -> None:
    (folder / "data.pt").write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_published(str(folder / "data.pt"))
    assert str(caught.value).startswith(f"{folder}/data.pt")
    assert "it was loaded" not in str(caught.value)


def test_what_torch_writes_in_either_form_is_read(tmp_path: Path) -> None:
    for form in (True, False):
        torch.save([torch.nn.Parameter(IMAGES), LABELS.int()], tmp_path / "data.pt", _use_new_zipfile_serialization=form)
        found = read_published(str(tmp_path / "data.pt"))
        assert torch.equal(found.images, IMAGES) and torch.equal(found.labels, LABELS)
        assert not found.images.requires_grad


def test_a_file_that_is_none_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(ImpossibleUri, match="is a named pipe"):  # and does not wait for somebody to write into it
        read_published(str(tmp_path / "pipe.pt"))
    torch.save((IMAGES, LABELS), tmp_path / "data.pt")
    monkeypatch.setattr(reference_files, "MOST_BYTES", 1000)
    with pytest.raises(DataError, match=r"data\.pt has [\d,]+ bytes: a published set has at most 1,000"):
        read_published(str(tmp_path / "data.pt"))
