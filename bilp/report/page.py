"""The page: one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from bilp.artifacts import layout, parquet
from bilp.artifacts.artifact import content_key, plain, there_already
from bilp.artifacts.called import speaking_of_dataset
from bilp.artifacts.facts import SelectionFacts, SummaryFacts
from bilp.artifacts.publication import publish
from bilp.artifacts.report_places import FILE, KIND, REPORTS
from bilp.artifacts.tables import REPORTED
from bilp.config import CRITERIA, METHODS, PROTOCOLS, PipelineConfig
from bilp.config.arms import PlannedRun, planned_runs
from bilp.config.changed import changed
from bilp.config.given import model_of
from bilp.config.rules import DEFAULT_RULE, RULES
from bilp.config.shapes import frames_in, side_of
from bilp.distill.snapshot import shown_classes
from bilp.evaluate import label_robust_score
from bilp.images.frames import STRIP
from bilp.nets import label
from bilp.pruning.reach_words import told_reach
from bilp.report import outcome, reported
from bilp.report.accuracy import accuracy, robustness_rows
from bilp.report.caution import cautions
from bilp.report.citation import bibtex, papers
from bilp.report.classes import classes
from bilp.report.collect import Collected, Sources, collect, open_sources
from bilp.report.comparison import network_title
from bilp.report.effect import effect
from bilp.report.equal_time import measured, paces
from bilp.report.figure_files import figure_files
from bilp.report.growing import scores_sentence
from bilp.report.heading import made, sentence, title
from bilp.report.learning import learning
from bilp.report.lineage import lineage, table_links, versions
from bilp.report.planned import planner
from bilp.report.samples import samples
from bilp.report.searching import searching
from bilp.report.selection import pruning
from bilp.report.settings import origins_of, rerun_command, settings
from bilp.report.source import source_facts, tested_words
from bilp.report.storage import storage_sentence
from bilp.report.suspects import suspects
from bilp.report.synthetic import loss_chart, synthetic
from bilp.report.timing import stage_times
from bilp.report.verdict import Amounts, tiles
from bilp.report.wording import arm_place, arm_words, rule_meaning, score_meaning
from bilp.report.wrong_labels import wrong_labels
from bilp.storage.objects import Uri, as_uri, join, optional_uri
from bilp.text.escaping import shown as one_line
from bilp.text.page_templates import template_of
from bilp.text.sample_words import spoken

VERSION = 3
"""Of the page, and of the table and the facts that go with it."""
PIXELATED_SIDE = 40  # smaller images are enlarged by the page: pixel by pixel, not blurred


def report(
    config: PipelineConfig | Mapping[str, Any],
    dataset_uri: Uri,
    scores_uri: Uri | None,
    selection_uri: Uri | None,
    runs: Mapping[str, Sequence[Uri]],
    evaluation_uris: Sequence[Uri],
    root: Uri,
    origins: Mapping[str, str] | None = None,
    record_uri: Uri | None = None,
    suspects_uri: Uri | None = None,
    search_uri: Uri | None = None,
) -> str:
    """Write the page of a pipeline run and return the URI of its report.html.

    What was not done is left out of the page: no selection, no measured effects, no evaluations.
    Raises MissingArtifact or DamagedArtifact if an artifact named here is not whole.

    Args:
        config: The configuration of the pipeline.
        dataset_uri: Real images.
        scores_uri: Summary of their scores.
        selection_uri: What static pruning kept.
        runs: By arm, the run URIs of its experiments in order.
        evaluation_uris: Evaluations of sets and baselines, in any order, and scores of robustness.
        root: Where the page goes.
        origins: Where each setting came from, if not as the configuration knows it.
        record_uri: The record of the source that the images were read from; the page then tells where those that it shows come
            from, and is another for another record.
        suspects_uri: The list of suspicious labels.
        search_uri: The search that found some of the settings, which the page then shows.
    """
    config = model_of(PipelineConfig, config)
    root = as_uri(root)
    with speaking_of_dataset(as_uri(dataset_uri)):
        sources = open_sources(
            as_uri(dataset_uri),
            optional_uri(scores_uri),
            optional_uri(selection_uri),
            {arm: [as_uri(uri) for uri in uris] for arm, uris in runs.items()},
            [as_uri(uri) for uri in evaluation_uris],
            optional_uri(record_uri),
            optional_uri(suspects_uri),
            optional_uri(search_uri),
        )
        shown = {source.role: source.artifact.identity for source in sources.artifacts}
        origins = origins_of(config) if origins is None else origins
        called = sources.artifacts[0].artifact.fact("name")  # the same pixels may be known under several
        key = content_key(KIND, VERSION, name=called, parents=shown, config=config, origins=dict(origins))
        uri = join(root, REPORTS, key)
        published = there_already(uri, KIND, key, shown=True)
        if published is None:
            files, facts = _content(config, sources, origins, key)
            parents = {source.role: source.artifact.uri for source in sources.artifacts}
            published = publish(uri, KIND, key, files, config=config, parents=parents, facts=facts)
        return published.place(FILE)


def _content(
    config: PipelineConfig, sources: Sources, origins: Mapping[str, str], key: str
) -> tuple[Mapping[str, bytes], Mapping[str, Any]]:
    """The files, and what the manifest states."""
    collected = collect(sources, config.report.max_classes)
    called, differs = sources.artifacts[0].artifact.fact("name"), changed(plain(config))
    files = {FILE: render(config, collected, origins, key).encode(), reported.FILE: _table(key, called, config, differs, collected)}
    sizes = (entry.size for source in sources.artifacts for entry in source.artifact.manifest.files.values())
    accuracies = outcome.stated(outcome.arm_results(collected.trainings))
    scores = collected.sources.one("scores")
    version = 1 if scores is None else scores.stated(SummaryFacts).version
    told = {} if version == 1 else {"scores_version": version}
    return files, {"name": called, "accuracies": accuracies, "size": sum(sizes), "changed": differs, **told}


def _table(key: str, name: str, config: PipelineConfig, differs: Mapping[str, Any], collected: Collected) -> bytes:
    """The table of trainings that says what they belong to."""
    scores = collected.sources.one("scores")
    place = "" if scores is None else layout.place_of(scores.uri)
    keep = config.keep if collected.selection is None or not isinstance(config.keep, str) else _selected(collected).keep
    rows = reported.table(key, name, config, differs, collected.trainings, place, keep)
    return parquet.encode(rows, REPORTED, {"stage": KIND, "key": key})


def render(config: PipelineConfig, collected: Collected, origins: Mapping[str, str] | None = None, key: str = "") -> str:
    """The page's HTML; equal inputs give equal text. `key` is that of the page, by which it can be found again."""
    origins = origins_of(config) if origins is None else origins
    shown = content(config, collected, origins)
    template = template_of("template.html.j2", ("bilp.report",), _as_text)
    return template.render(**shown, **about(config, collected, key), figures=figure_files(shown))


def about(config: PipelineConfig, collected: Collected, key: str) -> dict[str, Any]:
    """What the page says of itself, of what it was made of, and of whom to cite."""
    method, sources = METHODS[config.method], collected.sources
    return {
        "made": made(config, [source.artifact for source in sources.artifacts], key),
        "tables": table_links(sources.artifacts),
        "times": stage_times(sources.artifacts, sources.runs, planner(config, sources.artifacts)),
        "paces": paces(config, measured(sources.artifacts, sources.runs)),
        "papers": papers(method),
        "bibtex": bibtex(method),
        "score_paper": CRITERIA[config.prune.criterion].paper if sources.one("selection") else "",
        "protocol": PROTOCOLS[config.evaluate.protocol],
        "selection_rule": RULES[config.prune.rule] if sources.one("selection") and config.prune.rule != DEFAULT_RULE else None,
        "distill_network": network_title(label(config.distill.network)),
    }


def _selected(collected: Collected) -> SelectionFacts:
    """What the selection that the page shows states."""
    source = collected.sources.one("selection")
    assert source is not None  # there is a table of it
    return source.stated(SelectionFacts)


def content(config: PipelineConfig, collected: Collected, origins: Mapping[str, str]) -> dict[str, Any]:
    """What the sections show."""
    dataset, rows, report_config = collected.dataset, collected.trainings, config.report
    shown = shown_classes(dataset.classes, report_config.max_classes)
    score_name, score_sentence = score_meaning(config.prune, config.score)
    static = None
    if collected.selection is not None:
        static = pruning(collected.selection, _selected(collected), dataset, shown, report_config.samples_per_class, score_name)
    reached = told_reach(planned_runs(config), lambda run: _taking_part(run, collected))
    causal = effect(collected.runs, dataset, shown, report_config.samples_per_class)
    amounts = Amounts(
        synthetic=config.ipc * dataset.classes,
        real=len(dataset.train),
        static_share=static.dropped_share if static else None,
        adaptive_share=causal.dropped_share if causal else None,
    )
    titled = title(dataset.name, config)
    effect_word = causal.words.word if causal else ""
    return {
        "title": titled,
        "verdict": sentence(rows, amounts, config),
        "tiles": tiles(rows, amounts),
        "accuracy": accuracy(rows, adaptive=METHODS[config.method].adaptive, what=titled),
        "cautions": [*cautions(rows, dataset.classes), *(_as_sentence(warning) for warning in reached.warnings)],
        "learning": learning(collected.course, rows),
        "learned_arms": [arm_words(arm) for arm in sorted(set(collected.course["arm"]), key=arm_place)],
        "classes": classes(collected.confusion, rows, dataset.class_names),
        "suspects": suspects(collected.sources.one("suspects"), dataset),
        "samples": samples(collected.selection, collected.runs, dataset, score_name, effect_word),
        "robustness": robustness_rows(collected.robustness),
        "neutral_score": f"{100 * label_robust_score(0.0, 0.0, 0.0, 0.0):.1f}",
        "tested_words": tested_words(dataset),
        "source": source_facts(dataset),
        "pruning": static,
        "search": searching(collected.sources),
        "score_name": score_name,
        "score_sentence": scores_sentence(score_sentence, collected.sources.one("scores"), collected.sources.one("selection")),
        "rule_sentence": rule_meaning(config.prune),
        "effect": causal,
        "reach": [_as_sentence(sentence) for sentence in reached.sentences],
        "found_labels": wrong_labels(collected.runs, collected.selection, collected.truth, CRITERIA[config.prune.criterion].drop),
        "drawn_arms": [arm_words(arm) for arm in collected.arms()],
        "loss_chart": loss_chart(collected.runs, METHODS[config.method].loss),
        "loss_title": METHODS[config.method].loss.capitalize(),
        "loss_meaning": spoken(METHODS[config.method].loss_meaning),
        "synthetic": synthetic(collected.runs, dataset, shown),
        "storage": storage_sentence(config.distill, dataset.classes, dataset.shape),
        "classes_note": _classes_note(len(shown), dataset.classes),
        "pixelated": max(side_of(dataset.shape)) <= PIXELATED_SIDE,
        "strip": min(STRIP, frames_in(dataset.shape)),
        "lineage": lineage(collected.sources.artifacts),
        "versions": versions(collected.sources.artifacts),
        "settings": settings(config, origins),
        "command": rerun_command(config, origins),
    }


def _taking_part(run: PlannedRun, collected: Collected) -> np.ndarray:
    """Real samples of each class that take part in a run, `[classes]`."""
    labels = collected.dataset.train.labels.numpy()
    if run.chosen.entry.after_static and collected.selection is not None:  # others after it are as many
        labels = collected.selection["label"].to_numpy()[collected.selection["kept"].to_numpy()]
    return np.bincount(labels, minlength=collected.dataset.classes)


def _as_sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


def _classes_note(shown: int, classes: int) -> str:
    return "" if shown == classes else f"{shown} of {classes} classes are shown, evenly spread; the tables hold all of them."


def _as_text(value: object) -> object:
    """What the template puts in: text without characters that change the order of others; it is escaped afterwards, markup is not."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(map(one_line, value.split("\n")))  # tables for LaTeX have lines
