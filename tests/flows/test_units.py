"""Units of GPU work as flows of their own: what they leave, what they do not do twice, who may do them."""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.states import Completed, Crashed, Failed
from tiny_pipeline import TINY, Finished, files, outcomes, synthetic_sets

from bilp.artifacts import lease
from bilp.artifacts.artifact import content_key
from bilp.config import ExpertsConfig, NetworkConfig, PipelineConfig, TeacherConfig
from bilp.config.arms import planned_runs
from bilp.config.evaluated_set import Block, EvaluatedSet
from bilp.config.methods.idc import IdcConfig
from bilp.config.methods.pretrained import PretrainedConfig
from bilp.data import ingest_plan
from bilp.data.ingestion import plan_source
from bilp.data.shards import HEADER_BYTES
from bilp.distill import start_run
from bilp.errors import BilpError, LeaseLost
from bilp.scoring.summary import summarize
from bilp.scoring.trial import score_trial
from bilp.storage.objects import children, join
from flows.ingest import ingest
from flows.restarts import MOST_STARTS, refuse_endless_restarts
from flows.units import table, under_lease
from flows.units.execute import execute
from flows.units.unit import Call
from tasks import remote
from tasks.addresses import synthetic_set
from tasks.execution import Execution

pytestmark = pytest.mark.slow

CONFIG = PipelineConfig.model_validate(TINY)
BLOCK = Block(network=0, first=0, last=CONFIG.evaluate.seeds - 1)
NARROW = NetworkConfig(width=8)
TAUGHT = CONFIG.evaluate.model_copy(update={"teacher": TeacherConfig(network=NARROW, epochs=1)})


def parquet(root: str | Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in Path(root).glob(pattern)}


def carried_out(call: Call) -> str:
    """What the unit returns for arguments as they reach a worker."""
    return str(table.UNITS[call.unit.name](**json.loads(json.dumps(call.parameters))))


def test_a_call_names_the_artifact_that_its_unit_publishes(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each unit alone, from arguments as a deployment hands them over, leaves the bytes that the pipeline left."""
    root = str(tmp_path / "store")
    monkeypatch.setattr(ingest_plan, "PART_BYTES", HEADER_BYTES + 600 * 64)
    plan_uri = plan_source(CONFIG.ingest, root)
    assert plan_uri is not None
    part = table.ingest_part.call(root, config=CONFIG.ingest, plan_uri=plan_uri, number=2, parts=3)
    assert carried_out(part) == part.artifact
    dataset = ingest(CONFIG.ingest, root)
    planned = planned_runs(CONFIG)[0]
    run = start_run(dataset, None, planned.distill, planned.reselect, root)
    on = {"root": root, "dataset_uri": dataset}
    experts = {"selection_uri": None, "config": ExpertsConfig(count=1, epochs=1), "network": NARROW, "label": "all samples"}
    calls = [
        table.score_trial.call(**on, config=CONFIG.score, trial=1),
        table.record_predictions.call(**on, config=CONFIG.score, trial=1),
        table.distill_run.call(root, run_uri=run, label="unpruned"),
        table.evaluate_network.call(**on, subject=EvaluatedSet(baseline="random"), block=BLOCK, config=CONFIG.evaluate),
        table.evaluate_baseline.call(**on, baseline="random", ipc=CONFIG.ipc, config=CONFIG.evaluate),
        table.train_teacher.call(**on, config=TAUGHT),
        table.evaluate_baseline.call(**on, baseline="herding", ipc=CONFIG.ipc, config=TAUGHT),
        table.train_expert.call(**on, **experts, expert=0),
    ]
    assert [carried_out(call) for call in calls] == [call.artifact for call in calls]
    kept = CONFIG.score.model_copy(update={"keep_networks": True})
    for trial in range(kept.trials):
        score_trial(dataset, kept, trial, root)
    grown = ingest(CONFIG.ingest.model_copy(update={"split_seed": 1}), root)
    onto = kept.model_copy(update={"extend": summarize(dataset, kept, root)})
    extended = table.extend_trial.call(root, dataset_uri=grown, config=onto, trial=1)
    assert carried_out(extended) == extended.artifact
    divided = start_run(dataset, None, planned.distill.model_copy(update={"shards": 2}), planned.reselect, root)
    shard = table.distill_shard.call(root, run_uri=divided, shard=1, label="unpruned shard 2/2")
    assert (shard.label, shard.artifact) == ("distill unpruned shard 2/2", f"{divided}/shards/0001/rounds/0004")
    assert carried_out(shard) == shard.artifact
    beforehand = IdcConfig(pretrained=PretrainedConfig(networks=2, epochs=1))
    kernels = planned.distill.model_copy(update={"method": "idc", "idc": beforehand})
    beginning = start_run(dataset, None, kernels, planned.reselect, root)
    network = table.pretrain_network.call(root, run_uri=beginning, number=1, label="unpruned")
    assert network.label == "pretrained network 1 of unpruned"
    assert carried_out(network) == network.artifact
    evaluation = table.evaluate_synthetic.call(**on, synthetic_uri=synthetic_set(run), arm="unpruned", experiment=0, config=CONFIG.evaluate)
    assert carried_out(evaluation) == evaluation.artifact
    assert {call.unit for call in [*calls, extended, part, shard, network, evaluation]} == set(table.UNITS.values())
    assert synthetic_sets(root).items() <= synthetic_sets(finished.root).items()
    for pattern in ("scores/*/*/trials/*/*.parquet", "evaluations/*/*.parquet"):
        both = parquet(root, pattern).keys() & parquet(finished.root, pattern).keys()
        assert both
        assert {name: parquet(root, pattern)[name] for name in both} == {name: parquet(finished.root, pattern)[name] for name in both}

    before = files(root)
    with outcomes() as again:
        for call in [*calls, extended, part, shard, network, evaluation]:
            carried_out(call)
    assert again == {}, "what is published needs no lease and no task"
    assert files(root) == before


def test_a_unit_that_lost_its_lease_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path / "store")
    call = table.score_trial.call(root, dataset_uri=ingest(CONFIG.ingest, root), config=CONFIG.score, trial=0)
    where = remote.lease_uri(call.artifact, root)
    take = lease.take

    def and_give_away(*arguments: object) -> lease.Lease | None:
        taken = take(*arguments)  # type: ignore[arg-type]
        assert take(where, "another", 3600.0, lambda owner: True) is not None
        return taken

    monkeypatch.setattr(lease, "take", and_give_away)
    with pytest.raises(LeaseLost):
        carried_out(call)
    assert not remote.is_published(call.artifact)
    assert children(where) == ["000001.json", "000002.json"]


def test_storage_that_stays_away_ends_in_a_state_of_its_own(tmp_path: Path) -> None:
    too_long = str(tmp_path / ("x" * 300))  # an error that says nothing about what lies there
    state = table.score_trial("nowhere", CONFIG.score, 0, too_long, return_state=True)  # type: ignore[call-overload]
    assert state.name == remote.OUT_OF_REACH
    assert state.is_failed()


def test_where_units_run_is_part_of_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Execution().execution == "local"
    before = content_key("any", 1, config=CONFIG)
    monkeypatch.setenv("BILP_EXECUTION", "workers")
    assert Execution().execution == "workers"
    assert content_key("any", 1, config=PipelineConfig.model_validate(TINY)) == before
    assert not {"execution", "queue"} & set(PipelineConfig.model_fields)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_an_observer_sees_by_its_own_clock_that_nobody_works(tmp_path: Path) -> None:
    where, clock = join(str(tmp_path), "leases", "unit"), Clock()
    alive = remote.LivenessProbe(where, "flow-run:b", 30.0, clock)

    def later(seconds: float, running: bool = True, alive: remote.LivenessProbe = alive) -> bool:
        """Whether it is taken to be alive that much later, if it is looked at every five seconds."""
        for _ in range(int(seconds / 5)):
            clock.now += 5
            living = alive(running)
        return living if seconds else alive(running)

    assert later(100_000.0, running=False), "it waits for a worker"
    assert later(5.0), "it was not running before"
    assert later(100.0), "it may still be starting"
    held = lease.take(where, "flow-run:a", 30.0, lambda owner: False)
    assert held is not None
    assert later(10.0), "a claim is a sign of life"
    assert later(30.0)
    held.renew()
    assert later(30.0), "so is a renewal"
    assert not later(50.0)

    assert later(0.0, running=False), "the next attempt"
    assert later(0.0)
    assert later(100.0), "what its predecessor left is no sign of its own"
    clock.now += 1000
    assert later(0.0), "while nobody looked, it may have lived"
    assert not later(200.0)

    its_own = remote.LivenessProbe(where, "flow-run:a", 30.0, clock)
    assert later(0.0, alive=its_own)
    assert later(30.0, alive=its_own)
    assert not later(20.0, alive=its_own), "it claimed before anybody looked, so that it was not starting any more"


def test_a_unit_waits_for_a_living_holder_says_so_once_and_takes_over_from_a_silent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root, clock = str(tmp_path / "store"), Clock()
    call = table.score_trial.call(root, dataset_uri=ingest(CONFIG.ingest, root), config=CONFIG.score, trial=0)
    where, pauses = remote.lease_uri(call.artifact, root), list[float]()
    held = lease.take(where, "flow-run:another", 60.0, lambda owner: False)
    assert held is not None

    def sleep(seconds: float) -> None:
        clock.now += 10.0
        pauses.append(seconds)
        if len(pauses) in (5, 10, 15):
            held.renew()

    monkeypatch.setattr(lease, "Watch", functools.partial(lease.Watch, clock=clock))
    monkeypatch.setattr(under_lease, "time", SimpleNamespace(sleep=sleep, strftime=time.strftime))
    with caplog.at_level("WARNING", "prefect.tasks"):
        assert carried_out(call) == call.artifact
    assert len(pauses) == 15 + 9, "80 s after the last renewal, looking every ten"
    assert {name for name in children(where) if name.endswith(".json")} == {"000001.json", "000002.json"}
    (line,) = (record.getMessage() for record in caplog.records if "waits since" in record.getMessage())
    assert line.startswith(f"{call.artifact} waits since ")
    assert line.endswith("flow-run:another holds its lease (attempt 1); taken over 80 s after its last renewal at the latest")


def test_what_comes_from_outside_is_an_interruption() -> None:
    prefix = "Flow run encountered an exception: "
    assert remote.was_interrupted(Crashed(message="Process exited with status code: -9"))
    assert remote.was_interrupted(Failed(name=remote.OUT_OF_REACH))
    assert remote.was_interrupted(Failed(message=f"{prefix}ConnectError: All connection attempts failed"))
    assert remote.was_interrupted(Failed(message=f"{prefix}ReadTimeout: "))
    assert remote.was_interrupted(Failed(message=f"{prefix}LeaseLost: attempt 1 by flow-run:a lost the lease to a later one"))
    for message in ("ConfigError: read", "ValueError: ConnectError: not ours", "Diverged: in round 3"):
        assert not remote.was_interrupted(Failed(message=prefix + message))
    assert not remote.was_interrupted(Completed())


def test_restarts_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_endless_restarts()

    class Run:
        run_count = MOST_STARTS + 1

    class Context:
        flow_run = Run()

    monkeypatch.setattr("flows.restarts.FlowRunContext.get", lambda: Context())
    with pytest.raises(BilpError, match="was started 21 times"):
        refuse_endless_restarts()


def test_on_ray_the_same_pipeline_leaves_the_same_bytes(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real local Ray instance; skipped where the extra `ray` is not installed."""
    pytest.importorskip("prefect_ray")
    import ray

    from flows.pipeline import pipeline

    monkeypatch.setenv("BILP_EXECUTION", "ray")
    monkeypatch.setenv("BILP_GPUS_PER_UNIT", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(table.__file__).parents[2]))
    root = str(tmp_path / "store")
    try:
        pipeline(CONFIG, root)
    finally:
        ray.shutdown()
    assert synthetic_sets(root) == synthetic_sets(finished.root)
    for pattern in ("scores/*/*/trials/*/*.parquet", "evaluations/*/*.parquet"):
        assert parquet(root, pattern) == parquet(finished.root, pattern)


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect_ray", None)
    monkeypatch.setenv("BILP_EXECUTION", "ray")
    with pytest.raises(BilpError, match=r"pip install 'bilp\[ray\]'"):
        execute("nothing", [])
