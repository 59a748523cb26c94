"""Every setting of every stage, as frozen pydantic models.

The same models are the Python API, the command line, the recipe files and the form in the Prefect UI. A stage
function of bilp takes only its own model, every value of which is concrete. `PipelineConfig` joins them: a user sets
a few dials (`dataset`, `method`, `ipc`, `keep`, `beta`, `seed`) and may set any other value; the rest is derived in
`bilp.defaults`, which can also say where each value came from.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bilp.defaults import complete, recipe_names
from bilp.fields import AugmentFamily as AugmentFamily
from bilp.fields import Fraction, Positive, Rate
from bilp.fields import Frozen as Frozen
from bilp.method_config import AlignmentConfig as AlignmentConfig
from bilp.method_config import ExpertsConfig as ExpertsConfig
from bilp.method_config import TrajectoryConfig as TrajectoryConfig

Source = Literal["digits", "mnist", "fashion_mnist", "svhn", "cifar10", "cifar100", "folder", "parquet"]
MethodName = Literal["dm", "dc", "dsa", "mtt", "tesla", "cafe"]
NetworkName = Literal["convnet", "mlp", "lenet", "alexnet", "vgg11", "resnet18"]
Criterion = Literal["loss_init", "loss_converge", "random", "external"]
Arm = Literal["unpruned", "static", "adaptive", "bilp"]
Baseline = Literal["full", "random"]

# Real samples reach these methods only through the trajectories of experts, so none has a causal effect of its own.
TRAJECTORY_METHODS: tuple[MethodName, ...] = ("mtt", "tesla")


class NetworkConfig(Frozen):
    """A network of the distillation papers; `width`, `depth`, `norm`, `activation` and `pooling` shape the ConvNet."""

    name: NetworkName = "convnet"
    """Architecture."""
    width: Positive = 128
    """Channels of each ConvNet block."""
    depth: Annotated[int, Field(ge=1, le=8)] = 3
    """Number of ConvNet blocks; each halves the resolution unless pooling is none."""
    norm: Literal["instance", "batch", "layer", "group", "none"] = "instance"
    """Normalisation after each convolution. Batch norm couples samples and is frozen before matching."""
    activation: Literal["relu", "leaky_relu", "sigmoid", "swish"] = "relu"
    """Activation after each normalisation."""
    pooling: Literal["avg", "max", "none"] = "avg"
    """Pooling at the end of each ConvNet block."""


class IngestConfig(Frozen):
    """Where the real images come from and how they become one canonical uint8 store."""

    source: Source = "digits"
    """Name of a built-in data set, or the kind of your own: an image folder or Parquet in the Hugging Face layout."""
    uri: str | None = None
    """Where a folder or Parquet source lies (a path or s3://...)."""
    resolution: Positive | None = None
    """Side in pixels that images are resized to (shorter side, then centre crop); empty keeps the source's own size."""
    colour: Literal["auto", "grey", "rgb"] = "auto"
    """Stored colour; auto keeps grey only if every image is grey."""
    on_corrupt: Literal["refuse", "skip"] = "refuse"
    """What to do when files cannot be decoded: refuse with the full list, or skip them and keep the list as a ledger."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of each class held out for testing when the source has no test split of its own."""
    split_seed: int = 0
    """Seed of that split."""

    @model_validator(mode="after")
    def _uri_fits_source(self) -> Self:
        needs = self.source in ("folder", "parquet")
        if needs and not self.uri:
            raise ValueError(f"source {self.source!r} needs uri: give the path or s3:// URI of the data")
        if self.uri and not needs:
            raise ValueError(f"source {self.source!r} brings its own data: remove uri, or set source to folder or parquet")
        return self


class ScoreConfig(Frozen):
    """Static scoring: short training trials that record every sample's loss after every epoch."""

    trials: Positive = 5
    """Independently seeded trainings; their spread is the uncertainty of a score."""
    epochs: Positive = 5
    """Epochs of each trial."""
    init_epochs: Positive = 5
    """loss_init is the mean loss after the first init_epochs epochs."""
    converge_epochs: Positive = 1
    """loss_converge is the mean loss after the last converge_epochs epochs."""
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
    seed: int = 0
    """Seed of the trials (trial k uses its own stream)."""

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        for name in ("init_epochs", "converge_epochs"):
            if getattr(self, name) > self.epochs:
                raise ValueError(f"{name} = {getattr(self, name)} exceeds epochs = {self.epochs}: lower it or train longer")
        return self


class PruneConfig(Frozen):
    """Static pruning: which samples of each class survive their score."""

    criterion: Criterion = "loss_init"
    """Score that ranks the samples; random is the control, external reads a published list."""
    drop: Literal["high", "low"] = "high"
    """Which end of the ranking is dropped; the paper drops high losses."""
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of each class that is kept (1 - alpha)."""
    band: tuple[Fraction, Fraction] | None = None
    """Keep this percentile band of the ascending ranking instead, such as [0.1, 0.6]; overrides keep and drop."""
    per_class: bool = True
    """Rank within each class; false ranks the whole set at once (can unbalance classes)."""
    minimum_per_class: Positive = 2
    """Refuse a selection that leaves a class with fewer samples."""
    score_list: str | None = None
    """URI of a JSON list of numbers in data set order (the format of the paper's preview code), for criterion external."""
    seed: int = 0
    """Seed of criterion random."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.criterion == "external") != (self.score_list is not None):
            raise ValueError("criterion external and score_list belong together: set both or neither")
        if self.band is not None and not self.band[0] < self.band[1]:
            raise ValueError(f"band {list(self.band)} is empty: the first value must be below the second")
        return self


class ReselectConfig(Frozen):
    """Adaptive pruning: samples are reselected by their causal effect (ITE) while distilling."""

    beta: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of the candidates dropped at each reselection, both tails together; 0 switches reselection off."""
    low_share: Fraction = 0.5
    """Part of beta taken from the smallest effects; the rest is taken from the largest."""
    interval: Annotated[int, Field(ge=0)] = 0
    """Iterations for which a decision taken inside a round stands; 0 decides at the boundaries of rounds only."""
    candidates_per_class: Annotated[int, Field(ge=2)] | None = None
    """Samples per class whose effect is measured at the boundary of a round, in turns; empty measures all of them."""
    networks: Positive = 1
    """Networks, drawn from the method's own distribution, over which a boundary effect is averaged."""
    threshold: Literal["normal", "quantile"] = "normal"
    """Thresholds from running mean and variance of the log effect (the paper's), or the empirical quantile."""
    momentum: Fraction = 0.9
    """Momentum of the running statistics."""
    minimum_per_class: Positive = 2
    """Candidates that always remain in a class."""
    estimator: Literal["auto", "oracle", "cotangent"] = "auto"
    """How the effect is computed; auto takes the exact cotangent form, oracle leaves samples out one by one."""


class DistillConfig(Frozen):
    """Distillation: a method is what is compared plus what trains the network."""

    method: MethodName = "dm"
    """Matching of distributions (dm), gradients (dc, with augmentation dsa), trajectories (mtt, tesla) or features (cafe)."""
    ipc: Positive = 1
    """Synthetic images per class."""
    iterations: Positive = 1000
    """Iterations; each draws a new random network."""
    rounds: Positive = 10
    """The iterations are cut into rounds; each starts with a reselection and ends with a checkpoint."""
    init: Literal["real", "noise"] = "real"
    """Synthetic images start as real samples of their class or as Gaussian noise."""
    augment: tuple[AugmentFamily, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")
    """Families of differentiable siamese augmentation; empty switches it off."""
    batch_real: Annotated[int, Field(ge=2)] = 256
    """Real samples per class and iteration."""
    learning_rate: Rate = 1.0
    """Step size of SGD on the synthetic images."""
    momentum: Fraction = 0.5
    """Momentum of SGD on the synthetic images."""
    outer_loops: Positive = 1
    """Gradient matching: image steps per network."""
    inner_epochs: Annotated[int, Field(ge=0)] = 1
    """Gradient matching: epochs on the synthetic set between two image steps."""
    network_learning_rate: Rate = 0.01
    """Gradient matching: step size of the network."""
    batch_train: Positive = 256
    """Gradient matching: mini-batch of the network's training on the synthetic set."""
    network: NetworkConfig = NetworkConfig()
    """Network whose features, gradients or trajectories are matched."""
    trajectory: TrajectoryConfig = TrajectoryConfig()
    """Settings of mtt and tesla alone."""
    alignment: AlignmentConfig = AlignmentConfig()
    """Settings of cafe alone."""
    seed: int = 0
    """Seed of networks, batches, augmentation and initial images."""

    @model_validator(mode="after")
    def _rounds_fit(self) -> Self:
        if self.rounds > self.iterations:
            raise ValueError(f"rounds = {self.rounds} exceeds iterations = {self.iterations}: lower rounds")
        if self.method == "dc" and self.augment:
            raise ValueError("method dc matches without augmentation: use method dsa, or set augment to an empty list")
        return self


class EvaluateConfig(Frozen):
    """Evaluation: fresh networks are trained on a set and tested on the real test split."""

    networks: Annotated[tuple[NetworkConfig, ...], Field(min_length=1)] = (NetworkConfig(),)
    """Architectures to train."""
    seeds: Annotated[int, Field(ge=2)] = 5
    """Trainings per architecture and set; the 95 % interval is over them."""
    epochs: Positive = 300
    """Passes over the synthetic set."""
    full_epochs: Positive = 30
    """Passes over the real training set, for the baseline full."""
    batch_size: Positive = 256
    """Mini-batch."""
    learning_rate: Rate = 0.01
    """Step size of SGD; a tenth of it in the second half."""
    learned_rate: bool = True
    """Train on a synthetic set with the step size that was learned with it (mtt, tesla) instead of learning_rate."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Weight decay of SGD."""
    augment: tuple[AugmentFamily, ...] = ()
    """Augmentation while training, fresh parameters per image; empty is none."""
    baselines: tuple[Baseline, ...] = ("full", "random")
    """Comparisons: all real data, and a random subset of the synthetic set's size (a new one per seed)."""
    seed: int = 0
    """Seed of networks, order and subsets."""


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
        recipe |= {"type": "string", "enum": recipe_names(), "description": "Recipe to start from; what is set here goes first."}
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
        if len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms {list(self.arms)} names one twice: name each once")
        return self

    @model_validator(mode="after")
    def _method_can(self) -> Self:
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
