"""Waves over time, each a row: what it did or waited for."""

from __future__ import annotations

import pandas as pd
from matplotlib.patches import Patch

from sparse_mla.analyse.timeline import coarse, spans, wave_split
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import CAUSE_LOOK, canvas, name_rows

ROWS = 32  # waves of one picture
PIECES = 900  # of its width


def timeline_figure(frame: pd.DataFrame, *, title: str, kind: str, source: str) -> Figure:
    """The first ROWS waves by place. `frame`: as analyse.timeline.timeline gives; of it wave, cu, simd, slot (xcd and se, if
    there), begin, duration, stall and cause are used."""
    place = [name for name in ("xcd", "se", "cu", "simd", "slot") if name in frame]
    order = frame.groupby("wave").agg({**dict.fromkeys(place, "first"), "begin": "min"}).sort_values([*place, "begin"])
    shown = order.index[:ROWS]
    chosen = frame[frame.wave.isin(shown)]
    table, split = spans(chosen), wave_split(chosen).set_index("wave").loc[shown]
    pieces = coarse(table, PIECES)
    used = [cause for cause in CAUSE_LOOK if (split[cause] > 0).any()]
    names = [" ".join(f"{name} {order.at[wave, name]}" for name in place if order[name].nunique() > 1) for wave in shown]
    with canvas(8.6, 0.17 * len(shown) + 1.5) as (fig, axis):
        for row, wave in enumerate(shown):
            for cause, some in pieces[pieces.wave == wave].groupby("cause"):
                wide = list(zip(some.begin, some.end - some.begin, strict=True))
                axis.broken_barh(wide, (row - 0.42, 0.84), facecolor=CAUSE_LOOK[cause][0], linewidth=0)  # too narrow for hatches
        labels = [f"{name}  wave {wave}".strip() for name, wave in zip(names, shown, strict=True)]
        name_rows(axis, labels, fontsize=7)
        axis.set_xlabel("time, shader cycles")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        patches = [Patch(color=CAUSE_LOOK[c][0], label=c) for c in used]
        fig.legend(handles=patches, loc="outside upper left", ncols=len(used), fontsize=8, handlelength=1.2, columnspacing=0.9)
    shares = split[used].sum().sort_values(ascending=False) / split[used].to_numpy().sum()
    told = ", ".join(f"{cause} {share:.0%}" for cause, share in shares.head(4).items())
    more = f" (of {len(order)} traced)" if len(order) > len(shown) else ""
    guess = " Causes are inferred from the instruction that stalled." if "inferred" in frame and frame.inferred.any() else ""
    span = int(table.end.max() - table.begin.min())
    finding = f"The time of these {len(shown)} waves{more} is {told}. They span {span:,} cycles.{guess}"
    return Figure(fig, title, finding, kind, source, split.reset_index().drop(columns=[c for c in CAUSE_LOOK if c not in used]))
