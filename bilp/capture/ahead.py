"""What comes next is made in a thread while the one before is used."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Makes things by number, the announced one in a thread of its own; a context manager that ends the thread.

    What is made must depend on its number alone, so that it does not matter when it is made. Nothing is made twice or in two threads
    at once.
    """

    def __init__(self, make: Callable[[int], Made]) -> None:
        """`make` is called in the thread for each number that is announced or asked for; what it raises, `take` raises."""
        self._make = make
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead")
        self._begun: dict[int, Future[Made]] = {}

    def announce(self, number: int) -> None:
        """Begin to make `number`, unless it has begun."""
        if number not in self._begun:
            self._begun[number] = self._thread.submit(self._make, number)

    def take(self, number: int) -> Made:
        """What was made for `number`, as soon as it is ready."""
        self.announce(number)
        return self._begun.pop(number).result()

    def __enter__(self) -> Ahead[Made]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown(cancel_futures=True)
