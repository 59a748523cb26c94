"""Run several functions that work on one storage in every order of their single operations on it.

Each function runs in a thread that stops before every operation of a store (`bilp.storage.backend`) until it is told to go on, so that an
order is a list of choices, and a run with the same choices is the same run. Operations that cannot notice each other, because
they concern other files or both only read, need not be tried in both orders (Godefroid's sleep sets): "apart" tries one of all
orders that cannot be told apart. Fewer still are those in which few actors are interrupted before their end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from bilp.storage import objects
from bilp.storage.backend import Store

READING = ("read", "size", "sizes", "digest", "download", "exists", "names")
WRITING = ("write", "upload", "create", "create_from", "delete")
FOLDERS = ("sizes", "names", "delete", "exists")

Orders = Literal["all", "apart"] | int
"""Which orders are tried: all of them, one of all that cannot be told apart, or those with at most so many interruptions."""

_here = threading.local()


class Killed(BaseException):
    """The process ends here; nothing catches it."""


@dataclass(frozen=True)
class Step:
    """An operation that an actor is about to do."""

    actor: int
    operation: str
    path: str

    def meets(self, other: Step) -> bool:
        """Whether the order of the two can make a difference."""
        if self.operation in READING and other.operation in READING:
            return False
        if self.path == other.path:
            return True
        return any(a.operation in FOLDERS and f"{b.path}/".startswith(f"{a.path}/".lstrip("/")) for a, b in ((self, other), (other, self)))


class Actor(threading.Thread):
    """A function that does one operation at a time."""

    def __init__(self, number: int, work: Callable[[], Any], limit: int | None) -> None:
        super().__init__(daemon=True)
        self.number, self.work, self.left = number, work, limit
        self.arrived, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.next: Step | None = None
        self.wrote: set[str] = set()
        self.result: Any = None
        self.error: BaseException | None = None
        self.killed = False

    def run(self) -> None:
        """Work until the end, an error or the kill."""
        _here.actor = self
        try:
            self.result = self.work()
        except BaseException as error:
            self.error = error
        self.next = None
        self.arrived.release()

    def pass_gate(self, step: Step) -> None:
        """Wait for the turn to do an operation. Raises Killed if that never comes."""
        if self.killed or self.left == 0:
            self.killed = True
            raise Killed
        self.next = step
        self.arrived.release()
        self.go.acquire()
        if self.killed:
            raise Killed
        if self.left is not None:
            self.left -= 1
        if step.operation in WRITING:
            self.wrote.add(step.path)

    def advance(self) -> None:
        """Do one operation, and go on to the next."""
        self.go.release()
        self.arrived.acquire()


def store_of(root: str) -> tuple[Store, str]:
    """The store that does the work at a root, behind what makes its requests again, and the path in it."""
    store, path = objects._locate(root)
    return getattr(store, "_store", store), path


def gate(patch: pytest.MonkeyPatch, store: Store, root: str) -> None:
    """Actors stop before every operation of the store from now on; others do not notice.

    Every run works in a folder of its own directly below the path `root`, which steps do not tell.
    """

    def stopping(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def gated(path: str, *given: Any, **options: Any) -> Any:
            actor: Actor | None = getattr(_here, "actor", None)
            if actor is not None:
                actor.pass_gate(Step(actor.number, name, path.removeprefix(f"{root}/").partition("/")[2]))
            return function(path, *given, **options)

        return gated

    for name in (*READING, *WRITING):
        patch.setattr(store, name, stopping(name, getattr(store, name)))


@dataclass
class _Choice:
    """A point of a run: what could be done next, and what need not be tried from here."""

    enabled: Mapping[int, Step]
    offered: Mapping[int, Step]
    asleep: set[Step]
    chosen: int = -1
    tried: set[Step] = field(default_factory=set)

    def take_next(self) -> bool:
        """Choose what was not tried; False if nothing is left."""
        if self.chosen >= 0:
            self.tried.add(self.enabled[self.chosen])
        rest = [actor for actor, step in self.offered.items() if step not in self.tried | self.asleep]
        self.chosen = rest[0] if rest else -1
        return bool(rest)

    def after(self) -> set[Step]:
        """What need not be tried after the choice either."""
        step = self.enabled[self.chosen]
        return {other for other in self.asleep | self.tried if other.actor != step.actor and not other.meets(step)}


def walk(
    begin: Callable[[], Sequence[Callable[[], Any]]], limits: Mapping[int, int] = {}, orders: Orders = "apart"
) -> Iterator[list[Actor]]:
    """The actors at the end of a run, for every order that is asked for.

    `begin` makes an empty place and gives the functions that work on it, as often as it is asked. An actor with a limit is
    killed after so many operations.
    """
    trail: list[_Choice] = []
    while True:
        actors = [Actor(number, work, limits.get(number)) for number, work in enumerate(begin())]
        for actor in actors:
            actor.start()
            actor.arrived.acquire()
        whole = _follow(trail, actors, orders)
        for actor in actors:
            if actor.next is not None:
                actor.killed = True
                actor.advance()
            actor.join()
        if whole:
            yield actors
        while trail and not trail[-1].take_next():
            trail.pop()
        if not trail:
            return


def _follow(trail: list[_Choice], actors: Sequence[Actor], orders: Orders) -> bool:
    """Do what the trail says and go on from there to the end; False if all that is left was tried elsewhere."""
    for depth in range(1_000):
        enabled = {actor.number: actor.next for actor in actors if actor.next is not None}
        if not enabled:
            return True
        if depth == len(trail):
            offered = _without_more_interruptions(trail, enabled, orders) if isinstance(orders, int) else enabled
            choice = _Choice(enabled, offered, trail[-1].after() if trail and orders == "apart" else set())
            if not choice.take_next():
                return False
            trail.append(choice)
        assert trail[depth].enabled == enabled, "the same choices lead to the same run"
        actors[trail[depth].chosen].advance()
    raise AssertionError("a run without end")


def _without_more_interruptions(trail: Sequence[_Choice], enabled: Mapping[int, Step], most: int) -> Mapping[int, Step]:
    """What may be done next if an actor that has begun is left before its end no more than `most` times."""
    before = [choice.chosen for choice in trail]
    left = sum(a != b and a in choice.enabled for a, b, choice in zip(before, before[1:], trail[1:], strict=False))
    last = before[-1] if before else -1
    return enabled if left < most or last not in enabled else {last: enabled[last]}
