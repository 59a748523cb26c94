"""The networks of a trial, kept beside it for images that come later: one file for each epoch.

A trial records statistics after every epoch, so that the networks of all epochs are kept: 4 bytes for each parameter and epoch, 1.3 MB
for a ConvNet of width 128 at 32 x 32 pixels, 45 MB for a ResNet-18.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bilp.artifacts.artifact import Artifact, content_key, find, open_artifact, there_already
from bilp.artifacts.facts import NetworksFacts
from bilp.artifacts.publication import Content, publish
from bilp.artifacts.row_groups import RowGroups
from bilp.artifacts.tables import TRAJECTORY
from bilp.artifacts.tensors import encode_tensors
from bilp.config import ScoreConfig
from bilp.errors import IncompatibleArtifact, MissingArtifact
from bilp.nets import Network
from bilp.scoring.trial_record import TRIAL_FILE, VERSION, training_of, training_settings, trial_key
from bilp.storage.objects import join
from bilp.storage.scratch import scratch_folder

KIND = "trial_networks"


def epoch_file(epoch: int) -> str:
    """Name of the file with the network after `epoch` epochs, which count from 1."""
    return f"epoch-{epoch:04d}.safetensors"


def networks_uri(trial_uri: str) -> str:
    """Where the networks of the trial at a URI lie."""
    return join(training_of(trial_uri), "networks", trial_uri.rstrip("/").rsplit("/", 1)[1])


def networks_key(fingerprint: str, config: ScoreConfig, trial: int) -> str:
    """Key of the networks of one trial."""
    return content_key(KIND, VERSION, trial=trial_key(fingerprint, config, trial))


class NetworkFiles:
    """Takes the network of each epoch in turn, and holds them in files of a folder until they are published."""

    def __init__(self, folder: Path) -> None:
        """Nothing is kept yet."""
        self._folder = folder
        self.files: dict[str, Content] = {}

    def __call__(self, epoch: int, network: Network) -> None:
        """Keep the network as it is after `epoch` epochs."""
        path = self._folder / epoch_file(epoch)
        path.write_bytes(encode_tensors(network.state_dict()))
        self.files[path.name] = path


@contextmanager
def network_files(config: ScoreConfig) -> Iterator[NetworkFiles | None]:
    """What the networks of a trial are handed to, for the block; None if they are not to be kept."""
    if not config.keep_networks:
        yield None
        return
    with scratch_folder("bilp-networks-") as folder:
        yield NetworkFiles(folder)


def are_kept(trial_uri: str, fingerprint: str, config: ScoreConfig, trial: int) -> bool:
    """Whether the networks of a trial are there, or are not wanted."""
    return not config.keep_networks or there_already(networks_uri(trial_uri), KIND, networks_key(fingerprint, config, trial)) is not None


def publish_networks(trial: Artifact, fingerprint: str, config: ScoreConfig, number: int, kept: NetworkFiles, device: str) -> None:
    """Publish what was kept while a trial was trained.

    Args:
        trial: The trial, published.
        fingerprint: Of the data set.
        config: How it was trained.
        number: Of the trial.
        kept: Its networks.
        device: Where it was trained.
    """
    publish(
        networks_uri(trial.uri),
        KIND,
        networks_key(fingerprint, config, number),
        kept.files,
        config=training_settings(config),
        parents={"dataset": trial.parents["dataset"]},
        facts={"dataset": fingerprint, "trial": number, "epochs": len(kept.files)},
        device=device,
    )


def require_same_record(trial: Artifact, record: RowGroups) -> None:
    """Raise IncompatibleArtifact unless a training that was repeated for its networks recorded what the trial did, bit for bit."""
    stored, start = trial.table(TRIAL_FILE, TRAJECTORY, rows=record.count), 0
    for part in record.parts():
        there, start = stored.slice(start, len(part)), start + len(part)
        for name in TRAJECTORY.names:
            if there[name].to_numpy().tobytes() != part[name].to_numpy().tobytes():
                raise IncompatibleArtifact(
                    f"the training of {trial.uri}, repeated for its networks, gives another {name} here: it was trained on another device, "
                    "with another number of threads or other versions. Repeat it as it was, or score with another score.seed"
                )


def open_networks(trial: Artifact) -> Artifact:
    """The networks that a trial's samples were scored by: those kept beside it, or those that it was extended with.

    Raises MissingArtifact, saying what keeps them, if there are none.
    """
    uri = trial.parents.get("networks", networks_uri(trial.uri))
    if find(uri, KIND) is None:
        raise MissingArtifact(f"no networks are kept of {trial.uri}: score its data set once more with --score.keep_networks true")
    networks = open_artifact(uri, KIND)
    networks.stated(NetworksFacts)
    networks.check_sizes()
    return networks
