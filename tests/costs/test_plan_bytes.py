"""Bytes, parts and times of plans, without a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bilp.artifacts.tensors import encode_tensors
from bilp.config import PipelineConfig
from bilp.costs.advice import advice
from bilp.costs.data_counts import data_counts
from bilp.costs.gpu_profiles import CPU, GPU_PROFILES
from bilp.costs.run_plan import Plan, plan_of
from bilp.costs.speed import Speed
from bilp.costs.tensor_bytes import tensor_file_bytes
from bilp.costs.work import Unit, makespan
from bilp.data import ingest_plan
from bilp.data.planning import contents_and_plan
from bilp.data.shards import HEADER_BYTES, ShardWriter, shard_file_bytes
from bilp.data.sources import open_source
from bilp.errors import ConfigError


def plan(workers: int = 8, **given: object) -> Plan:
    config = PipelineConfig.model_validate({"dataset": "imagenet1k", "method": "dm", "ipc": 10, "ingest": {"uri": "nowhere"}} | given)
    data = data_counts(config.ingest, listed=False)
    return plan_of(config, data, Speed(GPU_PROFILES["h100"], data), workers)


def digits_plan(**given: object) -> Plan:
    config = PipelineConfig.model_validate({"dataset": "digits"} | given)
    data = data_counts(config.ingest, listed=True)
    return plan_of(config, data, Speed(CPU, data), 1)


@pytest.fixture(scope="module")
def whole() -> Plan:
    """ImageNet by DM, undivided."""
    return plan()


def test_a_file_of_tensors_is_as_large_as_it_is_said_to_be() -> None:
    for count in (1, 9, 1234):
        tensors = {
            "images": torch.zeros(count, 3, 5, 7),
            "labels": torch.zeros(count, dtype=torch.int64),
            "pruner.dropped": torch.zeros(3, dtype=torch.bool),
            "reference_loss": torch.tensor(0.0, dtype=torch.float64),
            "visits": torch.zeros(count, dtype=torch.int32),
        }
        forms = {name: (value.dtype, value.shape) for name, value in tensors.items()}
        assert tensor_file_bytes(forms) == len(encode_tensors(tensors))


def test_a_shard_is_as_large_as_it_is_said_to_be(tmp_path: Path) -> None:
    for shape, rows in (((3, 5, 7), 11), ((1, 8, 8), 1000), ((2, 3, 4, 4), 3)):
        writer = ShardWriter(tmp_path, "train")
        writer.append(torch.zeros(rows, *shape, dtype=torch.uint8).numpy())
        (path,) = writer.close()
        assert shard_file_bytes(shape, rows) == path.stat().st_size


def test_parts_are_those_that_ingestion_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_plan, "PART_BYTES", HEADER_BYTES + 64 * 500)
    config = PipelineConfig().ingest
    _, made = contents_and_plan(config, open_source(config), str(tmp_path), "digits")
    assert made is not None
    assert data_counts(config, listed=True).part_items == tuple(part.stop - part.start for part in made.parts) == (500, 500, 500, 297)


def test_imagenet_is_planned_without_data(whole: Plan) -> None:
    found = whole
    assert found.network.parameters == 2_496_360  # as TESLA states
    assert (found.data.samples, found.data.classes, len(found.data.part_items)) == (1_281_167, 1000, 62)
    runs = {unit.name: {work.what: work.samples for work in unit.works} for unit in found.stages["distill"]}
    assert runs["unpruned"] == {"real": 20_000 * 256_000, "synthetic": 20_000 * 10_000}
    assert all(unit.resident for unit in found.stages["distill"])
    assert [warning for warning in advice(found) if "set distill.shards 4" in warning]


def test_data_of_ones_own_have_to_be_listed() -> None:
    config = PipelineConfig.model_validate({"dataset": "folder", "ingest": {"uri": "nowhere"}}).ingest.model_copy(update={"uri": None})
    with pytest.raises(ConfigError, match="give ingest.uri"):
        data_counts(config, listed=False)


def test_shards_share_a_run_among_workers(whole: Plan) -> None:
    divided = plan(distill={"shards": 4})
    assert len(divided.stages["distill"]) == 4 * len(whole.stages["distill"])
    assert divided.seconds_of("distill") == pytest.approx(whole.seconds_of("distill") / 4, rel=0.01)
    assert divided.stored["checkpoints"] > 1.9 * whole.stored["checkpoints"]
    assert not [warning for warning in advice(divided) if "distill.shards" in warning]
    assert plan(distill={"keep_rounds": 3}).stored["checkpoints"] == pytest.approx(0.3 * whole.stored["checkpoints"])


@pytest.mark.parametrize("method", ["sre2l", "lpld", "lgm"])
def test_samples_that_pass_no_network_are_no_passes(method: str) -> None:
    iterations, images = 50, 10
    found = digits_plan(method=method, ipc=1, beta=0.0, arms=["unpruned"], distill={"iterations": iterations, "rounds": 1})
    (unit,) = found.stages["distill"]
    made = {work.what: work.samples for work in unit.works}
    assert ("encoded" in made) == (method == "lgm")
    copies = found.config.distill.linear.copies if method == "lgm" else 1
    assert unit.passes == iterations * images * copies + made.get("encoded", 0)
    assert sum(made.values()) > unit.passes or method == "sre2l"


def test_workers_take_the_longest_units_first() -> None:
    units = [Unit("x", "x", seconds) for seconds in (1.0, 5.0, 2.0, 3.0, 3.0)]
    assert [makespan(units, workers) for workers in (1, 2, 3, 9)] == [14.0, 7.0, 5.0, 5.0]  # in their order it would be 8 for two
    assert makespan([], 3) == 0.0


def test_too_little_room_for_copies_is_told(whole: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = whole
    needed = found.cache_bytes
    assert needed > found.data.store_bytes > 10**10
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**15))
    assert not [warning for warning in advice(found) if "copies" in warning]
    monkeypatch.setenv("BILP_CACHE_BYTES", str(needed - 1))
    (limited,) = [warning for warning in advice(found) if "copies" in warning]
    assert limited.startswith("BILP_CACHE_BYTES lets copies fill 17 GB, and a worker reads 17 GB again and again")
    assert limited.endswith(f"set it to {needed} or more")
    monkeypatch.setenv("BILP_CACHE_BYTES", str(needed))
    assert not [warning for warning in advice(found) if "copies" in warning]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=needed - 1 if folder == tmp_path else 10**15))
    monkeypatch.setenv("BILP_CACHE", str(tmp_path / "not" / "there"))
    assert not [warning for warning in advice(found) if "copies" in warning]  # a storage in a folder needs none
    monkeypatch.setenv("BILP_STORAGE", "s3://bucket/prefix")
    (warned,) = [warning for warning in advice(found) if "copies" in warning]
    assert warned.startswith(f"{tmp_path / 'not' / 'there'} has 17 GB free for copies") and "BILP_CACHE to a larger disk" in warned


def test_a_storage_without_room_is_told(whole: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, total = whole, sum(whole.stored.values())
    for free, told in ((total, 0), (total - 1, 1)):
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(free=free if folder == tmp_path else 10**15))
        monkeypatch.setenv("BILP_STORAGE", str(tmp_path / "results"))
        assert len([warning for warning in advice(found) if "point BILP_STORAGE to a larger disk" in warning]) == told


@pytest.mark.slow
def test_what_a_method_needs_first_or_cannot_share_is_told() -> None:
    experts = plan(method="mtt", workers=1, distill={"network": {"depth": 4}})
    assert [warning for warning in advice(experts) if warning.startswith("experts take") and "experts.count (100)" in warning]
    assert experts.cache_bytes > experts.stored["experts"] // 2 > 10**10
    (alone,) = [warning for warning in advice(plan(method="dc")) if "cannot be divided" in warning]
    assert "method dc with these settings cannot be divided: 2 workers distill as fast" in alone
    (shards,) = [warning for warning in advice(plan(method="dc", ipc=1)) if "wait while" in warning]
    assert "set distill.shards 4" in shards  # one image step for each network
