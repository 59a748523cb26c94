"""DM, distribution matching (Zhao & Bilen 2023): mean features under random networks."""

from __future__ import annotations

from typing import Any

from bilp.config.methods.spec import Cell, Method
from bilp.config.real_passes import EVERY_WAY


def _values(cell: Cell) -> dict[str, Any]:
    """Real initialization, siamese augmentation, long schedule."""
    return {"distill": {"iterations": 20000, "learning_rate": 10.0 if cell.ipc >= 100 else 1.0, "init": "real"}}


DM = Method(
    name="dm",
    title="distribution matching (DM)",
    paper="Zhao & Bilen 2023",
    venue="WACV 2023, arXiv 2110.04181",
    paper_title="Dataset Condensation with Distribution Matching",
    values=_values,
    small=lambda cell: {"distill": {"iterations": 200}},
    independent_with={},
    real_part=True,
    one_step=True,
    weighs=True,
    signed=True,
    real_passes=EVERY_WAY,
    measuring_cost=3.2,
    matching="bilp.matching:features",
    loop="bilp.distill.loops.captured:distill",
    schedule="bilp.distill.step.schedule:untrained",
    work="bilp.costs.method_work:features",
)

METHODS = (DM,)
