"""Everything that is changed of a train split on purpose, in this order, and what is known to be true of the outcome.

1. A long tail is cut: images are left out.
2. Labels are made wrong, of the images that are left.
3. Copies are added, with the labels that their originals have by now.
4. A person's corrections are applied: they are about the labels that the data set has, wrong ones included, as its lists show them.

The split itself was made before, with true labels, and duplicates were dropped before, if they are: so the test split is the same
whatever is changed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bilp.config import IngestConfig
from bilp.config.label_noise import NOISES
from bilp.data.alterations.added_copies import originals_of, with_copies
from bilp.data.alterations.corrections_file import ACTIONS, DROP, KEEP, RELABEL, Correctable, Correction, decided_rows, read_corrections
from bilp.data.alterations.long_tail import long_tail
from bilp.data.alterations.noise_kinds import Labeled
from bilp.data.arrange import Arranged, check_kept
from bilp.data.contents import Labels, counted
from bilp.data.corrections_table import CORRECTIONS, GONE
from bilp.data.measure import image_digests
from bilp.data.shards import Stored
from bilp.data.splitting import select
from bilp.data.truth_file import NO_COPY, KnownTruth
from bilp.registry import resolve
from bilp.text.sample_words import spoken

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Altered:
    """A data set after its changes: its pictures, what is true of the train split if anything was made wrong, left out or added, lines
    about it, and the corrections that were applied (table CORRECTIONS) if there are any."""

    made: Arranged
    truth: KnownTruth | None = None
    notes: tuple[str, ...] = ()
    corrections: pa.Table | None = None


@dataclass(frozen=True)
class _Train:
    """The train split on its way: pictures and digests, true labels `[N]`, and what each is a copy of, `[N]`."""

    stored: Stored
    digests: Sequence[str]
    true_label: Labels
    copy_of: Integers


def check_asked(labels: Labels, class_names: Sequence[str], config: IngestConfig, where: str) -> None:
    """Raise DataError, before anything is decoded, for what `alter` would refuse of labels `[N]` of the source's train split.

    Whether corrections fit the images is not known yet, but whether their file is a table of corrections.
    """
    if config.label_noise.kind is not None:
        given = Labeled(labels, class_names, np.arange(len(labels)), len(labels), where)
        resolve(NOISES[config.label_noise.kind].apply)(given, config.label_noise)
    if config.corrections is not None:
        decided_rows(config.corrections)


def alter(made: Arranged, total: int, class_names: Sequence[str], config: IngestConfig, folder: Path, where: str) -> Altered:
    """The data set with all changes that `config` asks for.

    Raises DataError for labels or corrections that do not fit, and if a class has no training image any more.

    Args:
        made: The data set as its source has it.
        total: Images of the source's train split, those that were skipped or held out included.
        class_names: In label order.
        config: Says what is changed.
        folder: For shards; two folders are made in it.
        where: Names the source in messages.
    """
    side = made.stored["train"]
    train = _Train(side, made.digests["train"], side.labels, np.full(len(side.labels), NO_COPY))
    notes: list[str] = []
    if config.long_tail.imbalance > 1:
        train = _with_tail(train, class_names, config, folder / "tail", notes)
    if config.label_noise.kind is not None:
        train = _with_noise(train, Labeled(train.true_label, class_names, train.stored.places, total, where), config, notes)
    if config.duplicates_added.share > 0:
        train = _with_copies(train, config, folder / "copies", notes)
    on_purpose, table = bool(notes), None
    if config.corrections is not None:
        aside = frozenset(made.stored["test"].origins) - {*train.stored.origins} if made.divided else frozenset()
        train, table = _corrected(train, class_names, config.corrections, folder / "corrected", notes, aside)
    check_kept({"train": train.stored.labels}, class_names, f"{where}: what is changed leaves no", "change fewer labels, or drop less")
    changed = replace(made, stored={**made.stored, "train": train.stored}, digests={**made.digests, "train": train.digests})
    truth = KnownTruth(train.stored.labels, train.true_label, train.copy_of) if on_purpose else None
    return Altered(changed, truth, tuple(notes), table)


def _only(train: _Train, mask: NDArray[np.bool_], folder: Path) -> _Train:
    """The images that a mask [N] marks, written anew; what is a copy of one that goes is a copy of none."""
    folder.mkdir()
    stays = np.append(np.cumsum(mask) - 1, NO_COPY)  # where each is afterwards; the last entry is what NO_COPY leads to
    stays[:-1][~mask] = NO_COPY
    digests = [train.digests[place] for place in np.flatnonzero(mask).tolist()]
    return _Train(select(train.stored, mask, "train", folder), digests, train.true_label[mask], stays[train.copy_of[mask]])


def _with_tail(train: _Train, class_names: Sequence[str], config: IngestConfig, folder: Path, notes: list[str]) -> _Train:
    before = len(train.true_label)
    tail = _only(train, long_tail(train.true_label, len(class_names), config.long_tail), folder)
    counts = np.bincount(tail.true_label, minlength=len(class_names))
    notes.append(
        f"{spoken('training images')} left out on purpose, for a long tail of imbalance factor {config.long_tail.imbalance:g}: "
        f"{len(tail.true_label):,} of {before:,} stay, {counts[0]:,} of class {class_names[0]!r} and {counts[-1]:,} of {class_names[-1]!r}"
    )
    return tail


def _with_noise(train: _Train, given: Labeled, config: IngestConfig, notes: list[str]) -> _Train:
    assert config.label_noise.kind is not None
    entry = NOISES[config.label_noise.kind]
    labels: Labels = resolve(entry.apply)(given, config.label_noise)
    wrong, images = int((labels != given.labels).sum()), len(labels)
    share = f"{100 * wrong / images:.3g} %" if images else "0 %"
    kind = f"{entry.name} label noise" + (f" of seed {config.label_noise.seed}" if "seed" in entry.reads else "")
    notes.append(
        f"{share} of the labels changed on purpose ({wrong:,} of {counted(images, 'training image')}, {kind}): {entry.told}; "
        + spoken("test images keep theirs")
    )
    return replace(train, stored=replace(train.stored, labels=labels))


def _with_copies(train: _Train, config: IngestConfig, folder: Path, notes: list[str]) -> _Train:
    asked = config.duplicates_added
    originals = originals_of(len(train.true_label), asked)
    folder.mkdir()
    stored = with_copies(train.stored, originals, asked, folder)
    first = len(train.digests)
    digests = [*train.digests, *image_digests(stored.paths, stored.shape)[first:]]
    pixels = f"whose pixels differ by up to {asked.jitter} of 255 levels" if asked.jitter else "with equal pixels"
    images = counted(len(originals) // asked.times, "training image")
    notes.append(f"{counted(len(originals), 'copy', 'copies')} of {images} added on purpose, {pixels}")
    return _Train(stored, digests, np.append(train.true_label, train.true_label[originals]), np.append(train.copy_of, originals))


def _corrected(
    train: _Train, class_names: Sequence[str], file: str, folder: Path, notes: list[str], held_out: frozenset[str]
) -> tuple[_Train, pa.Table]:
    side = train.stored
    given = side.labels
    split = Correctable(side.origins, side.places.tolist(), train.digests, given.tolist(), class_names, held_out)
    corrections = read_corrections(file, split)
    samples = np.array([correction.sample for correction in corrections], dtype=np.int64)
    labels, kept = given.copy(), np.ones(len(given), dtype=np.bool_)
    labels[samples] = [correction.label for correction in corrections]
    kept[[correction.sample for correction in corrections if correction.action == DROP]] = False
    train = replace(train, stored=replace(side, labels=labels))
    if not kept.all():
        train = _only(train, kept, folder)
    count = {action: sum(correction.action == action for correction in corrections) for action in ACTIONS}
    notes.append(
        f"{counted(len(corrections), 'correction')} of training images applied: {counted(count[RELABEL], 'label')} replaced, "
        f"{counted(count[DROP], 'image')} dropped, {count[KEEP]:,} kept as they are"
    )
    return train, _table(corrections, kept, given, side.origins)


def _table(corrections: Sequence[Correction], kept: NDArray[np.bool_], given: Labels, origins: Sequence[str]) -> pa.Table:
    """Table CORRECTIONS, in the order of the images."""
    number = np.cumsum(kept) - 1
    ordered = sorted(corrections, key=lambda correction: correction.sample)
    rows: Mapping[str, list[object]] = {
        "sample_id": [int(number[each.sample]) if kept[each.sample] else GONE for each in ordered],
        "origin": [origins[each.sample] for each in ordered],
        "given_label": [int(given[each.sample]) for each in ordered],
        "label": [each.label for each in ordered],
        "action": [each.action for each in ordered],
        "note": [each.note for each in ordered],
    }
    return pa.table(rows, schema=CORRECTIONS)
