"""What follows from the executed instructions of a thread trace: sums over waves, a wave's states, what its waits waited for.

Tests compute all of it from real recordings. Sums, waits and numbers of waves come out exactly; states, which the hardware writes
down by itself, in 98.9 to 99.98 % of the cycles.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd

from sparse_mla.record.schema import CATEGORIES

STATES = IDLE, EXEC, WAIT, STALL = 1, 2, 3, 4
_SMEM, _VMEM, _FLAT, _LDS, _IMMED, _MESSAGE = (CATEGORIES.index(x) for x in ("SMEM", "VMEM", "FLAT", "LDS", "IMMED", "MESSAGE"))
_COUNTED = {"lgkm": (_SMEM, _LDS), "vm": (_VMEM, _FLAT)}  # what a wait's counters count, in the order in which a trace lists them


def recount(events: pd.DataFrame, waves: pd.DataFrame) -> pd.DataFrame:
    """hit, latency, stall and idle of each instruction from what every wave did. Columns: dispatch, pc and these four.

    Idle is the time in front of an instruction in which nothing before it was unfinished, from the wave's begin.
    """
    keys = ["dispatch", "wave"]
    e = events.merge(waves[[*keys, "begin"]], on=keys, how="left")
    ends = (e.time + e.duration).groupby([e.dispatch, e.wave])
    free = ends.cummax().groupby([e.dispatch, e.wave]).shift().fillna(e.begin)
    e = e.assign(hit=1, latency=e.duration, idle=(e.time - free).clip(lower=0).astype(np.int64))
    return e.groupby(["dispatch", "pc"], as_index=False)[["hit", "latency", "stall", "idle"]].sum()


def timeline(events: list[list[int]], begin: int, end: int) -> list[list[int]]:
    """A wave's [state, duration] from its events [time, category, stall, duration, ...]; each wait stands for itself."""
    spans: list[list[int]] = []

    def add(state: int, duration: int) -> None:
        if duration > 0 and spans and spans[-1][0] == state != WAIT:
            spans[-1][1] += duration
        elif duration > 0:
            spans.append([state, duration])

    free = begin
    for time, category, stall, duration, *_ in events:
        add(EXEC if spans else IDLE, time - free)
        late = max(0, free - time)  # what overlaps the instruction before it
        stalled = max(0, stall - late)
        if category in (_IMMED, _MESSAGE):
            add(WAIT, duration - late)
        else:
            add(STALL, stalled)
            add(EXEC, duration - late - stalled)
        free = max(free, time + duration)
    add(IDLE, end - free)
    return spans


def waits(events: list[list[int]], texts: dict[int, str]) -> list[list[Any]]:
    """For each executed s_waitcnt that had to see something finished: [its line, [[line of a memory instruction, 0], ...]]."""
    under_way: dict[str, list[int]] = {name: [] for name in _COUNTED}
    found: list[list[Any]] = []
    for _, category, _, _, line in events:
        for name, counted in _COUNTED.items():
            if category in counted:
                under_way[name].append(line)
        if texts[line].startswith("s_waitcnt"):
            for name, lines in under_way.items():
                if m := re.search(rf"{name}cnt\((\d+)\)", texts[line]):
                    done = max(0, len(lines) - int(m[1]))
                    if done:
                        found.append([line, [[x, 0] for x in lines[:done]]])
                    del lines[:done]
    return found


def states(timelines: list[tuple[int, list[list[int]]]], state: int) -> tuple[list[int], list[int]]:
    """(times, number of waves in `state` from then on) of waves given as (begin, timeline)."""
    change: dict[int, int] = defaultdict(int)
    for time, spans in timelines:
        for which, duration in spans:
            if which == state:
                change[time] += 1
                change[time + duration] -= 1
            time += duration
    times = sorted(change)
    return times, np.cumsum([change[t] for t in times], dtype=int).tolist()
