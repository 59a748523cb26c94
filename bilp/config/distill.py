"""Settings of distillation: the method, its schedule and its network."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from bilp.config.augmentations import ALL_FAMILIES, AugmentFamily
from bilp.config.base import SHARED, Count, Fraction, Frozen, GpuArithmetic, GpuRevision, MethodName, Positive, Rate, Seed, Several
from bilp.config.decode import DecodeConfig
from bilp.config.defaults import method_values
from bilp.config.dials import Dials, read
from bilp.config.methods import DEFAULT_METHOD, METHODS, divisible, either, names_of
from bilp.config.methods.cafe import AlignmentConfig
from bilp.config.methods.ccfs import CoarseToFineConfig
from bilp.config.methods.datm import DifficultyConfig
from bilp.config.methods.fadrm import ResidualConfig
from bilp.config.methods.frepo import FeatureRegressionConfig
from bilp.config.methods.haba import HallucinatorsConfig
from bilp.config.methods.idc import DreamConfig, IdcConfig
from bilp.config.methods.idm import IdmConfig
from bilp.config.methods.inversion import ClassStatisticsConfig, InversionConfig
from bilp.config.methods.lgm import LinearConfig
from bilp.config.methods.linba import MemoriesConfig
from bilp.config.methods.ncfm import CharacteristicConfig
from bilp.config.methods.plugin import PluginSettings
from bilp.config.methods.pretrained import PretrainedConfig
from bilp.config.methods.rded import PatchesConfig
from bilp.config.methods.rfad import RandomFeaturesConfig
from bilp.config.methods.spec import PLUGIN, PluginConfig, StartsFromPretrained
from bilp.config.methods.trajectory import TrajectoryConfig
from bilp.config.nested import as_plain
from bilp.config.network import NetworkConfig
from bilp.config.real_part import RealPartConfig
from bilp.config.real_passes import DEFAULT_REAL_PASS, RealPassName
from bilp.config.standalone import refuse_what_is_left_out


class DistillConfig(Frozen):
    """Distillation: a method is what is compared plus what trains the network."""

    later = frozenset(
        {
            *(PLUGIN, "real_pass", "gpu_revision", "keep_rounds", "characteristic", "patches", "linear", "difficulty"),
            *("inversion", "class_statistics", "memories", "hallucinators", "regression", "random_features", "real_part"),
            *("residual", "coarse_to_fine", "teacher_samples"),
        }
    )
    by_rule = SHARED | {
        *("method", "ipc", "iterations", "rounds", "init", "augment", "batch_real", "learning_rate", "outer_loops", "inner_epochs"),
        *("batch_train", "network_learning_rate"),
    }

    method: MethodName = DEFAULT_METHOD
    """Matching of distributions (dm, idm), gradients (dc, dsa; idc, dream), trajectories (mtt, tesla, datm, pad, haba, selmatch), features
    (cafe, ncfm) or gradients of linear classifiers (lgm); the loss on real images after a training (linba); kernel regression from the
    synthetic images to real ones (frepo, rfad); inversion of a teacher (sre2l, cda, lpld, fadrm); crops of real images that a teacher
    recognizes (rded, ca2d); or real images that a small set teaches wrongly (ccfs)."""
    ipc: Positive = 1
    """Synthetic images per class."""
    iterations: Positive = 1000
    """Iterations; each draws a new random network. Of rded and ca2d: crops of each real image. Of ccfs: rounds that
    add real images."""
    rounds: Positive = 10
    """The iterations are cut into rounds; each starts with a reselection and ends with a checkpoint."""
    keep_rounds: Positive | Literal["all"] = "all"
    """Rounds that keep their checkpoint: all, or so many, which are the last ones and, from two on, the first. No result depends on it."""
    shards: Positive = 1
    """Parts into which the classes are divided, each a unit for any worker; for dm, idc, dream, ncfm, rded, ca2d, lpld, and dc or dsa with
    one outer loop."""
    init: Literal["real", "noise", "kmeans", "recognized"] = "real"
    """Synthetic images start as real samples, as Gaussian noise, as the real samples nearest to the centers of clusters, or as real
    samples that an expert classifies correctly."""
    augment: tuple[AugmentFamily, ...] = ALL_FAMILIES
    """Families of differentiable siamese augmentation; empty switches it off."""
    batch_real: Several = 256
    """Real samples per class and iteration."""
    real_pass: RealPassName = DEFAULT_REAL_PASS
    """How real samples pass the network to their mean: float32, by code compiled for this CPU (dm), or in bfloat16 (dm, dc, dsa)."""
    teacher_samples: Literal["all", "kept"] | None = None
    """What a teacher that the run asks has learned: all samples, so that one serves all arms, or those that static pruning keeps; empty
    is kept where the teacher is inverted (sre2l, cda, lpld, fadrm), else all."""
    learning_rate: Rate = 1.0
    """Step size of the synthetic images: of SGD, of Adam (lgm, sre2l, cda, lpld, fadrm), of LAMB (frepo), of AdaBelief (rfad), or of what
    characteristic.optimizer names (ncfm)."""
    momentum: Fraction = 0.5
    """Momentum of SGD on the synthetic images, of linba on memories and coefficients. That of haba is hallucinators.momentum; lgm, sre2l,
    cda, lpld, fadrm, frepo and rfad have none."""
    outer_loops: Positive = 1
    """Image steps per network: of gradient matching (IDC and DREAM call them inner), and of ncfm, whose real batches stand meanwhile."""
    inner_epochs: Count = 1
    """Gradient matching: epochs on the synthetic set between two image steps."""
    network_learning_rate: Rate = 0.01
    """Step size of the network's training."""
    batch_train: Positive = 256
    """Mini-batch of the network's training: dc, dsa and frepo on the synthetic set, idc, dream and idm on real images."""
    network: NetworkConfig = NetworkConfig()
    """Network whose features, gradients or trajectories are matched."""
    decode: DecodeConfig = DecodeConfig()
    """How a stored image becomes those that are trained on; idc, dream, idm and ncfm alone."""
    idc: IdcConfig = IdcConfig()
    """Settings of idc and dream; of lgm, which takes its encoders from idc.pretrained."""
    dream: DreamConfig = DreamConfig()
    """Settings of dream alone."""
    idm: IdmConfig = IdmConfig()
    """Settings of idm alone."""
    trajectory: TrajectoryConfig = TrajectoryConfig()
    """Settings of mtt, tesla, datm, pad and selmatch, and of the trainings of haba."""
    difficulty: DifficultyConfig = DifficultyConfig()
    """Settings of datm and pad alone."""
    alignment: AlignmentConfig = AlignmentConfig()
    """Settings of cafe alone."""
    characteristic: CharacteristicConfig = CharacteristicConfig()
    """Settings of ncfm alone."""
    patches: PatchesConfig = PatchesConfig()
    """Settings of rded, ca2d and fadrm alone; of fadrm, residual.crops are its crops and inversion has its labels."""
    linear: LinearConfig = LinearConfig()
    """Settings of lgm alone."""
    inversion: InversionConfig = InversionConfig()
    """Settings of sre2l, cda, lpld and fadrm alone."""
    class_statistics: ClassStatisticsConfig = ClassStatisticsConfig()
    """Settings of lpld alone."""
    residual: ResidualConfig = ResidualConfig()
    """Settings of fadrm alone."""
    memories: MemoriesConfig = MemoriesConfig()
    """Settings of linba alone."""
    hallucinators: HallucinatorsConfig = HallucinatorsConfig()
    """Settings of haba alone."""
    regression: FeatureRegressionConfig = FeatureRegressionConfig()
    """Settings of frepo alone."""
    random_features: RandomFeaturesConfig = RandomFeaturesConfig()
    """Settings of rfad alone."""
    real_part: RealPartConfig = RealPartConfig()
    """Real images in the set that stay as they are."""
    coarse_to_fine: CoarseToFineConfig = CoarseToFineConfig()
    """Settings of ccfs alone."""
    plugin: PluginSettings = Field(default=PluginConfig(), validate_default=True)  # its defaults, in the model of the method
    """Settings of a method that another package offers; no other method has any."""
    gpu: GpuArithmetic = "float32"
    gpu_revision: GpuRevision = 0
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
        method = METHODS[self.method]
        if method.augmentation == "none" and self.augment:
            other = f"use method {method.augmented_as}, or " if method.augmented_as else ""
            raise ValueError(f"method {self.method} matches without augmentation: {other}set augment to an empty list")
        if self.init == "recognized" and not method.needs_experts:
            others = either(names_of(lambda other: other.needs_experts))
            raise ValueError(f"init recognized asks experts, which method {self.method} has none of: set init to real, or use {others}")
        if self.real_pass not in method.real_passes:
            raise ValueError(
                f"method {self.method} does not take real samples through the network by real_pass {self.real_pass}: "
                f"set real_pass to {' or '.join(method.real_passes)}"
            )
        if self.shards > 1 and not method.independent(self):
            looped = "".join(f" with {name} = {getattr(self, name)}" for name in method.independent_with or ())
            raise ValueError(
                f"shards = {self.shards} divides classes that meet in method {self.method}{looped}: set shards to 1, or use {divisible()}"
            )
        self._refuse_pretrained_of_others()
        if self.linear.weights is not None and self.idc.pretrained.networks > 0:
            raise ValueError(
                f"linear.weights supplies the encoder, and idc.pretrained.networks = {self.idc.pretrained.networks} trains others: "
                "set networks to 0"
            )
        self._refuse_an_impossible_real_part()
        if self.decode.factor > 1 and not method.decodes:
            others = either(names_of(lambda other: other.decodes))
            raise ValueError(f"method {self.method} trains on the stored images themselves: set decode.factor to 1, or use {others}")
        return self

    def _refuse_an_impossible_real_part(self) -> None:
        part = self.real_part
        if not part.active:
            return
        if not METHODS[self.method].real_part:
            others = either(names_of(lambda other: other.real_part))
            raise ValueError(f"method {self.method} has no real part: leave distill.real_part out, or use {others}")
        if part.real(self.ipc) >= self.ipc:
            raise ValueError(f"real_part.share = {part.share:g} makes all of {self.ipc} images of a class real: lower it, or raise ipc")
        if part.share > 0 and self.decode.factor > 1:
            raise ValueError(
                f"real_part.share = {part.share:g} keeps real images as they are, and with decode.factor = {self.decode.factor} a stored "
                "image stands for several: set decode.factor to 1"
            )
        if part.window is not None and self.init != "real":
            raise ValueError(f"real_part.window says which real images a set starts from, so init = {self.init} cannot: set init to real")

    def _refuse_pretrained_of_others(self) -> None:
        own = METHODS[self.method].pretrained
        fields = [name for name, value in self if isinstance(getattr(value, "pretrained", None), PretrainedConfig)]
        for field in sorted(set(fields) - {own}):
            if getattr(self, field).pretrained.networks > 0:
                others = either(names_of(lambda other, field=field: other.pretrained == field))  # type: ignore[misc]
                which = "other" if own else "no"
                raise ValueError(
                    f"method {self.method} starts from {which} pretrained networks: set {field}.pretrained.networks to 0, or use {others}"
                )

    @property
    def starting(self) -> StartsFromPretrained | None:
        """The settings of the method that say which networks are trained beforehand; None if it can start from none."""
        field = METHODS[self.method].pretrained
        found: StartsFromPretrained | None = getattr(self, field) if field else None
        return found

    @property
    def has_real_part(self) -> bool:
        """Whether some images of its sets are real ones."""
        return METHODS[self.method].adds_real or self.real_part.share > 0

    @property
    def pruned_teacher(self) -> bool:
        """Whether a teacher has learned the samples that static pruning keeps, and no others."""
        return METHODS[self.method].inverts_teacher if self.teacher_samples is None else self.teacher_samples == "kept"

    @property
    def ranks(self) -> bool:
        """Whether real samples have to be ranked by how hard they are (`bilp.pruning.difficulty`)."""
        return METHODS[self.method].needs_ranking or self.real_part.window is not None

    @property
    def pretrained(self) -> PretrainedConfig:
        """The networks that are trained beforehand; none where the method starts from none."""
        starting = self.starting
        return PretrainedConfig() if starting is None else starting.pretrained
