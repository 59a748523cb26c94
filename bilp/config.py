"""Every setting of every stage, as frozen pydantic models.

The same models are the Python API, the command line, the recipe files and the form in the Prefect UI. A stage
function of bilp takes only its own model, every value of which is concrete. `PipelineConfig` joins them: a user sets
a few dials (`dataset`, `method`, `ipc`, `keep`, `beta`, `seed`) and may set any other value; the rest is derived in
`bilp.defaults`, which can also say where each value came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, GetJsonSchemaHandler, ModelWrapValidatorHandler, PrivateAttr, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bilp.criterion_facts import Criterion as Criterion
from bilp.criterion_facts import measure_of
from bilp.decode_config import DecodeConfig, DreamConfig, IdcConfig, IdmConfig
from bilp.defaults import DIAL_PATHS, KnownOrigins, complete, method_values
from bilp.dials import Dials, RecipeDataset, read
from bilp.evaluate_config import Baseline as Baseline
from bilp.evaluate_config import EvaluateConfig as EvaluateConfig
from bilp.evaluate_config import TeacherConfig as TeacherConfig
from bilp.evaluate_config import networks_of
from bilp.fields import SHARED, Count, Dropped, Fraction, GpuArithmetic, Kept, Location, NoneIsAChoice, Positive, Rate, Seed, Several, Text
from bilp.fields import AugmentFamily as AugmentFamily
from bilp.fields import Frozen as Frozen
from bilp.fields import MethodName as MethodName
from bilp.fields import Protocol as Protocol
from bilp.fields import Source as Source
from bilp.method_config import AlignmentConfig as AlignmentConfig
from bilp.method_config import ExpertsConfig as ExpertsConfig
from bilp.method_config import TrajectoryConfig as TrajectoryConfig
from bilp.nested import as_plain
from bilp.network_config import NetworkConfig as NetworkConfig
from bilp.network_config import NetworkName as NetworkName
from bilp.prune_config import PruneConfig as PruneConfig
from bilp.prune_config import ScoreConfig as ScoreConfig
from bilp.recipe_files import load_recipe, recipe_names
from bilp.reselect_config import ReselectConfig as ReselectConfig
from bilp.reselect_config import ScoreName as ScoreName
from bilp.standalone import refuse_what_is_left_out
from bilp.uris import refuse_secrets

Normalization = Literal["auto", "measured", "mnist", "fashion_mnist", "svhn", "cifar10", "cifar100", "imagenet"]
Arm = Literal["unpruned", "static", "adaptive", "bilp"]

# Settings that only some sources read, with these sources; others would pass them over in silence.
_READ_BY: dict[str, tuple[Source, ...]] = {
    **dict.fromkeys(("train", "test", "classes"), ("folder", "parquet")),
    **dict.fromkeys(("config", "image_column", "label_column"), ("parquet",)),
}

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

    by_rule = frozenset({"source", "whitening"})

    source: Source = "digits"
    """Name of a built-in data set, or the kind of your own: an image folder or Parquet in the Hugging Face layout."""
    uri: Location | None = None
    """Where a folder or Parquet source lies (a path or s3://...)."""
    train: Text | None = None
    """Folder or file pattern below uri that holds the training images, where their names do not tell."""
    test: Text | None = None
    """Likewise for the test images; held_out makes a test split out of the training images, whatever else there is."""
    config: Text | None = None
    """Configuration (folder) of a Parquet source that holds several."""
    image_column: Text | None = None
    """Column of the images in a Parquet source, where several could be meant or its name is unusual."""
    label_column: Text | None = None
    """Column of the labels in a Parquet source, where several could be meant or its name is unusual."""
    classes: tuple[Text, ...] = ()
    """Classes that are taken, in this order; empty takes all that are found, sorted."""
    resolution: Positive | None = None
    """Side in pixels that images are resized to (shorter side, then centre crop); empty keeps the source's own size."""
    colour: Literal["auto", "grey", "rgb"] = "auto"
    """Stored colour; auto keeps grey only if every image is grey."""
    on_corrupt: Literal["refuse", "skip"] = "refuse"
    """What to do when files cannot be decoded: refuse with the full list, or skip them and keep the list as a ledger."""
    duplicates: Literal["keep", "drop"] = "keep"
    """Images with equal pixels: keep them; or drop repeats in a class, pictures in several classes, training images found in test."""
    bits: Annotated[int, Field(ge=9, le=16)] | None = None
    """Depth of 16-bit grey images: 12 for data of 0..4095 in 16-bit files; empty reads them as 0..65535."""
    max_pixels: Positive | None = None
    """Largest width x height of an image that is decoded; empty takes what decodes within 640 MiB, at most 178,956,970."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of each class held out for testing when the source has no test split of its own."""
    split_seed: int = 0
    """Seed of that split."""
    normalization: Normalization = "auto"
    """Mean and standard deviation of the channels: auto takes the published ones of a known data set and measures others;
    measured always measures; a name takes the published ones of that data set."""
    whitening: Annotated[Literal["none", "zca"], NoneIsAChoice] = "none"
    """What becomes of pixels in [0, 1]: they are normalised, or whitened by ZCA of the training images (some cells of mtt, tesla)."""
    whitening_epsilon: Rate = 0.1
    """What is added to the eigenvalues of their covariance before its root is taken."""

    @model_validator(mode="after")
    def _uri_fits_source(self) -> Self:
        needs = self.source in ("folder", "parquet")
        if needs and not self.uri:
            raise ValueError(f"source {self.source!r} needs uri: give the path or s3:// URI of the data")
        if self.uri and not needs:
            raise ValueError(f"source {self.source!r} brings its own data: remove uri, or set source to folder or parquet")
        unread = [name for name, sources in _READ_BY.items() if getattr(self, name) and self.source not in sources]
        if unread:
            readers = " or ".join(source for source in get_args(Source) if all(source in _READ_BY[name] for name in unread))
            raise ValueError(f"source {self.source!r} does not read {', '.join(unread)}: remove that, or set source to {readers}")
        return self


class DistillConfig(Frozen):
    """Distillation: a method is what is compared plus what trains the network."""

    by_rule = SHARED | {
        *("method", "ipc", "iterations", "rounds", "init", "augment", "batch_real", "learning_rate", "outer_loops", "inner_epochs"),
        "batch_train",
    }

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
    batch_real: Several = 256
    """Real samples per class and iteration."""
    learning_rate: Rate = 1.0
    """Step size of SGD on the synthetic images."""
    momentum: Fraction = 0.5
    """Momentum of SGD on the synthetic images."""
    outer_loops: Positive = 1
    """Gradient matching: image steps per network (IDC and DREAM call them inner)."""
    inner_epochs: Count = 1
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
    seed: Seed = 0
    """Seed of networks, batches, augmentation and initial images."""

    @model_validator(mode="before")
    @classmethod
    def _method_decides(cls, given: Any) -> Any:
        plain = as_plain(given) if isinstance(given, dict) else {}
        dials = read(Dials, {**plain, "distill": plain})
        if any(name in plain and name not in dials.model_fields_set for name in ("method", "ipc")):
            return given  # what is wrong with these is said by name, and nobody knows what they would decide
        rules = method_values(dials)["distill"]
        source = f"bilp.settings(dataset=..., method={dials.method!r}, ipc={dials.ipc}).distill"
        refuse_what_is_left_out(cls, given, rules, f"method {dials.method} at ipc {dials.ipc}", source)
        return given

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
                f"method {self.method} starts from no pretrained networks: set idc.pretrained.networks to 0, or use idc or dream"
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

    later = frozenset({"recipe_dataset"})
    by_rule = frozenset({"keep", "beta"})

    dataset: Source = "digits"
    """Real data set."""
    method: MethodName = "dm"
    """Distillation method."""
    ipc: Positive = 1
    """Synthetic images per class."""
    keep: Kept = 0.5
    """Share of each class that static pruning keeps (1 - alpha)."""
    beta: Dropped = 0.1
    """Share of candidates that adaptive pruning drops."""
    seed: Seed = 0
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
    recipe_dataset: RecipeDataset = "same"
    """Data set that a recipe for one of the built-in ones may meet: the same, or any, with settings that were made for another."""
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
    distill: DistillConfig = Field(default_factory=lambda: PipelineConfig().distill)  # always handed in by _fill_in
    """Settings of distillation."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Settings of evaluation."""
    report: ReportConfig = ReportConfig()
    """Settings of the page."""
    _known: KnownOrigins = PrivateAttr(default_factory=KnownOrigins)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """As for every model, and the recipes that come with the program are a choice."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        recipe = handler.resolve_ref_schema(schema)["properties"]["recipe"]
        told = "Recipe to start from. What it says goes before the defaults told here, and what is set here goes before the recipe."
        recipe |= {"type": "string", "enum": list(_usable_recipes()), "description": told}
        del recipe["anyOf"]
        return schema

    @model_validator(mode="wrap")
    @classmethod
    def _fill_in(cls, given: Any, validated: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, dict):
            return validated(given)
        refuse_secrets(given)  # here already, because what pydantic says of any wrong value repeats what stands beside it
        completion = complete(given)
        refuse_secrets(completion.values)
        config = validated(completion.values)
        config._known = KnownOrigins(completion.origins)
        return config

    @model_validator(mode="after")
    def _dials_agree(self) -> Self:
        for dial, (path, *others) in DIAL_PATHS.items():
            value, derived = getattr(self, dial), attrgetter(path)(self)
            if not others and value != derived:  # those of several stages may differ among them
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
        for name, compared in (("arms", self.arms), ("evaluate.baselines", self.evaluate.baselines)):
            if len(set(compared)) != len(compared):  # its trainings would count twice
                raise ValueError(f"{name} {list(compared)} names one twice: name each once")
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

    @property
    def origins(self) -> Mapping[str, str] | None:
        """Where each value came from, by path ("given", a rule, a recipe; no entry is the default); None if that is not known."""
        return self._known.by_path

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As of every model; nobody knows where the values of a changed copy came from."""
        copy = super().model_copy(update=update, deep=deep)
        if update:
            copy._known = KnownOrigins()
        return copy


def settings(**given: Any) -> PipelineConfig:
    """The whole configuration that some dials and settings lead to: `settings(dataset="cifar10", method="mtt").distill`.

    Stages are mappings: `settings(dataset="digits", score={"trials": 3}).score`.
    Raises pydantic's ValidationError, as PipelineConfig does, and ImpossibleUri for an address that holds a login or a signature.
    """
    return PipelineConfig.model_validate(given)


@cache
def _usable_recipes() -> tuple[str, ...]:
    """The recipes whose method and dataset exist here; published cells of others wait for theirs."""
    stated = ((name, load_recipe(name)) for name in recipe_names())
    known = ((name, values.get("method", "dm"), values.get("dataset", "digits")) for name, values in stated)
    return tuple(name for name, method, dataset in known if method in get_args(MethodName) and dataset in get_args(Source))
