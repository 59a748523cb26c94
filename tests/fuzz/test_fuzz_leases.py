"""Claims and renewals of leases, edited: somebody holds it, nobody does, or an error in one line; nobody waits for ever without a word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from judging import Conclude, Tally, judge, run_cases
from mutations import as_json, damaged, edited

from bilp.artifacts import lease
from bilp.artifacts.lease import Holder, Lease, Watch

NAMES = [
    "000001.json",
    "000001.renewed",
    "000001.released",
    "000002.json",
    "999999.json",
    "1000000.json",
    "x.json",
    "-00001.json",
    "00000١.json",
]


def changed(folder: Path, random: Random) -> str:
    kind = random.choice(["edit", "edit", "bytes", "name", "mark"])
    file = random.choice(sorted(folder.iterdir()))
    content = file.read_bytes()
    if kind == "edit":
        file.write_bytes(as_json(edited(json.loads(content), random)))
    elif kind == "bytes":
        file.write_bytes(damaged(content, random))
    else:
        name = random.choice(NAMES)
        (folder / name).write_bytes(random.choice([content, b"", b"{}"]) if kind == "mark" else content)
    return f"{kind} {file.name}: {sorted(path.name for path in folder.iterdir())} {file.read_bytes()[:200]!r}"


def sound(found: Any) -> str | None:
    """Who asks has it at once or after a silence, under a number above all others."""
    at_once, taken, holder, sign, numbers = found
    if not isinstance(sign, bytes):
        return "no sign"
    if not isinstance(taken, Lease) or taken.claim.owner != "somebody else":
        return "nobody may take it, although its holder was silent"
    if at_once is not None and at_once is not taken:
        return "it was taken twice"
    mine = taken.claim.attempt
    return None if holder == Holder(mine, "somebody else") and mine > max(numbers, default=0) else "a number that is not the highest"


def test_leases(tmp_path: Path, conclude: Conclude) -> None:
    place = tmp_path / "lease"

    def use() -> tuple[object, ...]:
        numbers = [int(path.stem) for path in place.iterdir() if path.suffix == ".json" and path.stem.isascii() and path.stem.isdigit()]
        clock = iter(range(0, 1000, 10))  # seconds between two looks at it
        watch = Watch(60.0, lambda: float(next(clock)))
        taken = at_once = lease.take(str(place), "somebody else", 60.0, lambda owner: False)
        for _ in range(20):
            taken = taken or lease.take(str(place), "somebody else", 60.0, lambda owner: False, watch)
        if taken is not None:
            taken.check()
            taken.renew()
            taken.release()
        return at_once, taken, lease.holder(str(place)), lease.last_sign(str(place)), numbers

    def case(random: Random, tally: Tally) -> None:
        shutil.rmtree(place, ignore_errors=True)
        held = lease.take(str(place), "holder", 60.0, lambda owner: False)
        assert held is not None
        held.renew()
        told = changed(place, random)
        judge(use, "nothing is the same twice", sound, tally, told)

    conclude(run_cases("lease", 120, case))
