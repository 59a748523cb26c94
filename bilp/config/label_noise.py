"""Settings of labels that are made wrong on purpose, and the registry of the ways to do so.

A further way is one entry in NOISES and one function of the true labels (`bilp.data.alterations.noise_kinds`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import model_validator

from bilp.config.base import Frozen, Kept, Location, Seed, Text
from bilp.registry import EntryName, Registry


@dataclass(frozen=True)
class NoiseEntry:
    """A way to make labels wrong."""

    name: str
    told: str
    """What becomes of a label, as the page completes '20 % of the labels changed on purpose'."""
    apply: str
    """"module:function": (`bilp.data.alterations.noise_kinds.Labeled`, LabelNoiseConfig) -> int64 labels `[N]`."""
    reads: frozenset[str]
    """Settings that it reads, of those in LabelNoiseConfig; others are refused."""
    needs: str
    """The one of them that must be given."""


_KINDS = "bilp.data.alterations.noise_kinds"
_DRAWN = frozenset(("share", "per_class", "seed"))
_READ = frozenset(("file", "column"))

NOISES: Registry[NoiseEntry] = Registry(
    "label noise",
    NoiseEntry,
    (
        NoiseEntry("symmetric", "each became another class, all with the same chance", f"{_KINDS}:symmetric", _DRAWN, "share"),
        NoiseEntry("cyclic", "each became the next class, the last one the first", f"{_KINDS}:cyclic", _DRAWN, "share"),
        NoiseEntry("semantic", "each became the class that it is taken for most easily", f"{_KINDS}:semantic", _DRAWN, "share"),
        NoiseEntry("file", "they were read from a file", "bilp.data.alterations.label_file:from_file", _READ, "file"),
        NoiseEntry("cifar_n", "people gave them (CIFAR-N)", "bilp.data.alterations.human_labels:human_labels", _READ, "file"),
    ),
)

NoiseName = Annotated[str, EntryName("bilp.config.label_noise:NOISES")]


class LabelNoiseConfig(Frozen):
    """Labels of training images that are made wrong on purpose, to see what finds them; true labels are kept where no training looks."""

    kind: NoiseName | None = None
    """How labels are made wrong: to any other class (symmetric), the next (cyclic) or the most similar one (semantic: CIFAR-10 and
    CIFAR-100), as a file says (file), as people have labeled CIFAR (cifar_n: its files). Empty changes none."""
    share: Kept | None = None
    """Share of the labels that become wrong, exactly; with semantic, of those classes that become others."""
    per_class: bool = False
    """Whether the share is that of each class, rather than of all together."""
    seed: Seed = 0
    """Seed of the choice; a larger share holds the labels of a smaller one with the same seed."""
    file: Location | None = None
    """File of labels in the order of the source's training images: CSV or JSON for kind file, CIFAR-10_human.pt or CIFAR-100_human.pt
    for kind cifar_n."""
    column: Text | None = None
    """Column of that file (default label), or label set of CIFAR-N, such as worse_label."""

    @model_validator(mode="after")
    def _kind_decides(self) -> Self:
        set_here = [name for name, field in type(self).model_fields.items() if name != "kind" and getattr(self, name) != field.default]
        if self.kind is None:
            if set_here:
                raise ValueError(f"{', '.join(set_here)} without kind changes no label: set kind to one of {', '.join(NOISES)}")
            return self
        entry = NOISES[self.kind]
        unread = [name for name in set_here if name not in entry.reads]
        if unread:
            raise ValueError(f"kind {self.kind} does not read {', '.join(unread)}: remove that")
        if getattr(self, entry.needs) is None:
            raise ValueError(f"kind {self.kind} needs {entry.needs}: give it")
        return self
