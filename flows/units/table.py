"""Every unit of work, said once: a task or flow, and where it publishes; `Unit` makes the rest of that.

`deployments/prefect.yaml` names each by the variable that holds it here.
"""

from __future__ import annotations

from flows import rounds
from flows.units.unit import Unit
from tasks import addresses, analyses, stages

ingest_part = Unit(stages.ingest_part, addresses.ingest_part)
score_trial = Unit(stages.score_trial, addresses.trial, side_by_side=True)
extend_trial = Unit(analyses.extend_trial, addresses.extended_trial)
record_predictions = Unit(stages.record_predictions, addresses.predictions, side_by_side=True)
train_expert = Unit(stages.train_expert, addresses.expert, side_by_side=True)
pretrain_network = Unit(stages.pretrain_network, addresses.pretrained)
distill_run = Unit(rounds.distill_run, addresses.synthetic_set)
distill_shard = Unit(rounds.distill_shard, addresses.last_round)
train_teacher = Unit(stages.train_teacher, addresses.teacher)
evaluate_baseline = Unit(stages.evaluate_baseline, addresses.evaluated_baseline)
evaluate_synthetic = Unit(stages.evaluate_synthetic, addresses.evaluated_set)
evaluate_network = Unit(stages.evaluate_network, addresses.evaluated_network)

UNITS = {
    unit.name: unit
    for unit in (
        *(ingest_part, score_trial, extend_trial, record_predictions, train_expert, pretrain_network, distill_run, distill_shard),
        *(train_teacher, evaluate_baseline, evaluate_synthetic, evaluate_network),
    )
}
"""By name."""
