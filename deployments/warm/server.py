"""The server that forks processes of runs: it imports everything, and then waits for requests and for ends of processes.

It must not use a GPU, nor start threads: what a forked process inherits has to be as good as new. (OpenBLAS and jemalloc have threads
of their own from their import on, and settle them around a fork.) Only on Linux: libraries of other systems do not stand a fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from deployments.warm import protocol

PROJECT = str(Path(__file__).resolve().parents[2])
PR_SET_PDEATHSIG = 1
REQUEST_SECONDS = 10.0
"""For a request that has begun to arrive whole."""
IMPORTED = (
    *("prefect.main", "prefect.flow_engine", "prefect.task_engine", "prefect.runner", "prefect.deployments.steps.core"),
    *("flows.pipeline", "flows.sweep", "flows.reproduce", "flows.start", "flows.units.table"),
    *("bilp.scoring.trial", "bilp.distill", "bilp.evaluate", "bilp.experts.train_experts", "bilp.nets.convnet"),
    *("torch._dynamo", "pandas", "pyarrow.parquet", "scipy.stats"),  # torch's optimizers import the first, which takes seconds
)
"""What runs import anyway."""


class Server:
    """Forks processes, and tells those who wait for them how they ended."""

    def __init__(self, listener: socket.socket, source: int, began: Mapping[str, str]) -> None:
        """Serve what connects to `listener`, for as long as whoever started this holds the other end of `source` open.

        Args:
            listener: A listening socket.
            source: A descriptor that nothing is read from but its end.
            began: The environment that this process began with.
        """
        self.listener, self.source, self.began = listener, source, began
        self.stamps = _stamps()
        self.waiting: dict[int, socket.socket] = {}
        self.open = True
        self.selector = selectors.DefaultSelector()
        # Signals arrive here as bytes, so that one call waits for everything.
        self.signals, self._waker = socket.socketpair()
        for end in (self.signals, self._waker):
            end.setblocking(False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for what in (listener, source, self.signals):
            self.selector.register(what, selectors.EVENT_READ)

    def next_request(self) -> protocol.Request | None:
        """In a process that was just forked, what it is for; in the server, None at its end.

        The server takes no more requests once it is asked to end, or code has changed, and ends after all its processes. A process
        whose waiting program has gone is killed.
        """
        while self.open or self.waiting:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    request = self._accept()
                    if request is not None:
                        return request
                elif key.fileobj is self.signals:
                    if signal.SIGTERM in self.signals.recv(4096):
                        self._close()
                    self._reap()
                elif key.fileobj == self.source:
                    self.selector.unregister(self.source)
                    self._close()
                elif isinstance(key.fileobj, socket.socket):
                    self._gone(key.fileobj)
        return None

    def _accept(self) -> protocol.Request | None:
        connection, _ = self.listener.accept()
        connection.settimeout(REQUEST_SECONDS)
        try:
            request = protocol.receive(connection)
        except (OSError, ValueError):
            connection.close()
            return None
        if _stamps() != self.stamps:
            self._close()
        process = os.getpid()
        forked = self._fork() if self.open and protocol.fits(self.began, request.environment) else None
        if forked is not None:
            if forked == 0:
                _end_with(process)
                connection.close()
                self._forget()
                return request
            self.waiting[forked] = connection
            self.selector.register(connection, selectors.EVENT_READ)
            _answer(connection, str(forked))
        else:
            _answer(connection, protocol.COLD)
            connection.close()
        for stream in request.streams:
            os.close(stream)
        return None

    def _fork(self) -> int | None:
        """As os.fork; None where there is no room for another process, which is no reason to end those that there are."""
        try:
            return os.fork()
        except OSError:
            return None

    def _close(self) -> None:
        """Take no more requests."""
        if self.open:
            self.open = False
            self.selector.unregister(self.listener)
            self.listener.close()

    def _reap(self) -> None:
        for process in list(self.waiting):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                connection = self.waiting.pop(process)
                self.selector.unregister(connection)
                _answer(connection, str(os.waitstatus_to_exitcode(status)))
                connection.close()

    def _gone(self, connection: socket.socket) -> None:
        """Whoever waits sends nothing: this is its end."""
        for process, waits in list(self.waiting.items()):
            if waits is connection:
                os.kill(process, signal.SIGKILL)  # it was not waited for yet, so its number is still its own
                os.waitpid(process, 0)
                del self.waiting[process]
                self.selector.unregister(connection)
                connection.close()

    def _forget(self) -> None:
        """In a forked process: nothing of the server is left."""
        signal.set_wakeup_fd(-1)
        self.selector.close()
        for connection in (self.listener, self.signals, self._waker, *self.waiting.values()):
            connection.close()
        os.close(self.source)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def serve(address: str) -> None:
    """Fork processes for runs; each is Prefect's engine."""
    fork_for(address, IMPORTED, _engine)


def fork_for(address: str, modules: Iterable[str], work: Callable[[], object]) -> None:
    """Fork a process for each program that connects to a socket of this path, until standard input ends, and do the work in it.

    Args:
        address: Path of the socket; it is ready once it is there.
        modules: What is imported before.
        work: What a process does, with the streams, the folder and the variables of the program that it is forked for.
    """
    began = dict(os.environ)
    source = os.dup(0)
    _redirect(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # from a keyboard they are for whoever started this
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what the collector never looks at stays shared with what is forked
    request = Server(_listener(address), source, began).next_request()
    if request is not None:
        become(request)
        work()


def become(request: protocol.Request) -> None:
    """Take on the streams, folder and variables that were asked for."""
    for stream, own in zip(request.streams, protocol.STREAMS, strict=True):
        _redirect(stream, own)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)


def _engine() -> None:
    """What `python -m prefect.engine` is, with what `flows` settles in a process of its own."""
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    from bilp.config import recipes
    from flows.server import file_permissions

    recipes.take_names_alone()
    file_permissions.settle(os.environ)
    refresh_global_settings_context()
    setup_logging()
    sys.argv = ["prefect.engine"]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def _listener(address: str) -> socket.socket:
    listener, arriving = socket.socket(socket.AF_UNIX), Path(f"{address}.new")
    arriving.unlink(missing_ok=True)
    umask = os.umask(0o077)
    try:
        listener.bind(str(arriving))
    finally:
        os.umask(umask)
    listener.listen(64)
    arriving.replace(address)  # also in the place of a server that was killed
    return listener


def _redirect(descriptor: int, to: int) -> None:
    os.dup2(descriptor, to)
    os.close(descriptor)


def _stamps() -> dict[str, tuple[int, int]]:
    """Time and size of each file of this project that this process has imported; another one means code of another version."""
    files = [str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())]
    stamps = {}
    for file in files:
        if file.startswith(PROJECT) and "site-packages" not in file.removeprefix(PROJECT):
            with contextlib.suppress(OSError):
                found = Path(file).stat()
                stamps[file] = (found.st_mtime_ns, found.st_size)
    return stamps


def _end_with(server: int) -> None:
    """A process whose server was killed has nobody left who would stop it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # it went away before it was watched
        os._exit(1)


def _answer(connection: socket.socket, line: str) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(f"{line}\n".encode("ascii"))
