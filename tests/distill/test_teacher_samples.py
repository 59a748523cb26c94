"""What a run says that its teacher learned is what it learned."""

from __future__ import annotations

import pytest
from tiny_distillation import NARROW, Store, spelled_out

from bilp.config import ReselectConfig, TeacherConfig
from bilp.config.methods.rded import PatchesConfig
from bilp.distill import open_run, start_run
from bilp.errors import IncompatibleArtifact
from bilp.evaluate import train_teacher

OFF = ReselectConfig(beta=0.0)


@pytest.mark.parametrize(
    ("samples", "teacher", "distilled", "told"),
    [
        ("kept", "all", "selection", "learned all real samples, but distill.teacher_samples asks for one that learned what selection "),
        ("all", "selection", "selection", "asks for one that learned all real samples: train that one, or leave teacher_samples out"),
        ("kept", "selection", "all", "asks for one that learned all real samples"),
        ("kept", "selection", "selection", ""),
        ("kept", "all", "all", ""),
        ("all", "all", "selection", ""),
        (None, "selection", "all", ""),
    ],
)
def test_a_teacher_of_other_samples_than_settings_name_is_refused(
    samples: str | None, teacher: str, distilled: str, told: str, store: Store, selection: str, tmp_path: str
) -> None:
    of = {"all": None, "selection": selection}
    asked = train_teacher(store.uri, TeacherConfig(network=NARROW, epochs=1, batch_size=256), 0, store.root, selection_uri=of[teacher])
    values = {"method": "rded", "network": NARROW, "augment": (), "patches": PatchesConfig(pool=9), "teacher_samples": samples}
    config = spelled_out(values)
    if told:
        with pytest.raises(IncompatibleArtifact, match=told):
            start_run(store.uri, of[distilled], config, OFF, tmp_path, None, asked)
    else:
        assert open_run(start_run(store.uri, of[distilled], config, OFF, tmp_path, None, asked)).distill.teacher_samples == samples
