"""A Prefect server that is watched: requests on their way to it, rows in its database, its CPU time; for `benchmarks.server_load`."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

from drill.relay import Relay

_REQUEST = re.compile(rb"(GET|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")
_IDENTIFIER = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class CountingRelay(Relay):
    """Counts the requests that pass, by method and kind of path."""

    def __init__(self, url: str) -> None:
        self.requests: Counter[str] = Counter()
        super().__init__(url)

    def told(self, data: bytes) -> None:
        """See Relay."""
        for method, path in _REQUEST.findall(data):
            kind = _IDENTIFIER.sub("{id}", path.decode().removeprefix("/api").partition("?")[0])
            self.requests[f"{method.decode()} {kind}"] += 1


def start_worker(at_once: int) -> None:
    """A worker of pool gpu in a thread of this process, whose runs are threads as well."""
    import anyio
    import anyio.to_thread
    from prefect.flow_engine import load_flow_and_flow_run, run_flow
    from prefect.workers.process import ProcessWorker, ProcessWorkerResult

    def carry_out(run_id: UUID) -> None:
        run, flow = load_flow_and_flow_run(run_id)
        run_flow(flow, flow_run=run, return_type="state")

    class InThisProcess(ProcessWorker):
        async def run(self, flow_run: Any, configuration: Any, task_status: Any = None) -> ProcessWorkerResult:
            if task_status is not None:
                task_status.started(os.getpid())
            await anyio.to_thread.run_sync(carry_out, flow_run.id)
            return ProcessWorkerResult(status_code=0, identifier=str(os.getpid()))

    worker = InThisProcess(work_pool_name="gpu", limit=at_once, name="in-this-process", heartbeat_interval_seconds=30)
    threading.Thread(target=lambda: asyncio.run(worker.start(printer=lambda *_: None)), daemon=True).start()


def rows(database: Path) -> dict[str, tuple[int, int]]:
    """Rows and bytes (indexes included) of each table."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        owner = dict(connection.execute("select name, tbl_name from sqlite_master"))
        sizes: Counter[str] = Counter()
        for name, size in connection.execute("select name, sum(pgsize) from dbstat group by name"):
            sizes[owner.get(name, name)] += size
        return {name: (connection.execute(f'select count(*) from "{name}"').fetchone()[0], sizes[name]) for name in tables}


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
