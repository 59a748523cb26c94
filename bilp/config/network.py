"""Settings of a network: which one, and what shapes it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from bilp.config.base import Frozen, NoneIsAChoice, Positive

NetworkName = Literal[
    "convnet",
    "mlp",
    "lenet",
    "alexnet",
    "vgg11",
    "resnet18",
    "resnet18_ap",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet18_imagenet",
    "resnet6_imagenet",
    "resnet10",
    "resnet10_ap",
    "densenet",
    "convnet_frepo",
    "video_convnet_mean",
    "convnet3d",
]

REVISIONS: dict[NetworkName, int] = {"resnet10": 1, "resnet10_ap": 1}
"""How often results of an architecture changed since there are stored ones. (Once: initial weights as in IDC's program.)"""


def _usual_norm(known: dict[str, Any]) -> Literal["instance", "batch"]:
    # The first two come from IDC, the last one from FRePo.
    return "batch" if known.get("name") in ("resnet10", "densenet", "convnet_frepo") else "instance"


class NetworkConfig(Frozen):
    """A network of the distillation papers; `width`, `depth`, `norm`, `activation` and `pooling` shape the ConvNets.

    These are convnet, convnet_frepo and video_convnet_mean. The last one and convnet3d take videos, the others images.
    """

    by_rule: ClassVar[frozenset[str]] = frozenset({"width"})

    name: NetworkName = "convnet"
    """Architecture."""
    width: Positive = 128
    """Channels of each ConvNet block; of the first one in convnet_frepo, where each has twice as many as the one before."""
    depth: Annotated[int, Field(ge=1, le=8)] = 3
    """Number of ConvNet blocks; each halves the resolution unless pooling is none."""
    norm: Annotated[Literal["instance", "batch", "layer", "group", "none"], NoneIsAChoice] = Field(default_factory=_usual_norm)
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
    def revision(self) -> int:
        """Added to the version of every stage that trains or matches this network, so that results of others keep their keys."""
        return REVISIONS.get(self.name, 0)


def _listed(given: Any) -> Any:
    """Names separated by commas are a list of them."""
    return [name.strip() for name in given.split(",")] if isinstance(given, str) else given


Networks = Annotated[tuple[NetworkConfig, ...], Field(min_length=1), BeforeValidator(_listed)]
