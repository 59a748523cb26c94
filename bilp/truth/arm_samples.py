"""The real samples of the arm that knows the truth, as `bilp.config.arm_entries.SAMPLES` names them."""

from __future__ import annotations

from bilp.errors import ConfigError
from bilp.pruning.chosen import Available
from bilp.truth.oracle import oracle_selection
from bilp.truth.table import open_truth


def rightly_labeled(of: Available) -> str:
    """The selection of samples whose label is right. Raises as `bilp.truth.oracle.oracle_selection` and `check_truth`."""
    check_truth(of.record)
    assert of.record is not None
    return oracle_selection(of.dataset, of.record, of.root)


def check_truth(record_uri: str | None) -> None:
    """Raise ConfigError unless it is known which labels are wrong of the images whose source has this record."""
    if record_uri is None or open_truth(record_uri) is None:
        raise ConfigError(
            "an arm learns from rightly labeled images alone, and nobody knows which labels of these are wrong: "
            "set ingest.label_noise, or leave arm oracle out"
        )
