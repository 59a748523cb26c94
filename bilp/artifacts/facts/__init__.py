"""Facts: what a manifest states about the artifact of each kind, as models that every artifact is checked by when it is opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bilp.artifacts.facts.base import Facts as Facts
from bilp.artifacts.facts.data import DatasetFacts as DatasetFacts
from bilp.artifacts.facts.data import DuplicatesFacts as DuplicatesFacts
from bilp.artifacts.facts.data import IngestPartFacts as IngestPartFacts
from bilp.artifacts.facts.data import IngestPlanFacts as IngestPlanFacts
from bilp.artifacts.facts.data import SourceFacts as SourceFacts
from bilp.artifacts.facts.data import TruthFacts as TruthFacts
from bilp.artifacts.facts.data import WhiteningFacts as WhiteningFacts
from bilp.artifacts.facts.distillation import BufferFacts as BufferFacts
from bilp.artifacts.facts.distillation import ExpertFacts as ExpertFacts
from bilp.artifacts.facts.distillation import LearnedLabelFacts as LearnedLabelFacts
from bilp.artifacts.facts.distillation import PretrainedFacts as PretrainedFacts
from bilp.artifacts.facts.distillation import ReselectFacts as ReselectFacts
from bilp.artifacts.facts.distillation import RoundFacts as RoundFacts
from bilp.artifacts.facts.distillation import SoftLabelFacts as SoftLabelFacts
from bilp.artifacts.facts.distillation import StateFacts as StateFacts
from bilp.artifacts.facts.distillation import SyntheticFacts as SyntheticFacts
from bilp.artifacts.facts.evaluation import EvaluationFacts as EvaluationFacts
from bilp.artifacts.facts.evaluation import NoFacts as NoFacts
from bilp.artifacts.facts.evaluation import ReportFacts as ReportFacts
from bilp.artifacts.facts.evaluation import ReproductionFacts as ReproductionFacts
from bilp.artifacts.facts.evaluation import StatedAccuracy as StatedAccuracy
from bilp.artifacts.facts.evaluation import StatedDifference as StatedDifference
from bilp.artifacts.facts.evaluation import TeacherFacts as TeacherFacts
from bilp.artifacts.facts.scores import ExtensionFacts as ExtensionFacts
from bilp.artifacts.facts.scores import GrowthFacts as GrowthFacts
from bilp.artifacts.facts.scores import MixtureFacts as MixtureFacts
from bilp.artifacts.facts.scores import NetworksFacts as NetworksFacts
from bilp.artifacts.facts.scores import PredictionsFacts as PredictionsFacts
from bilp.artifacts.facts.scores import ScoreQuality as ScoreQuality
from bilp.artifacts.facts.scores import SelectionFacts as SelectionFacts
from bilp.artifacts.facts.scores import SummaryFacts as SummaryFacts
from bilp.artifacts.facts.scores import SuspectsFacts as SuspectsFacts
from bilp.artifacts.facts.scores import TrialFacts as TrialFacts
from bilp.artifacts.facts.studies import StudyFacts as StudyFacts
from bilp.artifacts.facts.studies import StudyPartFacts as StudyPartFacts
from bilp.artifacts.facts.trying import CriticalFacts as CriticalFacts
from bilp.artifacts.facts.trying import SearchFacts as SearchFacts

FACTS: Mapping[str, type[Facts]] = {
    "dataset": DatasetFacts,
    "source": SourceFacts,
    "truth": TruthFacts,
    "ingest_plan": IngestPlanFacts,
    "ingest_part": IngestPartFacts,
    "score_trial": TrialFacts,
    "predictions": PredictionsFacts,
    "trial_networks": NetworksFacts,
    "score_growth": GrowthFacts,
    "score_summary": SummaryFacts,
    "selection": SelectionFacts,
    "suspects": SuspectsFacts,
    "expert": ExpertFacts,
    "expert_buffer": BufferFacts,
    "pretrained_network": PretrainedFacts,
    "reselect": ReselectFacts,
    "round": RoundFacts,
    "round_state": StateFacts,
    "synthetic": SyntheticFacts,
    "teacher": TeacherFacts,
    "evaluation": EvaluationFacts,
    "robustness": NoFacts,
    "report": ReportFacts,
    "reproduction": ReproductionFacts,
    "search": SearchFacts,
    "critical": CriticalFacts,
    "study": StudyFacts,
    "study_part": StudyPartFacts,
}
"""The model of every kind that the stages publish."""


def facts_of(kind: str, key: str, stated: Mapping[str, Any]) -> Facts | None:
    """What an artifact of a kind states, checked; None for a kind that no stage here publishes.

    Raises ValueError (pydantic's ValidationError) if a fact is missing, unknown or impossible, or not the artifact's `key` where
    it has to be.
    """
    model = FACTS.get(kind)
    if model is None:
        return None
    facts = model.model_validate_json(json.dumps(dict(stated)), strict=True)
    if model.keyed is not None and getattr(facts, model.keyed) != key:
        raise ValueError(f"{model.keyed} {getattr(facts, model.keyed)} is not the artifact's key {key}")
    return facts
