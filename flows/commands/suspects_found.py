"""The work of `bilp suspects`, and what it prints."""

from __future__ import annotations

import shlex

from rich.table import Table

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.called import speaking_of_samples
from bilp.artifacts.facts import DatasetFacts, SuspectsFacts
from bilp.config import PipelineConfig
from bilp.config.suspects import LABEL_SCORES, SuspectsConfig
from bilp.suspects.fitting import fitted
from bilp.suspects.handing_out import HandedOut, hand_out
from bilp.suspects.stage import FILE, KIND
from bilp.suspects.suspects_table import SUSPECTS
from bilp.text.escaping import place, shortened, shown
from bilp.text.sample_words import spoken
from flows.ingest import dataset_and_record
from flows.local.flow import flow
from flows.suspects import suspects
from flows.workplace import workplace
from tasks import output, terminal
from tasks.estimate import Planned
from tasks.terminal import Screen, print_line

SHOWN = 10
DATASET = "dataset"
LONGEST = 60
"""Letters of a file or a class."""


@flow(name="look-for-suspects", flow_run_name="suspects of {config.dataset}")
def looked_for(config: PipelineConfig, ranking: SuspectsConfig) -> str:
    """The URI of the list of suspects of a data set, which is ingested first."""
    root = workplace(None)
    terminal.expect([Planned("ingest", ""), Planned("score", "trial", config.score.trials), Planned("suspects", "")])
    dataset, record = dataset_and_record(config.ingest, root)
    score = fitted(config.score, config.origins, open_artifact(dataset, DATASET).stated(DatasetFacts).train_images)
    return suspects(dataset, score, ranking, root, record)


def found(config: PipelineConfig, ranking: SuspectsConfig, to: str) -> tuple[str, HandedOut]:
    """The URI of the list, and where its files for people were written."""
    uri = looked_for(config, ranking)
    return uri, hand_out(uri, to, config.ingest.corrections)


def show(uri: str, files: HandedOut, decided: bool) -> None:
    """Print the worst, how many there are, how well they are found where that is known, where everything lies and what to do next."""
    screen, artifact = Screen(), open_artifact(uri, KIND)
    facts = artifact.stated(SuspectsFacts)
    with speaking_of_samples(artifact):
        columns = ["rank", "path", "sample_id", "given_label", "predicted_label", "label_score"]
        worst = artifact.table(FILE, SUSPECTS, columns, facts.samples).sort_by("rank").slice(0, SHOWN).to_pylist()
        table = Table(title=f"The {len(worst)} most suspicious labels", title_justify="left")
        for heading in ("", spoken("image"), "given", "looks like", "score"):
            table.add_column(heading, justify="right" if heading in ("", "score") else "left", overflow="fold")
        for row in worst:
            words = [_cell(row["path"] or f"sample {row['sample_id']}"), _cell(row["given_label"]), _cell(row["predicted_label"])]
            table.add_row(str(row["rank"]), *words, f"{row['label_score']:.3f}")
        screen.print(table)
        for line in _lines(facts, files, decided):
            print_line(screen, place(line))


def _lines(facts: SuspectsFacts, files: HandedOut, decided: bool) -> list[str]:
    lines = [f"about {facts.estimated_errors:,} of {facts.samples:,} labels are wrong, by confident learning; {_duplicates(facts)}"]
    if facts.repeated_otherwise:
        lines.append(
            f"{len(facts.repeated_otherwise)} trials were trained once more for their predictions, and rounded otherwise than before"
        )
    if facts.errors is not None:
        lines.append(f"{facts.errors:,} labels are known to be wrong; how well scores find them:")
        lines += [
            f"  {_title(each.score)}: AUROC {each.auroc:.3f}, AUPRC {each.auprc:.3f}, "
            f"precision at the number of errors {each.precision_at_errors:.3f}"
            for each in facts.quality
        ]
    lines += [f"page: {files.page}", f"contact sheet: {files.sheet}", f"table: {files.table}"]
    lines.append(f"corrections: {files.corrections}{', with what was decided before' if decided else ''}")
    if facts.relabeled is not None:
        lines.append(spoken(f"{facts.relabeled:,} images are relabeled there already, because networks are sure of another class"))
    if files.kept:
        lines.append("corrections.csv was there already and stays as it is")
    lines.append(
        "next: look at the page, write keep, drop or relabel (and new_label) into the column action of the corrections, and repeat this "
        f"command with --ingest.corrections {shlex.quote(files.corrections)}; bilp run takes it, too"
    )
    return lines


def _duplicates(facts: SuspectsFacts) -> str:
    near = facts.near_duplicates
    return spoken(f"{near:,} images have equal or nearly equal ones" if near else "no images are nearly equal")


def _title(score: str) -> str:
    return LABEL_SCORES[score].title if score in LABEL_SCORES else score.replace("_", " ")


def _cell(text: str) -> str:
    return output.as_printed(shortened(shown(text), LONGEST))
