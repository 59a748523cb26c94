"""Synthetic sets: a torch data set that shows itself and knows what it was made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bilp.api import showing
from bilp.api.ingested import Dataset, as_data
from bilp.api.keywords import Given
from bilp.api.placed import Result, located
from bilp.api.pruned import Selection, as_selection
from bilp.artifacts import layout
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import GRID, RECORD, SYNTHETIC
from bilp.config import Arm
from bilp.config.arms import arm_of
from bilp.config.nested import merge
from bilp.config.shapes import sample_noun
from bilp.distill.run import open_run
from bilp.errors import ConfigError
from bilp.exchange import loaded
from bilp.storage.objects import Uri, exists, join

if TYPE_CHECKING:
    import pandas as pd

RESIZED = "resized"
"""The arm of a set that was taken out of a larger one."""
RUN = "run"
"""What a run is called where results are found by a key."""


@dataclass(frozen=True)
class Made:
    """What a set was distilled from: images, those of them that were kept (None for all), its arm, and the settings that were given."""

    data: Dataset
    selection: Selection | None
    arm: Arm
    given: Given


class DistilledSet(loaded.DistilledSet, Result):
    """Labeled synthetic images; item k is (image `[C, H, W]`, label), see `bilp.exchange.loaded.DistilledSet`."""

    def __init__(self, plain: loaded.DistilledSet, uri: str) -> None:
        """Use `bilp.distill` or `bilp.load_distilled`."""
        labels = (plain.logits, plain.values, plain.real)
        loaded.DistilledSet.__init__(self, plain.images, plain.labels, plain.facts, plain.whitening, *labels)
        Result.__init__(self, uri)
        self._made: Made | None = None
        self.accuracy: float | None = None
        """Mean accuracy of networks trained on it, 0 to 1, once `bilp.evaluate` has measured it."""

    @property
    def run_uri(self) -> str:
        """The run that distilled it. Raises ConfigError for an imported or a resized set."""
        run = self.uri.rpartition("/")[0]
        if not exists(join(run, RECORD)):
            raise ConfigError(f"{self.uri} lies in no run, which would tell how it was made: name the data set with data=...")
        return run

    @property
    def made(self) -> Made:
        """What it was distilled from; read from the run if this process did not distill it, of a resized set from that of the larger one.

        Raises as `run_uri`.
        """
        if self._made is None:
            larger = self.larger_uri
            self._made = _made(self.run_uri) if larger is None else load_distilled(larger).made
        return self._made

    @property
    def larger_uri(self) -> str | None:
        """The set that it was taken out of, if it was resized."""
        if "resized" not in self.facts:
            return None
        return open_artifact(self.uri, SYNTHETIC).parents["synthetic"]

    @property
    def arm(self) -> str:
        """What tables call it. Raises as `run_uri`."""
        return self.made.arm if "resized" not in self.facts else RESIZED

    @property
    def is_distilled(self) -> bool:
        """Whether a run tells how it, or what it was taken out of, was made."""
        larger = self.larger_uri
        if larger is not None and self._made is None:
            return load_distilled(larger).is_distilled
        return self._made is not None or exists(join(self.uri.rpartition("/")[0], RECORD))

    def made_of(self, made: Made) -> DistilledSet:
        """The set itself, whose origin is known."""
        self._made = made
        return self

    def to_pandas(self) -> pd.DataFrame:
        """One row per synthetic image: number, class and label, and with a real part the number of the real sample, -1 for none."""
        import pandas as pd

        labels = self.labels.tolist()
        real = {} if self.real is None else {"sample_id": self.real.tolist()}
        return pd.DataFrame({"number": range(len(labels)), "class": [self.class_names[label] for label in labels], "label": labels, **real})

    def __repr__(self) -> str:
        size, noun = "x".join(map(str, self.images.shape[1:])), sample_noun(self.images.shape[1:])
        method = str(self.facts["method"]).upper()
        told = "" if self.accuracy is None else f", accuracy {100 * self.accuracy:.1f} %"
        return f"{len(self)} {noun}s, {len(self.class_names)} classes, {size}, {method}, from {self.place}{told}"

    def _repr_html_(self) -> str:
        grid = open_artifact(self.uri, SYNTHETIC).read(GRID)
        names, noun = ", ".join(self.class_names[:20]), sample_noun(self.images.shape[1:])
        return showing.paragraph(repr(self)) + showing.picture(grid, f"synthetic {noun}s, one row per class: {names}")


def _made(run_uri: str) -> Made:
    """What the record of a run says. Raises as `bilp.distill.run.open_run`."""
    run, root = open_run(run_uri), layout.root_of(run_uri) or ""
    data = as_data(layout.resolve(run.dataset, root))
    selection = None if run.selection is None else as_selection(layout.resolve(run.selection, root))
    given: dict[str, Any] = {"method": run.distill.method, "ipc": run.distill.ipc, "distill": run.distill.model_dump()}
    adaptive = run.reselect.active
    if adaptive:
        given |= {"beta": run.reselect.beta, "reselect": run.reselect.model_dump()}
    return Made(
        data, selection, arm_of(selection is not None, adaptive), merge(data.given if selection is None else selection.given, given)
    )


def load_distilled(uri: Uri, root: Uri | None = None) -> DistilledSet:
    """The synthetic set of a run: by the run's path, URI or key, or the path of the set itself; verified, and decoded if need be.

    Raises MissingArtifact, DamagedArtifact, or IncompatibleArtifact for something else and for images that this version cannot
    decode; ConfigError for a key that several runs have.

    Args:
        uri: A result of `bilp.distill`, a path, s3://..., a place in the storage such as runs/KEY, or a key.
        root: The storage that keys are looked for in, by default BILP_STORAGE.
    """
    where = loaded.set_of(located(uri, root, (RUN, SYNTHETIC)))
    return DistilledSet(loaded.load_distilled(where), where)


def as_set(given: DistilledSet | Uri, root: Uri | None = None) -> DistilledSet:
    """The set itself, or the one that is meant."""
    return given if isinstance(given, DistilledSet) else load_distilled(given, root)
