"""What the run that somebody started shows of itself, and what a run inside of it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prefect.logging import get_logger

from bilp.config import PipelineConfig
from tasks import run_progress, run_texts
from tasks.run_display import PLAN, RESULT, Display, display, log

_inside_tags: list[str] = []
"""Tags of the runs that begin inside of the present one."""


@contextmanager
def shown(stages: Sequence[str], plan: str, tags: Sequence[str] = (), inner: Sequence[str] = ()) -> Iterator[Display]:
    """In the block the present flow run goes through these stages: the plan is shown at first, then the progress.

    Inside of another such block it is a part of that run, which alone shows its progress; it keeps to its own tags and result.

    Args:
        stages: The stages, in words; `run_progress.stage` says when the next one begins.
        plan: What will happen, as Markdown.
        tags: Tags of this run.
        inner: Tags of the runs inside of it.
    """
    mine, outermost = display(), run_progress.nobody()
    mine.tag([*tags, *_inside_tags])
    if outermost:
        mine.markdown(PLAN, plan, "What will happen, and where its settings came from")
    before = list(_inside_tags)
    _inside_tags.extend(inner)
    try:
        with run_progress.following(stages, mine.progress) as progress:
            yield mine
            if outermost:
                progress.finish(f"all {len(stages)} stages are done")
    finally:
        _inside_tags[:] = before


def show_result(mine: Display, report_uri: str, config: PipelineConfig) -> None:
    """The result of a pipeline, in the UI and its log."""
    from tasks.report_links import link_to

    def text() -> str:
        from bilp.report.headline import headline

        told = headline(report_uri, config)
        log(told.sentence.replace("\u00a0", " "))
        return run_texts.result(told, report_uri, link_to(report_uri))

    show_text(mine, text, "What came out")
    log(f"report: {report_uri}")


def show_text(mine: Display, text: Callable[[], str], description: str, key: str = RESULT) -> None:
    """Show what `text` says. The work is done by then, and what cannot be told about it is no reason to fail."""
    try:
        mine.markdown(key, text(), description)
    except Exception as error:
        get_logger("tasks").warning("nothing to see in the UI: %s", error)


def stages_of(config: PipelineConfig) -> list[str]:
    """The stages of a pipeline, in words."""
    scores = ["robustness scores"] if config.evaluate.robustness else []
    return [*run_texts.stages(config), *scores, "write the report"]
