"""The forms of the deployments `start/*`: what people who start a run are asked, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from bilp.config.arm_entries import Arm
from bilp.config.base import Dropped, Frozen, GpuArithmetic, Kept, Location, Positive, Seed, SourceName
from bilp.config.dials import RecipeDataset
from bilp.config.forms.choices import OWN_DATA, OneOf, Recipe, built_in
from bilp.config.forms.fields import (
    DistillGroup,
    EvaluateGroup,
    Group,
    IngestGroup,
    MethodChoice,
    PruneGroup,
    ReportGroup,
    ReselectGroup,
    ScoreGroup,
)
from bilp.config.forms.form import Form
from bilp.config.ingest import IngestConfig
from bilp.config.sources import DEFAULT_SOURCE
from bilp.config.words import DroppedShare, KeptShare


class Further(Frozen):
    """Dials that are seldom set."""

    by_rule = frozenset({"seed", "experiments", "gpu", "recipe_dataset"})

    seed: Seed = 0
    """Seed of everything."""
    experiments: Positive = 1
    """Independently seeded distillations per arm."""
    gpu: GpuArithmetic = "float32"
    recipe_dataset: RecipeDataset = "same"
    """Data set that a recipe for one of the built-in ones may meet: the same, or any, with settings that were made for another."""


class StageForm(Form):
    """What every form asks after its own questions: every stage, folded."""

    paths: ClassVar[Mapping[str, str]] = {"further": ""}

    further: Annotated[dict[str, Any] | None, Group(Further)] = Field(None, title="Seed, repetitions, arithmetic")
    """Dials that are seldom set."""
    ingest: IngestGroup = Field(None, title="Real images (ingest)")
    """How they are read, resized, split and normalized."""
    score: ScoreGroup = Field(None, title="Scores of real samples (score)")
    """The short trainings that static pruning ranks samples by."""
    prune: PruneGroup = Field(None, title="Static pruning (prune)")
    """Which samples are cut by their score before distillation."""
    reselect: ReselectGroup = Field(None, title="Adaptive pruning (reselect)")
    """Which samples are left out by their causal effect while a set is distilled."""
    distill: DistillGroup = Field(None, title="Distillation (distill)")
    """Schedule, batches, augmentation and network; what belongs to one method alone is asked at the method."""
    evaluate: EvaluateGroup = Field(None, title="Evaluation (evaluate)")
    """Networks that are trained on the sets and tested on real images."""
    report: ReportGroup = Field(None, title="Page (report)")
    """What the page shows."""


class ArmsForm(StageForm):
    """What is compared, and every stage."""

    arms: tuple[Arm, ...] | None = Field(None, title="What to compare (arms)")
    """What is compared: no pruning (unpruned), by score (static), by causal effect (adaptive), both (bilp), as many samples at random
    (random_pruning), rightly labeled ones where the truth is known (oracle), the selected ones without distillation (direct)."""


class DialForm(ArmsForm):
    """The dials of one pipeline."""

    first: ClassVar[tuple[str, ...]] = ("method", "ipc", "keep", "beta", "arms")

    method: MethodChoice = Field(None, title="Method")
    """How synthetic images are learned. The chosen method shows settings that it alone has."""
    ipc: Positive | None = Field(None, title="Images per class (ipc)")
    """Synthetic images per class."""
    keep: KeptShare | None = Field(None, title="Keep this share (static pruning)")
    """Share of each class that static pruning keeps, or auto: found from the scores, or search: by trying."""
    beta: DroppedShare | None = Field(None, title="Drop this share (adaptive pruning, beta)")
    """Share of candidates that adaptive pruning leaves out by their causal effect."""


RECIPE = "Recipe to start from. What it says goes before what is told for empty fields here, and what is set here goes before the recipe."


class DigitsForm(DialForm):
    """A pipeline on scikit-learn's digits."""

    fixed: ClassVar[Mapping[str, Any]] = {"dataset": DEFAULT_SOURCE}
    datasets = (DEFAULT_SOURCE,)


class DataSetForm(DialForm):
    """A pipeline on a data set that comes with the program or is downloaded."""

    datasets = built_in()
    first = ("dataset", *DialForm.first, "recipe")

    dataset: Annotated[SourceName | None, OneOf(built_in)] = Field(None, title="Data set")
    """Real images. If empty: the recipe's, or else digits."""
    recipe: Annotated[str | None, Recipe()] = Field(None, title="Recipe", description=RECIPE)


class OwnImagesForm(DialForm):
    """A pipeline on images of your own."""

    datasets = OWN_DATA[:1]
    fixed: ClassVar[Mapping[str, Any]] = {"dataset": OWN_DATA[0]}
    paths: ClassVar[Mapping[str, str]] = {**DialForm.paths, "uri": "ingest.uri", "resolution": "ingest.resolution"}
    first = ("uri", "resolution", "dataset", *DialForm.first)

    uri: Location = Field(title="Where your images lie")
    """Folder as workers see it, or s3://bucket/folder, that holds `train/CLASS/*.jpg`, and `test` beside `train` if there is one."""
    resolution: Positive | None = Field(None, title="Side in pixels (resolution)")
    """Size that images are brought to: 32 is quick. If empty: their own, which must be the same for all."""
    dataset: Annotated[SourceName | None, OneOf(lambda: OWN_DATA)] = Field(None, title="Kind")
    """An image folder, or Parquet files as on Hugging Face. If empty: folder."""
    ingest: Annotated[dict[str, Any] | None, Group(IngestConfig, "source", "uri", "resolution")] = Field(None, title="Real images (ingest)")
    """How they are read, split and normalized."""


class PublishedForm(ArmsForm):
    """A published cell again."""

    datasets = ()
    first = ("recipe", "scale", "experiments", "arms")
    not_settings = frozenset({"recipe", "scale"})

    recipe: Annotated[str, Recipe(published=True)] = Field(title="Published recipe")
    """Method, data set and images per class of a table in a paper."""
    scale: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(None, title="Part of the work (scale)")
    """Part of the paper's iterations and evaluation seeds: 0.1 is a tenth. If empty: 1, all of them."""
    experiments: Positive | None = Field(None, title="Repetitions (experiments)")
    """Independently seeded distillations per arm. If empty: as many as the recipe says."""


class SweepForm(ArmsForm):
    """Pipelines for every combination of a few values."""

    datasets = built_in()
    first = ("dataset", "method", "keep", "beta", "ipc", "seed", "arms", "vary")
    not_settings = frozenset({"keep", "beta", "ipc", "seed", "vary"})

    dataset: Annotated[SourceName | None, OneOf(built_in)] = Field(None, title="Data set")
    """Real images."""
    method: MethodChoice = Field(None, title="Method")
    """How synthetic images are learned."""
    keep: tuple[Kept, ...] = Field((), title="Shares to keep (static pruning)")
    """A pipeline for each, such as 0.3, 0.5, 0.7."""
    beta: tuple[Dropped, ...] = Field((), title="Shares to drop (adaptive pruning, beta)")
    """A pipeline for each."""
    ipc: tuple[Positive, ...] = Field((), title="Images per class (ipc)")
    """A pipeline for each."""
    seed: tuple[Seed, ...] = Field((), title="Seeds")
    """A pipeline for each."""
    vary: dict[str, list[Any]] | None = Field(None, title="Values of any other settings")
    """By dotted name, as JSON: {"distill.iterations": [500, 1000]}."""

    def lists(self) -> dict[str, list[Any]]:
        """The values to combine, by the dotted name of their setting."""
        typed = {name: list(getattr(self, name)) for name in ("keep", "beta", "ipc", "seed") if getattr(self, name)}
        return typed | (self.vary or {})
