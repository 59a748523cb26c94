"""Changes to what lies in files: bytes at random, and values of every wrong kind in the right structure with the checksums made right."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MANIFEST = "_manifest.json"
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    2**31,
    2**63,
    10**400,
    0.5,
    -0.0,
    1e-310,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "x",
    "1",
    "nan",
    "..",
    "../../../outside",
    "/etc/passwd",
    "s3://bucket/key",
    "file:///etc/passwd",
    "\x1b[31mred\n\u202e",
    "\ud800",
    "a\x00b",
    "x" * 5000,
    [],
    {},
    [None],
    [[]],
    [1, 2, 3],
    ["a", "a"],
    {"": ""},
    {"a": {"b": [1]}},
    "2999-01-01T00:00:00+00:00",
    "yesterday",
]


def damaged(data: bytes, random: Random) -> bytes:
    """Some bytes flipped, cut out, doubled, put in or cut off."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 3)):
        place = random.randint(0, len(changed))
        size = random.choice([1, 1, 4, 16, 200])
        kind = random.choice(["flip", "flip", "set", "cut", "insert", "double", "end", "empty"])
        if kind == "flip" and place < len(changed):
            changed[place] ^= 1 << random.randint(0, 7)
        elif kind == "set" and place < len(changed):
            changed[place] = random.choice([0, 0xFF, 0x7F, 0x80, 0x0A])
        elif kind == "cut":
            del changed[place : place + size]
        elif kind == "insert":
            changed[place:place] = bytes(random.choice([0, 0xFF, 0x41]) for _ in range(size))
        elif kind == "double":
            changed[place:place] = changed[place : place + size]
        elif kind == "end":
            del changed[place:]
        elif kind == "empty" and random.randint(0, 9) == 0:
            changed.clear()
    return bytes(changed)


def deep(levels: int) -> Any:
    """Lists within lists."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def edited(value: Any, random: Random) -> Any:
    """JSON content with one thing in it replaced, left out, added or repeated; the content itself is left alone."""
    value = json.loads(json.dumps(value))
    holders = [(holder, key) for holder, key in _places(value)]
    if not holders:
        return random.choice(VALUES)
    holder, key = random.choice(holders)
    kind = random.choice(["replace", "replace", "replace", "near", "near", "remove", "add", "deep", "repeat"])
    if kind == "replace":
        holder[key] = random.choice(VALUES)
    elif kind == "near":
        holder[key] = _near(holder[key], random)
    elif kind == "remove":
        del holder[key]
    elif kind == "deep":
        holder[key] = deep(random.choice([20, 500]))
    elif isinstance(holder, dict):
        holder[random.choice(["extra", "", "../x", "\u202e"])] = random.choice(VALUES)
    elif kind == "repeat":
        holder.insert(key, holder[key])
    else:
        holder.append(random.choice(VALUES))
    return value


def as_json(value: Any) -> bytes:
    """The content as a careless program writes it: with NaN, and half of a pair of surrogates."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with every key of it."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        for key, item in value.items():
            found += [(value, key), *_places(item)]
    elif isinstance(value, list):
        for index, item in enumerate(value[:20]):
            found += [(value, index), *_places(item)]
    return found


def _near(value: Any, random: Random) -> Any:
    """A value of the same or a similar kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice([value + 1, value - 1, -value, float(value), str(value), value * 1000, [value]])
    if isinstance(value, float):
        return random.choice([-value, value * 1e300, 0.0, float("nan"), str(value), int(value)])
    if isinstance(value, str):
        return random.choice([value + "x", value[:-1], value.upper(), value[::-1], f"../{value}", value + "\n"])
    if isinstance(value, list):
        return random.choice([value + value, value[:-1], value[::-1], dict(enumerate(map(str, value))), [str(item) for item in value]])
    return random.choice([None, [value], sorted(value) if isinstance(value, dict) else 0])


# --- artifacts ----------------------------------------------------------------------------------------------------------------------


def stored_file(artifact: Path, name: str) -> Path:
    """Where a file of an artifact lies: under its name, or whatever name the manifest's publisher gave it."""
    entry = json.loads((artifact / MANIFEST).read_bytes())["files"][name]
    candidates = [artifact / name, *sorted(path for path in artifact.iterdir() if path.is_file())]
    return next(path for path in candidates if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"])


def replace_file(artifact: Path, name: str, content: bytes, seal: bool = True) -> None:
    """Another content for a file of an artifact; with `seal`, the manifest tells its size and checksum as if it had always been so."""
    place = stored_file(artifact, name)
    place.unlink()
    place.write_bytes(content)
    if seal:
        manifest = json.loads((artifact / MANIFEST).read_bytes())
        manifest["files"][name] |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        (artifact / MANIFEST).unlink()  # it is a link to the world's
        (artifact / MANIFEST).write_text(json.dumps(manifest))


def changed_file(artifact: Path, name: str, change: Callable[[bytes, Random], bytes], random: Random) -> None:
    """Change a file of an artifact and make its checksum right."""
    replace_file(artifact, name, change(stored_file(artifact, name).read_bytes(), random))


# --- tables -------------------------------------------------------------------------------------------------------------------------


def edited_table(data: bytes, random: Random) -> bytes:
    """A Parquet table with cells, rows, columns or types changed, and its metadata kept."""
    table = pq.read_table(io.BytesIO(data))
    kind = random.choice(["cell", "cell", "cell", "column", "drop", "extra", "rows", "order", "type", "none", "metadata"])
    index = random.randint(0, table.num_columns - 1)
    name, column = table.column_names[index], table.column(index)
    if kind in ("cell", "column"):
        table = _with_values(table, index, kind == "column", random)
    elif kind == "drop":
        table = table.drop_columns([name])
    elif kind == "extra":
        table = table.append_column(random.choice(["extra", name]), column)
    elif kind == "rows":
        table = random.choice(
            [pa.concat_tables([table, table]), table.slice(0, 0), table.slice(1), table.slice(0, max(0, table.num_rows - 1))]
        )
    elif kind == "order":
        table = table.take(pa.array(sorted(range(table.num_rows), key=lambda row: -row)))
    elif kind == "none":
        table = table.set_column(index, name, pa.nulls(table.num_rows, column.type))
    elif kind == "type":
        table = table.set_column(index, name, pa.array([str(value) for value in column.to_pylist()]))
    else:
        table = table.replace_schema_metadata({b"bilp": random.choice([b"", b"{", b"[]", b'{"a": NaN}', b"[" * 3000])})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=random.choice(["zstd", "none"]))
    return sink.getvalue()


def _with_values(table: pa.Table, index: int, all_rows: bool, random: Random) -> pa.Table:
    column = table.column(index)
    values = column.to_pylist()
    options: list[Any] = [None]
    if pa.types.is_integer(column.type):
        options += [-1, 0, 1, 30_000, table.num_rows]
    elif pa.types.is_floating(column.type):
        options += [float("nan"), float("inf"), -1.0, 2.0, 1e30]
    elif pa.types.is_boolean(column.type):
        options += [True, False]
    elif pa.types.is_string(column.type):
        options += ["", "x", "[/red]", "\x1b[31m\n"]
    new = random.choice(options)
    if values:
        place = random.randint(0, len(values) - 1)
        values = [new] * len(values) if all_rows else [*values[:place], new, *values[place + 1 :]]
    return table.set_column(index, table.schema.field(index).with_nullable(True), pa.array(values, column.type))


# --- tensors ------------------------------------------------------------------------------------------------------------------------


def edited_tensors(data: bytes, random: Random) -> bytes:
    """A safetensors file whose header or values tell something else."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    body = bytearray(data[8 + size :])
    names = [name for name in header if name != "__metadata__"]
    name = random.choice(names)
    kind = random.choice(["values", "values", "values", "dtype", "shape", "header", "remove", "rename", "length"])
    start, stop = header[name]["data_offsets"]
    if kind == "values":
        words = {"F32": [b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xbf", b"\xca\xf2\x49\x71"], "F64": [b"\0" * 6 + b"\xf8\x7f"]}
        default = [b"\xff" * 8, b"\x05" + b"\0" * 7, b"\0\0\0\0\x01\0\0\0"]
        word = random.choice(words.get(header[name]["dtype"], default))
        place = start + len(word) * random.randint(0, max(0, (stop - start) // len(word) - 1))
        body[place : place + len(word)] = word[: max(0, stop - place)]
    elif kind == "dtype":
        header[name]["dtype"] = random.choice(["F16", "BF16", "F64", "I32", "I64", "U8", "BOOL", "F8_E4M3", "I8", "C64", "X"])
    elif kind == "shape":
        shape = header[name]["shape"]
        header[name]["shape"] = random.choice([[], [1, *shape], shape[::-1], [stop - start], [0], [2**62, 4], [-1], shape[:-1]])
    elif kind == "header":
        header = edited(header, random)
    elif kind == "remove":
        del header[name]
    elif kind == "rename":
        header[random.choice(["x", "images", name + ".x"])] = header.pop(name)
    text = as_json(header)
    length = random.choice([0, 1, len(text) - 1, len(text) + 1, 2**40, 2**63]) if kind == "length" else len(text)
    return struct.pack("<Q", length) + text + bytes(body)


def edited_shard(data: bytes, random: Random) -> bytes:
    """An Arrow file of pixels with another schema, other rows or several batches."""
    table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    column = table.column("image").combine_chunks()
    metadata = table.schema.metadata
    kind = random.choice(["rows", "width", "type", "name", "nulls", "batches", "metadata", "extra", "pixels"])
    if kind == "pixels":
        values = bytearray(column.flatten().to_numpy().tobytes())
        values[random.randint(0, len(values) - 1)] ^= 0xFF
        column = pa.FixedSizeListArray.from_arrays(pa.array(list(values), pa.uint8()), type=column.type)
    elif kind == "rows":
        column = column.slice(0, random.randint(0, len(column) - 1)) if random.randint(0, 1) else pa.concat_arrays([column, column])
    elif kind == "width":
        column = pa.FixedSizeListArray.from_arrays(column.flatten(), list_size=random.choice([1, 2, 32]))
    elif kind == "type":
        column = random.choice(
            [column.flatten(), column.cast(pa.list_(pa.int16(), column.type.list_size)), column.cast(pa.list_(pa.uint8()))]
        )
    elif kind == "nulls":
        column = pa.array([None, *column.to_pylist()[1:]], pa.list_(pa.uint8(), column.type.list_size))
    elif kind == "metadata":
        metadata = random.choice([None, {b"layout": b"HWC"}, {**metadata, b"shape": b"[8, 1, 8]"}, {**metadata, b"x": b"y"}])
    field = pa.field("pixels" if kind == "name" else "image", column.type, nullable=kind == "nulls" or random.randint(0, 9) == 0)
    schema = pa.schema([field, *([pa.field("more", column.type)] if kind == "extra" else [])], metadata=metadata)
    batch = pa.record_batch([column] * len(schema), schema=schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        for part in [batch.slice(0, 1), batch.slice(1)] if kind == "batches" else [batch]:
            writer.write_batch(part)
    return bytes(sink.getvalue().to_pybytes())
