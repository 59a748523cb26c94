"""The stage `ingest`: a source of pictures -> one canonical uint8 store, cached by the source's signature.

datasets/<name>/<fingerprint>/        the store; the fingerprint depends on its content only
datasets/<name>/by-source/<key>.json  which store a configuration and a source's signature led to
A whitened data set lies below the store that holds its pixels (see `bilp.data.whitened`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp import storage, tables
from bilp.config import IngestConfig
from bilp.data.contents import SPLITS, Contents, Labels, SplitName, check
from bilp.data.convert import Converter, Skipped, ledger, refuse
from bilp.data.decode import Conversion
from bilp.data.measure import Measured, fingerprint, measure
from bilp.data.normalisation import Normalisation, measured, published
from bilp.data.shards import Stored
from bilp.data.sources import open_source
from bilp.data.splitting import divide, held_out
from bilp.data.store import INDEX, KIND, check_sizes, index_name
from bilp.data.whitened import whiten
from bilp.errors import DataError
from bilp.given import model_of
from bilp.manifest import Artefact, content_key, find, provenance, publish
from bilp.progress import Progress, silent
from bilp.scratch import scratch_folder
from bilp.storage import Uri, as_uri

VERSION = 1
LEDGER = "ledger.json"


def ingest(config: IngestConfig | Mapping[str, Any], root: Uri, progress: Progress = silent) -> str:
    """Bring a source into the store below `root`; the URI of the data set, whitened if `config` says so.

    If the same configuration has met the same source before, nothing is decoded. Raises DataError if the source is no
    data set (the message names the files and the remedy) and StorageError if `root` cannot be written. Shards are
    built in a temporary directory ($TMPDIR), which needs room for the decoded pixels, twice if a test split is made.
    """
    config, root = model_of(IngestConfig, config), as_uri(root)
    uri = _ingest(config.model_copy(update=PIXELS_ALONE), root, progress)
    return uri if config.whitening == "none" else whiten(uri, config.whitening_epsilon, progress)


# The store of the pixels does not depend on what becomes of them.
PIXELS_ALONE = {name: IngestConfig.model_fields[name].default for name in ("whitening", "whitening_epsilon")}


def _ingest(config: IngestConfig, root: str, progress: Progress) -> str:
    """The data set as it is stored."""
    source = open_source(config)
    settings = config.model_dump(mode="json", exclude=set(PIXELS_ALONE))
    key = content_key("ingest", VERSION, config=settings, source=source.signature())
    home = storage.join(root, "datasets", source.name)
    pointer = storage.join(home, "by-source", f"{key}.json")
    known = _known(home, pointer)
    if known is not None:
        return known.uri
    storage.check_storage(root)
    contents = source.read()
    where = f"{config.source} {config.uri}" if config.uri else config.source
    check(contents, where)
    with scratch_folder("bilp-ingest-") as folder:
        stored, skipped = _convert(contents, config, folder, where, progress)
        artefact = _publish(source.name, home, contents.class_names, stored, skipped, config)
    # The ledger once more: the store may have been published before, from a source where nothing had to be skipped.
    storage.write(pointer, _json({"fingerprint": artefact.fact("fingerprint"), "skipped": ledger(skipped)}))
    return artefact.uri


def _known(home: str, pointer: str) -> Artefact | None:
    """The whole data set that a pointer leads to, or None; a pointer is only a shortcut, so an unreadable one is ignored."""
    if not storage.exists(pointer):
        return None
    try:
        mark = str(json.loads(storage.read(pointer))["fingerprint"])
    except (ValueError, KeyError, TypeError):
        return None
    artefact = find(storage.join(home, mark), KIND, mark)
    if artefact is not None:
        check_sizes(artefact)
    return artefact


def _convert(
    contents: Contents, config: IngestConfig, folder: Path, where: str, progress: Progress
) -> tuple[dict[SplitName, Stored], list[Skipped]]:
    """Decode everything into shards of both splits below `folder`; a test split is made if the source has none."""

    def held(labels: Labels) -> NDArray[np.bool_]:
        return held_out(labels, contents.class_names, config.test_fraction, config.split_seed, where)

    divided = "test" not in contents.labels
    if divided:
        held(contents.labels["train"])  # for its error, before long work
    whole = folder / "whole" if divided else folder
    whole.mkdir(exist_ok=True)
    converter = Converter(whole, Conversion(config.colour, config.resolution))
    stored = converter.run(contents, progress)
    if config.on_corrupt == "refuse":
        refuse(converter.skipped, where)
    _check_kept(stored, contents.class_names, where)
    if divided:  # only now: which pictures are held out must not depend on pictures that were skipped
        stored = divide(stored["train"], held(stored["train"].labels), folder)
    return stored, converter.skipped


def _check_kept(stored: Mapping[SplitName, Stored], class_names: Sequence[str], where: str) -> None:
    """Skipping must not have emptied a class."""
    for split, side in stored.items():
        counts = np.bincount(side.labels, minlength=len(class_names))
        empty = [name for name, count in zip(class_names, counts.tolist(), strict=True) if count == 0]
        if empty:
            count = f"{len(empty)} such class{'' if len(empty) == 1 else 'es'}"
            raise DataError(f"{where}: no decodable {split} image of class {empty[0]!r} ({count}): repair the files or remove the class")


def _publish(
    name: str, home: str, class_names: Sequence[str], stored: Mapping[SplitName, Stored], skipped: Sequence[Skipped], config: IngestConfig
) -> Artefact:
    shape = stored["train"].shape
    found = {split: measure(side.paths, shape) for split, side in stored.items()}
    mark = fingerprint(
        class_names,
        shape,
        {split: side.labels for split, side in stored.items()},
        {split: result.digests for split, result in found.items()},
    )
    files: dict[str, bytes | Path] = {path.name: path for side in stored.values() for path in side.paths}
    for split in SPLITS:
        # Nothing of the configuration: other settings that lead to the same content must publish the same bytes.
        files[index_name(split)] = tables.encode(_index(stored[split], found[split]), INDEX, {**provenance(), "fingerprint": mark})
    if skipped:
        files[LEDGER] = _json(ledger(skipped))
    facts = _facts(class_names, stored, found["train"], published(name, shape, len(class_names)))
    identity = {"name": name, "fingerprint": mark, "skipped": len(skipped)}
    return publish(storage.join(home, mark), KIND, mark, files, config=config, parents={}, facts={**identity, **facts})


def _facts(
    class_names: Sequence[str], stored: Mapping[SplitName, Stored], train: Measured, constants: Normalisation | None
) -> dict[str, Any]:
    shape = stored["train"].shape
    normalisation = constants or measured(train.histogram)
    return {
        "class_names": list(class_names),
        "classes": len(class_names),
        "shape": list(shape),
        "layout": "CHW",
        "value_range": [0, 255],
        "colour": "grey" if shape[0] == 1 else "rgb",
        "resolution": list(shape[1:]),
        "mean": list(normalisation.mean),
        "std": list(normalisation.std),
        "train_images": len(stored["train"].labels),
        "test_images": len(stored["test"].labels),
        "images_per_class": {split: np.bincount(side.labels, minlength=len(class_names)).tolist() for split, side in stored.items()},
        "shard_rows": {split: list(side.rows) for split, side in stored.items()},
    }


def _index(side: Stored, found: Measured) -> pa.Table:
    return pa.table(
        {
            "sample_id": np.arange(len(side.labels), dtype=np.int64),
            "label": side.labels.astype(np.int32),
            "origin": pa.array(side.origins, pa.string()),
            "sha256": pa.array(found.digests, pa.string()),
        }
    )


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode()
