"""The charts of each section as files to take along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bilp.report.downloads import Download, figure_file

ABREAST = 5


def figure_files(content: Mapping[str, Any]) -> dict[str, list[Download]]:
    """By section, from what the template is given: small charts of one kind share a sheet."""
    accuracy, static, effect, loss = (content[name] for name in ("accuracy", "pruning", "effect", "loss_chart"))
    files: dict[str, list[Download]] = {name: [] for name in ("accuracy", "search", "pruning", "effect", "synthetic")}
    if accuracy:
        files["accuracy"].append(figure_file("accuracy", "Accuracy", [accuracy.chart]))
        charts = [chart for curves in content["learning"] for chart in curves.charts]
        if charts:
            files["accuracy"].append(figure_file("learning", "Learning curves", charts, 2))
        confusions = content["classes"].confusions if content["classes"] else ()
        files["accuracy"] += [
            figure_file(f"confusion-{k}", f"Confusion: {each.title}", [each.chart]) for k, each in enumerate(confusions[:1])
        ]
    if content["search"]:
        files["search"] = [figure_file("search", "Candidates of the search", [content["search"].chart])]
    if static:
        files["pruning"].append(figure_file("scores", "Scores by class", static.histograms, ABREAST))
    if effect:
        files["effect"].append(figure_file("left-out", "Share left out", [effect.share_chart]))
        files["effect"].append(figure_file("effects", "Effects by round", effect.histograms, ABREAST))
    if loss:
        title = content["loss_title"]
        files["effect" if effect else "synthetic"].append(figure_file(title.lower().replace(" ", "-"), title, [loss]))
    return files
