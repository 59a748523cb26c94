"""Run the parts one after the other and keep what they found."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before torch is imported: what deterministic algorithms of cuBLAS need

from benchmarks.gpu.device import Machine
from benchmarks.gpu.effects import effects
from benchmarks.gpu.environment import environment
from benchmarks.gpu.evaluation import evaluation
from benchmarks.gpu.forward import forward
from benchmarks.gpu.graph import graph
from benchmarks.gpu.methods import agree, kernels, same_bytes, steps
from benchmarks.gpu.stages import experiments, scoring
from benchmarks.gpu.suite import suite


@dataclass(frozen=True)
class Part:
    """A question, and the seconds that it may take; what it leaves goes to those after it."""

    ask: Callable[[Machine], dict[str, Any]]
    seconds: float


PARTS: dict[str, Part] = {
    "environment": Part(environment, 15),
    "agree": Part(agree, 40),
    "same_bytes": Part(same_bytes, 45),
    "steps": Part(steps, 100),
    "kernels": Part(kernels, 20),
    "graph": Part(graph, 10),
    "forward": Part(forward, 55),
    "evaluation": Part(evaluation, 35),
    "effects": Part(effects, 15),
    "experiments": Part(experiments, 35),
    "scoring": Part(scoring, 20),
    "suite": Part(suite, 70),
}


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 1 if a part failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(sys.modules["benchmarks.gpu"].__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of gpu.json (default: gpu-results)")
    parser.add_argument("--parts", default=",".join(PARTS), help="names with commas between them (default: all)")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with tiny sizes")
    given = parser.parse_args(arguments)
    names = given.parts.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"unknown parts {', '.join(unknown)}: use {', '.join(PARTS)}")
    return run(names, Machine(rehearsal=given.rehearse), given.out)


def run(names: list[str], machine: Machine, out: Path) -> int:
    """Parts in the order given; whatever one of them raises is kept beside the figures of the others."""
    began, found = time.perf_counter(), dict[str, Any]()
    out.mkdir(parents=True, exist_ok=True)
    failed, machine.until = False, began
    for name in names:
        start = time.perf_counter()
        machine.until += math.inf if machine.rehearsal else PARTS[name].seconds
        if machine.left <= 0:
            print(f"## {name}: no time left", flush=True)
            failed = True
            continue
        print(f"## {name} at {start - began:.0f} s, {machine.left:.0f} s to go", flush=True)
        try:
            found[name] = PARTS[name].ask(machine)
        except Exception as error:  # a part must not cost the others their minutes
            failed = True
            found[name] = {"error": traceback.format_exc()[-3000:]}
            print(f"FAILED {type(error).__name__}: {str(error)[:300]}", flush=True)
        found[f"{name} seconds"] = time.perf_counter() - start
        (out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"## done in {time.perf_counter() - began:.0f} s", flush=True)
    return int(failed or any(bad(part) for part in found.values()))


def bad(found: Any) -> bool:
    """Whether a row of a part says that its method could not be run."""
    return isinstance(found, dict) and (("error" in found and isinstance(found["error"], str)) or any(bad(row) for row in found.values()))


if __name__ == "__main__":
    sys.exit(main())
