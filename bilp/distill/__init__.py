"""Distillation: one loop for every method, cut into rounds that are published one by one."""

from bilp.distill.finish import finish_run, load_synthetic
from bilp.distill.merge import merge_round
from bilp.distill.pictures import grid_png
from bilp.distill.pretraining import pretrain_network
from bilp.distill.rounds import distill_round, reselect_round
from bilp.distill.run import Run, open_run, start_run

__all__ = [
    "Run",
    "distill_round",
    "finish_run",
    "grid_png",
    "load_synthetic",
    "merge_round",
    "open_run",
    "pretrain_network",
    "reselect_round",
    "start_run",
]
