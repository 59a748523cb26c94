"""python -m flows.plan --dataset imagenet1k --method dm --ipc 10 --workers 8

What a run would cost, before anything runs: samples, bytes, units of work, GPU-hours, and how long so many workers take. It needs neither
a GPU nor the data: without ingest.uri the usual counts of a published set are taken, and with it the source is listed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

from bilp.config import PipelineConfig
from bilp.config.arithmetics import AUTO_DEVICE
from bilp.config.dials import Dials, read
from bilp.config.nested import merge
from bilp.config.recipes import load_recipe
from bilp.config.sources import SOURCES
from bilp.costs.advice import advice
from bilp.costs.data_counts import DataCounts, data_counts
from bilp.costs.gpu_profiles import GPU_PROFILES, GpuProfileName
from bilp.costs.measured_plan import Measurement, device_profile, measured
from bilp.costs.run_plan import Plan, described, plan_of
from bilp.costs.speed import Speed
from bilp.costs.work import Unit
from bilp.errors import ConfigError
from bilp.nets.device import usable
from bilp.text.escaping import shown
from bilp.text.sample_words import speaking_of, spoken
from flows import program
from flows.commands.amounts import size
from tasks.terminal import Screen, print_line

NOWHERE = "not-given"
"""Stands for the address of data that nobody reads."""
OPTIONS = ("gpu-profile",)
USUAL_PROFILE = "h100"
HOUR, MINUTE, SHORTEST = 3600.0, 60.0, 0.01


class Options(BaseModel):
    """The options of this program's own."""

    model_config = ConfigDict(extra="forbid")

    workers: Annotated[int, Field(ge=1, le=10_000, description="Workers that share the units, each with a GPU (default 1).")] = 1
    gpu_profile: Annotated[
        GpuProfileName | None,
        Field(description=f"The GPU of a worker: {', '.join(GPU_PROFILES)} (default {USUAL_PROFILE}; with --measure this machine's)."),
    ] = None
    measure: Annotated[
        int | None, Field(ge=1, le=10_000, description="Time so many real steps of each kind of work on this device, such as 20.")
    ] = None
    to: Annotated[Path | None, Field(description="File for the plan as JSON.")] = None


def main(arguments: Sequence[str]) -> None:
    name, description = program.described(__doc__)
    typed = [_underscored(argument) for argument in arguments]
    options, config = program.with_options(Options, typed, name, description, lambda given, _: configured(given))
    with speaking_of(config.ingest.noun):
        program.guarded(name, lambda: planned(config, options), lambda found: show(*found))


def _underscored(argument: str) -> str:
    option, equals, value = argument.removeprefix("--").partition("=")
    return f"--{option.replace('-', '_')}{equals}{value}" if option in OPTIONS else argument


def configured(given: dict[str, Any]) -> PipelineConfig:
    """The settings, also of a source whose address is not given."""
    recipe = load_recipe(given["recipe"]) if isinstance(given.get("recipe"), str) else {}
    whole = merge(recipe, given)
    if SOURCES[read(Dials, whole).dataset].needs_uri and not (whole.get("ingest") or {}).get("uri"):
        given = {**given, "ingest": {**(given.get("ingest") or {}), "uri": NOWHERE}}
    return PipelineConfig.model_validate(given)


def planned(config: PipelineConfig, options: Options) -> tuple[Plan, Measurement | None]:
    """The plan, which is written to a file if one is named, and what was measured for it.

    Raises ConfigError where neither counts nor data are there, and for a step that cannot be timed here.
    """
    if config.ingest.uri == NOWHERE:
        config = config.model_copy(update={"ingest": config.ingest.model_copy(update={"uri": None})})
    data, found = data_counts(config.ingest, listed=config.ingest.uri is not None), None
    speed = Speed(GPU_PROFILES[options.gpu_profile or USUAL_PROFILE], data)
    if options.measure is not None:
        found = _measured(config, data, options)
        speed = found.speed(Speed(found.profile, data))
    plan = plan_of(config, data, speed, options.workers)
    if options.to is not None:
        try:
            options.to.write_text(json.dumps(described(plan, advice(plan)), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"--to {shown(str(options.to))}: cannot be written ({error.strerror}): name a file in a folder that is there"
            ) from None
    return plan, found


def _measured(config: PipelineConfig, data: DataCounts, options: Options) -> Measurement:
    """Real steps on the device of this machine, which BILP_DEVICE may name."""
    device = torch.device(usable(os.environ.get("BILP_DEVICE") or AUTO_DEVICE, "BILP_DEVICE"))
    profile = device_profile(device) if options.gpu_profile is None else GPU_PROFILES[options.gpu_profile]
    told = Screen(stderr=True)
    assert options.measure is not None
    return measured(config, data, Speed(profile, data), device, options.measure, lambda title: print_line(told, f"timing {shown(title)}"))


def show(plan: Plan, measurement: Measurement | None = None) -> None:
    """Print the plan, and what was measured for it."""
    screen, data, network = Screen(), plan.data, plan.network
    shape = "x".join(map(str, data.shape))
    print_line(screen, f"{data.samples:,} training and {int(data.test.sum()):,} test samples of {shape} in {data.classes:,} classes")
    print_line(screen, f"counts: {shown(data.origin)}")
    for note in data.notes:
        print_line(screen, f"note: {shown(note)}")
    print_line(screen, f"network {plan.network_name}: {network.parameters:,} parameters, {network.flops / 1e9:.3g} GFLOP a sample")
    print_line(screen, "")
    titles = ("stage", "unit", "number", "samples", "reads", "GPU", spoken("images"), "longest", "in all")
    table = Table(*titles, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for (stage, name), same in groupby(plan.units, key=lambda unit: (unit.stage, unit.name)):
        table.add_row(stage, shown(name), *_cells(list(same)))
    screen.print(table)
    print_line(screen, "")
    for what, count in {**plan.stored, "cache of a worker": plan.cache_bytes, "temporary files of a worker": plan.scratch_bytes}.items():
        print_line(screen, f"{what}: {size(count)}")
    print_line(screen, f"requests to object storage: about {plan.requests:,}")
    print_line(screen, "")
    spans = ", ".join(f"{stage} {duration(plan.seconds_of(stage))}" for stage in plan.stages)
    print_line(screen, f"{plan.workers} x {plan.speed.profile.title}: {duration(plan.critical_path)} from begin to end ({spans})")
    what = "GPU time" if plan.speed.profile.gpu else "time of computing"
    print_line(screen, f"{what} in all: {plan.gpu_seconds / HOUR:,.1f} h")
    for stage in plan.stages:
        if (most := plan.most_seconds_of(stage)) is not None:
            told = f"{duration(plan.seconds_of(stage))} counts the shortest iterations, and {duration(most)} the longest"
            print_line(screen, f"note: rules of method {plan.config.method} end its iterations: for {stage}, {told}")
    for sentence in plan.reach.sentences:
        print_line(screen, shown(sentence))
    if measurement is not None:
        _show_measured(screen, plan, measurement)
    for warning in (*((plan.unknown,) if plan.unknown else ()), *advice(plan)):
        print_line(screen, f"warning: {shown(warning)}")


def _show_measured(screen: Screen, plan: Plan, measurement: Measurement) -> None:
    print_line(screen, "")
    print_line(screen, f"measured on {shown(measurement.device)} with generated samples:")
    for each in measurement.found:
        print_line(screen, f"  {shown(each.probe.title)}: {duration(each.seconds)} for {each.passes:,} passes of a sample")
    rest = measurement.unmeasured(plan)
    if rest:
        travels = "; what travels to the GPU, too" if plan.speed.profile.gpu else ""
        print_line(screen, f"not measured, by assumed speeds: {shown(', '.join(rest))}{travels}")


def _cells(units: Sequence[Unit]) -> list[str]:
    """Number, samples, bytes, memory, place of images, and times of units of one kind."""
    samples, longest = sum(unit.passes for unit in units), max(unit.seconds for unit in units)
    read, held = max(unit.bytes_read for unit in units), max(unit.gpu_bytes for unit in units)
    resident = {None: "", True: "resident", False: "streamed"}[units[0].resident]
    texts = [f"{len(units):,}", _short(samples) if samples else "", size(read) if read else "", size(held) if held else "", resident]
    if units[0].unknown:
        return [*texts, "?", "?"]
    more = "+" if any(unit.most_seconds is not None for unit in units) else ""  # a rule of the method ends them
    return [*texts, duration(longest) + more, duration(sum(unit.seconds for unit in units)) + more]


def _short(count: int) -> str:
    """64.1 M: three digits."""
    for unit, scale in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= scale:
            return f"{count / scale:#.3g}".rstrip(".") + f" {unit}" if count < 1000 * scale else f"{count // scale:,} {unit}"
    return str(count)


def duration(seconds: float) -> str:
    """3.2 s, 12 min, 4.5 h."""
    if seconds < SHORTEST:
        return f"< {SHORTEST} s"
    if seconds < MINUTE:
        return f"{seconds:.2g} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < HOUR else f"{seconds / HOUR:,.1f} h"


if __name__ == "__main__":
    main(sys.argv[1:])
