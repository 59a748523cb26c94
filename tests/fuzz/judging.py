"""One case: what a changed input led to, and whether that may be.

It may end in an error of bilp whose text is one printable line, in the result of the unchanged input, or in another result that is as
good as that one: whoever can write the bucket and the manifests in it may put another valid value in the place of a value, since a
checksum is no signature. What "as good" means is said by each kind (`sound`), in full: shapes, ranges, finite numbers, places that lie
below the root. Everything else is a fault: any other exception, a hang, a file outside.
"""

from __future__ import annotations

import os
import signal
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bilp.errors import MOST, BilpError
from bilp.text.escaping import shown

SCALE = float(os.environ.get("BILP_FUZZ", "1"))
"""How many times the usual number of cases are made: BILP_FUZZ=20 for a long run."""
LONGEST = 20  # seconds that a case may take; they take milliseconds
REPOSITORY = Path(__file__).resolve().parents[2]

REFUSED, SAME, OTHER, FAULT = "refused", "same", "another valid", "fault"


class Hang(BaseException):
    """A case that does not end; no handler of ours may take it for an error of its own."""


@dataclass
class Tally:
    """What the cases of a kind led to."""

    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: str, what: str = "", case: str = "") -> None:
        """Count a case; `what` says where a fault comes from."""
        self.outcomes[outcome] += 1
        if outcome == FAULT:
            self.faults[what] += 1
            self.examples.setdefault(what, case)

    def told(self) -> str:
        """Every kind of fault with the first case that led to it."""
        return "\n".join(f"{number} x {what}\n      {self.examples[what][:600]}" for what, number in self.faults.most_common())


Conclude = Callable[[Tally], None]


def judge(act: Callable[[], object], undamaged: object, sound: Callable[[object], str | None], tally: Tally, case: str) -> None:
    """Carry out a case and count what it led to."""
    try:
        with _limited():
            result = act()
            same = repr(result) == repr(undamaged)  # NaN is itself here
            problem = None if same else sound(result)
    except BilpError as error:
        text = str(error)
        bad = not text or len(text) > MOST or shown(text) != text
        tally.add(FAULT if bad else REFUSED, f"text of {type(error).__name__}: {text[:200]!a}", case)
    except (Exception, Hang) as error:
        tally.add(FAULT, f"{type(error).__name__} at {_site(error)}: {str(error)[:150]!a}", case)
    else:
        if problem is not None:
            tally.add(FAULT, f"used: {problem}", case)
        else:
            tally.add(SAME if same else OTHER)


def run_cases(kind: str, cases: int, case: Callable[[Random, Tally], None]) -> Tally:
    """Make that many cases, the same ones each time, from what Hypothesis draws."""
    tally = Tally(kind)

    @seed(zlib.crc32(kind.encode()))
    @settings(
        max_examples=max(1, round(cases * SCALE)),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=True))  # seeded by what Hypothesis draws
    def draw(random: Random) -> None:
        case(random, tally)

    draw()
    return tally


def listing(folder: Path) -> set[str]:
    """Every path below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@contextmanager
def _limited() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang(f"no end after {LONGEST} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _site(error: BaseException) -> str:
    """The innermost line of this project that the error came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(REPOSITORY))]
    ours = [frame for frame in frames if "/tests/" not in frame.filename] or frames
    return f"{Path(ours[-1].filename).relative_to(REPOSITORY)}:{ours[-1].lineno}" if ours else "nowhere"
