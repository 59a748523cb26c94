"""Ways in which real samples pass the network: what each changes, what refuses it, and where it is not taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from tiny_distillation import assemble, guard_for, small_config

from bilp.config import DistillConfig, ReselectConfig
from bilp.config.base import as_recorded
from bilp.data.pool import RealPool
from bilp.distill.loops.registry import loop_for
from bilp.distill.step.initial import initial_state
from bilp.distill.step.real import draw_batches, targets
from bilp.distill.step.setting import Setting
from bilp.errors import ConfigError
from bilp.nets import compiled, short_numbers
from bilp.nets.compiled import CompiledFeatures

Few = Callable[[int], RealPool]


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file in which a processor tells its instructions, those of bfloat16 among them."""
    facts = tmp_path / "cpuinfo"
    facts.write_text("model name\t: one\nflags\t\t: sse2 avx512_bf16\n")
    monkeypatch.setattr(short_numbers, "CPU_FACTS", facts)
    short_numbers._processor_has_bfloat16.cache_clear()
    yield facts
    short_numbers._processor_has_bfloat16.cache_clear()


def means(config: DistillConfig, pool: RealPool) -> list[torch.Tensor]:
    """mu of every class under the network of iteration 0, each as one vector."""
    setting = assemble(config, pool)
    setting.draw_network("network", 0)
    return [torch.cat([block.flatten() for block in target.mean]) for target in targets(setting, draw_batches(setting, None, 0, 0))]


@pytest.mark.parametrize(("method", "error"), [("dm", 1e-2), ("dc", 5e-2)])
def test_bfloat16_rounds_what_real_samples_pass_and_nothing_else(few: Few, processor: Path, method: str, error: float) -> None:
    pool, found = few(16), []
    for way in ("float32", "bfloat16"):
        config = small_config(method, real_pass=way, iterations=1, rounds=1, outer_loops=1)
        setting = assemble(config, pool)
        state = initial_state(config, pool)
        start = state.images.clone()
        loop_for(method)(setting, state, 1, None, guard_for(setting))
        assert state.images.dtype == torch.float32
        found.append((means(config, pool), state.images.detach() - start))
    (exact, step), (short, other) = found
    for mean, rounded in zip(exact, short, strict=True):
        assert rounded.dtype == torch.float32
        assert 0.0 < float((rounded - mean).norm() / mean.norm()) < error
    assert 0.0 < float((other - step).norm() / step.norm()) < 0.2
    if method == "dm":
        assert not torch.equal(short[0].bfloat16().float(), short[0]), "features are summed in float32"


def test_a_processor_without_bfloat16_refuses_it(few: Few, processor: Path) -> None:
    processor.write_text("flags\t\t: sse2 avx2\n")
    with pytest.raises(ConfigError, match="real_pass=bfloat16 needs a processor.*set distill.real_pass to float32"):
        assemble(small_config("dm", real_pass="bfloat16"), few(16))
    short_numbers._processor_has_bfloat16.cache_clear()
    processor.unlink()
    with pytest.raises(ConfigError, match="names none in /proc/cpuinfo"):
        assemble(small_config("dm", real_pass="bfloat16"), few(16))


@pytest.mark.parametrize(("method", "way"), [("dc", "compiled"), ("cafe", "bfloat16"), ("idc", "bfloat16")])
def test_methods_that_cannot_refuse_it(method: str, way: str) -> None:
    with pytest.raises(ValidationError, match=f"method {method} does not take real samples through the network by real_pass {way}"):
        small_config(method, real_pass=way, augment=())


def test_it_is_part_of_the_key_unless_it_is_the_one_of_before() -> None:
    assert "real_pass" not in as_recorded(small_config("dm"))
    assert as_recorded(small_config("dm", real_pass="bfloat16"))["real_pass"] == "bfloat16"


def test_features_are_not_compiled_for_short_runs_nor_without_a_compiler(
    few: Few, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = few(16)
    short = assemble(small_config("dm", real_pass="compiled", iterations=299), pool)
    assert short.real_network is short.network
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    long = assemble(small_config("dm", real_pass="compiled", iterations=300), pool)
    assert long.real_network is long.network
    assert "there is no compiler of C++ (g++ or clang++)" in caplog.text

    def fails(body: torch.nn.Module, shape: tuple[int, ...]) -> None:
        raise RuntimeError("no header\nand much more")

    monkeypatch.setenv("CXX", "some-compiler")
    monkeypatch.setattr(compiled, "features_of", fails)
    failed = assemble(small_config("dm", real_pass="compiled", iterations=300), pool)
    assert failed.real_network is failed.network
    assert "features are not compiled: no header" in caplog.messages


@pytest.mark.slow
@pytest.mark.skipif(not any(map(compiled.shutil.which, compiled.COMPILERS)), reason="no compiler of C++")
def test_compiled_features_are_those_of_the_network(few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    pool = few(64)
    config = small_config("dm", real_pass="compiled", iterations=300, rounds=1, batch_real=64)
    setting = Setting.assemble(config, ReselectConfig(beta=0.0), pool, "cpu")
    setting.draw_network("network", 0)
    network = setting.real_network
    assert isinstance(network, CompiledFeatures)
    calls = []
    made = network._features
    monkeypatch.setattr(network, "_features", lambda *given: calls.append(len(given[-1])) or made(*given))
    images = pool.images(torch.arange(compiled.BATCH))
    for number in range(2):  # parameters that are drawn anew in place are those of the compiled features, too
        setting.draw_network("network", number)
        with torch.no_grad():
            torch.testing.assert_close(network.embed(images), setting.network.embed(images), rtol=1e-5, atol=1e-5)
    assert calls == [compiled.BATCH] * 2
    with torch.no_grad():
        assert torch.equal(network.embed(images[:5]), setting.network.embed(images[:5]))
    assert network.embed(images.requires_grad_()).requires_grad
    assert len(calls) == 2
    exact = means(config.model_copy(update={"real_pass": "float32"}), pool)
    setting.draw_network("network", 0)
    found = list(targets(setting, draw_batches(setting, None, 0, 0)))
    assert len(calls) == 2 + 10 * 64 // compiled.BATCH
    for target, mean in zip(found, exact, strict=True):
        torch.testing.assert_close(target.mean[0], mean, rtol=1e-5, atol=1e-5)
