"""Ways to choose frames that end or stop the process which decodes, for clips whose draw says so."""

from __future__ import annotations

import os
import signal

from bilp.data.clips.sampling import Frames, Timeline, Wanted, uniform

FATAL, ENDLESS = 666, 999


def choose(timeline: Timeline, wanted: Wanted) -> Frames:
    """As `uniform`, unless the draw is FATAL or ENDLESS."""
    if wanted.draw == FATAL:
        os.kill(os.getpid(), signal.SIGSEGV)
    while wanted.draw == ENDLESS:
        signal.pause()
    return uniform(timeline, wanted)
