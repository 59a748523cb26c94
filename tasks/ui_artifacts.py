"""What a task run shows in Prefect's UI: small tables, the synthetic images, a link to the page.

The UI reads descriptions, cells of tables and link texts as Markdown, in which names of classes and files are only text.
"""

from __future__ import annotations

import base64
import functools
import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ParamSpec

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import TaskRunContext
from prefect.logging import get_logger

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import GRID, RESELECT, SYNTHETIC, reselect_uri
from bilp.config.shapes import sample_noun
from bilp.evaluate.metrics import top_words
from bilp.text.escaping import markdown
from tasks.report_links import link_to

if TYPE_CHECKING:
    from bilp.arrivals.arrivals_page import Arrived
    from bilp.evaluate import Row

P = ParamSpec("P")

LISTED = 20  # rows of a table of images
MOST_CLASSES = 100  # rows of a table of classes
LARGEST_PICTURE = 200_000  # bytes of a data: URI that the UI still shows without delay


def in_the_ui(show: Callable[P, object]) -> Callable[P, None]:
    """Outside of a task run there is no UI to show things in, and a UI that is out of reach is no reason to fail."""

    @functools.wraps(show)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        if TaskRunContext.get() is None:
            return
        try:
            show(*args, **kwargs)
        except Exception as error:
            get_logger("tasks").warning("nothing to see in the UI: %s", error)

    return guarded


@in_the_ui
def show_source(record_uri: str) -> None:
    """What there is to know of a source: choices, skipped files, duplicates."""
    from bilp.data.source_record import open_record

    record = open_record(record_uri)
    lines = record.lines()
    if lines:
        head, foot = markdown(record.place), markdown(record_uri)
        text = "\n".join(f"- {markdown(line)}" for line in lines)
        create_markdown_artifact(f"### {head}\n\n{text}\n\n{foot}", key="source", description="Where the real samples come from")


@in_the_ui
def show_arrivals(arrived: Arrived) -> None:
    """What came in, how classes grew, and the new images that are most suspicious."""
    found = arrived.found
    lines = [
        *(markdown(sentence) for sentence in arrived.sentences),
        "",
        "| class | before | new | taken for another |",
        "|---|---|---|---|",
    ]
    lines += [f"| {markdown(each.name)} | {each.before:,} | {each.added:,} | {each.suspicious:,} |" for each in arrived.classes[:LISTED]]
    lines += ["", "| sample | given | networks say | loss |", "|---|---|---|---|"]
    rows = zip(found.origin, found.given, found.predicted, found.loss, strict=True)
    for origin, given, predicted, loss in itertools.islice(rows, LISTED):
        lines.append(f"| {markdown(origin)} | {markdown(given)} | {markdown(predicted)} | {loss:.3f} |")
    create_markdown_artifact("\n".join([*lines, "", markdown(arrived.page)]), key="arrivals", description="New samples")


@in_the_ui
def show_kept(selection_uri: str) -> None:
    """How much of each class a selection keeps."""
    facts = open_artifact(selection_uri, "selection").manifest.facts
    end = "highest" if facts["drop"] == "high" else "lowest"
    columns = (facts["class_names"], facts["total_per_class"], facts["kept_per_class"], facts[f"{end}_kept_per_class"])
    rows = [
        {"class": markdown(name), "samples": total, "kept": kept, f"{end} score kept": threshold}
        for name, total, kept, threshold in itertools.islice(zip(*columns, strict=True), MOST_CLASSES)
    ]
    left_out = len(facts["class_names"]) - len(rows)
    told = f"The first {len(rows)} classes; the page lists the {left_out:,} others as well. " if left_out else ""
    create_table_artifact(rows, key="kept-per-class", description=markdown(f"{told}Selection by {facts['criterion']}: {selection_uri}"))


@in_the_ui
def show_synthetic(synthetic_uri: str) -> None:
    """What was distilled, with the picture if it is small."""
    artifact = open_artifact(synthetic_uri, SYNTHETIC)
    facts = artifact.manifest.facts
    noun = sample_noun(facts["shape"])
    lines = [
        f"### {facts['ipc']} synthetic {noun}{'' if facts['ipc'] == 1 else 's'} for each of {len(facts['class_names'])} classes",
        markdown(f"Method {facts['method']}, one row per class: {', '.join(facts['class_names'][:20])}"),
        markdown(synthetic_uri),
    ]
    if artifact.manifest.files[GRID].size * 4 // 3 < LARGEST_PICTURE:  # base64 has four characters for three bytes
        picture = base64.b64encode(artifact.read(GRID)).decode()
        lines.insert(2, f"![synthetic images](data:image/png;base64,{picture})")
    create_markdown_artifact("\n\n".join(lines), key="synthetic-set", description="Synthetic set")


@in_the_ui
def show_dropped(run_uri: str) -> None:
    """Which share of the measured samples sat out each round of a run, because of their causal effect or what stands in for it."""
    from bilp.distill.run import open_run

    run = open_run(run_uri)
    if not run.reselect.active:
        return
    rounds = range(1, run.distill.rounds + 1)
    facts = [open_artifact(reselect_uri(run_uri, number), RESELECT).manifest.facts for number in rounds]
    rows = [
        {
            "round": fact["round"],
            "before iteration": fact["iteration"] + 1,
            "dropped (%)": round(100 * fact["dropped_share"], 1),
            "over the run so far (%)": round(100 * fact["dropped_share_so_far"], 1),
        }
        for fact in facts
    ]
    told = markdown(f"Wanted: {100 * run.reselect.shares[0]:g} % by {run.reselect.score}; {run_uri}")
    create_table_artifact(rows, key="dropped-per-round", description=told)


@in_the_ui
def show_accuracy(rows: Iterable[Row]) -> None:
    """The accuracy of every arm."""
    table = [
        {
            "arm": markdown(row.arm),
            "network": markdown(row.network),
            "accuracy (%)": round(100 * row.mean, 2),
            "95 % interval (±)": round(100 * row.half_width95, 2),
            **({} if row.top_k is None else {f"{top_words(row.top_k.k)} (%)": round(100 * row.top_k.share.mean, 2)}),
            "n": row.n,
        }
        for row in rows
    ]
    create_table_artifact(table, key="accuracy", description="Accuracy on the real test split")


@in_the_ui
def show_link(report_uri: str) -> None:
    """A link to the page, if this server shows it: a browser follows none from there to a file or a bucket."""
    link = link_to(report_uri)
    if link:
        create_link_artifact(link, link_text="report.html", key="report", description=markdown(report_uri))
