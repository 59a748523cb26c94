"""The stage `ingest`: a source of pictures -> one canonical uint8 store, cached by the source's signature.

datasets/<name>/<fingerprint>/   the store; the fingerprint depends on its content and normalization only
datasets/<name>/sources/<key>/   the record of the source: which store it led to, file names, skipped files, duplicates, notes
datasets/<name>/truth/<key>/     true labels of a data set that was changed on purpose (see `bilp.data.truth_file`)
A whitened data set lies below the store that holds its pixels (see `bilp.data.whitened`).

Storages from before sources had records hold by-source/<key>.json in their place, which nothing reads any more: the source is
read once again, its store is found by its fingerprint and used as it is, and the record is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bilp.allocator import return_freed_memory
from bilp.artifacts import parquet, usage
from bilp.artifacts.artifact import content_key, find, plain
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.publication import Content, publish
from bilp.config import IngestConfig
from bilp.config.given import model_of
from bilp.config.normalization import known_set
from bilp.config.shapes import channels_of, frames_in, is_clip, layout_of, side_of
from bilp.config.sources import Normalization
from bilp.data.alterations.alter import alter, check_asked
from bilp.data.alterations.corrections_file import LARGEST as LARGEST_CORRECTIONS
from bilp.data.alterations.label_file import LARGEST as LARGEST_LABELS
from bilp.data.arrange import Arranged, arrange, check_kept
from bilp.data.contents import SPLITS, Contents, Source, SplitName, counted
from bilp.data.convert import Converter, refuse
from bilp.data.damage import Damage, when_decoded
from bilp.data.decoding_rules import conversion_of
from bilp.data.duplicates import duplicates_facts
from bilp.data.ingest_part import check_so_far, decode_part, missing_parts
from bilp.data.ingest_plan import IngestPlan
from bilp.data.join_parts import Decoded, join_parts
from bilp.data.listing import plain as absolute
from bilp.data.measure import fingerprint, value_counts
from bilp.data.normalization import check_channels, chosen, identity
from bilp.data.order import in_order
from bilp.data.planning import contents_and_plan, told, windows_version
from bilp.data.shards import Stored, shard_name
from bilp.data.source_record import KIND as RECORD
from bilp.data.source_record import SOURCES, open_record, publish_record, record_files, record_of, skipped_facts
from bilp.data.sources import open_source
from bilp.data.splitting import check_divisible
from bilp.data.store import INDEX, KIND, WINDOWS, index_name, index_table
from bilp.data.truth_file import KIND as TRUTH
from bilp.data.truth_file import publish_truth, truth_uri
from bilp.data.videos import renumbered, videos_fact, videos_of
from bilp.data.whitened import whiten
from bilp.errors import DataError
from bilp.progress import Progress, silent
from bilp.storage import objects
from bilp.storage.objects import Uri, as_uri
from bilp.storage.scratch import scratch_folder
from bilp.storage.verification import digest
from bilp.text.sample_words import speaking_of

VERSION = 2


def ingest(config: IngestConfig | Mapping[str, Any], root: Uri, progress: Progress = silent) -> str:
    """Bring a source into the store below `root`; the URI of the data set, whitened if `config` says so.

    As `read_source` and `dataset_of` one after the other.
    """
    config, root = model_of(IngestConfig, config), as_uri(root)
    return dataset_of(read_source(config, root, progress), config, progress)


def dataset_of(record_uri: Uri, config: IngestConfig | Mapping[str, Any], progress: Progress = silent) -> str:
    """The URI of the data set that a record of a source leads to, whitened if `config` says so."""
    config = model_of(IngestConfig, config)
    uri = open_record(as_uri(record_uri)).dataset_uri
    return uri if config.whitening == "none" else whiten(uri, config.whitening_epsilon, progress)


# Neither the store of the pixels nor the record of their source depends on what becomes of them.
PIXELS_ALONE = ("whitening", "whitening_epsilon")


def read_source(config: IngestConfig | Mapping[str, Any], root: Uri, progress: Progress = silent) -> str:
    """Bring a source into the store below `root`; the URI of the record of the source, which leads to the data set.

    If the same configuration has met the same source before, nothing is decoded. Raises DataError if the source is no
    data set (the message names the files and the remedy), StorageError if `root` cannot be written, and DamagedArtifact if
    the record or the store is there with files missing or of another size. Shards are built in a temporary directory
    ($TMPDIR), which needs room for the decoded pixels, twice if a test split is made or duplicates are dropped.

    A large source is decoded in parts (`bilp.data.ingest_plan`), each of which is published: if this is interrupted, or if
    others have decoded parts of it, only the rest is decoded.
    """
    config, root = model_of(IngestConfig, config), as_uri(root)
    with speaking_of(config.noun):
        return _read_source(config, root, progress)


def _read_source(config: IngestConfig, root: str, progress: Progress) -> str:
    source = open_source(config)
    settings, name = _settings(config), source.name
    home = objects.join(root, "datasets", name)
    uri, key = _address(config, source, settings, home)
    if _is_known(home, uri, key):
        return uri
    objects.check_storage(root)
    where = told(config)
    if config.color != "auto":  # else only the pictures tell
        check_channels(config.normalization, 1 if config.color == "gray" else 3, where)
    contents, plan = contents_and_plan(config, source, home, where)
    check_asked(contents.labels["train"], contents.class_names, config, where)
    if "test" not in contents.labels:
        check_divisible(contents.labels["train"], contents.class_names, where)  # for its error, before long work
    damage = Damage(contents, config, where)
    damage.check(when_decoded(0, 0))
    with scratch_folder("bilp-ingest-") as folder:
        if plan is None:
            found = _decoded(source, contents, config, folder, progress)
        else:
            _decode_parts(config, source, plan, progress)
            plan, contents = IngestPlan(plan.artifact), contents.unplaced()
            del source  # with its listing: a million files are half a gigabyte
            return_freed_memory()
            found = join_parts(plan, folder)
        lost = found.skipped if config.clips == 1 else list(dict.fromkeys(found.skipped))  # once, however many windows of it
        skipped = [*contents.absent, *lost]
        if config.on_corrupt == "refuse":
            refuse(skipped, where, len(contents.absent))
        damage.add(found.skipped)
        damage.check()
        arranged = _arranged(found, contents, config, folder, where)
        altered = alter(arranged, len(contents.labels["train"]), contents.class_names, config, folder, where)
        mark = _publish_store(name, home, contents, altered.made, config)
    truth = None if altered.truth is None else publish_truth(uri, mark, altered.truth, settings)
    facts = {
        "name": name,
        "fingerprint": mark,
        "source": config.source,
        "uri": settings["uri"],
        "notes": [*altered.notes, *contents.notes, *_depth_notes(found.largest, config.bits), *_short_notes(found.short)],
        "skipped": skipped_facts(skipped),
        "duplicates": duplicates_facts(arranged.duplicates, arranged.divided, arranged.dropped),
        **({"listing": dict(contents.facts)} if contents.facts else {}),
        **({} if plan is None else {"plan": plan.artifact.manifest.key}),
    }
    files = record_files(altered.made, skipped, contents.class_names, altered.corrections)
    publish_record(uri, key, files, settings, facts, truth)  # the last: whoever finds it finds the others
    return uri


def plan_source(config: IngestConfig | Mapping[str, Any], root: Uri) -> str | None:
    """The URI of a source's plan, for whoever has its parts decoded elsewhere (`bilp.data.ingest_part`) before `read_source`.

    None for a source that is ingested in one go, or is known already. Raises DataError if it is no data set.
    """
    config, root = model_of(IngestConfig, config), as_uri(root)
    with speaking_of(config.noun):
        source = open_source(config)
        home = objects.join(root, "datasets", source.name)
        if _is_known(home, *_address(config, source, _settings(config), home)):
            return None
        objects.check_storage(root)
        plan = contents_and_plan(config, source, home, told(config))[1]
        if plan is None:
            return None
        check_so_far(config, plan)
        return plan.artifact.uri


def _settings(config: IngestConfig) -> dict[str, Any]:
    """What is recorded of the settings."""
    return {name: value for name, value in plain(_with_whole_paths(config)).items() if name not in PIXELS_ALONE}


def _address(config: IngestConfig, source: Source, settings: Mapping[str, Any], home: str) -> tuple[str, str]:
    """URI and key of the record of a source."""
    key = _key(config, settings, source.signature())
    return objects.join(home, SOURCES, key), key


def _with_whole_paths(config: IngestConfig) -> IngestConfig:
    """The same with whole paths: a relative one means another source elsewhere."""
    noise = config.label_noise
    paths: dict[str, Any] = {name: absolute(place) for name in ("uri", "corrections") if (place := getattr(config, name))}
    return config.model_copy(
        update=paths | ({"label_noise": noise.model_copy(update={"file": absolute(noise.file)})} if noise.file else {})
    )


def _key(config: IngestConfig, settings: Mapping[str, Any], signature: str) -> str:
    """The key of the record: of files that say something of labels the content counts, not where they lie."""
    counting, files = dict(settings), {}
    if config.label_noise.file is not None:
        files["label_noise"] = digest(objects.read(config.label_noise.file, most=LARGEST_LABELS))
        counting["label_noise"] = {**settings["label_noise"], "file": None}
    if config.corrections is not None:
        files["corrections"] = digest(objects.read(config.corrections, most=LARGEST_CORRECTIONS))
        del counting["corrections"]
    more: dict[str, Any] = {"files": files} if files else {}
    return content_key("ingest", VERSION, config=counting, source=signature, **more, **windows_version(config))


def _is_known(home: str, uri: str, key: str) -> bool:
    """Whether the record, the store that it leads to and the truth about it are there, whole as far as sizes tell."""
    usage.note(objects.join(uri, MANIFEST))
    record = find(uri, RECORD, key)
    if record is None:
        return False
    mark = record_of(record).facts.fingerprint
    needed = [find(objects.join(home, mark), KIND, mark)]
    if TRUTH in record.manifest.parents:
        needed.append(find(truth_uri(uri), TRUTH, key))
    for artifact in (record, *needed):
        if artifact is not None:
            artifact.check_sizes()
    return None not in needed


def _decoded(source: Source, contents: Contents, config: IngestConfig, folder: Path, progress: Progress) -> Decoded:
    """Everything decoded in one go."""
    (folder / "decoded").mkdir()
    converter = Converter(folder / "decoded", conversion_of(config))
    return Decoded(converter.run(source, contents, progress), converter.skipped, converter.depth.largest, converter.depth.short)


def _decode_parts(config: IngestConfig, source: Source, plan: IngestPlan, progress: Progress) -> None:
    """Decode the parts of a plan that are not published yet, one after the other."""
    missing, damage = missing_parts(plan), check_so_far(config, plan)
    total = sum(map(len, plan.items.values()))
    done = total - sum(part.stop - part.start for part in missing)
    for part in missing:
        skipped = decode_part(config, source, plan, part, _Onward(progress, done, total))
        done += part.stop - part.start
        damage.add(skipped)
        damage.check(when_decoded(done, total))


@dataclass(frozen=True)
class _Onward:
    """Progress of a part as that of the whole, of which so many images were done before."""

    whole: Progress
    before: int
    total: int

    def __call__(self, done: int, total: int, note: str = "") -> None:
        self.whole(self.before + done, self.total, note)


def _arranged(found: Decoded, contents: Contents, config: IngestConfig, folder: Path, where: str) -> Arranged:
    """The splits of the data set, in canonical order if images have one."""
    names, stored = contents.class_names, found.stored
    labels = {split: side.labels for split, side in stored.items()}
    check_kept(labels, names, f"{where}: no decodable", "repair the files or remove the class")
    check_channels(config.normalization, channels_of(stored["train"].shape), where)
    for name in ("ordered", "arranged"):
        (folder / name).mkdir()
    if config.clips > 1:
        stored = {split: replace(side, videos=videos_of(contents.items[split])[side.places]) for split, side in stored.items()}
    if config.order == "canonical":
        for split, side in stored.items():  # one after the other in place: of a large split the one in another order goes
            stored[split] = in_order(side, contents.items[split], split, folder / "ordered")
    try:  # Only now: which pictures are held out must not depend on pictures that were skipped.
        return arrange(stored, names, config, folder / "arranged", where)
    except DataError as error:
        notes = _depth_notes(found.largest, config.bits)  # dark pictures become equal ones
        raise DataError("; ".join([str(error), *notes])) from error


def _depth_notes(largest: int | None, bits: int | None) -> list[str]:
    """What the largest value of all 16-bit gray pictures says about `ingest.bits`; `largest` is None if there are none."""
    if bits is not None:
        return [] if largest is not None else [f"ingest.bits {bits} changes nothing: no image is 16-bit gray"]
    needed = 16 if not largest else largest.bit_length()
    if needed == 16:
        return []
    remedy = f"set ingest.bits to {needed}" if needed > 8 else "store the images with 8 bits"
    held = f"16-bit gray images hold values up to {largest} only ({needed} bit{'' if needed == 1 else 's'})"
    return [f"{held} and are dark when read as 0..65535: {remedy} to use their range"]


def _short_notes(short: int) -> list[str]:
    """What is said of clips with too few frames."""
    return [f"{counted(short, 'clip')} with too few frames: of each, a frame is taken more than once"] if short else []


def _publish_store(name: str, home: str, contents: Contents, made: Arranged, config: IngestConfig) -> str:
    """The data set, published; its fingerprint."""
    class_names, class_ids = contents.class_names, contents.class_ids
    labels, shape = {split: side.labels for split, side in made.stored.items()}, made.stored["train"].shape
    histogram = made.stored["train"].histogram
    if histogram is None:
        histogram = value_counts(made.stored["train"].paths, shape)
    constants = chosen(config.normalization, known_set(name, config.source), shape, len(class_names), histogram)
    own = identity(constants, shape, len(class_names), histogram)
    videos = {split: renumbered(side.videos) for split, side in made.stored.items() if side.videos is not None}
    mark = fingerprint(class_names, shape, labels, made.digests, own, class_ids, videos)
    files: dict[str, Content] = {}
    for split, side in made.stored.items():
        shards: Sequence[Content] = side.held or side.paths
        files |= {shard_name(split, number): shard for number, shard in enumerate(shards)}
    for split in SPLITS:
        # Nothing of the source and the configuration: others that lead to the same content must publish the same bytes.
        index = index_table(labels[split], made.digests[split], videos.get(split))
        files[index_name(split)] = parquet.encode(index, WINDOWS if split in videos else INDEX, {"fingerprint": mark})
    facts = {
        "name": name,
        "fingerprint": mark,
        **({"class_ids": list(class_ids)} if class_ids else {}),
        **_facts(class_names, made.stored, constants),
        **videos_fact(videos),
    }
    publish(objects.join(home, mark), KIND, mark, files, config={}, parents={}, facts=facts)
    return mark


def _facts(class_names: Sequence[str], stored: Mapping[SplitName, Stored], constants: Normalization) -> dict[str, Any]:
    shape = stored["train"].shape
    return {
        "class_names": list(class_names),
        "classes": len(class_names),
        "shape": list(shape),
        "layout": layout_of(shape),
        "value_range": [0, 255],
        "colour": "grey" if channels_of(shape) == 1 else "rgb",
        "resolution": list(side_of(shape)),
        **({"frames": frames_in(shape)} if is_clip(shape) else {}),
        "mean": list(constants.mean),
        "std": list(constants.std),
        "train_images": len(stored["train"].labels),
        "test_images": len(stored["test"].labels),
        "images_per_class": {split: np.bincount(side.labels, minlength=len(class_names)).tolist() for split, side in stored.items()},
        "shard_rows": {split: list(side.rows) for split, side in stored.items()},
    }
