"""Which iterations belong to a round."""

from __future__ import annotations

from bilp.config import DistillConfig
from bilp.errors import ConfigError


def bounds(config: DistillConfig, round_number: int) -> tuple[int, int]:
    """First iteration of a round (1 to `config.rounds`) and the one after its last; earlier rounds take the remainder.

    Raises ConfigError for any other round.
    """
    if not 1 <= round_number <= config.rounds:
        raise ConfigError(f"round {round_number} does not exist: the run has rounds 1 to {config.rounds}")
    share, rest = divmod(config.iterations, config.rounds)
    start = (round_number - 1) * share + min(round_number - 1, rest)
    return start, start + share + (1 if round_number <= rest else 0)
