"""What a distillation method is: one entry that answers every question that settings, stages and pages ask about it.

Code that needs torch is named by "module:name" text and imported when a run needs it (`bilp.registry.resolve`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from bilp.config.augmentations import ALL_FAMILIES
from bilp.config.base import Frozen
from bilp.config.methods.pretrained import PretrainedConfig
from bilp.config.protocols import DEFAULT_PROTOCOL
from bilp.config.real_passes import DEFAULT_REAL_PASS
from bilp.config.sources import SOURCES


@dataclass(frozen=True)
class Cell:
    """One cell of a table of results: what published values depend on."""

    dataset: str
    ipc: int
    factor: int = 0
    """What was given for distill.decode.factor, 0 for nothing."""
    side: int = 0
    """What was given for ingest.resolution, 0 for nothing."""
    small: bool = False
    """Whether the data set has few and small images, which short schedules teach."""

    def side_or(self, otherwise: int) -> int:
        """The side of the images: what was given, or is usual for the data set, or `otherwise`."""
        usual = SOURCES[self.dataset].usual
        return self.side or (usual.side if usual else otherwise)


PLUGIN = "plugin"
"""The field of `distill` where a method that another package offers has its settings."""


class PluginConfig(Frozen):
    """Settings of a method that another package offers, which derives its own from these; other methods have none."""


Rule = Callable[[Cell], dict[str, Any]]
"""Nested values of the pipeline that follow from a cell."""


def nothing(cell: Cell) -> dict[str, Any]:
    """No values: those of the models stay."""
    return {}


def augmented_evaluation(cell: Cell) -> dict[str, Any]:
    """Evaluation of the DC family with augmentation: 1000 epochs."""
    return {"evaluate": {"epochs": 1000, "augment": list(ALL_FAMILIES)}}


def real_batch(distill: Any) -> int:
    """The batch of real samples."""
    return int(distill.batch_real)


def never(distill: Any) -> bool:
    """Under no settings."""
    return False


def always(distill: Any) -> bool:
    """Under all settings."""
    return True


def any_experts(distill: Any, epochs: int, found: str) -> None:
    """Experts may be as short as they are."""


def adaptive_always(distill: Any) -> str:
    """Real samples have effects whatever is set."""
    return ""


class StartsFromPretrained(Protocol):
    """Settings of a method that may start from networks trained on real images beforehand."""

    @property
    def pretrained(self) -> PretrainedConfig:
        """How many there are, and their training."""

    @property
    def network_momentum(self) -> float:
        """Momentum of that training."""

    @property
    def cutmix(self) -> float:
        """Share of its mini-batches that are mixed."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One distillation method."""

    name: str
    """As `method` takes it."""
    title: str
    """For the page, with the name that the field uses."""
    paper: str
    """Authors and year."""
    venue: str
    """Where the paper was published, and its number on arXiv."""
    paper_title: str = ""
    """The title of the paper."""

    settings: Mapping[str, type[Frozen]] = field(default_factory=dict)
    """Its own settings: model by field of `distill`. A method of another package has one, a PluginConfig at `plugin`."""
    values: Rule = nothing
    """Published values."""
    values_for: str = "at ipc {ipc}"
    """What these depend on, for those who ask where a value came from."""
    small: Rule = nothing
    """What replaces them on few and small images."""

    evaluation: Rule = augmented_evaluation
    """How its sets are evaluated, under any protocol that does not say otherwise."""
    protocol: str = DEFAULT_PROTOCOL
    """The evaluation protocol under which its paper compares."""
    exceptions: Rule = nothing
    """Cells in which its program departs from that protocol."""
    convnet_bn: Mapping[str, Any] = field(default_factory=dict)
    """What its program does instead with the ConvNet with batch norm under that protocol: values by setting of evaluation."""

    no_effect: str = ""
    """Why no real sample has a causal effect of its own, as what the method does; empty where adaptive pruning applies."""
    begins_at_init: Callable[[Any], bool] = always
    """Whether its images begin at those that `distill.init` chooses, by the settings of `distill`; where `begins` is empty."""
    no_effect_with: Callable[[Any], str] = adaptive_always
    """Of a method whose samples have effects: the setting of `distill`, in words, with which they have none; empty if they have some."""
    needs_experts: bool = False
    """Whether it imitates experts, which are trained first."""
    optimizes: bool = True
    """Whether it moves synthetic images along gradients; otherwise it makes them of real ones."""
    needs_teacher: bool = False
    """Whether it asks a teacher, the one of evaluate.teacher, which is trained first on what distill.teacher_samples says."""
    inverts_teacher: bool = False
    """Whether synthetic images pass the teacher, which is the network of the run then, and are given statistics of its batch norm's inputs:
    teachers without batch norm are refused."""
    needs_ranking: bool = False
    """Whether it asks how hard real samples are, by the criterion of static pruning, whatever that keeps."""
    real_part: bool = False
    """Whether some images of its sets may be real ones that stay as they are (distill.real_part)."""
    adds_real: bool = False
    """Whether it puts real images into its sets by itself, whatever distill.real_part says."""
    dials: Rule = nothing
    """Dials that its paper sets where nobody gave them, and the criterion of static pruning."""
    check_experts: Callable[[Any, int, str], None] = any_experts
    """Raises ValueError if experts of so many epochs, which the text tells, are too short for these settings of distillation."""
    decodes: bool = False
    """Whether a stored image may stand for several, and is stepped as pixels."""
    shrinking: Literal["nearest", "bilinear"] = "nearest"
    """How real samples become parts of an initial image that stands for several."""
    bounds_decoded: bool = False
    """Whether an image step uses at most `decode.bound` decoded images of a class, a random choice."""
    pretrained: str = ""
    """The field of `distill` whose settings say which networks are trained on real images beforehand, for iterations to start from
    (`StartsFromPretrained`); empty if none can be."""
    augmentation: Literal["none", "one", "combined"] = "one"
    """Siamese augmentation of an image step: none is allowed, one family is drawn, or all are combined."""
    augmented_as: str = ""
    """For a method without augmentation: the method that is the same with it, if there is one."""
    independent_with: Mapping[str, Any] | None = None
    """Settings of `distill` with which no class's images depend on another class's: empty for any, None for none at all."""
    one_step: bool = False
    """Whether an iteration is one image step whatever outer_loops says."""
    weighs: bool = False
    """Whether real samples may count more or less in the mean that the synthetic images are matched to (reselect.mode weight)."""
    signed: bool = False
    """Whether effects have a sign (reselect.score signed): an image step sees images as they are stored, of all classes at once."""
    real_passes: tuple[str, ...] = (DEFAULT_REAL_PASS,)
    """Ways in which real samples may pass the network on their way to a mean (distill.real_pass)."""
    measuring_cost: float | None = None
    """What measuring a sample costs, as a multiple of its cost in an image step; None leaves the number of candidates as it is."""
    measuring_steps: float | None = None
    """The same as a multiple of what an image step costs for the sample's class, where no real sample takes part in one."""
    product_cost: float = 1.0
    """What a product with the derivative of the synthetic vector costs for each image, in forward passes: for `bilp plan`."""
    acts_on: Callable[[Any, int], int] | None = None
    """Synthetic images on which a sample has an effect, counted once for each network, by the settings of `distill` and the number of
    classes, where these are more than those of its class: for `bilp plan`."""
    brief: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `distill`, nested, with which a few iterations do what many do, without rules that end them: `bilp plan --measure`
    times these."""
    measures: str = ""
    """What measures causal effects, with a sign where the method is `signed`, where the loss is no sum over classes or its statistics
    are no mean (see `bilp.distill.step.sample_scores`); empty where `bilp.causal` does."""
    estimators: tuple[str, ...] = ()
    """Estimators of causal effects that apply (reselect.estimator); empty for all."""
    revision: int = 0
    """How often its stored results changed since there are any; part of their key."""

    matching: str
    """What it compares: a function of its name and, by field, its own settings (see `bilp.matching.matching_for`)."""
    loop: str = "bilp.distill.loops.dm_dc:distill"
    """What moves the synthetic images (see `bilp.distill.loops.registry.Advance`)."""
    begins: str = ""
    """What makes the state before the first iteration, where `bilp.distill.step.initial` does not: a function of `distill`, the pool,
    the classes, how hard samples are, and the images by class of the set that the run starts from, if there is one."""
    schedule: str = "bilp.distill.step.schedule:trained"
    """What trains the network between image steps: a function from `distill` to a Schedule."""
    networks: str = "bilp.distill.step.reselection:draw_trained_network"
    """What draws the networks of a reselection (see `bilp.distill.step.reselection.Prepare`)."""
    product: str = ""
    """What a finished run publishes beside its images: a function of the last state, `distill` and the pool that returns files by name and
    facts; empty if nothing."""
    stores_labels: Callable[[Any], bool] = never
    """Whether its sets store soft labels (evaluate.labels stored or learned), by the settings of `distill`."""
    stored_values: Callable[[Any, int, tuple[int, ...]], int] | None = None
    """How many numbers a set is stored as, by the settings of `distill`, the number of classes and the shape of an image; None if as
    many as its images have."""
    factors: str = ""
    """What a set is stored as in place of its images, and how these follow (see `bilp.images.factors.Factors`); empty if they are all."""
    loss: str = "matching loss"
    """What the loss of an iteration is called on the page."""
    loss_meaning: str = "Distance between what networks see in real and in synthetic images; it should fall and level off."
    """A sentence on it, for the page."""
    requires: str = ""
    """What refuses real samples that are too few or of a shape that it cannot use, by ConfigError: a function of a pool and `distill`."""
    carried: str = ""
    """What checks the tensors that the method carries from round to round (see `bilp.distill.checkpoint.Carried`); empty if none.
    Those of a method whose classes are independent have an axis of classes, or of images, in front, along which runs are merged."""
    carries: str = ""
    """What says their types and shapes, for `bilp plan` (see `bilp.costs.run_files.Carries`); empty if none."""
    looked_at: Callable[[Any], int] = real_batch
    """Real samples of a class that an iteration looks at, at most, by the settings of `distill`."""
    measuring_work: str = ""
    """What measuring a sample costs, for `bilp plan` (see `bilp.costs.effects_work.Measuring`), where its effect goes through more than the
    synthetic images of its class; empty otherwise."""
    work: str = ""
    """What an iteration does to how many samples, for `bilp plan` (see `bilp.costs.iteration.Formula`); empty where no formula says so."""
    round_work: str = ""
    """What the beginning of a round does once, likewise, for whatever its iterations then find ready; empty where that is nothing."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Interchangeable parts of a loop that several methods share, by the loop's own names for them."""

    def __post_init__(self) -> None:
        """Raises TypeError for settings that could not be checked."""
        own = self.settings.get(PLUGIN, PluginConfig)
        if not issubclass(own, PluginConfig):
            raise TypeError(f"settings {own.__name__} of method {self.name} do not derive from PluginConfig")

    @property
    def adaptive(self) -> bool:
        """Whether real samples have causal effects of their own, by which adaptive pruning chooses."""
        return not self.no_effect

    def independent(self, distill: Any) -> bool:
        """Whether, under these settings of distillation, what becomes of a class's images depends on no other class's."""
        needed = self.independent_with
        return needed is not None and all(getattr(distill, name) == value for name, value in needed.items())
