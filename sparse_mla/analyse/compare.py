"""Two recordings side by side: launches, counters, and where the time of waves went, largest difference first.

Launches are paired by kernel name, in order, then what is left over in order; one without a partner counts 0 there. Every
frame has before, after, difference and ratio, and the kinds of both, for one may be measured and the other modelled. Cycles
are those of all waves in both, or, where one of the recordings knows traced waves only, cycles of a wave (`unit` says
which)."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

import pandas as pd

from sparse_mla.analyse.instructions import instructions
from sparse_mla.errors import InputError
from sparse_mla.record.counters import COUNTERS
from sparse_mla.record.schema import CAUSES, Recording

_REGISTER = re.compile(r"\b([vsa])(?:\d+|\[\d+:\d+\])")
KEYS = {"phase": ["phase"], "line": ["kernel", "phase", "file", "source"], "instruction": ["kernel", "phase", "row", "text"]}


def paired(before: Recording, after: Recording) -> pd.DataFrame:
    """Which launch is compared with which: columns kernel, before, after (dispatch numbers, -1 for none)."""
    sides = []
    for one in (before, after):
        table = one["dispatches"] if len(one["dispatches"]) else one["instructions"].drop_duplicates("dispatch")
        sides.append(list(zip(table.kernel, table.dispatch, strict=True)))
    rest, rows = sides[1], []
    for kernel, dispatch in sides[0]:
        same = next((x for x in rest if x[0] == kernel), ("", -1))
        rest = [x for x in rest if x != same]
        rows.append([kernel, dispatch, same[1]])
    for row in rows:
        if row[2] == -1 and rest:
            (kernel, row[2]), *rest = rest
            row[0] = f"{row[0]} → {kernel}"
    rows += [[kernel, -1, dispatch] for kernel, dispatch in rest]
    return pd.DataFrame(rows, columns=["kernel", "before", "after"])


def compare_launches(before: Recording, after: Recording) -> pd.DataFrame:
    """Durations. Columns: kernel, before, after, difference (ns), ratio, unit, kind_before, kind_after."""
    times = [(one["dispatches"].end - one["dispatches"].start).set_axis(one["dispatches"].dispatch) for one in (before, after)]
    frame = paired(before, after)
    for name, side in zip(("before", "after"), times, strict=True):
        frame[name] = [side.get(dispatch, 0) for dispatch in frame[name]]
    return told(frame.assign(unit="ns"), before.kind("dispatches"), after.kind("dispatches"))


def compare_counters(before: Recording, after: Recording) -> pd.DataFrame:
    """Counters that both have. Columns: kernel, name, then as compare_launches; largest ratio first, whichever way."""
    pairs, parts = paired(before, after), []
    for pair in pairs.itertuples():
        one, two = (x["counters"][x["counters"].dispatch == at] for x, at in ((before, pair.before), (after, pair.after)))
        both = one.merge(two, on="name", suffixes=("_before", "_after"))
        parts.append(both.assign(kernel=pair.kernel))
    if not parts or not sum(map(len, parts)):
        raise InputError("these recordings have no counter of a launch in common")
    frame = pd.concat(parts, ignore_index=True).rename(columns={"value_before": "before", "value_after": "after"})
    frame["unit"] = [COUNTERS[name].unit if name in COUNTERS else "" for name in frame.name]
    kinds = frame.pop("kind_before"), frame.pop("kind_after")
    frame = told(frame[["kernel", "name", "before", "after", "unit"]], *kinds)
    larger, smaller = frame[["before", "after"]].max(axis=1), frame[["before", "after"]].min(axis=1)
    far = (larger / smaller.where(smaller > 0)).fillna((larger > 0) * float("inf"))  # one from nothing is infinitely far
    return frame.assign(far=far).sort_values("far", ascending=False, kind="stable", ignore_index=True).drop(columns="far")


def compare_time(before: Recording, after: Recording, by: str = "line") -> pd.DataFrame:
    """Wave time by `phase`, `line` (of equal text, wherever it stands now) or `instruction` (listings aligned as diff does,
    whatever their registers).

    Columns: the keys, before, after, difference, ratio, unit, kind_before, kind_after; largest difference first. What only
    one of them has is 0 in the other."""
    if by not in KEYS:
        raise InputError(f"by is {by!r}; time is compared by {', '.join(KEYS)}")
    sides = [instructions(one) for one in (before, after)]
    whole = not any(side.inferred.any() for side in sides)
    pairs, parts = paired(before, after), []
    for pair in pairs.itertuples():
        mine = []
        for recording, side, dispatch in ((before, sides[0], pair.before), (after, sides[1], pair.after)):
            one = side[side.dispatch == dispatch].assign(kernel=pair.kernel)
            waves = recording["waves"] if whole else recording.traced
            count = 1 if whole else max(1, int((waves.dispatch == dispatch).sum()))
            mine.append(one.assign(time=(one[list(CAUSES)].sum(axis=1) if whole else one.latency + one.idle) / count))
        _align(*mine)
        parts += [mine[0].assign(side="before"), mine[1].assign(side="after")]
    every = pd.concat(parts) if parts else pd.DataFrame(columns=[*KEYS[by], "side", "time"])
    sums = every.pivot_table(index=KEYS[by], columns="side", values="time", aggfunc="sum", fill_value=0.0, sort=False)
    frame = sums.reindex(columns=["before", "after"], fill_value=0.0).reset_index().drop(columns="row", errors="ignore")
    frame.columns.name = None
    frame = frame.assign(unit="cycles of all waves" if whole else "cycles of a wave")
    return largest_first(told(frame, before.kind("instructions", "latency"), after.kind("instructions", "latency")))


def _align(before: pd.DataFrame, after: pd.DataFrame) -> None:
    """Gives instructions of two listings that are equal but for their registers the same `row` and text."""
    a, b = ([_REGISTER.sub(r"\1", text) for text in side.text] for side in (before, after))
    row, text = [*range(-1, -1 - len(b), -1)], after.text.tolist()
    for start, other, size in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        row[other : other + size] = range(start, start + size)
        text[other : other + size] = before.text.iloc[start : start + size]
    before["row"], after["row"], after["text"] = range(len(a)), row, text


def largest_first(frame: pd.DataFrame) -> pd.DataFrame:
    """By the size of the difference."""
    return frame.sort_values("difference", key=lambda x: -x.abs(), kind="stable", ignore_index=True)


def told(frame: pd.DataFrame, before: str | pd.Series, after: str | pd.Series) -> pd.DataFrame:
    """A frame of before, after and unit with difference, ratio and kinds."""
    unit = frame.pop("unit")
    ratio = frame.after / frame.before.where(frame.before != 0)
    return frame.assign(difference=frame.after - frame.before, ratio=ratio, unit=unit, kind_before=before, kind_after=after)
