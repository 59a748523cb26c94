"""An encoder that a user supplies: a network of torchvision with weights of their own, in front of it what such networks expect.

Features are what its last linear layer sees. Weights are read by `bilp.teachers.encoder_file`; none come with this program.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.errors import ConfigError, DataError
from bilp.nets.network import Network

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What the networks of torchvision were trained on images normalized by."""
VALUES_PER_PIXEL = 500
"""About how many numbers the graph of a ResNet-50 holds for a pixel that enters it."""


class SuppliedEncoder(Network):
    """A network of torchvision without its classifier; its samples are normalized as those of the data set are."""

    def __init__(self, body: nn.Module, features: int, classes: int, prepare: Prepare) -> None:
        super().__init__(nn.Sequential(prepare, body), features, classes)
        self.image_bytes = 4 * VALUES_PER_PIXEL * prepare.side**2
        """About what a pass over an image holds."""


class Prepare(nn.Module):
    """Normalized images `[B, 1 or 3, H, W]` as networks of torchvision take them, `[B, 3, side, side]`."""

    scale: Tensor
    shift: Tensor
    tall: Tensor
    wide: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], size: tuple[int, int], side: int) -> None:
        """Args:
        mean: per channel, of the normalization of pixels in [0, 1].
        std: likewise.
        size: height and width of the images.
        side: that of what the network sees; 0 leaves images as they are.
        """
        super().__init__()
        self.side = side or max(size)
        scale, shift = (torch.tensor(values).view(-1, 1, 1) for values in (std, mean))
        self.register_buffer("scale", scale / torch.tensor(STD).view(-1, 1, 1))
        self.register_buffer("shift", (shift - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1))
        for name, own in zip(("tall", "wide"), size, strict=True):
            self.register_buffer(name, resizing(own, side) if side else torch.eye(own))

    def forward(self, images: Tensor) -> Tensor:
        """See the class; matrix products, whose derivatives are the same bytes on a GPU every time."""
        return self.tall @ images @ self.wide.T * self.scale + self.shift


def resizing(side: int, size: int) -> Tensor:
    """A `[size, side]`: A x is x `[side]` resized to `size`, bilinearly and without aliasing."""
    unit = torch.eye(side).view(1, 1, side, side)
    return functional.interpolate(unit, (size, side), mode="bilinear", antialias=True)[0, 0]


def supplied_encoder(
    name: str,
    tensors: Mapping[str, Tensor],
    where: str,
    normalization: tuple[Sequence[float], Sequence[float]],
    shape: Sequence[int],
    classes: int,
    side: int,
    setting: str,
) -> SuppliedEncoder:
    """The encoder, with a classifier for `classes`, in evaluation mode and without gradients of its weights.

    Args:
        name: of a network of torchvision.
        tensors: its weights; those of its classifier may be missing, or be for any number of classes.
        where: names the file of the weights in errors.
        normalization: mean and standard deviation per channel of the data set.
        shape: of its samples.
        classes: of the data set.
        side: of what the network sees; 0 leaves images as they are.
        setting: the one that gave the name, for errors.

    Raises ConfigError for a name that torchvision does not have and for samples that are no images, and DataError for weights of
    another network.
    """
    _require_images(name, shape, setting)
    network = _network(name, setting)
    head, layer = _head(network, name, setting)
    own = {path: value for path, value in network.state_dict().items() if not path.startswith(f"{head}.")}
    given = {path: value for path, value in tensors.items() if not path.startswith(f"{head}.")}
    _require_alike(own, given, name, where)
    network.load_state_dict(given, strict=False)
    prepare = Prepare(*normalization, (shape[-2], shape[-1]), side)
    return _without_head(network, head, layer, classes, prepare)


def encoder_without_weights(name: str, shape: Sequence[int], classes: int, side: int, setting: str) -> SuppliedEncoder:
    """The same encoder as its constructor leaves it, for its shapes: under `torch.device("meta")` nothing is computed.

    Raises ConfigError as `supplied_encoder`.

    Args:
        name: of a network of torchvision.
        shape: of samples.
        classes: of the data set.
        side: of what the network sees; 0 leaves images as they are.
        setting: the one that gave the name, for errors.
    """
    _require_images(name, shape, setting)
    network = _network(name, setting)
    prepare = Prepare(MEAN, STD, (shape[-2], shape[-1]), side)
    return _without_head(network, *_head(network, name, setting), classes, prepare)


@contextmanager
def takes_images(name: str, shape: Sequence[int], side: int, setting: str) -> Iterator[None]:
    """While images pass an encoder: raise ConfigError where it takes none of this side, as some take one alone, others none below a least.

    `name`, `shape`, `side` and `setting` are those of `supplied_encoder`; the setting of the side lies beside that of the name.
    """
    try:
        yield
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"{setting} {name} takes no images of side {side or max(shape[-2:])} ({error}): "
            f"set {setting.rpartition('.')[0]}.side to the one that it was trained on, such as 224"
        ) from error


def _require_images(name: str, shape: Sequence[int], setting: str) -> None:
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ConfigError(f"{setting} {name} takes images of 1 or 3 channels, not samples of {'x'.join(map(str, shape))}")


def _head(network: nn.Module, name: str, setting: str) -> tuple[str, nn.Linear]:
    """The last linear layer of a network, whose inputs are the features, and where it is."""
    linear = [(path, module) for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigError(f"{setting} {name} ends in no linear layer, whose inputs would be features: use for example resnet50")
    return linear[-1]


def _without_head(network: nn.Module, head: str, layer: nn.Linear, classes: int, prepare: Prepare) -> SuppliedEncoder:
    parent, _, leaf = head.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Identity())
    encoder = SuppliedEncoder(network, layer.in_features, classes, prepare)
    return encoder.eval().requires_grad_(False)


def _network(name: str, setting: str) -> nn.Module:
    from torchvision import models  # slow to import

    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        remedy = f"did you mean {', '.join(near)}?" if near else "torchvision.models.list_models() lists them"
        raise ConfigError(f"{setting} {name} is no classifying network of torchvision: {remedy}")
    with torch.random.fork_rng(devices=[]):  # its constructor draws weights that are replaced
        network: nn.Module = models.get_model(name, weights=None)
    return network


def _require_alike(own: Mapping[str, Tensor], given: Mapping[str, Tensor], name: str, where: str) -> None:
    lacking = [path for path in own if path not in given and not path.endswith("num_batches_tracked")]
    strange = [path for path in given if path not in own]
    other = [path for path in own if path in given and own[path].shape != given[path].shape]
    for what, paths in (("lacks", lacking), ("holds what it does not have:", strange), ("holds in other shapes", other)):
        if paths:
            raise DataError(f"{where} is no state of {name}: it {what} {', '.join(paths[:3])}{' ...' if len(paths) > 3 else ''}")
    wrong = [path for path, value in given.items() if not bool(torch.isfinite(value).all())]
    if wrong:
        raise DataError(f"{where} holds numbers that are not finite in {wrong[0]}")
