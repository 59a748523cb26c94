"""What may hit a service at any time: the faults of `drill.chaos`, drawn from a seed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from bilp.artifacts import lease
from bilp.errors import BilpError
from bilp.seeds import generator
from bilp.storage.objects import children, join
from deployments.keeper import OUT_OF_REACH
from drill.rehearsal import Service, kill, until
from drill.relay import Relay
from tasks.remote import owner_of, was_interrupted

NOTHING = "nothing runs that it could hit"
STORAGE_OUTAGE = 60.0
SHORTEST_FULL, LONGEST_FULL = 10, 100  # seconds: some outlast what tasks wait for
SMALL_DISK = 2 << 30  # bytes of a file system that may be filled up: nobody else's data lies there
SHORTEST_CUT, LONGEST_CUT = 5, 130  # seconds: some are longer than the silence after which a run counts as crashed
LONGEST_SLEEP = 900.0  # of a frozen machine: its silence is noticed, perhaps by a pipeline that is itself being started again


class Faults:
    """One service, the pipeline that runs on it now, and what may happen to them; each fault tells what it hit."""

    def __init__(self, service: Service, network: Relay, storage: Relay | Path, seed: int) -> None:
        self.service, self.network, self.storage = service, network, storage
        self.choice = generator(seed, "chaos")
        self.runs: list[UUID] = []
        self.parameters: dict[str, object] = {}
        self.deck: list[str] = []
        self.kinds: dict[str, Callable[[], str]] = {
            "a run's process": self.kill_run,
            "a worker": self.kill_worker,
            "a machine": self.kill_machine,
            "a stale worker": self.freeze_machine,
            "the server": self.kill_server,
            "cancel": self.cancel,
            "twice": self.submit,
            "the network": self.cut_network,
        }
        if isinstance(storage, Relay):
            self.kinds["the storage"] = self.close_storage
        elif shutil.disk_usage(storage).total < SMALL_DISK:
            self.kinds["the disk"] = self.fill_disk

    def draw(self, below: int) -> int:
        """A random number from the seed's stream."""
        import torch

        return int(torch.randint(below, (1,), generator=self.choice))

    def next_kind(self) -> str:
        """A kind of fault, drawn from those that have not hit since all of them had: none stays out by chance."""
        self.deck = self.deck or sorted(self.kinds)
        return self.deck[self.draw(len(self.deck))]

    def submit(self) -> str:
        """Another identical pipeline at the same time."""
        self.runs.append(self.service.submit("pipeline/digits", self.parameters))
        return str(self.runs[-1])

    def victims(self) -> list[int]:
        """Processes of runs that are going on."""
        running = [run for run in self.service.runs() if run.state_name == "Running" and run.deployment_id]
        return [pid for run in running for pid in self.service.process_of(run.id)]

    def kill_run(self) -> str:
        """A run's process alone; its worker reports it."""
        victims = self.victims()
        if not victims:
            return NOTHING
        victim = victims[self.draw(len(victims))]
        kill([victim])
        return f"process {victim}"

    def kill_worker(self) -> str:
        """The worker alone; the run that it had started goes on to its end."""
        return self._kill_with_parent(False)

    def kill_machine(self) -> str:
        """The worker and the run at once, so that nobody is left to report it."""
        return self._kill_with_parent(True)

    def _kill_with_parent(self, run_too: bool) -> str:
        victims = self.victims()
        if not victims:
            return NOTHING
        victim = victims[self.draw(len(victims))]
        workers = self.service.workers_of([victim])
        if not workers:
            return NOTHING
        kill([*workers, victim] if run_too else workers)
        return f"worker {workers[0]}" + (f" and process {victim}" if run_too else "")

    def freeze_machine(self) -> str:
        """A worker and its unit hang until the unit was given to another run, and then go on as if nothing had been."""
        held = self.held_leases()
        if not held:
            return NOTHING
        uri, attempt, processes = held[self.draw(len(held))]
        frozen = [*self.service.workers_of(processes), *processes]
        began = time.monotonic()
        send(frozen, signal.SIGSTOP)
        try:
            claim = lease.holder(uri)
            if claim is None or claim.attempt != attempt or f"{attempt:06d}.released" in children(uri):
                return NOTHING  # it was done at that very moment
            until(lambda: _attempt(uri) > attempt, lambda: f"nobody took {uri} over\n{self.service.logs()}", LONGEST_SLEEP)
        finally:
            send(frozen, signal.SIGCONT)
        return f"processes {frozen} slept for {time.monotonic() - began:.0f} s, attempt {attempt + 1} went on without them"

    def held_leases(self) -> list[tuple[str, int, list[int]]]:
        """Leases that running units hold: address, number of the claim, processes of the unit."""
        owners = {owner_of(run.id): run.id for run in self.service.runs() if run.state_name == "Running"}
        found = []
        for uri in _leases(join(str(self.parameters["root"]), "leases")):
            claim = lease.holder(uri)
            if claim is not None and claim.owner in owners and (processes := self.service.process_of(owners[claim.owner])):
                found.append((uri, claim.attempt, processes))
        return found

    def kill_server(self) -> str:
        """And start it again after a while."""
        self.service.kill_server()
        pause = self.draw(10)
        time.sleep(pause)
        self.service.start_server()
        return f"away for {pause} s and its start"

    def cancel(self) -> str:
        """Cancel one pipeline and submit it anew."""
        going = [run for run in self.runs if not over(self.service, run)]
        if not going:
            return NOTHING
        self.service.cancel(going[0])
        self.service.ended(going[0])
        self.runs.remove(going[0])
        return f"{going[0]}, again as {self.submit()}"

    def close_storage(self) -> str:
        """Nobody reaches the object storage for a minute."""
        assert isinstance(self.storage, Relay)
        with self.storage.closed():
            time.sleep(STORAGE_OUTAGE)
        return f"out of reach for {STORAGE_OUTAGE:.0f} s"

    def fill_disk(self) -> str:
        """Not a byte more can be written, for a while."""
        assert isinstance(self.storage, Path)
        ballast = self.storage / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        pause = SHORTEST_FULL + self.draw(LONGEST_FULL - SHORTEST_FULL)
        time.sleep(pause)
        ballast.unlink()
        return f"full for {pause} s"

    def cut_network(self) -> str:
        """Workers and runs do not reach the server, which lives on."""
        pause = SHORTEST_CUT + self.draw(LONGEST_CUT - SHORTEST_CUT)
        with self.network.closed():
            time.sleep(pause)
        return f"cut for {pause} s"


def over(service: Service, run: UUID) -> bool:
    """Whether a pipeline has ended. One that was interrupted has not: the server's keeper starts it again."""
    state = service.run(run).state
    waits = state is not None and (was_interrupted(state) or any(kind.__name__ in (state.message or "") for kind in OUT_OF_REACH))
    return state is not None and state.is_final() and not waits


def send(processes: list[int], number: signal.Signals) -> None:
    """A signal to whichever of the processes still live."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _leases(uri: str) -> list[str]:
    """Folders of claims below."""
    names = children(uri)
    if any(name.endswith(".json") for name in names):
        return [uri]
    return [found for name in names for found in _leases(join(uri, name))]


def _attempt(uri: str) -> int:
    claim = lease.holder(uri)
    if claim is None:
        raise BilpError(f"{uri}: a claim is gone")
    return claim.attempt
