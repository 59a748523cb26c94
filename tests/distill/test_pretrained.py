"""Networks trained beforehand, and runs that start from copies of them: against plain restatements, shared, killed, of what samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import killed
import pytest
import safetensors.torch
import torch
from tiny_distillation import Store, small_config, spelled_out
from tiny_reference import reference

from benchmarks.references.classwise import KernelReference
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import round_uri
from bilp.artifacts.tables import ITE, LOSSES
from bilp.config import METHODS, DistillConfig, NetworkConfig, PruneConfig, ReselectConfig
from bilp.distill import distill_round, finish_run, merge_round, open_run, pretrain_network, reselect_round, run, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.inputs import open_pool, open_pretrained, pretraining_of
from bilp.distill.loops.idc import draw_trained_network
from bilp.distill.part import Part, open_part
from bilp.distill.pretraining import untrained
from bilp.distill.round_files import open_round
from bilp.distill.run import run_key
from bilp.distill.step.initial import initial_state
from bilp.distill.step.pretrained import FILE, PretrainedNetworks
from bilp.distill.step.setting import RunInputs, Setting
from bilp.errors import ConfigError, DamagedArtifact, Diverged, MissingArtifact
from bilp.pruning.prune import load_selection, prune
from bilp.storage import objects

OFF = ReselectConfig(beta=0.0)
NORMAL = ReselectConfig(beta=0.25, candidates_per_class=8, interval=2)
PRETRAINED = {"networks": 3, "epochs": 2, "learning_rate": 0.05, "weight_decay": 1e-3, "batch_size": 32}
IDC = {"train_samples": 24, "cutmix": 0.5, "pretrained": PRETRAINED}
Begin = Callable[..., str]


def config_of(method: str = "idc", **changes: Any) -> DistillConfig:
    """Width 8, depth 2; four iterations of two image steps in two rounds, with three pretrained networks."""
    values: dict[str, Any] = {"network": NetworkConfig(width=8, depth=2), "batch_real": 6, "batch_train": 16, "decode": {"factor": 2}}
    values |= {"augment": ("color", "crop", "cutout"), "learning_rate": 0.002, "idc": IDC, "dream": {"interval": 2}}
    return small_config(method, **(values | changes))


@pytest.fixture(scope="module")
def selection(store: Store) -> str:
    """A tenth of every class: 14 or 15 samples."""
    return prune(store.uri, None, PruneConfig(criterion="random", keep=0.1), store.root)


@pytest.fixture
def begin(store: Store, selection: str, tmp_path: Path) -> Begin:
    """Starts a run in a root of its own."""

    def start(config: DistillConfig, reselect: ReselectConfig = OFF, root: str = "root", chosen: str | None = selection) -> str:
        return start_run(store.uri, chosen, config, reselect, str(tmp_path / root))

    return start


def pretrain(run_uri: str) -> list[str]:
    return [pretrain_network(run_uri, number) for number in range(open_run(run_uri).distill.idc.pretrained.networks)]


def go_through(run_uri: str, shard: int | None = None) -> Part:
    for number in range(1, open_run(run_uri).distill.rounds + 1):
        reselect_round(run_uri, number, shard=shard)
        distill_round(run_uri, number, shard=shard)
    return open_part(run_uri, shard)


def never(done: int, total: int, note: str = "") -> None:
    raise AssertionError("trained again")


def slow_run(run_uri: str, part: Part | None = None) -> KernelReference:
    """The restatement, at the beginning of a run or of one of its shards."""
    run = open_run(run_uri)
    pool = open_pool(run_uri, run)
    classes = range(pool.classes) if part is None else part.classes(pool.classes)
    slow = reference(run.distill, pool, classes)
    assert isinstance(slow, KernelReference)
    return slow


def values_of(uri: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load(open_artifact(uri, "pretrained_network").read(FILE))


@pytest.mark.parametrize("changes", [{}, {"seed": 3, "network": NetworkConfig(width=8, depth=2, norm="batch")}], ids=["instance", "batch"])
def test_a_network_is_the_plain_training_on_what_the_selection_keeps(selection: str, begin: Begin, changes: dict[str, Any]) -> None:
    run_uri = begin(config_of(**changes))
    slow = slow_run(run_uri)
    for number, uri in enumerate(pretrain(run_uri)):
        expected = slow.beforehand(number).state_dict()
        found = values_of(uri)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)
        artifact = open_artifact(uri, "pretrained_network")
        assert artifact.fact("samples") == len(load_selection(selection)) == 143
        assert artifact.fact("selection") == open_artifact(selection, "selection").manifest.key
        assert artifact.manifest.parents.keys() == {"dataset", "selection"}
        assert len(artifact.fact("correct")) == 2
        assert all(0.0 < share < 1.0 for share in artifact.fact("correct"))


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("idc", {"ipc": 1}),
        pytest.param("idc", {"ipc": 3, "idc": {**IDC, "early_epochs": 1}, "seed": 1}, marks=pytest.mark.slow),
        pytest.param("dream", {"ipc": 1, "outer_loops": 3, "seed": 2}, marks=pytest.mark.slow),
    ],
)
def test_iterations_go_on_with_a_pretrained_network(begin: Begin, method: str, changes: dict[str, Any]) -> None:
    run_uri = begin(config_of(method, iterations=3, rounds=3, **changes))
    pretrain(run_uri)
    _assert_as_slow(go_through(run_uri), slow_run(run_uri))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "ipc", "pretrained"), [("idc", 1, PRETRAINED), ("idc", 3, {}), ("dream", 1, PRETRAINED)])
def test_a_shard_steps_its_own_classes_as_a_process_of_its_own_would(
    begin: Begin, method: str, ipc: int, pretrained: dict[str, Any]
) -> None:
    """Ten classes in four parts of two or three; momentum rings down over the classes of the part alone."""
    config = config_of(method, ipc=ipc, iterations=3, rounds=1, shards=4, idc={**IDC, "pretrained": pretrained})
    run_uri = begin(config)
    pretrain(run_uri)
    parts = [go_through(run_uri, shard) for shard in range(4)]
    assert [list(part.classes(10)) for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]
    for part in parts:
        slow = slow_run(run_uri, part)
        _assert_as_slow(part, slow)
        table = open_round(part, 1).table("losses.parquet", LOSSES)
        assert table["real_used"].to_pylist() == [len(part.classes(10)) * 6 * config.outer_loops] * 3
    merge_round(run_uri, 1)
    whole = round_state(open_round(Part(run_uri, open_run(run_uri), None), 1))
    assert torch.equal(whole.images, torch.cat([round_state(open_round(part, 1)).images for part in parts]))
    assert whole.labels.tolist() == [c for c in range(10) for _ in range(ipc)]


def _assert_as_slow(part: Part, slow: KernelReference) -> None:
    before, config = slow.images.clone(), part.run.distill
    curve = slow.run(config.iterations)
    rounds = [open_round(part, number) for number in range(1, config.rounds + 1)]
    losses = [loss for each in rounds for loss in each.table("losses.parquet", LOSSES)["loss"].to_pylist()]
    assert losses == pytest.approx(curve, rel=1e-3)
    moved = (slow.images - before).norm()
    assert moved > 0
    assert (round_state(rounds[-1]).images - slow.images).norm() < 5e-3 * moved


def test_each_network_is_drawn_equally_often_and_copied_whole(begin: Begin) -> None:
    run_uri = begin(config_of(network=NetworkConfig(width=8, depth=2, norm="batch")))
    uris = pretrain(run_uri)
    run = open_run(run_uri)
    pretrained = open_pretrained(run_uri, run)
    assert pretrained is not None
    setting = Setting.assemble(run.distill, OFF, open_pool(run_uri, run), "cpu", RunInputs(pretrained=pretrained))
    stored = [values_of(uri) for uri in uris]
    drawn = []
    for iteration in range(150):
        setting.draw_pretrained(pretrained, "network", iteration)
        found = {name: value.clone() for name, value in setting.network.state_dict().items()}
        drawn += [number for number, values in enumerate(stored) if all(torch.equal(found[name], values[name]) for name in values)]
        with torch.no_grad():
            for parameter in setting.network.parameters():
                parameter.zero_()
    assert len(drawn) == 150
    assert all(35 <= drawn.count(number) <= 65 for number in range(3)), "50 expected, standard deviation 5.8"
    assert setting.network.training


def test_an_iteration_changes_no_stored_network_and_none_is_trained_again(begin: Begin) -> None:
    run_uri = begin(config_of(iterations=2, rounds=1))
    uris = pretrain(run_uri)
    before = {path: path.stat().st_mtime_ns for uri in uris for path in Path(uri).rglob("*")}
    go_through(run_uri)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [pretrain_network(run_uri, number, progress=never) for number in range(3)] == uris
    parents = open_artifact(round_uri(run_uri, 1), "round").parents
    assert [parents[f"pretrained network {number}"] for number in range(3)] == uris


def test_runs_on_the_same_samples_share_their_networks(store: Store, begin: Begin) -> None:
    first = pretraining_of(one := begin(config_of()), open_run(one))

    def folder(run_uri: str) -> str:
        return pretraining_of(run_uri, open_run(run_uri)).folder

    same = [
        begin(config_of(ipc=3)),
        begin(config_of("dream", shards=5)),
        begin(config_of(iterations=9, learning_rate=0.1, batch_train=8), NORMAL),
        begin(config_of(idc={**IDC, "pretrained": {**PRETRAINED, "networks": 4}, "train_samples": 5, "network_weight_decay": 0.0})),
    ]
    assert {folder(run_uri) for run_uri in same} == {first.folder}
    assert len({one, *same}) == 5
    other = prune(store.uri, None, PruneConfig(criterion="random", keep=0.1, seed=1), store.root)
    others = [
        begin(config_of(), chosen=None),
        begin(config_of(), chosen=other),
        begin(config_of(seed=1)),
        begin(config_of(augment=("color",))),
        begin(config_of(network=NetworkConfig(width=8, depth=3))),
        begin(config_of(idc={**IDC, "cutmix": 0.0})),
        begin(config_of(idc={**IDC, "network_momentum": 0.5})),
        *(begin(config_of(idc={**IDC, "pretrained": {**PRETRAINED, name: 1}})) for name in PRETRAINED if name != "networks"),
    ]
    assert len({first.folder, *(folder(run_uri) for run_uri in others)}) == 1 + len(others)


@pytest.mark.slow
def test_killed_in_a_training_or_a_round_it_goes_on_to_the_same_bytes(begin: Begin) -> None:
    config = config_of(shards=2)
    calm, disturbed = (begin(config, NORMAL, root) for root in ("calm", "disturbed"))
    for run_uri in (calm, disturbed):
        if run_uri == disturbed:
            killed.until_killed(killed.distill, run_uri, -2, 7, 0)  # in the second epoch of the second network
            assert untrained(run_uri) == [1, 2]
            killed.until_killed(killed.distill, run_uri, 2, 3, 0)  # in the second iteration of the second round
            assert untrained(run_uri) == []
        for number in untrained(run_uri):
            pretrain_network(run_uri, number)
        for shard in (1, 0):
            go_through(run_uri, shard)
        for number in (1, 2):
            merge_round(run_uri, number)
        finish_run(run_uri)
    names = [path.relative_to(Path(calm).parents[1]) for path in Path(calm).parents[1].rglob("*") if path.is_file()]
    compared = [name for name in names if name.suffix in (".safetensors", ".parquet", ".png")]
    assert len(compared) == 3 + 3 * 2 * 7 + 2
    for name in compared:
        assert (Path(calm).parents[1] / name).read_bytes() == (Path(disturbed).parents[1] / name).read_bytes(), name


@pytest.mark.slow
def test_adaptive_pruning_measures_on_pretrained_networks(begin: Begin) -> None:
    untouched = {**IDC, "train_samples": 0, "pretrained": {**PRETRAINED, "networks": 1}}
    run_uri = begin(config_of(idc=untouched), NORMAL)
    (uri,) = pretrain(run_uri)
    run = open_run(run_uri)
    pool = open_pool(run_uri, run)
    setting = Setting.assemble(run.distill, run.reselect, pool, "cpu", RunInputs(pretrained=open_pretrained(run_uri, run)))
    draw_trained_network(setting, initial_state(run.distill, pool), 1, 0)
    found = setting.network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in values_of(uri).items())

    without = begin(config_of(idc={**untouched, "pretrained": {}}), NORMAL)
    measured = [open_artifact(reselect_round(each, 1), "reselect").table("ite.parquet", ITE) for each in (run_uri, without)]
    assert measured[0]["sample_id"] == measured[1]["sample_id"]
    assert measured[0]["ite"] != measured[1]["ite"]
    go_through(run_uri)


def test_two_samples_per_class_suffice(store: Store, begin: Begin) -> None:
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.014), store.root)
    norm = NetworkConfig(width=8, depth=2, norm="batch")
    run_uri = begin(config_of(network=norm, init="noise", iterations=1, rounds=1), ReselectConfig(beta=0.5), chosen=few)
    for uri in pretrain(run_uri):
        assert open_artifact(uri, "pretrained_network").fact("samples") == 20
    go_through(run_uri)


# --- what is refused, and what stays as it was ---------------------------------------------------------------------------


def test_networks_that_are_not_there_or_not_whole_are_named(begin: Begin) -> None:
    run_uri = begin(config_of(), NORMAL)
    with pytest.raises(ConfigError, match=r"network 3 does not exist: idc.pretrained.networks = 3, counted from 0"):
        pretrain_network(run_uri, 3)
    pretrain_network(run_uri, 1)
    for stage in (reselect_round, distill_round):
        with pytest.raises(MissingArtifact, match=r"pretrained networks 0, 2 of 3 have not been trained .* run pretrain_network"):
            stage(run_uri, 1)
    assert objects.children(run_uri) == ["_run.json"]
    uris = pretrain(run_uri)
    run = open_run(run_uri)
    pretrained = PretrainedNetworks(pretraining_of(run_uri, run))
    setting = Setting.assemble(run.distill, OFF, open_pool(run_uri, run), "cpu", RunInputs(pretrained=pretrained))
    with pytest.raises(DamagedArtifact, match=rf"{uris[0]}/{FILE} (lacks|must not hold|holds) .* run the stage again"):
        pretrained.load(0, Setting.assemble(small_config("dm"), OFF, setting.pool, "cpu").network)
    file = Path(uris[2], FILE)
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DamagedArtifact, match=FILE):
        pretrained.load(2, setting.network)
    with pytest.raises(ConfigError, match=r"idc.pretrained.networks = 3: train them first \(pretrain_network\)"):
        Setting.assemble(run.distill, OFF, setting.pool, "cpu")


def test_a_training_that_diverges_says_so_and_publishes_nothing(begin: Begin) -> None:
    run_uri = begin(config_of(idc={**IDC, "pretrained": {**PRETRAINED, "learning_rate": 1e30}}))
    with pytest.raises(Diverged, match=r"network 0 diverged in epoch \d .* lower distill.idc.pretrained.learning_rate, .* 1e\+29"):
        pretrain_network(run_uri, 0)
    assert untrained(run_uri) == [0, 1, 2]


KEYS = {"dm": "951bf7511f9a2f45", "idc": "b0879bfcec3518b0", "dream": "8c3831d476c33728"}


@pytest.mark.parametrize("method", ["dm", "idc", "dream"])
def test_settings_that_came_later_are_in_no_key_where_they_are_not_used(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys that these settings had before the settings existed; later revisions of idc and dream changed theirs."""
    config = spelled_out({"method": method, "iterations": 20})

    def key() -> str:
        return run_key({"dataset": "d", "selection": "s"}, config, ReselectConfig())

    assert (key() == KEYS[method]) == (method == "dm")
    monkeypatch.setitem(METHODS._own, method, replace(METHODS[method], revision=0))
    assert key() == KEYS[method]


@pytest.mark.parametrize(
    ("method", "network", "version"), [("dm", "convnet", 1), ("idm", "mlp", 2), ("dc", "resnet10", 2), ("idc", "resnet10_ap", 3)]
)
def test_a_version_counts_the_revisions_of_method_and_network(method: str, network: str, version: int) -> None:
    augment = () if method == "dc" else ("color",)
    config = spelled_out({"method": method, "network": {"name": network}, "augment": augment})
    assert run.version_of(config) == version
