"""The table that a sweep ends with: what was varied, the accuracy, the difference to the unpruned arm, and what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bilp.config import PipelineConfig
from bilp.config.nested import leaves
from bilp.text.escaping import markdown, shortened
from tasks.columns import aligned
from tasks.report_links import link_to, link_to_comparison

if TYPE_CHECKING:
    from bilp.report.accuracy import AccuracyRow

LONGEST = 60  # characters of a value
LONGEST_FAILURE = 200


@dataclass(frozen=True)
class Outcome:
    """What came of one combination: a report, or a reason."""

    values: Mapping[str, Any]
    report: str = ""
    failure: str = ""
    rows: Sequence[AccuracyRow] = field(default=())
    """Of the arm that its report is about, one for each network."""

    def finished(self, report: str, config: PipelineConfig) -> Outcome:
        """The same with its report. Raises MissingArtifact or DamagedArtifact if that is not there."""
        from bilp.report.headline import headline

        told = headline(report, config)
        return replace(self, report=report, rows=[row for row in told.rows if row.words.title == told.main])

    def failed(self, why: str) -> Outcome:
        """The same with the reason."""
        return replace(self, failure=why)

    def cells(self) -> Iterator[tuple[str, ...]]:
        """A line of the table for each network, or one with the reason."""
        values = tuple(value_text(value) for value in self.values.values())
        if not self.rows:
            yield *values, "", "", shortened(f"failed: {self.failure}", LONGEST_FAILURE) if self.failure else "not evaluated"
        for row in self.rows:
            network = f"{row.words.title}, {row.network}" if len(self.rows) > 1 else row.words.title
            yield *values, network, row.shown, f"{row.difference}: {row.judgment}" if row.difference else ""


def as_markdown(outcomes: Sequence[Outcome], planned: int, compared: str | None = None) -> str:
    """The table, with a link to each report that this server shows, and to the page `compared` that puts them side by side."""
    heads = [*map(markdown, outcomes[0].values), "arm", "accuracy (95 %)", "against unpruned", "report"]
    lines = [heads, ["---"] * len(heads)]
    for outcome in outcomes:
        link = link_to(outcome.report) if outcome.report else None
        report = f"[open]({link})" if link else markdown(outcome.report)
        lines += [[*map(markdown, cells), report] for cells in outcome.cells()]
    done = "" if len(outcomes) == planned else f"\n\n{len(outcomes)} of {planned} combinations are done."
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return table + done + (f"\n\n{_side_by_side(compared)}" if compared else "")


def _side_by_side(uri: str) -> str:
    link = link_to_comparison(uri)
    return f"**[All reports side by side]({link})**" if link else f"All reports side by side: {markdown(uri)}"


def as_text(outcomes: Sequence[Outcome]) -> list[str]:
    """The table in lines of text, its columns aligned."""
    table = [(*outcomes[0].values, "arm", "accuracy", "against unpruned")] if outcomes else []
    table += [cells for outcome in outcomes for cells in outcome.cells()]
    return aligned([[cell.replace("\u00a0", " ") for cell in cells] for cells in table])


def plan(config: Mapping[str, Any], names: Sequence[str]) -> str:
    """What will happen."""
    lines = [f"{number}. {markdown(name)}" for number, name in enumerate(names, 1)]
    common = ", ".join(f"{path} = {value_text(value)}" for path, value in leaves(config)) or "every default"
    first = f"{len(names)} pipelines, one after the other; what they share is computed once."
    return "\n\n".join([first, "\n".join(lines), f"In all of them: {markdown(shortened(common, 1000))}"])


def named(values: Mapping[str, Any]) -> str:
    """'keep=0.5 ipc=10'."""
    return " ".join(f"{name}={value_text(value)}" for name, value in values.items())


def listed(name: str, values: Sequence[Any]) -> str:
    """'keep = 0.3, 0.5'."""
    return f"{name} = {', '.join(map(value_text, values))}"


def value_text(value: Any) -> str:
    """A value as people write it, its beginning and end if it is long."""
    return shortened(str(value), LONGEST)
