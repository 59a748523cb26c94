"""Every setting of every stage, as frozen pydantic models; what others need of them is imported from here."""

from bilp.config.augmentations import AugmentFamily
from bilp.config.base import Frozen, MethodName, Protocol, SourceName
from bilp.config.baselines import BaselineName
from bilp.config.criteria import Criterion
from bilp.config.decode import DecodeConfig, DreamConfig, IdcConfig, IdmConfig
from bilp.config.distill import DECODING_METHODS, KERNEL_METHODS, TRAJECTORY_METHODS, DistillConfig
from bilp.config.evaluate import EvaluateConfig, TeacherConfig
from bilp.config.ingest import IngestConfig, NormalizationName
from bilp.config.methods.trajectory import AlignmentConfig, ExpertsConfig, TrajectoryConfig
from bilp.config.network import NetworkConfig, NetworkName
from bilp.config.pipeline import Arm, PipelineConfig, ReportConfig, settings
from bilp.config.prune import PruneConfig, ScoreConfig
from bilp.config.reselect import ReselectConfig, ScoreName

__all__ = [
    "DECODING_METHODS",
    "KERNEL_METHODS",
    "TRAJECTORY_METHODS",
    "AlignmentConfig",
    "Arm",
    "AugmentFamily",
    "BaselineName",
    "Criterion",
    "DecodeConfig",
    "DistillConfig",
    "DreamConfig",
    "EvaluateConfig",
    "ExpertsConfig",
    "Frozen",
    "IdcConfig",
    "IdmConfig",
    "IngestConfig",
    "MethodName",
    "NetworkConfig",
    "NetworkName",
    "NormalizationName",
    "PipelineConfig",
    "Protocol",
    "PruneConfig",
    "ReportConfig",
    "ReselectConfig",
    "ScoreConfig",
    "ScoreName",
    "SourceName",
    "TeacherConfig",
    "TrajectoryConfig",
    "settings",
]
