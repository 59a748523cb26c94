"""python -m flows.ingest --dataset digits

Turn a source of real images into one canonical dataset.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from bilp.config import IngestConfig
from flows import program
from flows.local.flow import flow
from flows.units import table
from flows.units.execute import execute
from flows.workplace import workplace
from tasks import stages
from tasks.execution import Execution
from tasks.parameters import Root


@flow(name="ingest", flow_run_name="ingest {config.source}")
def ingest(config: IngestConfig, root: Root = None) -> str:
    """The URI of the dataset.

    Args:
        config: Where the real images come from.
    """
    return dataset_and_record(config, workplace(root))[0]


@flow(name="ingest", flow_run_name="ingest {config.source}")
def ingest_with_record(config: IngestConfig, root: Root = None) -> tuple[str, str]:
    """The URIs of the dataset and of the record of its source, for commands, which are outside of any flow.

    Args:
        config: Where the real images come from.
    """
    return dataset_and_record(config, workplace(root))


def dataset_and_record(config: IngestConfig, root: str) -> tuple[str, str]:
    """The URIs of the dataset and of the record of its source, for a flow that shows where images come from."""
    if Execution().elsewhere:
        decode_elsewhere(config, root)
    record = stages.read_source(config, root)
    return stages.dataset_of(config, record), record


def decode_elsewhere(config: IngestConfig, root: str) -> None:
    """Have the parts of a large source decoded, each as a unit of work; what is published already is not decoded again."""
    plan_uri = stages.plan_source(config, root)
    if not plan_uri:
        return
    from bilp.data.ingest_plan import open_plan

    parts = open_plan(plan_uri).parts
    arguments = {"config": config, "plan_uri": plan_uri, "parts": len(parts)}
    execute("ingest", [table.ingest_part.call(root, **arguments, number=part.number) for part in parts])


def main(arguments: Sequence[str]) -> None:
    program.run(__doc__, arguments, lambda config: ingest(config.ingest), partial(program.show_uri, "dataset"))


if __name__ == "__main__":
    main(sys.argv[1:])
