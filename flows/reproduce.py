"""python -m flows.reproduce published/dc/cifar10-ipc1 --scale 0.1 --experiments 2

Run the recipe of a published cell, or a part of its iterations and evaluation seeds, with and without pruning, and say how far
from the published value the result lies and in what the run differs from the paper's protocol.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pydantic import Field

from bilp.config import Frozen, PipelineConfig
from bilp.config.arms import evaluation_of, needs_selection
from bilp.config.command_line import refuse_secrets_typed
from bilp.preflight import check_choices
from bilp.text.escaping import markdown
from flows import program
from flows.distill import distill_arms
from flows.evaluate import evaluate
from flows.ingest import dataset_and_record
from flows.local.flow import flow
from flows.prune import score_and_prune
from flows.resolved import resolved
from flows.started_run import show_text, shown
from flows.workplace import workplace
from tasks import run_lines, run_progress, run_texts
from tasks.parameters import Root
from tasks.run_display import log, tell
from tasks.run_name import unless_given
from tasks.stages import compare_with_published


class Options(Frozen):
    """The options of the command, beside those of the pipeline."""

    scale: float = Field(default=1.0, gt=0.0, le=1.0)
    """Part of the paper's iterations and evaluation seeds."""


def run_name(recipe: str, config: PipelineConfig | None = None, root: Root = None) -> str:
    """'reproduce published/dc/cifar10-ipc1'."""
    return f"reproduce {recipe}"


@flow(name="reproduce", flow_run_name=unless_given(run_name))
def reproduce(recipe: str, config: PipelineConfig, root: Root = None) -> str:
    """The URI of the comparison of a run of `config` with what the recipe states as published."""
    root, stages = workplace(root), [*run_texts.stages(config), "compare with what is published"]
    with shown(stages, run_texts.plan(config, stages), [*run_texts.tags(config), f"recipe:{recipe}"]) as mine:
        compared = _through_all_stages(recipe, config, root)
        show_text(mine, lambda: _told(compared), "What came out")
    return compared


def _through_all_stages(recipe: str, config: PipelineConfig, root: str) -> str:
    """Each with a line about its result in the log; robustness scores are no part of it."""
    run_progress.stage()
    (dataset, record), selection = dataset_and_record(config.ingest, root), None
    tell(run_lines.tell_dataset, dataset)
    config, _ = resolved(config, dataset, root)
    check_choices(config, record)
    if needs_selection(config):
        run_progress.stage()
        selection = score_and_prune(config, dataset, root)[1]
        tell(run_lines.tell_selection, selection)
    runs = distill_arms(config, dataset, selection, root, record)
    tell(run_lines.tell_runs, runs)
    run_progress.stage()
    evaluations = evaluate(dataset, runs, config.ipc, evaluation_of(config), root, selection)
    tell(run_lines.tell_accuracies, evaluations)
    run_progress.stage()
    return compare_with_published(recipe, config, evaluations, root)


def _told(uri: str) -> str:
    """What was found, in the log and as Markdown."""
    found = lines(uri)
    for line in found:
        log(line)
    return "\n".join(f"- {markdown(line)}" for line in found)


def lines(uri: str) -> list[str]:
    """What was found, for a reader."""
    from bilp.evaluate.reproduction import load_reproduction

    rows, content = load_reproduction(uri)
    found = [f"{content['recipe']}: {content['published']['source']}", *(row.sentence for row in rows)]
    if content["published"]["unknown"]:
        found.append(f"not published, so that the recipe decides: {', '.join(content['published']['unknown'])}")
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
