"""What one process distills of a run: all of its classes, or one shard of them with rounds of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bilp.artifacts.artifact import Artifact, content_key, find, there_already
from bilp.artifacts.run_layout import RESELECT, ROUND, STATE, reselect_uri, round_uri, shard_uri, state_uri
from bilp.config import DistillConfig
from bilp.distill.run import VERSION, Run, open_run
from bilp.errors import ConfigError

_PLACES: Mapping[str, Callable[[str, int], str]] = {ROUND: round_uri, RESELECT: reselect_uri, STATE: state_uri}


def keeps_state(distill: DistillConfig, round_number: int) -> bool:
    """Whether a round of a whole run keeps the state after it."""
    if distill.keep_rounds == "all":
        return True
    return round_number > distill.rounds - max(1, distill.keep_rounds - 1) or (distill.keep_rounds > 1 and round_number == 1)


@dataclass(frozen=True)
class Part:
    """A run, or a shard of it."""

    run_uri: str
    run: Run
    shard: int | None
    """Number of the shard from 0, or None for the whole run."""

    @property
    def uri(self) -> str:
        """Below which its rounds lie."""
        return self.run_uri if self.shard is None else shard_uri(self.run_uri, self.shard)

    def place(self, kind: str, round_number: int) -> str:
        """Where the round (kind ROUND), its reselection (RESELECT), or the state after it (STATE) lies."""
        return _PLACES[kind](self.uri, round_number)

    def find(self, kind: str, round_number: int) -> Artifact | None:
        """The round, or what belongs to it, or None if it is not there."""
        return find(self.place(kind, round_number), kind, self.key(kind, round_number))

    def there_already(self, kind: str, round_number: int) -> bool:
        """Whether it need not be made again. Raises as `bilp.artifacts.artifact.there_already`."""
        return there_already(self.place(kind, round_number), kind, self.key(kind, round_number)) is not None

    def key(self, kind: str, round_number: int) -> str:
        """Content key of the round, or of what belongs to it."""
        shard = {} if self.shard is None else {"shard": self.shard}
        return content_key(kind, VERSION, run=self.run.key, round=round_number, **shard)

    def keeps(self, round_number: int) -> bool:
        """Whether the round keeps the state after it: the last ones do, as many as `distill.keep_rounds` says, of which one is the first.

        A shard keeps none unless all are kept: those of the whole run are put together from its.
        """
        return keeps_state(self.run.distill, round_number) and (self.shard is None or self.run.distill.keep_rounds == "all")

    @property
    def merged(self) -> Part:
        """The whole run, into which a shard is merged."""
        return Part(self.run_uri, self.run, None)

    def classes(self, count: int) -> range:
        """Its classes, of `count` in all: consecutive ones, and as many as any other shard has or one fewer."""
        if self.shard is None:
            return range(count)
        return share_of_classes(count, self.shard, self.run.distill.shards)


def share_of_classes(count: int, shard: int, shards: int) -> range:
    """The classes of a shard, of `count` classes in all."""
    share, rest = divmod(count, shards)
    start = shard * share + min(shard, rest)
    return range(start, start + share + (1 if shard < rest else 0))


def open_part(run_uri: str, shard: int | None) -> Part:
    """A run that is distilled as a whole, or one shard of a run that is divided.

    Raises ConfigError if the run is divided and no shard is named, or has no such shard, and what `open_run` raises.
    """
    run = open_run(run_uri)
    shards = run.distill.shards
    if shards == 1 and shard is not None:
        raise ConfigError(f"{run_uri} is not divided into shards, so it has no shard {shard}: leave the shard out")
    if shards > 1 and (shard is None or not 0 <= shard < shards):
        raise ConfigError(
            f"{run_uri} is divided into shards 0 to {shards - 1}, not {shard}: distill each of these, then join them with merge_round"
        )
    return Part(run_uri, run, shard)


def parts_of(run_uri: str, run: Run) -> list[Part]:
    """Every shard of a divided run, in the order of their classes."""
    return [Part(run_uri, run, shard) for shard in range(run.distill.shards)]
