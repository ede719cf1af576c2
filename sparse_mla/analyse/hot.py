"""Where executed instructions and time go: by source line, by instruction, by phase.

All take the frame of analyse.instructions and add up its numbers: hit, and where it was timed latency, stall, idle and the
causes. `by` names the number that counts: one of these, or "time", the sum of the causes: that of all waves, or of the traced
ones where causes are `inferred`. `share` is of its sum over the whole frame, `of` is its name, and `kind` how it came to be.
"""

from __future__ import annotations

import pandas as pd

from sparse_mla.analyse.counts import UNITS
from sparse_mla.analyse.instructions import TIMES
from sparse_mla.analyse.phases import PHASES
from sparse_mla.errors import InputError
from sparse_mla.record.schema import CAUSES


def hot_lines(frame: pd.DataFrame, by: str = "time", n: int = 10) -> pd.DataFrame:
    """The `n` source lines with most of `by`. A line that several phases share through inlining has a row for each.

    Columns: kernel, phase, file, line, source, share, of (what of), kind, the numbers, main (largest cause), inferred.
    """
    return _sums(frame, ["kernel", "phase", "file", "line", "source"], by).nlargest(n, by).reset_index(drop=True)


def hot_instructions(frame: pd.DataFrame, by: str = "time", n: int = 10) -> pd.DataFrame:
    """The `n` static instructions with most of `by`; columns as of hot_lines, with pc, text and unit."""
    keys = ["kernel", "pc", "text", "unit", "phase", "file", "line", "source"]
    return _sums(frame, keys, by).nlargest(n, by).reset_index(drop=True)


def phase_split(frame: pd.DataFrame, by: str = "time") -> pd.DataFrame:
    """The phases, those of our kernels first, in their order. Columns: phase, share and the rest as of hot_lines, then how
    many executions there were of each unit, and the kind of these, `counted`."""
    sums = _sums(frame, ["phase"], by)
    units = frame.pivot_table(index="phase", columns="unit", values="hit", aggfunc="sum", fill_value=0)
    units = units[[unit for unit in (*UNITS, *units) if unit in units and units[unit].any()]]
    units = units.loc[:, ~units.columns.duplicated()]
    known = [*PHASES[:-1], *(phase for phase in sums.phase if phase not in PHASES), PHASES[-1]]
    sums = sums.merge(units.reset_index(), on="phase", validate="one_to_one").assign(counted=frame.counted.iloc[0])
    return sums.sort_values("phase", key=lambda names: names.map(known.index), ignore_index=True)


def _value(frame: pd.DataFrame, by: str) -> pd.Series:
    causes = [cause for cause in CAUSES if cause in frame]
    if by == "time" and causes:
        return frame[causes].sum(axis=1)
    if by not in ("hit", *TIMES, *causes) or by not in frame:
        known = ["hit", *(name for name in (*TIMES, *CAUSES) if name in frame)] + ["time"] * bool(causes)
        raise InputError(f"nothing here was measured by {by!r}; there is {', '.join(known)}. Times come with a recording")
    return frame[by]


def _sums(frame: pd.DataFrame, keys: list[str], by: str) -> pd.DataFrame:
    numbers = ["hit", *(name for name in (*TIMES, *CAUSES) if name in frame)]
    values = frame.assign(**{by: _value(frame, by)}) if by not in frame else frame
    sums = values.groupby(keys, sort=False)[[*numbers, *({by} - set(numbers))]].sum().reset_index()
    total = sums[by].sum()
    sums.insert(len(keys), "share", sums[by] / total if total else 0.0)
    sums.insert(len(keys) + 1, "of", by)
    sums.insert(len(keys) + 2, "kind", frame.counted if by == "hit" else frame.timed)  # the same in all rows
    if causes := [cause for cause in CAUSES if cause in sums]:
        sums["main"], sums["inferred"] = sums[causes].idxmax(axis=1), frame.inferred.iloc[0]
    return sums
