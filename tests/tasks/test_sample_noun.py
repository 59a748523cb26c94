"""What a task calls its samples follows from its arguments: nobody around a worker's process has said it."""

from __future__ import annotations

from pathlib import Path

from clip_data import held, source_of

from bilp.config import DistillConfig, IngestConfig, PipelineConfig, ReselectConfig, ScoreConfig
from bilp.config.network import FRAME_MEAN
from bilp.data import ingest
from bilp.distill import start_run
from bilp.text.sample_words import noun_of_samples, speaking_of, spoken
from tasks.sample_noun import speaking_of_given


def noun(**given: object) -> str:
    with speaking_of_given(given):
        return noun_of_samples()


def test_samples_are_called_as_those_of_the_data_set_that_the_arguments_mean(tmp_path: Path) -> None:
    arrays = held(frames=2, side=8)
    clips, digits = ingest(source_of(arrays), str(tmp_path)), ingest(IngestConfig(), str(tmp_path))
    assert (noun(dataset_uri=clips), noun(dataset_uri=digits)) == ("clip", "image")
    files = IngestConfig(source="video_folder", uri="x", resolution=16)
    assert (noun(config=files), noun(config=IngestConfig())) == ("clip", "image")
    assert noun(config=PipelineConfig(), dataset_uri=clips) == "image", "what is ingested decides"
    assert noun(config=ScoreConfig(), dataset_uri=clips) == "clip"
    network = {"name": FRAME_MEAN, "width": 4, "depth": 1}
    given = {"ipc": 1, "iterations": 1, "rounds": 1, "batch_real": 4, "network": network, "augment": []}
    distill = DistillConfig.model_validate(DistillConfig.model_construct().model_dump() | given)
    run = start_run(clips, None, distill, ReselectConfig(beta=0.0), str(tmp_path))
    assert noun(run_uri=run) == "clip"
    with speaking_of("clip"):
        assert noun(dataset_uri=f"{tmp_path}/datasets/gone/0123456789abcdef") == noun(number=3) == "clip", "what nothing says stays"
        with speaking_of_given({"dataset_uri": digits}):
            assert spoken("an image") == "an image"
    assert noun_of_samples() == "image"
