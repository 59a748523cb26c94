"""The rounds of a distillation, each a task of its own and a checkpoint at its end."""

from __future__ import annotations

from tasks.distill import distill_round, finish_run, reselect_round, went_through


def go_through(run_uri: str, rounds: int, adaptive: bool, label: str) -> None:
    """Whatever a registered run still lacks: its rounds in order, then its synthetic set."""
    if not went_through(run_uri, rounds, adaptive):
        for number in range(1, rounds + 1):
            if adaptive:
                reselect_round(run_uri, number, rounds, label)
            distill_round(run_uri, number, rounds, label)
    finish_run(run_uri, label)
