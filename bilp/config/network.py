"""The registry of networks, the settings of one, and the pools by which papers test across architectures.

A further network is one entry here, or one of an installed package under the entry points `bilp.networks`, and one function that
makes a `bilp.nets.network.Network` of a NetworkConfig, the shape of a sample and the number of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from bilp.config.base import Frozen, NoneIsAChoice, Positive
from bilp.registry import EntryName, Registry

Norm = Literal["instance", "batch", "layer", "group", "none"]

EVERY_NORM: tuple[Norm, ...] = ("instance", "batch", "layer", "group", "none")
NO_NORM: tuple[Norm, ...] = ("instance", "none")
"""Of networks without any; instance, the usual default, means "as in the papers" there."""
SHAPING = ("width", "depth", "norm", "activation", "pooling")


@dataclass(frozen=True)
class NetworkEntry:
    """What is known of an architecture before one is built."""

    name: str
    title: str
    """What the page calls it."""
    builder: str
    """"module:name" of what makes one of (NetworkConfig, shape, classes); imported when it is used."""
    reads: tuple[str, ...] = ("norm",)
    """Settings that shape it; they are part of its label where they are not at their defaults."""
    norms: tuple[Norm, ...] = EVERY_NORM
    """Values of norm that exist."""
    norm: Norm = "instance"
    """The one of its paper."""
    video: bool = False
    """Whether samples are videos [T, C, H, W] instead of images [C, H, W]."""
    convnet: bool = False
    """Whether it is the ConvNet of the papers, on images or on the frames of videos: pools vary its settings."""
    revision: int = 0
    """How often its results changed since there are stored ones."""

    def __post_init__(self) -> None:
        """Raises ValueError for an entry whose network could never be built as it is by default."""
        if self.norm not in self.norms:
            raise ValueError(f"network {self.name} has norm {self.norm} by default, which is not among its norms")


CONVNET, RESNET18, RESNET18_IMAGENET = "convnet", "resnet18", "resnet18_imagenet"
CONVNET_FREPO = "convnet_frepo"
FRAME_MEAN = "video_convnet_mean"
"""The ConvNet on each frame of a clip: it takes clips of any length and of whatever side the ConvNet takes."""
CONVNET3D = "convnet3d"
_RESNET = "bilp.nets.resnet"
_CONVNET = "bilp.nets.convnet"

OWN = (
    NetworkEntry(CONVNET, "ConvNet", f"{_CONVNET}:convnet", SHAPING, convnet=True),
    NetworkEntry("mlp", "MLP", "bilp.nets.mlp:mlp", norms=NO_NORM),
    NetworkEntry("lenet", "LeNet", "bilp.nets.lenet:lenet", norms=NO_NORM),
    NetworkEntry("alexnet", "AlexNet", "bilp.nets.alexnet:alexnet", norms=("instance", "batch", "none")),
    NetworkEntry("vgg11", "VGG-11", "bilp.nets.vgg:vgg11"),
    NetworkEntry(RESNET18, "ResNet-18", f"{_RESNET}:RESNET18"),
    NetworkEntry("resnet18_ap", "ResNet-18 AP", f"{_RESNET}:RESNET18_AP"),
    NetworkEntry("resnet34", "ResNet-34", f"{_RESNET}:RESNET34"),
    NetworkEntry("resnet50", "ResNet-50", f"{_RESNET}:RESNET50"),
    NetworkEntry("resnet101", "ResNet-101", f"{_RESNET}:RESNET101"),
    NetworkEntry("resnet152", "ResNet-152", f"{_RESNET}:RESNET152"),
    NetworkEntry(RESNET18_IMAGENET, "ResNet-18 (ImageNet stem)", f"{_RESNET}:RESNET18_IMAGENET"),
    NetworkEntry("resnet6_imagenet", "ResNet-6 (ImageNet stem)", f"{_RESNET}:RESNET6_IMAGENET"),
    # Norm of IDC's paper, as that of DenseNet. Revised once: initial weights as in IDC's program.
    NetworkEntry("resnet10", "ResNet-10", f"{_RESNET}:RESNET10", norm="batch", revision=1),
    NetworkEntry("resnet10_ap", "ResNetAP-10", f"{_RESNET}:RESNET10_AP", revision=1),
    NetworkEntry("densenet", "DenseNet", "bilp.nets.densenet:densenet", norm="batch"),
    NetworkEntry(CONVNET_FREPO, "ConvNet (FRePo)", f"{_CONVNET}:convnet_frepo", SHAPING, norm="batch"),
    NetworkEntry(FRAME_MEAN, "VideoConvNetMean", f"{_CONVNET}:video_convnet_mean", SHAPING, video=True, convnet=True),
    NetworkEntry(CONVNET3D, "ConvNet3D", "bilp.nets.convnet3d:convnet3d", norms=NO_NORM, video=True),
    NetworkEntry("convnet3d_maps", "ConvNet3D (maps)", "bilp.nets.convnet3d:convnet3d_maps", norms=NO_NORM, video=True),
)

NETWORKS: Registry[NetworkEntry] = Registry("network", NetworkEntry, OWN, "bilp.networks")
NetworkName = Annotated[str, EntryName("bilp.config.network:NETWORKS")]


def _usual_norm(known: dict[str, Any]) -> Norm:
    return NETWORKS[known["name"]].norm if "name" in known else "instance"


class NetworkConfig(Frozen):
    """A network of the distillation papers; `width`, `depth`, `norm`, `activation` and `pooling` shape the ConvNets.

    These are convnet, convnet_frepo and video_convnet_mean. The last one, convnet3d and convnet3d_maps take clips, the others images.
    """

    by_rule: ClassVar[frozenset[str]] = frozenset({"name", "width", "depth"})

    name: NetworkName = CONVNET
    """Architecture."""
    width: Positive = 128
    """Channels of each ConvNet block; of the first one in convnet_frepo, where each has twice as many as the one before."""
    depth: Annotated[int, Field(ge=1, le=8)] = 3
    """Number of ConvNet blocks; each halves the resolution unless pooling is none."""
    norm: Annotated[Norm, NoneIsAChoice] = Field(default_factory=_usual_norm)
    """Normalization; instance unless given, but batch for resnet10, densenet and convnet_frepo. Batch norm is frozen before
    matching."""
    activation: Literal["relu", "leaky_relu", "sigmoid", "swish"] = "relu"
    """Activation after each normalization."""
    pooling: Annotated[Literal["avg", "max", "none"], NoneIsAChoice] = "avg"
    """Pooling at the end of each ConvNet block."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        """`mlp` is `{name: mlp}`."""
        return {"name": given} if isinstance(given, str) else given

    @property
    def entry(self) -> NetworkEntry:
        """What is known of the architecture."""
        return NETWORKS[self.name]

    @property
    def batch_norm(self) -> bool:
        """Whether it has batch norm, and so keeps statistics of what it was trained on."""
        return self.norm == "batch" and self.norm in self.entry.norms

    @property
    def revision(self) -> int:
        """Added to the version of every stage that trains or matches this network, so that results of others keep their keys."""
        return self.entry.revision


def _listed(given: Any) -> Any:
    """Names separated by commas are a list of them."""
    return [name.strip() for name in given.split(",")] if isinstance(given, str) else given


Networks = Annotated[tuple[NetworkConfig, ...], Field(min_length=1), BeforeValidator(_listed)]


@dataclass(frozen=True)
class Pool:
    """A pool of a cross-architecture protocol: the eval modes of DC's program."""

    name: str
    networks: Callable[[Mapping[str, Any]], list[dict[str, Any]]]
    """Settings of its networks, of those of the network that distills."""


def _varied(name: str, setting: str, *values: Any) -> Pool:
    """The ConvNet with one setting varied; the others stay as they are."""
    return Pool(name, lambda own: [{**_convnet(own), setting: value} for value in values])


def _convnet(own: Mapping[str, Any]) -> dict[str, Any]:
    """The distilling network if it is a ConvNet, so that it fits the images (and the videos), else the usual one."""
    return dict(own) if NETWORKS[own.get("name", CONVNET)].convnet else {"name": CONVNET}


def _without_batch_norm(own: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**own, "norm": "instance"} if own.get("norm") == "batch" else dict(own)]


def _six(own: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "mlp"}, _convnet(own), *({"name": name} for name in ("lenet", "alexnet", "vgg11", "resnet18"))]


def _five_with_batch_norm(own: Mapping[str, Any]) -> list[dict[str, Any]]:
    convnet = {**_convnet(own), "norm": "batch"}
    return [convnet, {**convnet, "activation": "swish"}, *({"name": name, "norm": "batch"} for name in ("alexnet", "vgg11", "resnet18"))]


POOLS: Registry[Pool] = Registry(
    "pool",
    Pool,
    (
        Pool("S", _without_batch_norm),
        Pool("SS", lambda own: [dict(own)]),
        Pool("M", _six),
        Pool("B", _five_with_batch_norm),
        _varied("W", "width", 32, 64, 128, 256),
        _varied("D", "depth", 1, 2, 3, 4),
        _varied("A", "activation", "sigmoid", "relu", "leaky_relu", "swish"),
        _varied("P", "pooling", "none", "max", "avg"),
        _varied("N", "norm", "none", "batch", "layer", "instance", "group"),
    ),
)
PoolName = Annotated[str, EntryName("bilp.config.network:POOLS")]
