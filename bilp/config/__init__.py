"""Every setting of every stage, as frozen pydantic models; what others need of them is imported from here."""

from bilp.config.arm_entries import Arm
from bilp.config.augmentations import AugmentFamily
from bilp.config.base import Frozen, MethodName, ProtocolName, SourceName
from bilp.config.baselines import BaselineName
from bilp.config.criteria import CRITERIA, Criterion, CriterionName
from bilp.config.curriculum import CurriculumConfig
from bilp.config.decode import DecodeConfig
from bilp.config.distill import DistillConfig
from bilp.config.evaluate import EvaluateConfig, TeacherConfig
from bilp.config.ingest import IngestConfig, NormalizationName
from bilp.config.methods import METHODS
from bilp.config.methods.cafe import AlignmentConfig
from bilp.config.methods.frepo import FeatureRegressionConfig
from bilp.config.methods.idc import DreamConfig, IdcConfig
from bilp.config.methods.idm import IdmConfig
from bilp.config.methods.lgm import LinearConfig
from bilp.config.methods.ncfm import CharacteristicConfig
from bilp.config.methods.rfad import RandomFeaturesConfig
from bilp.config.methods.trajectory import ExpertsConfig, TrajectoryConfig
from bilp.config.network import NetworkConfig, NetworkName
from bilp.config.pipeline import PipelineConfig, ReportConfig, settings
from bilp.config.protocols import PROTOCOLS
from bilp.config.prune import PruneConfig
from bilp.config.reselect import ReselectConfig, ScoreName
from bilp.config.score import ScoreConfig

__all__ = [
    "CRITERIA",
    "METHODS",
    "PROTOCOLS",
    "AlignmentConfig",
    "Arm",
    "AugmentFamily",
    "BaselineName",
    "CharacteristicConfig",
    "Criterion",
    "CriterionName",
    "CurriculumConfig",
    "DecodeConfig",
    "DistillConfig",
    "DreamConfig",
    "EvaluateConfig",
    "ExpertsConfig",
    "FeatureRegressionConfig",
    "Frozen",
    "IdcConfig",
    "IdmConfig",
    "IngestConfig",
    "LinearConfig",
    "MethodName",
    "NetworkConfig",
    "NetworkName",
    "NormalizationName",
    "PipelineConfig",
    "ProtocolName",
    "PruneConfig",
    "RandomFeaturesConfig",
    "ReportConfig",
    "ReselectConfig",
    "ScoreConfig",
    "ScoreName",
    "SourceName",
    "TeacherConfig",
    "TrajectoryConfig",
    "settings",
]
