"""The truth about a data set that was changed on purpose: which labels are wrong, and which images are copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SourceFacts, TruthFacts
from bilp.data.source_record import KIND as RECORD
from bilp.data.truth_file import FILE, KIND, NO_COPY, TRUTH
from bilp.data.truth_file import truth_uri as truth_uri
from bilp.errors import DamagedArtifact, IncompatibleArtifact
from bilp.storage.objects import Uri, as_uri
from bilp.storage.verification import again


@dataclass(frozen=True)
class Truth:
    """What is known of the N samples of a train split, in the order of their sample_id."""

    uri: str
    fingerprint: str
    """Of the data set; that of its pixels, if it is whitened."""
    label: NDArray[np.int64]
    """The labels that the data set has, `[N]`."""
    true_label: NDArray[np.int64]
    """Those that its source had before anything was changed, `[N]`."""
    wrong: NDArray[np.bool_]
    """Where the two differ, `[N]`."""
    copy_of: NDArray[np.int64]
    """The sample that each is a copy of, `[N]`; -1 where it is none."""

    def __len__(self) -> int:
        return len(self.label)

    @property
    def errors(self) -> int:
        """How many labels are wrong."""
        return int(self.wrong.sum())

    @property
    def copies(self) -> int:
        """How many samples are copies of others."""
        return int((self.copy_of != NO_COPY).sum())


def open_truth(record_uri: Uri) -> Truth | None:
    """The truth that belongs to the record of a source; None if nothing of its data set was changed on purpose.

    Raises MissingArtifact if there is no record, or none of the truth that it names; DamagedArtifact if either is not what was
    published, and IncompatibleArtifact if they are of two data sets.
    """
    record = open_artifact(as_uri(record_uri), RECORD)
    if KIND not in record.manifest.parents:
        return None
    artifact = open_artifact(truth_uri(record.uri), KIND)
    facts, fingerprint = artifact.stated(TruthFacts), record.stated(SourceFacts).fingerprint
    if facts.dataset != fingerprint:
        raise IncompatibleArtifact(
            f"{artifact.uri} is the truth about data set {facts.dataset}, not about {fingerprint}: ingest the source again"
        )
    table = artifact.table(FILE, TRUTH, rows=facts.samples, below={"copy_of": facts.samples})
    label, true_label, copy_of = (table[name].to_numpy().astype(np.int64) for name in ("label", "true_label", "copy_of"))
    wrong = table["wrong"].to_numpy()
    if not np.array_equal(wrong, label != true_label) or int(wrong.sum()) != facts.wrong:
        raise DamagedArtifact(f"{artifact.place(FILE)} calls other labels wrong than those that differ: {again(artifact.uri)}")
    if int((copy_of != NO_COPY).sum()) != facts.copies:
        raise DamagedArtifact(f"{artifact.place(FILE)} has other copies than the manifest counts: {again(artifact.uri)}")
    return Truth(artifact.uri, facts.dataset, label, true_label, wrong, copy_of)
