"""What a file of saved tensors declares about itself, checked before anything in it is loaded.

Loading without running what is pickled still does what a file says: it inflates what is compressed, and makes objects of any size
that some permitted names stand for (`bytearray`, `torch.FloatTensor`). So a file must have one of the two forms that `torch.save`
writes, hold nothing compressed, and name only what plain tensors are made of. Then loading takes no more than the file's own size.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Collection
from typing import BinaryIO

from bilp.errors import DataError

# Names under which numpy pickles a scalar. Loading must not call numpy with what a file says.
NUMPY_NAMES = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")

ZIP = b"PK\x03\x04"
OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a file of PyTorch before 1.6 begins: a pickled number."""
OLD_PICKLES = 5
"""That number, the protocol, facts about the system, what was saved, the keys of the storages; their bytes follow."""
PICKLE_BYTES = 2**22
"""What is pickled beside the tensors' bytes is some kilobytes; as objects it takes up to sixty times as many."""

_TENSORS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
_STORAGES = ("Byte", "Char", "Short", "Int", "Long", "Half", "BFloat16", "Float", "Double", "Bool", "ComplexFloat", "ComplexDouble")
NAMES = frozenset(
    (
        *(f"torch._utils.{name}" for name in _TENSORS),
        *(f"torch.{name}Storage" for name in _STORAGES),
        "torch.Size",
        "collections.OrderedDict",
        "_codecs.encode",  # of the bytes of a numpy scalar
        *NUMPY_NAMES,
    )
)


def check_saved(data: bytes, file: str, more: Collection[str] = ()) -> None:
    """Raise DataError unless `data`, the content of `file`, is one of plain tensors as `torch.save` writes it.

    `more` are names that it may use besides, because something harmless is made in their place.
    """
    try:
        reason = _problem(data, NAMES.union(more))
    except Exception as error:  # damaged bytes raise whatever they run into
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    if reason is not None:
        raise unreadable(file, reason)


def unreadable(file: str, reason: str) -> DataError:
    """The error for a file that holds no saved tensors."""
    return DataError(f"{file} cannot be read as saved tensors ({reason}): fetch it again, or ask who saved it for plain tensors")


def _problem(data: bytes, allowed: Collection[str]) -> str | None:
    if not data:
        return "it is empty"
    if data.startswith(OLD):
        stream = io.BytesIO(data)
        names = [name for _ in range(OLD_PICKLES) for name in _names(stream)]
        return _foreign(names, allowed)
    if not data.startswith(ZIP):
        return "it begins as no file that torch.save writes"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        declared = sum(entry.file_size for entry in entries)
        if declared > len(data):
            return f"it declares {declared:,} bytes in a file of {len(data):,}"
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            return "parts of it are compressed"
        if any(entry.filename.endswith(("/constants.pkl", "/code")) or "/code/" in entry.filename for entry in entries):
            return "it is a TorchScript program"
        pickled = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(pickled) != 1:
            return "it holds no data.pkl, or several"
        return _foreign(list(_names(io.BytesIO(archive.read(pickled[0])))), allowed)


def _names(stream: BinaryIO) -> list[str]:
    """What a pickle names, to be called or used, up to its end; raises ValueError if it is too long, or names things in another way."""
    start, names = stream.tell(), []
    for operation, argument, place in pickletools.genops(stream):
        if (place or 0) - start > PICKLE_BYTES:
            raise ValueError(f"more than {PICKLE_BYTES:,} bytes are pickled")
        if operation.name in ("INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            raise ValueError(f"it uses {operation.name}")
        if operation.name == "GLOBAL":
            names.append(str(argument).replace(" ", "."))
    return names


def _foreign(names: list[str], allowed: Collection[str]) -> str | None:
    unknown = sorted(set(names).difference(allowed))
    return f"it names {unknown[0]!r}, which is no part of plain tensors" if unknown else None
