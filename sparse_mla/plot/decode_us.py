"""A picture of decode times: microseconds against rows, a panel for each number of heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sparse_mla.analyse.decode_us import FLOOR, OURS, PEER
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import INK, SERIES, canvas, kind_of, plain_numbers

# The line says how a number was obtained, as the legend does in words.
LINES = {"measured": "-", "emulated": "-.", "modelled": "--", "published": ":"}
MARKERS = "os^vDPX*"


def times_line(axis: Any, line: pd.DataFrame, at: int, kind: str, label: str, **look: Any) -> None:
    """Draws a series of times, the one in place `at`: microseconds `us` over `rows`, marks filled where they were measured."""
    look = {"color": SERIES[at % len(SERIES)], "marker": MARKERS[at % len(MARKERS)]} | look
    face = look["color"] if kind == "measured" else "none"
    axis.plot(line.rows, line.us, LINES[kind], label=label, markerfacecolor=face, **look)


def decode_us_figure(
    rows: pd.DataFrame, extra: int = 1024, *, title: str = "Time of a decode", source: str = "profiles/"
) -> Figure:
    """`rows`: what analyse.decode_us.decode_us gives, of which those with `extra` extra entries are drawn."""
    some = rows[rows.extra == extra].sort_values("rows")
    names = list(dict.fromkeys(zip(some.series, some.device, some.kind, strict=True)))
    heads = sorted(some.heads.unique())
    told = []
    with canvas(3.1 * len(heads) + 1.2, 4.4, ncols=len(heads), sharey=True, squeeze=False) as (fig, axes):
        for axis, count in zip(axes[0], heads, strict=True):
            mine = some[some.heads == count]
            for (series, device, kind), line in mine.groupby(["series", "device", "kind"], sort=False):
                at = names.index((series, device, kind))
                look = {"color": INK} if series == FLOOR else {}
                times_line(axis, line, at, kind, f"{series} · {device} · {kind}", markersize=4.5, **look)
            axis.set(xscale="log", yscale="log", xlabel="rows (query tokens)")
            axis.set_title(f"{count} heads")
            axis.set_xticks([4**power for power in range(6) if 4**power <= mine.rows.max()])
            plain_numbers(axis.xaxis, axis.yaxis, form="{x:,.0f}")
            axis.minorticks_off()
            wide = mine[mine.kind == "measured"].pivot_table(index=["device", "rows"], columns="series", values="us")
            if {OURS, PEER, FLOOR} <= set(wide):
                mean = np.exp(np.log(wide[OURS] / wide[PEER]).mean())
                least = (wide[OURS] / wide[FLOOR]).min()
                told.append(
                    f"{count} heads: {OURS} {mean:.2f} of {PEER}'s time on average, at best {least:.1f} times the reads alone."
                )
        axes[0][0].set_ylabel("microseconds")
        handles = {label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize=7.5)
    title = f"{title}, 128 + {extra} entries a row"
    return Figure(fig, title, " ".join(told), kind_of(some.kind), source, some.drop(columns="extra"))
