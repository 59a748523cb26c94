"""Settings of evaluation: which networks are trained on a set, how, and what they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bilp.config.augmentations import AugmentFamily, ImageOperation
from bilp.config.base import (
    SHARED,
    Dropped,
    Fraction,
    Frozen,
    GpuArithmetic,
    GpuRevision,
    Location,
    NoneIsAChoice,
    Positive,
    ProtocolName,
    Rate,
    Seed,
    Several,
)
from bilp.config.baselines import ALL_REAL, RANDOM_REAL, BaselineName
from bilp.config.encoder import EncoderConfig
from bilp.config.former import Former
from bilp.config.labels import HARD, LABELS, LabelName
from bilp.config.network import NETWORKS, POOLS, NetworkConfig, Networks, PoolName
from bilp.config.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from bilp.config.sources import UNKNOWN_DATA
from bilp.config.standalone import refuse_what_is_left_out


def _pooled(known: dict[str, Any]) -> tuple[NetworkConfig, ...]:
    pool = known.get("pool")
    return networks_of(pool, NetworkConfig()) if pool else (NetworkConfig(),)


def networks_of(pool: str, own: NetworkConfig) -> tuple[NetworkConfig, ...]:
    """The networks of a cross-architecture pool; `own` is the one that distilled."""
    return tuple(NetworkConfig.model_validate(settings) for settings in POOLS[pool].networks(own.model_dump()))


class TeacherConfig(Frozen):
    """A network trained on all real data: it gives soft labels, and the features by which herding and k-center choose."""

    later: ClassVar[frozenset[str]] = frozenset({"gpu_revision", "file", "checksum", "infobatch"})
    by_rule: ClassVar[frozenset[str]] = frozenset({"gpu", "gpu_revision"})

    network: NetworkConfig = NetworkConfig()
    """Its architecture."""
    epochs: Positive = 20
    """Passes over the real training set."""
    batch_size: Positive = 256
    """Mini-batch."""
    learning_rate: Rate = 0.01
    """Step size of SGD; a tenth of it in the second half."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Weight decay of SGD."""
    augment: tuple[AugmentFamily, ...] = ()
    """Augmentation while it is trained; empty is none."""
    infobatch: Dropped = 0.0
    """Share of the images with less than the mean loss that a pass leaves out at random while the others of these count the more, so that
    gradients are the same on average (InfoBatch: 0.5); 0 has all images in each pass."""
    file: Location | None = None
    """Safetensors file of the parameters and statistics of a network that was trained elsewhere, in place of a training."""
    checksum: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of that file, by which results are known; computed when the file is read. Without a file: that of one that was read."""
    gpu: GpuArithmetic = "float32"
    gpu_revision: GpuRevision = 0

    @property
    def supplied(self) -> bool:
        """Whether it was trained elsewhere."""
        return self.file is not None or self.checksum is not None


class EvaluateConfig(Frozen):
    """Evaluation: fresh networks are trained on a set and tested on the real test split."""

    later: ClassVar[frozenset[str]] = frozenset(
        {
            *("batch_norm_augment_each", "batch_norm_epochs", "augment_after"),
            *("temperature_squared", "decay_smoothing", "decay_vectors", "test_enlarged", "gpu_revision", "top_k", "standardize"),
            *("linear_probe", "encoder"),
        }
    )
    formerly: ClassVar[Mapping[str, Former]] = {"optimizer": Former("optimiser")}
    by_rule: ClassVar[frozenset[str]] = SHARED | {
        *("protocol", "networks", "epochs", "full_epochs", "batch_size", "optimizer", "learning_rate", "weight_decay", "decay"),
        *("decay_factor", "augment_each", "batch_norm_augment_each", "augment_always", "augment", "augment_after", "cutmix", "labels"),
        *("milestones", "decay_smoothing", "decay_vectors", "temperature_squared", "test_enlarged", "linear_probe", "learned_rate"),
    }

    protocol: ProtocolName = DEFAULT_PROTOCOL
    """Published protocol that the settings below are taken from where they are not given (docs/evaluation.md)."""
    pool: PoolName | None = None
    """Pool of a cross-architecture protocol, which sets networks: S, SS, M, B, W, D, A, P or N (see bilp/config/network.py)."""
    networks: Networks = Field(default_factory=_pooled)
    """Architectures to train."""
    seeds: Several = 5
    """Trainings per architecture and set; the 95 % interval is over them."""
    epochs: Positive = 300
    """Passes over the synthetic set (decay half makes one more, as its papers do)."""
    full_epochs: Positive = 30
    """Passes over the real training set, for the baseline full."""
    batch_size: Positive = 256
    """Mini-batch."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """What moves the network's parameters; momentum is SGD's."""
    learning_rate: Rate = 0.01
    """Step size at the beginning."""
    learned_rate: bool = True
    """Train on a synthetic set with the step size that was learned with it (trajectory matching) instead of learning_rate."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Weight decay."""
    decay: Annotated[Literal["half", "steps", "cosine", "none"], NoneIsAChoice] = "half"
    """The step size falls once in the middle, where momentum starts anew; at each milestone; along a cosine to zero; never."""
    milestones: tuple[Fraction, ...] = (2 / 3, 5 / 6)
    """Decay steps: parts of the epochs after which the step size is multiplied by decay_factor."""
    decay_factor: Rate = 0.1
    """Factor of the step size, for decay half and steps."""
    decay_smoothing: Rate = 1.0
    """Decay cosine: its half wave is so many times as long as the training; with 2, the step size ends at half of what it began with."""
    decay_vectors: bool = True
    """Weight decay of biases and of the parameters of norm layers, too."""
    augment_each: tuple[ImageOperation, ...] = ()
    """Augmentation before the others: each image gets one of these operations of DC's own program, which needs it for MNIST."""
    batch_norm_augment_each: tuple[ImageOperation, ...] = ()
    """What augment_each is for the ConvNet with batch norm and ReLU, if given; DC's own program treats it differently."""
    batch_norm_epochs: Positive | None = None
    """What epochs is for that network, if given; not on all real data, which has full_epochs for everyone."""
    augment_always: tuple[AugmentFamily, ...] = ()
    """Augmentation of every mini-batch, in this order and before augment, fresh parameters per image."""
    augment: tuple[AugmentFamily, ...] = ()
    """Augmentation: one of these families per mini-batch, fresh parameters per image; empty is none."""
    augment_after: tuple[AugmentFamily, ...] = ()
    """Augmentation of every mini-batch, in this order and after augment, fresh parameters per image."""
    cutmix: Fraction = 0.0
    """Share of the mini-batches in which a box of each image, and its part of the label, comes from another image."""
    labels: LabelName = HARD
    """The set's own classes (hard); what the teacher says of the augmented images (soft), or of the images as they are (fixed); or the
    soft labels that the synthetic set stores: a teacher's (stored), beside which real images have those of fixed, or those that were
    learned with the images (learned), beside which real images have their classes; or values that were learned with the images, compared
    by squared error (learned_values)."""
    temperature: Rate = 20.0
    """Soft labels: what the logits of both sides are divided by."""
    temperature_squared: bool = False
    """Labels of a teacher: multiply the divergence by the square of the temperature (Hinton et al. 2015)."""
    teacher: TeacherConfig = TeacherConfig()
    """Network that gives soft labels, and features to herding and k-center."""
    linear_probe: bool = False
    """Train a linear classifier alone, on features of a frozen encoder: each of networks, trained on all real images as teacher says."""
    encoder: EncoderConfig = EncoderConfig()
    """Linear probe: an encoder of one's own."""
    baselines: tuple[BaselineName, ...] = (ALL_REAL, RANDOM_REAL)
    """Comparisons: all real data; as many real images as synthetic ones, at random (anew per seed), by herding or by k-center."""
    test_enlarged: bool = False
    """Test on the center of enlarged images: sides of length // 7 * 8 (224 to 256), of which the former length is cut out."""
    top_k: Several = 5
    """Beside accuracy, tell the share of test images whose class is among so many likeliest ones; nothing where there are no more."""
    standardize: Annotated[Literal["none", "batch"], NoneIsAChoice] = "none"
    """For reproducing Wang et al. 2024: batch subtracts the mean of each mini-batch's values and divides by their deviation, after
    augmentation and in testing too, so that a test image's class depends on the 255 others of its mini-batch."""
    robustness: bool = False
    """Evaluate each set also with hard labels, with and without augmentation, for the scores of DD-Ranking (LRS and ARS)."""
    networks_at_once: Positive | None = None
    """Networks of one architecture that are trained in one computation; empty takes what is faster on the device."""
    gpu: GpuArithmetic = "float32"
    gpu_revision: GpuRevision = 0
    seed: Seed = 0
    """Seed of networks, order and subsets."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """As for every model, and a network of the list may be its name."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        networks = handler.resolve_ref_schema(schema)["properties"]["networks"]
        by_name = {"type": "string", "enum": list(NETWORKS), "title": "By name"}
        networks["items"] = {"anyOf": [networks["items"], by_name]}
        return schema

    @property
    def taught(self) -> bool:
        """Whether labels are what a teacher says."""
        return LABELS[self.labels].taught

    @property
    def soft(self) -> bool:
        """Whether labels are distributions, a teacher's or stored ones."""
        return LABELS[self.labels].soft

    @property
    def at_once(self) -> int | None:
        """Networks that are asked to be trained in one computation; None for what is faster. Linear probes share no encoder."""
        return 1 if self.linear_probe else self.networks_at_once

    def of_real(self) -> Self:
        """The settings as they hold for real images, which store no soft labels."""
        other = LABELS[self.labels].of_real
        return self.model_copy(update={"labels": other}) if other else self

    @model_validator(mode="after")
    def _teacher_sees_the_same(self) -> Self:
        if self.standardize != "none" and self.soft:
            raise ValueError(
                f"standardize {self.standardize} is of programs with hard labels: set labels to {HARD}, or standardize to none"
            )
        return self

    @model_validator(mode="after")
    def _probes_an_encoder(self) -> Self:
        if self.encoder.name is not None and not self.linear_probe:
            raise ValueError(f"encoder {self.encoder.name} is that of a linear probe: set linear_probe to true, or leave encoder out")
        if self.encoder.name is not None and len(self.networks) > 1:
            raise ValueError(f"encoder {self.encoder.name} takes the place of networks, of which there are {len(self.networks)}: name one")
        return self

    @model_validator(mode="before")
    @classmethod
    def _protocol_decides(cls, given: Any) -> Any:
        protocol = given.get("protocol") if isinstance(given, dict) else None
        if isinstance(protocol, str) and protocol in PROTOCOLS:
            rules = PROTOCOLS[protocol].values(UNKNOWN_DATA, 1).get("evaluate", {})
            source = f"bilp.settings(dataset=..., evaluate={{'protocol': {protocol!r}}}).evaluate"
            refuse_what_is_left_out(cls, given, rules, f"protocol {protocol}", source)
        return given
