"""The page that shows what a pipeline run did: accuracy, prunings, causal effects, synthetic images, provenance."""

from bilp.report.page import report

__all__ = ["report"]
