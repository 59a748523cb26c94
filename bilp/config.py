"""Every setting of every stage, as frozen pydantic models.

The same models are the Python API, the command line, the recipe files and the form in the Prefect UI. A stage
function of bilp takes only its own model, every value of which is concrete. `PipelineConfig` joins them: a user sets
a few dials (`dataset`, `method`, `ipc`, `keep`, `beta`, `seed`) and may set any other value; the rest is derived in
`bilp.defaults`, which can also say where each value came from.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bilp.criterion_facts import Measure, dropped_end, measure_of
from bilp.decode_config import DecodeConfig, DreamConfig, IdcConfig, IdmConfig
from bilp.defaults import complete
from bilp.evaluate_config import Baseline as Baseline
from bilp.evaluate_config import EvaluateConfig as EvaluateConfig
from bilp.evaluate_config import Protocol as Protocol
from bilp.evaluate_config import TeacherConfig as TeacherConfig
from bilp.evaluate_config import networks_of
from bilp.fields import AugmentFamily as AugmentFamily
from bilp.fields import Fraction, GpuArithmetic, Location, Positive, Rate
from bilp.fields import Frozen as Frozen
from bilp.method_config import AlignmentConfig as AlignmentConfig
from bilp.method_config import ExpertsConfig as ExpertsConfig
from bilp.method_config import TrajectoryConfig as TrajectoryConfig
from bilp.network_config import NetworkConfig as NetworkConfig
from bilp.network_config import NetworkName as NetworkName
from bilp.recipe_files import load_recipe, recipe_names
from bilp.reselect_config import ReselectConfig as ReselectConfig
from bilp.reselect_config import ScoreName as ScoreName

Source = Literal["digits", "mnist", "fashion_mnist", "svhn", "cifar10", "cifar100", "folder", "parquet"]
MethodName = Literal["dm", "dc", "dsa", "idc", "dream", "idm", "mtt", "tesla", "cafe"]
Criterion = Literal[
    "loss_init", "loss_converge", "el2n", "forgetting", "aum", "grand", "herding", "k_center", "monte_carlo", "random", "external"
]
Normalization = Literal["auto", "measured", "mnist", "fashion_mnist", "svhn", "cifar10", "cifar100", "imagenet"]
Arm = Literal["unpruned", "static", "adaptive", "bilp"]

# Real samples reach these methods only through the trajectories of experts, so none has a causal effect of its own.
TRAJECTORY_METHODS: tuple[MethodName, ...] = ("mtt", "tesla")
# A stored image of these methods may stand for several.
DECODING_METHODS: tuple[MethodName, ...] = ("idc", "dream", "idm")
# These match gradients of kernels under networks that meet real images alone; no image of theirs depends on another class's.
KERNEL_METHODS: tuple[MethodName, ...] = ("idc", "dream")


class IngestConfig(Frozen):
    """Where the real images come from and how they become one canonical uint8 store."""

    later = frozenset(
        ("train", "test", "image_column", "label_column", "config", "classes", "duplicates", "bits", "max_pixels", "normalization")
    )

    source: Source = "digits"
    """Name of a built-in data set, or the kind of your own: an image folder or Parquet in the Hugging Face layout."""
    uri: Location | None = None
    """Where a folder or Parquet source lies (a path or s3://...)."""
    train: str | None = None
    """Folder or file pattern below uri that holds the training images, where their names do not tell."""
    test: str | None = None
    """Likewise for the test images; held_out makes a test split out of the training images, whatever else there is."""
    config: str | None = None
    """Configuration (folder) of a Parquet source that holds several."""
    image_column: str | None = None
    """Column of the images in a Parquet source, where several could be meant or its name is unusual."""
    label_column: str | None = None
    """Column of the labels in a Parquet source, where several could be meant or its name is unusual."""
    classes: tuple[str, ...] = ()
    """Classes that are taken, in this order; empty takes all that are found, sorted."""
    resolution: Positive | None = None
    """Side in pixels that images are resized to (shorter side, then centre crop); empty keeps the source's own size."""
    colour: Literal["auto", "grey", "rgb"] = "auto"
    """Stored colour; auto keeps grey only if every image is grey."""
    on_corrupt: Literal["refuse", "skip"] = "refuse"
    """What to do when files cannot be decoded: refuse with the full list, or skip them and keep the list as a ledger."""
    duplicates: Literal["keep", "drop"] = "keep"
    """What becomes of images with equal pixels: all are kept, or the first of each class of each split alone."""
    bits: Annotated[int, Field(ge=9, le=16)] | None = None
    """Depth of 16-bit grey images: 12 for data of 0..4095 in 16-bit files; empty reads them as 0..65535."""
    max_pixels: Positive | None = None
    """Largest width x height of an image that is decoded; empty is the limit of the image library."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of each class held out for testing when the source has no test split of its own."""
    split_seed: int = 0
    """Seed of that split."""
    normalization: Normalization = "auto"
    """Mean and standard deviation of the channels: auto takes the published ones of a known data set and measures others;
    measured always measures; a name takes the published ones of that data set."""
    whitening: Literal["none", "zca"] = "none"
    """What becomes of normalised images: nothing, or ZCA fitted on the training images (some cells of mtt and tesla)."""
    whitening_epsilon: Rate = 0.1
    """What is added to the eigenvalues of their covariance before its root is taken."""

    @field_validator("whitening", mode="before")
    @classmethod
    def _none_is_a_choice(cls, value: Any) -> Any:
        return "none" if value is None else value  # on the command line, none means null elsewhere

    @model_validator(mode="after")
    def _uri_fits_source(self) -> Self:
        needs = self.source in ("folder", "parquet")
        if needs and not self.uri:
            raise ValueError(f"source {self.source!r} needs uri: give the path or s3:// URI of the data")
        if self.uri and not needs:
            raise ValueError(f"source {self.source!r} brings its own data: remove uri, or set source to folder or parquet")
        return self


def _early_end(known: dict[str, Any]) -> int:
    return min(5, int(known.get("epochs", 5)))


def _dropped_end(known: dict[str, Any]) -> Literal["high", "low"]:
    return dropped_end(str(known.get("criterion")))


class ScoreConfig(Frozen):
    """Static scoring: short training trials that record what networks make of every sample."""

    measure: Measure = "trajectory"
    """What is recorded: every sample's course over the epochs, its place in a pick order, or the worth of random subsets."""
    trials: Positive = 5
    """Independently seeded trainings (for monte_carlo: random subsets); their spread is the uncertainty of a score."""
    epochs: Positive = 5
    """Epochs of each trial."""
    init_epochs: Positive = 5
    """loss_init is the mean loss after the first init_epochs epochs."""
    converge_epochs: Positive = 1
    """loss_converge is the mean loss after the last converge_epochs epochs."""
    early_from: Positive = 1
    """el2n and grand are means over the epochs early_from ..."""
    early_to: Positive = Field(default_factory=_early_end)
    """... to early_to, both included, counted from 1."""
    gradient_norm: Literal["off", "last_layer", "all"] = "off"
    """What grand is the gradient norm of: nothing, the last layer (in the same pass), or all weights (a pass more per epoch)."""
    subset_share: Annotated[float, Field(gt=0.0, le=0.5)] = 0.1
    """monte_carlo: share of each class in a random subset; 1 / subset_share subsets, rounded, share out all samples."""
    held_out: Annotated[float, Field(gt=0.0, le=0.5)] = 0.1
    """monte_carlo: share of each class, outside of the subset and new for each, on which accuracy is measured."""
    network: NetworkConfig = NetworkConfig()
    """Network that is trained."""
    batch_size: Positive = 256
    """Mini-batch of the training."""
    learning_rate: Rate = 0.01
    """Step size of SGD."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Weight decay of SGD."""
    gpu: GpuArithmetic = "float32"
    """Arithmetic on a GPU: float32, products in TensorFloat-32 (tf32), or these with channels last in memory."""
    seed: int = 0
    """Seed of the trials (trial k uses its own stream)."""

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        for name in ("init_epochs", "converge_epochs", "early_to"):
            if getattr(self, name) > self.epochs:
                raise ValueError(f"{name} = {getattr(self, name)} exceeds epochs = {self.epochs}: lower it or train longer")
        if self.early_from > self.early_to:
            raise ValueError(f"early_from = {self.early_from} lies behind early_to = {self.early_to}: lower early_from")
        if self.measure == "monte_carlo" and self.trials < self.subsets_per_round:
            raise ValueError(
                f"trials = {self.trials} subsets of subset_share = {self.subset_share:g} leave samples out: "
                f"set trials to {self.subsets_per_round} or more, or raise subset_share"
            )
        return self

    @property
    def subsets_per_round(self) -> int:
        """Subsets of monte_carlo that share out all samples among them."""
        return round(1 / self.subset_share)


class PruneConfig(Frozen):
    """Static pruning: which samples of each class survive their score."""

    criterion: Criterion = "loss_init"
    """Score that ranks the samples; random is the control, external reads a published list."""
    drop: Literal["high", "low"] = Field(default_factory=_dropped_end)
    """Which end of the ranking is dropped: high unless given, but low for aum and monte_carlo."""
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of each class that is kept (1 - alpha)."""
    band: tuple[Fraction, Fraction] | None = None
    """Keep this percentile band of the ascending ranking instead, such as [0.1, 0.6]; overrides keep and drop."""
    per_class: bool = True
    """Rank within each class; false ranks the whole set at once (can unbalance classes)."""
    floor_per_class: Annotated[int, Field(ge=0)] = 0
    """Best-ranked samples of each class that a ranking of the whole set keeps in any case; the total stays the same."""
    minimum_per_class: Positive = 2
    """Refuse a selection that leaves a class with fewer samples."""
    score_list: Location | None = None
    """URI of a JSON list of numbers in data set order (the format of the paper's preview code), for criterion external."""
    seed: int = 0
    """Seed of criterion random."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.criterion == "external") != (self.score_list is not None):
            raise ValueError("criterion external and score_list belong together: set both or neither")
        if self.band is not None and not self.band[0] < self.band[1]:
            raise ValueError(f"band {list(self.band)} is empty: the first value must be below the second")
        if self.floor_per_class and (self.per_class or self.band is not None):
            raise ValueError(f"floor_per_class = {self.floor_per_class} is for per_class = false without band: remove it")
        return self


class DistillConfig(Frozen):
    """Distillation: a method is what is compared plus what trains the network."""

    method: MethodName = "dm"
    """Matching of distributions (dm, idm), gradients (dc, dsa; idc, dream), trajectories (mtt, tesla) or features (cafe)."""
    ipc: Positive = 1
    """Synthetic images per class."""
    iterations: Positive = 1000
    """Iterations; each draws a new random network."""
    rounds: Positive = 10
    """The iterations are cut into rounds; each starts with a reselection and ends with a checkpoint."""
    shards: Positive = 1
    """Parts into which the classes are divided, each a unit for any worker; for dm, idc, dream, and dc or dsa with one outer loop."""
    init: Literal["real", "noise", "kmeans"] = "real"
    """Synthetic images start as real samples, as Gaussian noise, or as the real samples nearest to the centres of clusters."""
    augment: tuple[AugmentFamily, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")
    """Families of differentiable siamese augmentation; empty switches it off."""
    batch_real: Annotated[int, Field(ge=2)] = 256
    """Real samples per class and iteration."""
    learning_rate: Rate = 1.0
    """Step size of SGD on the synthetic images."""
    momentum: Fraction = 0.5
    """Momentum of SGD on the synthetic images."""
    outer_loops: Positive = 1
    """Gradient matching: image steps per network (IDC and DREAM call them inner)."""
    inner_epochs: Annotated[int, Field(ge=0)] = 1
    """Gradient matching: epochs on the synthetic set between two image steps."""
    network_learning_rate: Rate = 0.01
    """Step size of the network's training."""
    batch_train: Positive = 256
    """Mini-batch of the network's training: dc and dsa on the synthetic set, idc, dream and idm on real images."""
    network: NetworkConfig = NetworkConfig()
    """Network whose features, gradients or trajectories are matched."""
    decode: DecodeConfig = DecodeConfig()
    """How a stored image becomes those that are trained on; idc, dream and idm alone."""
    idc: IdcConfig = IdcConfig()
    """Settings of idc and dream alone."""
    dream: DreamConfig = DreamConfig()
    """Settings of dream alone."""
    idm: IdmConfig = IdmConfig()
    """Settings of idm alone."""
    trajectory: TrajectoryConfig = TrajectoryConfig()
    """Settings of mtt and tesla alone."""
    alignment: AlignmentConfig = AlignmentConfig()
    """Settings of cafe alone."""
    gpu: GpuArithmetic = "float32"
    """Arithmetic on a GPU: float32, products in TensorFloat-32 (tf32), or these with channels last in memory. Causal effects
    are measured in float32 whatever it says."""
    seed: int = 0
    """Seed of networks, batches, augmentation and initial images."""

    @model_validator(mode="after")
    def _rounds_fit(self) -> Self:
        if self.rounds > self.iterations:
            raise ValueError(f"rounds = {self.rounds} exceeds iterations = {self.iterations}: lower rounds")
        if self.method == "dc" and self.augment:
            raise ValueError("method dc matches without augmentation: use method dsa, or set augment to an empty list")
        if self.shards > 1 and not self.classes_apart:
            looped = f" with outer_loops = {self.outer_loops}" if self.method in ("dc", "dsa") else ""
            raise ValueError(
                f"shards = {self.shards} divides classes that meet in method {self.method}{looped}: set shards to 1, "
                "or use dm, idc or dream, or dc or dsa with outer_loops = 1"
            )
        if self.idc.pretrained.networks > 0 and self.method not in KERNEL_METHODS:
            raise ValueError(
                f"method {self.method} goes on with no pretrained networks: set idc.pretrained.networks to 0, or use idc or dream"
            )
        if self.decode.factor > 1 and self.method not in DECODING_METHODS:
            raise ValueError(
                f"method {self.method} trains on the stored images themselves: set decode.factor to 1, or use idc, dream or idm"
            )
        return self

    @property
    def classes_apart(self) -> bool:
        """Whether what becomes of a class's images depends on no other class's: no network is trained on the synthetic set."""
        return self.method in ("dm", *KERNEL_METHODS) or (self.method in ("dc", "dsa") and self.outer_loops == 1)


class ReportConfig(Frozen):
    """The page."""

    samples_per_class: Positive = 8
    """Kept and dropped samples shown per class."""
    max_classes: Positive = 10
    """Classes shown in pictures; tables hold all of them."""


class PipelineConfig(Frozen):
    """The whole pipeline. Set the dials; whatever else is not set is derived from them."""

    dataset: Source = "digits"
    """Real data set."""
    method: MethodName = "dm"
    """Distillation method."""
    ipc: Positive = 1
    """Synthetic images per class."""
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of each class that static pruning keeps (1 - alpha)."""
    beta: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of candidates that adaptive pruning drops."""
    seed: int = 0
    """Seed of everything."""
    gpu: GpuArithmetic = "float32"
    """Arithmetic on a GPU: float32, products in TensorFloat-32 (tf32), or these with channels last in memory. A CPU computes
    in float32 anyway."""
    experiments: Positive = 1
    """Independently seeded distillations per arm."""
    arms: Annotated[tuple[Arm, ...], Field(min_length=1)] = ("unpruned", "bilp")
    """Which prunings are compared: none, static alone, adaptive alone, both (bilp)."""
    recipe: str | None = None
    """Recipe to start from: a name in recipes/ or the path of a YAML file."""
    ingest: IngestConfig = IngestConfig()
    """Settings of ingestion."""
    score: ScoreConfig = ScoreConfig()
    """Settings of static scoring."""
    prune: PruneConfig = PruneConfig()
    """Settings of static pruning."""
    experts: ExpertsConfig = ExpertsConfig()
    """Settings of the experts, which only mtt and tesla need."""
    reselect: ReselectConfig = ReselectConfig()
    """Settings of adaptive pruning."""
    distill: DistillConfig = DistillConfig()
    """Settings of distillation."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Settings of evaluation."""
    report: ReportConfig = ReportConfig()
    """Settings of the page."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """As for every model, and the recipes that come with the program are a choice."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        recipe = handler.resolve_ref_schema(schema)["properties"]["recipe"]
        usable = [name for name in recipe_names() if _usable(name)]
        recipe |= {"type": "string", "enum": usable, "description": "Recipe to start from; what is set here goes first."}
        del recipe["anyOf"]
        return schema

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        return complete(given).values if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _dials_agree(self) -> Self:
        pairs = {
            "dataset": (self.dataset, "ingest.source", self.ingest.source),
            "method": (self.method, "distill.method", self.distill.method),
            "ipc": (self.ipc, "distill.ipc", self.distill.ipc),
            "keep": (self.keep, "prune.keep", self.prune.keep),
            "beta": (self.beta, "reselect.beta", self.reselect.beta),
        }
        for dial, (value, path, derived) in pairs.items():
            if value != derived:
                raise ValueError(f"{dial} = {value!r} contradicts {path} = {derived!r}: set only {dial}")
        pool = self.evaluate.pool
        if pool is not None and self.evaluate.networks != networks_of(pool, self.distill.network):
            raise ValueError(f"evaluate.pool = {pool!r} contradicts evaluate.networks: set only one of them")
        needed = measure_of(self.prune.criterion)
        if needed is not None and self.score.measure != needed:
            wrong = f"prune.criterion {self.prune.criterion} contradicts score.measure = {self.score.measure!r}"
            raise ValueError(f"{wrong}: set only prune.criterion")
        if self.prune.criterion == "grand" and self.score.gradient_norm == "off":
            raise ValueError("prune.criterion grand contradicts score.gradient_norm = 'off': set it to last_layer or all")
        if len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms {list(self.arms)} names one twice: name each once")
        return self

    @model_validator(mode="after")
    def _method_can(self) -> Self:
        if self.ingest.whitening != "none" and self.method in DECODING_METHODS:
            raise ValueError(
                f"method {self.method} decodes images and steps them as pixels, which whitened ones are not: set ingest.whitening to none"
            )
        if self.method not in TRAJECTORY_METHODS:
            return self
        if "adaptive" in self.arms:
            raise ValueError(
                f"arm adaptive does not apply to method {self.method}, which meets real samples only through its experts: "
                "use arm static (bilp prunes statically alone here)"
            )
        needed = self.distill.trajectory.needed_epochs
        if needed > self.experts.epochs:
            raise ValueError(
                f"distill.trajectory needs experts of {needed} epochs (max_start + expert_epochs), but experts.epochs = "
                f"{self.experts.epochs}: train them longer or lower max_start"
            )
        return self


def _usable(recipe: str) -> bool:
    """Whether method and dataset of a recipe exist here; published cells of others wait for theirs."""
    values = load_recipe(recipe)
    return values.get("method", "dm") in get_args(MethodName) and values.get("dataset", "digits") in get_args(Source)
