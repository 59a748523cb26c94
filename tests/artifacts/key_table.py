"""python tests/artifacts/key_table.py: write docs/keys.md anew, from what the stages are called with and what the walk leaves out."""

from __future__ import annotations

import tempfile
from pathlib import Path

from key_settings import Stage
from key_stages import OF_PLANS, STAGES
from key_walk import values
from key_world import World, make_world

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "keys.md"

HEAD = """# What the key of each artifact covers

A key is a digest of everything that a stage computes from: its settings, its inputs by their own keys (the data set by its
fingerprint), and the version of its code. So two runs that want the same artifact compute it once, and a change of anything that
matters asks for another one. `tests/artifacts/test_every_key.py` changes every setting, input and version in turn, watches what each
stage reads while it computes, and writes this table (`python tests/artifacts/key_table.py`).

No key holds a place: storage may be renamed, copied or mounted elsewhere. Keys of pages, of scores of robustness and of reproductions
also hold the checksums of what they show. The name of an entry that another package offers stands in a key with that package and its
version ([plugins.md](plugins.md)). What is true of a data set that was changed on purpose has the key of the record of its source. The
number of threads (`OMP_NUM_THREADS`) is in no key, and neither are these:

"""

ROUNDING = (
    "changes no more than rounding, and the `gpu` and `gpu_revision` of settings that do not say them; "
    "results are equal bytes on the same kind of device with the same number of threads"
)
ENVIRONMENT = {
    "BILP_DEVICE": ROUNDING,
    "BILP_STORAGE": "where artifacts lie",
    "BILP_CACHE": "where copies of them lie, which are compared with their checksums",
    "BILP_CACHE_BYTES": "how many copies stay",
    "BILP_VERIFY": "when they are compared again",
    "BILP_DOWNLOADS": "where downloaded sources lie, whose pixels count",
    "BILP_DATA": "whether the images that a device computes on lie there or travel to it, batch by batch",
    "BILP_EXECUTION": "where units run",
    "BILP_QUEUE": "which units go first",
    "BILP_WORKERS": "how many trials run at the same time, each with streams of its own",
    "BILP_GPUS_PER_UNIT": "what a unit reserves on Ray",
    "BILP_SEEDS_PER_UNIT": "how an evaluation is divided, which leaves the same trainings",
    "BILP_LEASE_SECONDS": "when a unit is given to another process",
    "BILP_POLL_SECONDS": "how often a unit that another process carries out is looked at",
}


def document(world: World) -> str:
    """The text of docs/keys.md."""
    sections = [section(stage, world) for stage in STAGES]
    outside = "\n".join(f"* `{name}`: {why}" for name, why in ENVIRONMENT.items())
    return f"{HEAD}{outside}\n\n" + "\n".join([*sections, *map(of_plan, OF_PLANS)])


def of_plan(name: str) -> str:
    """What the key of a plan covers."""
    owner, tests, place, inputs, covers = OF_PLANS[name]
    lines = (
        f"## {name}",
        "",
        f"`{place}`",
        "",
        f"* settings: {covers}",
        f"* inputs: {inputs}",
        f"* code: `{owner}.VERSION`",
        f"* tests: `{tests}`",
    )
    return "\n".join(lines) + "\n"


def section(stage: Stage, world: World) -> str:
    """What the key of a stage covers, and what it leaves out in which case."""
    cases = stage.cases(world)
    models = {type(model).__name__: None for case in cases.values() for _, model, _ in values(case.settings) if model is not case.settings}
    own = [name for name, _, _ in values(next(iter(cases.values())).settings) if "." not in name]
    settings = ", ".join([*models, *own] if len(own) < 4 else [type(next(iter(cases.values())).settings).__name__, *models])
    inputs = ", ".join(dict.fromkeys(name for case in cases.values() for name in case.inputs)) or "none"
    lines = [f"## {stage.title}", "", f"`{stage.place}`", "", f"* settings: {settings or 'none'}", f"* inputs: {inputs}"]
    lines += [f"* code: {', '.join(f'`{module}.VERSION`' for module in stage.versions)}"]
    for (why, where), patterns in left_out(stage, world).items():
        only = "" if len(where) == len(cases) else f" ({', '.join(where)})"
        lines.append(f"* not {', '.join(f'`{pattern}`' for pattern in patterns)}{only}: {why}")
    return "\n".join(lines) + "\n"


def left_out(stage: Stage, world: World) -> dict[tuple[str, tuple[str, ...]], list[str]]:
    """The settings that are not in the key, by reason and cases."""
    cases = stage.cases(world)
    reasons = {(pattern, why): None for case in cases.values() for pattern, why in case.left_out.items()}
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for pattern, why in reasons:
        where = tuple(name for name, case in cases.items() if pattern in case.left_out)
        found.setdefault((why, where), []).append(pattern.removeprefix("config."))
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        DOCUMENT.write_text(document(make_world(f"{folder}/store", Path(folder, "files"))), encoding="utf-8")
