"""The selections that the arms of a comparison take their real samples from."""

from __future__ import annotations

from bilp.config import PipelineConfig
from bilp.config.arms import Chosen, planned_runs
from flows.local.flow import flow
from tasks.stages import choose_samples


def selections_of_arms(
    config: PipelineConfig, dataset_uri: str, selection_uri: str | None, record_uri: str | None, root: str
) -> dict[Chosen, str | None]:
    """The selection of each choice that a run needs; None where all real samples take part.

    Args:
        config: Whose arms it is about.
        dataset_uri: The real images.
        selection_uri: What static pruning keeps, if an arm needs it.
        record_uri: The record of their source, where it is known.
        root: Where results lie.
    """
    needed = dict.fromkeys(run.chosen for run in planned_runs(config))
    found = {chosen: selection_uri if chosen.entry.static else None for chosen in needed}
    made = [chosen for chosen in needed if not chosen.entry.static and chosen.entry.chooser is not None]

    @flow(name="choose-samples", flow_run_name="{what}")  # commands call this outside of any flow, and tasks need one
    def choose(what: str) -> list[str]:
        places = (dataset_uri, record_uri, selection_uri)
        return [choose_samples(chosen.samples, chosen.label, *places, chosen.seed, root) for chosen in made]

    if made:
        found |= dict(zip(made, choose(f"choose {', '.join(chosen.label for chosen in made)}"), strict=True))
    return found
