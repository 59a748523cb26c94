"""Teachers that were trained elsewhere: a safetensors file of parameters, known by its checksum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bilp.config import EvaluateConfig, TeacherConfig
from bilp.config.encoder import EncoderConfig
from bilp.errors import BilpError, ConfigError, DataError, MissingArtifact
from bilp.storage import objects
from bilp.storage.verification import digest, file_digest

if TYPE_CHECKING:
    from bilp.nets import Network

LARGEST = 8 * 2**30
"""Bytes of a file; a network of two thousand million parameters takes as many."""


def named(config: EvaluateConfig) -> EvaluateConfig:
    """The settings with checksums of the files of teacher and encoder, if there are any: keys hold what is in a file, and not its place."""
    return config.model_copy(update={"teacher": named_teacher(config.teacher), "encoder": named_encoder(config.encoder)})


def named_teacher(config: TeacherConfig) -> TeacherConfig:
    """As `named`. Raises DataError if the file cannot be read."""
    if config.file is None or config.checksum is not None:
        return config
    return config.model_copy(update={"checksum": digest(_content(config.file))})


def named_encoder(config: EncoderConfig) -> EncoderConfig:
    """As `named`, with the absolute place of the weights, which other processes can follow. Raises MissingArtifact for no such file."""
    if config.weights is None:
        return config
    place = objects.as_uri(config.weights)
    if config.checksum is not None:
        return config.model_copy(update={"weights": place})
    with objects.fetched(place) as file:
        return config.model_copy(update={"weights": place, "checksum": file_digest(file)})


def require_known(config: EncoderConfig) -> None:
    """Raise ConfigError for weights whose checksum nobody knows."""
    if config.weights is not None and config.checksum is None:
        raise ConfigError(f"the checksum of {config.weights} is not known: set evaluate.encoder.checksum to its SHA-256")


def require_named(config: TeacherConfig) -> None:
    """Raise ConfigError for a file whose checksum nobody knows."""
    if config.file is not None and config.checksum is None:
        raise ConfigError(f"the checksum of {config.file} is not known: set evaluate.teacher.checksum to its SHA-256")


def recorded(config: TeacherConfig) -> set[str]:
    """Fields of a teacher that keys and manifests leave out: the place of a file, and what there is none of."""
    absent = {name for name in ("checksum", "infobatch") if not getattr(config, name)}
    return {"file", *absent}


def load_supplied(network: Network, config: TeacherConfig) -> None:
    """Parameters and statistics of the file become those of `network`, in place.

    Raises MissingArtifact if no file is named, and DataError for one that has another checksum or is of another network.
    """
    from bilp.artifacts.tensors import load_network  # which imports torch, as flows do not that ask for checksums
    from bilp.nets import label

    if config.file is None:
        raise MissingArtifact(f"the teacher with checksum {config.checksum} is not there: name its file (evaluate.teacher.file)")
    data = _content(config.file)
    if digest(data) != config.checksum:
        raise DataError(f"{config.file} has checksum {digest(data)}, not {config.checksum}: name the file that is meant")
    try:
        load_network(network, data, config.file)
    except BilpError as error:
        what = str(error).partition(": delete its folder")[0]
        raise DataError(f"{what}: it must hold parameters and statistics of {label(config.network)} (evaluate.teacher.network)") from None


def told(config: TeacherConfig, seed: int) -> dict[str, Any]:
    """What the manifest of a teacher says of how it was made."""
    if config.checksum is None:
        return {"teacher": config, "seed": seed}
    return {"teacher": {"network": config.network}, "supplied": config.checksum}


def _content(file: str) -> bytes:
    try:
        return objects.read(file, most=LARGEST)
    except MissingArtifact:
        raise DataError(f"there is no file {file}: evaluate.teacher.file names a safetensors file of a network's parameters") from None
