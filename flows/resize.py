"""python -m flows.resize --synthetic bilp-storage/runs/KEY --ipc 1 --dataset digits --evaluated yes

Take the images out of a finished synthetic set that teach the most when there are fewer of them, without distilling again (YOCO). What is
published is a set of its own. With --evaluated yes networks are trained on it, on the set that it was taken from and on the baselines.
Data set and method are those of the run that the set came from, unless they are given; networks, augmentation and seed are those of the
evaluation that these have.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from bilp.config import PipelineConfig
from bilp.config.base import Frozen, Location, Positive
from bilp.config.nested import merge
from bilp.config.resize import DEFAULT_RULE, ResizeConfig, ResizeRuleName
from bilp.teachers.supplied import named
from flows import program
from flows.ingest import ingest
from flows.local.flow import flow
from flows.units.execute import execute
from flows.units.table import evaluate_baseline, evaluate_synthetic
from flows.workplace import workplace
from tasks import resize_task
from tasks.parameters import Root

LARGER, RESIZED = "larger set", "resized"
"""What the two sets are called in tables."""


class Options(Frozen):
    """The options of the command, beside those of the pipeline."""

    synthetic: Location
    """The set, or the run that it lies in."""
    ipc: Positive = Field(default=1)
    """Images per class that stay."""
    rule: ResizeRuleName = Field(default=DEFAULT_RULE)
    """How they are chosen: yoco, or random, the control."""
    epochs: Positive = Field(default=100)
    """yoco: passes of the training over the set."""
    best_epochs: Positive = Field(default=10)
    """yoco: of these, how many count, the most accurate ones."""
    evaluated: Literal["yes", "no"] = Field(default="no")
    """Test both sets afterwards."""


@flow(name="resize", flow_run_name="resize to {config.ipc}")
def resize(synthetic_uri: str, config: ResizeConfig, root: Root = None) -> str:
    """The URI of the smaller set."""
    return resize_task.resize(synthetic_uri, config, workplace(root))


@flow(name="resize and evaluate", flow_run_name="evaluate {resized_uri}")
def evaluate_both(config: PipelineConfig, synthetic_uri: str, resized_uri: str, root: Root = None) -> list[str]:
    """The URIs of the evaluations of the baselines with as many images as the smaller set, of that set, and of the larger one."""
    root = workplace(root)
    shared: dict[str, Any] = {"root": root, "dataset_uri": ingest(config.ingest, root), "config": named(config.evaluate)}
    calls = [evaluate_baseline.call(baseline=baseline, ipc=config.ipc, **shared) for baseline in config.evaluate.baselines]
    for uri, arm in ((resized_uri, RESIZED), (synthetic_uri, LARGER)):
        calls.append(evaluate_synthetic.call(synthetic_uri=uri, arm=arm, experiment=0, **shared))
    return execute(f"evaluate {len(calls)} sets", calls)


def main(arguments: Sequence[str]) -> None:
    name, description = program.described(__doc__)
    options, config = program.with_options(Options, arguments, name, description, for_the_smaller_set)

    def work() -> tuple[str, list[str]]:
        from bilp.exchange.loaded import set_of

        larger = set_of(options.synthetic)
        given = options.model_dump(exclude={"synthetic", "evaluated"})
        uri = resize(larger, ResizeConfig.like(config.evaluate, **given))
        return uri, evaluate_both(config, larger, uri) if options.evaluated == "yes" else []

    def show(result: tuple[str, list[str]]) -> None:
        uri, evaluations = result
        program.show_uri("synthetic set", uri)
        if evaluations:
            program.show_accuracy(evaluations)

    program.guarded(name, work, show)


def for_the_smaller_set(given: dict[str, Any], options: Options) -> PipelineConfig:
    """The pipeline's settings at its images per class. Raises as ResizeConfig for options that contradict each other."""
    config = PipelineConfig.model_validate({**merge(_of_the_run(options.synthetic, given), given), "ipc": options.ipc})
    ResizeConfig.like(config.evaluate, **options.model_dump(exclude={"synthetic", "evaluated"}))
    return config


def _of_the_run(synthetic: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Data set and method of the run that distilled a set, as far as none are given; nothing of a set that was imported.

    Raises MissingArtifact, DamagedArtifact or IncompatibleArtifact if there is no finished set.
    """
    from bilp.api.distilled import load_distilled

    if any(name in given for name in ("dataset", "recipe")):
        return {}
    larger = load_distilled(synthetic)
    if not larger.is_distilled:
        return {}
    return {**larger.made.data.given, **({} if "method" in given else {"method": larger.made.given["method"]})}


if __name__ == "__main__":
    main(sys.argv[1:])
