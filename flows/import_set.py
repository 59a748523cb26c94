"""python -m flows.import_set --dataset cifar10 --file res_DC_CIFAR10_ConvNet_1ipc.pt --evaluated yes

Convert a set that a reference project published (.pt of DC, DSA, DM, MTT or IDC; FRePo's checkpoint or .npz) to a synthetic set of
our own. With --evaluated yes it is also tested: networks are trained on it and on the baselines, as by flows.evaluate.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import SYNTHETIC
from bilp.config import PipelineConfig
from bilp.config.import_options import ImportOptions
from bilp.teachers.supplied import named
from flows import program
from flows.ingest import ingest
from flows.local.flow import flow
from flows.units.execute import execute
from flows.units.table import evaluate_baseline, evaluate_synthetic
from flows.workplace import workplace
from tasks import stages
from tasks.parameters import Root


class Options(ImportOptions):
    """The options of the command, beside those of the pipeline."""

    evaluated: Literal["yes", "no"] = Field(default="no")
    """Test the set after it was imported."""


@flow(name="import", flow_run_name="import {options.file}")
def import_set(config: PipelineConfig, options: ImportOptions, root: Root = None) -> str:
    """The URI of the synthetic set."""
    root = workplace(root)
    return stages.import_set(ingest(config.ingest, root), options, root)


@flow(name="import and evaluate", flow_run_name="evaluate {synthetic_uri}")
def evaluate_imported(config: PipelineConfig, synthetic_uri: str, root: Root = None) -> list[str]:
    """The URIs of the evaluations of an imported set and of the baselines with as many images."""
    root = workplace(root)
    dataset, facts = ingest(config.ingest, root), open_artifact(synthetic_uri, SYNTHETIC).manifest.facts
    shared: dict[str, Any] = {"root": root, "dataset_uri": dataset, "config": named(config.evaluate)}
    calls = [evaluate_baseline.call(baseline=baseline, ipc=facts["ipc"], **shared) for baseline in config.evaluate.baselines]
    calls.append(evaluate_synthetic.call(synthetic_uri=synthetic_uri, arm=facts["method"], experiment=0, **shared))
    return execute(f"evaluate {len(calls)} sets", calls)


def main(arguments: Sequence[str]) -> None:
    name, description = program.described(__doc__)
    options, config = program.with_options(Options, arguments, name, description)

    def work() -> tuple[str, list[str]]:
        imported = ImportOptions.model_validate(options.model_dump(exclude={"evaluated"}))
        uri = import_set(config, imported)
        return uri, evaluate_imported(config, uri) if options.evaluated == "yes" else []

    def show(result: tuple[str, list[str]]) -> None:
        uri, evaluations = result
        program.show_uri("synthetic set", uri)
        if evaluations:
            program.show_accuracy(evaluations)

    program.guarded(name, work, show)


if __name__ == "__main__":
    main(sys.argv[1:])
