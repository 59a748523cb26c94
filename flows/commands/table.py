"""Every command of the program `bilp`, in the order in which its help lists them."""

from __future__ import annotations

from dataclasses import dataclass

from bilp.registry import Registry


@dataclass(frozen=True)
class Command:
    """One command: `bilp NAME`."""

    name: str
    group: str
    """A key of GROUPS."""
    module: str
    """Where its `main(arguments)` is, by name: it is imported when the command is typed, and may lie in a layer above this one."""
    help: str
    """One line for the list of commands."""

    @property
    def main(self) -> str:
        """The function that is the command, as `bilp.registry.resolve` takes it."""
        return self.module if ":" in self.module else f"{self.module}:main"


GROUPS = {
    "run": "Run",
    "data": "Real images and their labels",
    "stages": "Stages, one alone (what it needs is made first)",
    "results": "Results",
    "sets": "Synthetic sets",
    "service": "Service",
    "about": "About",
}
"""Titles of the groups of commands, in the order in which they are listed."""

COMMANDS = Registry(
    "command",
    Command,
    (
        Command("run", "run", "flows.commands.run", "the whole pipeline: real images in, a page with accuracies and pictures out"),
        Command("sweep", "run", "flows.commands.sweep", "the pipeline for every combination of the values of some settings"),
        Command("study", "run", "flows.commands.study", "named arms in a grid of settings with paired seeds, and a page with tests"),
        Command("reproduce", "run", "flows.reproduce", "a published cell, or a part of it, and the distance to the published value"),
        Command("explain", "run", "flows.commands.explain", "every setting of a run and where its value came from; nothing is run"),
        Command(
            "plan",
            "run",
            "flows.plan",
            "what a run would cost: samples, bytes, GPU-hours, and what to set instead",
        ),
        Command("suspects", "data", "flows.commands.suspects", "images of a folder or a data set whose label is probably wrong"),
        Command("nightly", "data", "flows.nightly", "score and report what came in since a source was read last"),
        Command("critical", "data", "flows.critical", "how much of the data is enough: the smallest share that is as good as all of it"),
        Command("atlas", "data", "flows.commands.atlas", "scores that are shared: publish, list, fetch, import and compare them"),
        Command("ingest", "stages", "flows.ingest", "turn a source of real images into one canonical dataset"),
        Command("score", "stages", "flows.score", "score every real sample by short trainings"),
        Command("prune", "stages", "flows.prune", "cut each class of the real samples by score"),
        Command("experts", "stages", "flows.experts", "train the experts that trajectory matching imitates"),
        Command("distill", "stages", "flows.distill", "distill a synthetic set for every arm of the comparison"),
        Command("evaluate", "stages", "flows.evaluate", "train networks on the synthetic sets and test them on real images"),
        Command("report", "stages", "flows.report", "write the page"),
        Command("ls", "results", "flows.commands.ls", "list the runs, with accuracies and what sets them apart"),
        Command("show", "results", "flows.commands.show", "what a key, a path or a URI names"),
        Command("compare", "results", "flows.commands.compare", "settings and accuracies of several runs side by side, and a page"),
        Command("open", "results", "flows.commands.open", "open the page of a run in a browser"),
        Command("verify", "results", "flows.commands.verify", "check every file by its checksum; says what is damaged and what repairs it"),
        Command("du", "results", "flows.commands.du", "how much everything takes, and what only one run uses"),
        Command("gc", "results", "flows.commands.gc", "free what no report and no run needs"),
        Command("rm", "results", "flows.commands.rm", "remove a run or a report"),
        Command("import", "sets", "flows.import_set", "convert a set that a reference project published"),
        Command("resize", "sets", "flows.resize", "a smaller set out of a synthetic set, without distilling again"),
        Command("export", "sets", "flows.commands.export", "write a synthetic set as PNG files, Parquet or safetensors, or tables as CSV"),
        Command("sign", "sets", "flows.sign", "sign what lies in a storage with your key"),
        Command("server", "service", "deployments.commands:server", "a Prefect server with every deployment, on this machine"),
        Command("worker", "service", "deployments.commands:worker", "this machine's workers: one per GPU, and one for everything else"),
        Command("register", "service", "deployments.commands:register", "bring another server's work pools and deployments up to date"),
        Command("recipes", "about", "flows.commands.recipes", "the recipes that come with the program; with a name, what one says"),
    ),
)
"""The commands by name."""
