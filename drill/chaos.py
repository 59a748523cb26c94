"""python -m drill.chaos --faults 20 --seed 0

A fault drill: small pipelines run as a service on this machine while a seeded choice of faults (`drill.faults`) hits them, one
after the other; at the end every finished artifact is compared, byte for byte, with an undisturbed run's. Exit status 0 if all are
the same.

With BILP_STORAGE=s3://... and AWS_ENDPOINT_URL the results lie there, reached through a relay that the drill also shuts for a while.
With BILP_STORAGE on a file system of its own that is smaller than 2 GiB (mount -t tmpfs -o size=256m none folder) it is also filled up
for a while. Workers and runs reach the server through a relay too: that is how the network between them is cut.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import flows  # noqa: F401  # settles how threads wait, before torch is imported anywhere
from bilp.config import PipelineConfig
from bilp.errors import BilpError
from bilp.storage.objects import children, join, read
from bilp.storage.verification import digest
from drill.faults import NOTHING, Faults, over
from drill.rehearsal import SMALL, Service
from drill.relay import Relay

LONGEST_PAUSE = 8.0
FINISH_LIMIT = 3600.0


def hit(faults: Faults, parameters: dict[str, object], left: int) -> Counter[str]:
    """One pipeline under fire until it is through, however often it was started; how often each of at most `left` faults hit."""
    faults.parameters, faults.runs = parameters, []
    faults.submit()
    end = time.monotonic() + FINISH_LIMIT
    done: Counter[str] = Counter()
    while not all(over(faults.service, run) for run in faults.runs):
        if time.monotonic() > end:
            sys.stderr.write(faults.service.logs())
            raise BilpError(f"not through after {FINISH_LIMIT:.0f} s: see the logs above")
        more = done.total() < left
        time.sleep(1.0 + faults.draw(int(LONGEST_PAUSE)) if more else 1.0)
        if more and not all(over(faults.service, run) for run in faults.runs):
            name = faults.next_kind()
            what = faults.kinds[name]()
            if what != NOTHING:
                faults.deck.remove(name)
                done[name] += 1
                _say(f"  fault: {name}: {what}")
    states = [faults.service.run(run).state for run in faults.runs]
    if not all(state is not None and state.is_completed() for state in states):
        sys.stderr.write(faults.service.logs())
        raise BilpError(f"ended as {[(state.name, state.message) for state in states if state is not None]}: see the logs above")
    return done


def artifacts(root: str) -> dict[str, str]:
    """Checksum of every file of every artifact below a root, but what tells times, places or attempts."""
    found: dict[str, str] = {}
    for part in ("datasets", "scores", "selections", "runs", "evaluations"):
        _collect(join(root, part), part, found)
    return found


def _collect(uri: str, name: str, found: dict[str, str]) -> None:
    names = children(uri)
    for below in names:
        _collect(join(uri, below), f"{name}/{below}", found)
    if not names and not name.endswith("_manifest.json"):
        found[name] = digest(read(uri))


def drill(folder: Path, wanted: int, seed: int) -> int:
    """Pipelines until all faults are used up, then the comparison; the number of differences."""
    storage = os.environ.get("BILP_STORAGE") or str(folder / "storage")
    settings: dict[str, str] = {}
    target: Relay | Path
    if "://" not in storage:
        target = Path(storage)
        target.mkdir(parents=True, exist_ok=True)
    elif "AWS_ENDPOINT_URL" in os.environ:
        target = Relay(os.environ["AWS_ENDPOINT_URL"])
        settings["AWS_ENDPOINT_URL"] = target.url
    else:
        raise BilpError(f"no relay can be put in front of {storage}: set AWS_ENDPOINT_URL, or BILP_STORAGE to a folder")
    root, calm = join(storage, f"chaos-{seed}", "disturbed"), join(storage, f"chaos-{seed}", "calm")
    service = Service(folder, storage, **settings)
    network = Relay(f"http://127.0.0.1:{service.port}")
    service.worker_environment["PREFECT_API_URL"] = f"{network.url}/api"
    (folder / "home").mkdir(exist_ok=True)
    configs: list[dict[str, object]] = []
    done: Counter[str] = Counter()
    began = time.monotonic()
    try:
        service.start_server()
        service.start_workers()
        faults = Faults(service, network, target, seed)
        while done.total() < wanted or not configs:
            config = SMALL | {"seed": len(configs)}
            _say(f"pipeline with seed {len(configs)}, {wanted - done.total()} faults left")
            done += hit(faults, {"config": config, "root": root}, wanted - done.total())
            configs.append(config)
    finally:
        service.stop()
        network.close()
    counts = ", ".join(f"{name} {count}" for name, count in sorted(done.items()))
    _say(f"{done.total()} faults in {time.monotonic() - began:.0f} s: {counts or 'none'}")
    return compare(root, calm, configs)


def compare(root: str, calm: str, configs: Sequence[dict[str, object]]) -> int:
    """Run the same pipelines undisturbed in this process; the number of files that differ."""
    from flows.pipeline import pipeline

    for config in configs:
        pipeline(PipelineConfig.model_validate(config), calm)
    disturbed, undisturbed = artifacts(root), artifacts(calm)
    different = sorted(name for name in disturbed.keys() | undisturbed.keys() if disturbed.get(name) != undisturbed.get(name))
    for name in different:
        _say(f"  differs: {name}: {disturbed.get(name)} instead of {undisturbed.get(name)}")
    _say(f"{len(undisturbed)} files of {len(configs)} pipelines compared, {len(different)} differ")
    return len(different)


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m drill.chaos", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same faults; when they hit depends on the machine")
    parser.add_argument("--folder", type=Path, help="where the service keeps its state (default: a temporary folder)")
    options = parser.parse_args(arguments)
    _say(f"{options.faults} faults, seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="bilp-chaos-", ignore_cleanup_errors=True) as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return 1 if drill(folder, options.faults, options.seed) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
