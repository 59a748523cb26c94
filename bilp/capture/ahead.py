"""What comes next is made in threads while the one before is used."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Makes things by number, those that were announced in threads of their own; a context manager that ends the threads.

    What is made must depend on its number alone, so that it does not matter when it is made, nor what else is made meanwhile.
    """

    def __init__(self, make: Callable[[int], Made], threads: int = 1) -> None:
        """`make` is called in a thread for each number that is announced or asked for; what it raises, `take` raises."""
        self._make = make
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="ahead")
        self._begun: dict[int, Future[Made]] = {}

    def announce(self, number: int) -> None:
        """Begin to make `number`, unless it has begun."""
        if number not in self._begun:
            self._begun[number] = self._threads.submit(self._make, number)

    def take(self, number: int) -> Made:
        """What was made for `number`, as soon as it is ready."""
        self.announce(number)
        return self._begun.pop(number).result()

    def __enter__(self) -> Ahead[Made]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(cancel_futures=True)
