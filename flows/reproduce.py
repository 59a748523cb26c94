"""python -m flows.reproduce published/dc/cifar10-ipc1 --scale 0.1 --experiments 2

Run the recipe of a published cell, or a part of its iterations and evaluation seeds, with and without pruning, and say how far
from the published value the result lies and in what the run differs from the paper's protocol.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pydantic import Field

from bilp.config import Frozen, PipelineConfig
from bilp.config.arms import needs_selection
from bilp.config.command_line import refuse_secrets_typed
from flows import program
from flows.distill import distill_arms
from flows.evaluate import evaluate
from flows.ingest import ingest
from flows.local.flow import flow
from flows.prune import score_and_prune
from flows.workplace import workplace
from tasks.parameters import Root
from tasks.stages import compare_with_published


class Options(Frozen):
    """The options of the command, beside those of the pipeline."""

    scale: float = Field(default=1.0, gt=0.0, le=1.0)
    """Part of the paper's iterations and evaluation seeds."""


@flow(name="reproduce", flow_run_name="reproduce {recipe}")
def reproduce(recipe: str, config: PipelineConfig, root: Root = None) -> str:
    """The URI of the comparison of a run of `config` with what the recipe states as published."""
    root = workplace(root)
    dataset = ingest(config.ingest, root)
    selection = score_and_prune(config, dataset, root)[1] if needs_selection(config) else None
    runs = distill_arms(config, dataset, selection, root)
    return compare_with_published(recipe, config, evaluate(dataset, runs, config.ipc, config.evaluate, root), root)


def lines(uri: str) -> list[str]:
    """What was found, for a reader."""
    from bilp.evaluate.reproduction import load_reproduction

    rows, content = load_reproduction(uri)
    found = [f"{content['recipe']}: {content['published']['source']}", *(row.sentence for row in rows)]
    for arm, gain in content["gains"].items():
        width = "" if gain["half_width95"] is None else f" +- {gain['half_width95']:.2f}"
        found.append(f"{arm} against unpruned, paired: {gain['points']:+.2f}{width} points (n = {gain['n']})")
    found += [f"deviation: {line}" for line in content["deviations"]] or ["no deviation from the recipe"]
    return [*found, f"reproduction: {uri}"]


def main(arguments: Sequence[str]) -> None:
    name, description = program.described(__doc__)
    refuse_secrets_typed(arguments, name)
    if not arguments or (arguments[0].startswith("-") and not {"-h", "--help"} & set(arguments)):
        program.refuse(name, "name a recipe first, such as published/dc/cifar10-ipc1; --help tells more")
    recipe = arguments[0]

    def scaled(given: dict[str, object], options: Options) -> PipelineConfig:
        from bilp.evaluate.reproduction import load_published, scaled

        load_published(recipe)
        return scaled(recipe, options.scale, given)

    _, config = program.with_options(Options, arguments if recipe.startswith("-") else arguments[1:], name, description, scaled)
    program.guarded(name, lambda: reproduce(recipe, config), lambda uri: program.show_text(lines(uri)))


if __name__ == "__main__":
    main(sys.argv[1:])
