"""Waves over time: what each executed and what it waited for, instruction by instruction and summed up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparse_mla.analyse.instructions import instructions
from sparse_mla.errors import InputError
from sparse_mla.record.schema import CAUSES, Recording

_PLACE = ("xcd", "se", "cu", "simd", "slot")


def timeline(recording: Recording, dispatch: int | None = None) -> pd.DataFrame:
    """One row for each recorded instruction of the traced waves, by wave and time.

    Columns: wave, xcd (where known), se, cu, simd, slot, begin, duration, stall (cycles: it was next at begin, issued at
    begin + stall, and was over at begin + duration), pc, text, unit, source (`file:line  text`), phase, cause (of its
    stall), inferred (True where that is only analyse.causes' guess), kind. `dispatch`: which launch (default: the first
    that has events)."""
    events = recording["events"]
    if events.empty:
        raise InputError("this recording has no events: record it with a thread trace, or emulate it, to see waves over time")
    dispatch = int(events.dispatch.iloc[0]) if dispatch is None else dispatch
    static = instructions(recording)
    static = static[static.dispatch == dispatch].set_index("pc")
    events = events[events.dispatch == dispatch]
    if events.empty:
        there = ", ".join(map(str, recording["events"].dispatch.unique()))
        raise InputError(f"no events of dispatch {dispatch}; there are some of {there}")
    waves = recording["waves"][recording["waves"].dispatch == dispatch].set_index("wave")
    where = {name: events.wave.map(waves[name]) for name in _PLACE if name in waves}
    known = {name: events.pc.map(static[name]) for name in ("text", "unit", "phase")}
    lines = (static.file.str.split("/").str[-1] + ":" + static.line.astype(str) + "  " + static.source).where(static.line > 0, "")
    guess = "cause" not in events
    cause = events.pc.map(static.likely) if guess else events.cause
    frame = pd.DataFrame(
        {"wave": events.wave} | where | {"begin": events.time} | {name: events[name] for name in ("duration", "stall", "pc")}
        | known | {"source": events.pc.map(lines), "cause": cause.where(events.stall > 0, "issue")}
    )  # fmt: skip
    frame = frame.assign(inferred=guess, kind=recording.kind("events")).sort_values(["wave", "begin"], kind="stable")
    return frame.reset_index(drop=True)


def spans(frame: pd.DataFrame) -> pd.DataFrame:
    """What each wave of a timeline did at every moment: columns wave, begin, end, cause. Stretches of one cause are one row.

    An instruction's stall has its cause, the rest of it is `issue` (of s_endpgm `launch`, as it waits for stores to drain);
    gaps between instructions are `dependency`. Where instructions overlap, the later one counts from its begin."""
    frame = frame.sort_values(["wave", "begin"], kind="stable")
    wave, begin = frame.wave.to_numpy(), frame.begin.to_numpy(np.int64)
    issue, over = begin + frame.stall.to_numpy(), begin + frame.duration.to_numpy()
    after = np.append(begin[1:], np.iinfo(np.int64).max)
    after[np.append(wave[1:] != wave[:-1], True)] = np.iinfo(np.int64).max
    causes = pd.Categorical(frame.cause, categories=CAUSES).codes
    ends = np.minimum(over, after)
    gap = np.where(after == np.iinfo(np.int64).max, ends, after)
    last = frame.text.str.startswith("s_endpgm") if "text" in frame else False
    parts = [
        (begin, np.minimum(issue, ends), causes),
        (np.minimum(issue, ends), ends, np.where(last, CAUSES.index("launch"), CAUSES.index("issue"))),
        (ends, gap, np.full(len(frame), CAUSES.index("dependency"))),
    ]
    made = pd.concat([pd.DataFrame({"wave": wave, "begin": a, "end": b, "cause": cause}) for a, b, cause in parts])
    made = made[made.end > made.begin].sort_values(["wave", "begin"], kind="stable")
    new = ((made[["wave", "cause"]] != made[["wave", "cause"]].shift()).any(axis=1)).cumsum()
    grouped = made.groupby(new.to_numpy(), sort=False)
    made = pd.DataFrame({"wave": grouped.wave.first(), "begin": grouped.begin.first(), "end": grouped.end.last(),
                         "cause": grouped.cause.first()})  # fmt: skip
    return made.assign(cause=np.array(CAUSES)[made.cause]).reset_index(drop=True)


def coarse(table: pd.DataFrame, pieces: int) -> pd.DataFrame:
    """Spans as few enough to draw: time in at most `pieces` equal ones, of which each has the cause that most of it has."""
    first, last = int(table.begin.min()), int(table.end.max())
    edges = np.linspace(first, last, min(pieces, last - first) + 1)
    made = []
    for wave, mine in table.groupby("wave"):
        cover = np.zeros((len(CAUSES) + 1, len(edges) - 1))
        for cause, some in mine.groupby("cause"):
            points = some[["begin", "end"]].to_numpy().ravel()
            spent = np.cumsum((some.end - some.begin).to_numpy())
            cover[CAUSES.index(cause)] = np.diff(np.interp(edges, points, np.append(0, np.repeat(spent, 2)[:-1])))
        cover[-1] = np.diff(edges) - cover.sum(axis=0)  # not there: before its begin or after its end
        most = cover.argmax(axis=0)
        starts = np.flatnonzero(np.append(True, most[1:] != most[:-1]))
        run = pd.DataFrame({"wave": wave, "begin": edges[starts], "end": edges[np.append(starts[1:], len(most))]})
        there = most[starts] < len(CAUSES)
        made.append(run[there].assign(cause=np.array(CAUSES)[most[starts][there]]))
    return pd.concat(made, ignore_index=True)


def wave_split(frame: pd.DataFrame) -> pd.DataFrame:
    """Cycles of each wave of a timeline by cause, as spans has them. Columns: wave, where it ran, begin, end, the CAUSES."""
    there = spans(frame).assign(cycles=lambda x: x.end - x.begin)
    table = there.pivot_table(index="wave", columns="cause", values="cycles", aggfunc="sum", fill_value=0)
    whole = there.groupby("wave").agg(begin=("begin", "min"), end=("end", "max"))
    where = frame.drop_duplicates("wave").set_index("wave")[[name for name in _PLACE if name in frame]]
    return where.join(whole).join(table.reindex(columns=list(CAUSES), fill_value=0)).reset_index()
