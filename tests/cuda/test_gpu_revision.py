"""What a GPU computes lies beside what a CPU computes from the same settings, under a key that tells how the GPU rounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from pretend_cuda import pretend_cuda
from tiers import first_tier

from bilp.config import ScoreConfig, arithmetics, settings
from bilp.config.arithmetics import REVISION
from bilp.data import ingest, open_dataset
from bilp.scoring.trial import score_trial
from bilp.scoring.trial_record import trial_key

SHORT = {"trials": 1, "epochs": 1, "init_epochs": 1, "converge_epochs": 1, "early_to": 1, "network": {"width": 4, "depth": 1}}


@pytest.mark.parametrize("gpu", first_tier(["float32", "tf32"], "float32"))
def test_a_result_of_a_gpu_has_a_key_of_its_own_and_that_of_a_cpu_the_one_it_always_had(
    gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetics, "DRIVERS", ())
    dataset = ingest(settings(dataset="digits").ingest, str(tmp_path))

    def scored(device: str) -> tuple[ScoreConfig, str]:
        monkeypatch.setenv("BILP_DEVICE", device)
        config = settings(dataset="digits", gpu=gpu, score=SHORT).score
        return config, score_trial(dataset, config, 0, str(tmp_path), device)

    at_home, first = scored("cpu")
    with pretend_cuda() as counts:
        away, second = scored("cuda")
        assert counts.launches > 0
        _, again = scored("cuda")
    fingerprint = open_dataset(dataset).fingerprint
    assert (at_home.gpu_revision, away.gpu_revision) == (0, REVISION)
    assert trial_key(fingerprint, at_home, 0) == trial_key(fingerprint, away.model_copy(update={"gpu_revision": 0}), 0)
    assert len({first, second}) == 2
    assert second == again
    monkeypatch.setattr(arithmetics, "REVISION", REVISION + 1)
    with pretend_cuda():
        assert scored("cuda")[1] not in (first, second), "rounded in another way, it is another result"
