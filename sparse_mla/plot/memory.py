"""Pictures of LDS banks and of memory traffic."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparse_mla.analyse.banks import BANKS
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import KINDS, MAGNITUDE, SERIES, bar, canvas, kind_of, name_rows, note, place, plain_numbers

CONFLICTS = (SERIES[1], "///")


def banks_figure(rows: pd.DataFrame, *, title: str, source: str, n: int = 24) -> Figure:
    """The `n` first rows of analyse.banks.bank_conflicts or by_line: a heat map over banks, and the passes of an access."""
    shown = rows.head(n)
    labels, places = [f"{place(row)}  {getattr(row, 'text', row.mnemonic)[:34]}" for row in shown.itertuples()], range(len(shown))
    values = shown[[*BANKS]].to_numpy(float)
    with canvas(9.0, 0.24 * len(shown) + 1.7, ncols=2, width_ratios=[3, 1.1], sharey=True) as (fig, (heat, bars)):
        image = heat.imshow(values, cmap=MAGNITUDE, aspect="auto", interpolation="none", vmin=0, vmax=max(1.0, values.max()))
        name_rows(heat, labels, code=7)
        heat.set(xlabel="bank", xticks=range(0, 64, 8))
        heat.grid(False)
        what = "dwords of a bank beyond the first, an access"
        fig.colorbar(image, ax=heat, location="top", label=what, aspect=50, fraction=0.05)
        needed = shown.phases - shown.conflicts
        bars.barh(places, needed, **bar(label="needed"))
        bars.barh(places, shown.conflicts, left=needed, **bar(CONFLICTS, "conflicts"))
        bars.set_xlabel("passes an access")
        bars.grid(axis="y", visible=False)
        bars.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, fontsize=8, handlelength=1.2, columnspacing=0.9)
    lost, passes = (rows.conflicts * rows.accesses).sum(), (rows.phases * rows.accesses).sum()
    first = rows.loc[(rows.conflicts * rows.accesses).idxmax()]
    finding = f"{lost / passes:.0%} of all {passes:,.0f} passes are due to conflicts"
    if lost:
        finding += f"; most by {place(first) if first.name in shown.index else first.mnemonic}"
        finding += f" ({first.mnemonic}: {first.phases:.3g} passes in place of {first.phases - first.conflicts:.3g})"
    busy = shown[[*BANKS]].mul(shown.accesses, axis=0).sum()
    table = shown.drop(columns=[*BANKS, "source", "kind"]).assign(worst_bank=values.argmax(axis=1), of_it=values.max(axis=1))
    if lost and busy.max() > 1.5 * busy.mean():
        finding += f"; busiest are banks {', '.join(map(str, sorted(busy.nlargest(4).index)))}"
    return Figure(fig, title, f"{finding}.", rows.kind.iloc[0], source, table)


def buffers_figure(rows: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Bytes by buffer: what instructions move, and what of it differs. `rows`: what analyse.traffic.by_buffer gives."""
    rows = rows.sort_values("moved", ascending=False)
    with canvas(8.0, 0.36 * len(rows) + 1.5) as (fig, axis):
        axis.barh(np.arange(len(rows)) - 0.2, rows.moved, 0.38, **bar(label="in lines that instructions ask for"))
        axis.barh(np.arange(len(rows)) + 0.2, rows.distinct, 0.38, **bar(CONFLICTS, "in different lines"))
        for at, row in enumerate(rows.itertuples()):
            note(axis, f"{row.reuse:.3g}×", (row.moved, at - 0.2))
        name_rows(axis, [f"{row.buffer} ({row.does})" for row in rows.itertuples()])
        axis.set(xscale="log", xlabel=f"bytes ({rows.kind.iloc[0]})", xlim=(rows.distinct.min() / 2, rows.moved.max() * 3))
        plain_numbers(axis.xaxis)
        fig.legend(loc="outside upper left", ncols=2, fontsize=8.5, handlelength=1.2)
    most = rows.iloc[0]
    finding = (
        f"Instructions ask for {rows.moved.sum():,} bytes of lines; {most.moved / rows.moved.sum():.0%} of them are of "
        f"{most.buffer}, each line {most.reuse:.3g} times. {rows.distinct.sum():,} bytes differ."
    )
    return Figure(fig, title, finding, rows.kind.iloc[0], source, rows.drop(columns="kind"))


def levels_figure(rows: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Bytes at each level, launches side by side; the colour is that of the kind. `rows`: what analyse.traffic.levels
    gives."""
    rows = rows.reset_index(drop=True)
    with canvas(7.4, 0.34 * len(rows) + 1.4) as (fig, axis):
        for kind, some in rows.groupby("kind"):
            axis.barh(some.index, some.bytes, **bar((KINDS[str(kind)].ink, "" if kind == "emulated" else "///"), str(kind)))
        name_rows(axis, [f"{row.kernel[:28]}  {row.level}" for row in rows.itertuples()], fontsize=8)
        for at, value in rows.bytes.items():
            note(axis, f"{value:,.0f}", (value, at))
        least = max(1, rows.bytes[rows.bytes > 0].min() / 4)
        axis.set(xlabel="bytes, log scale", xscale="log", xlim=(least, rows.bytes.max() * 20))
        plain_numbers(axis.xaxis)
        fig.legend(loc="outside upper left", ncols=4, fontsize=8.5, handlelength=1.2)
    first = rows[rows.dispatch == rows.dispatch[0]].set_index("level").bytes
    base = "lanes" if first.get("lanes") else first.index[0]
    told = [f"{level} {first[level] / max(1, first[base]):.0%}" for level in ("lines", "L2", "fabric", "HBM") if level in first]
    finding = f"{rows.kernel[0]}: {base} ask for {first[base]:,.0f} bytes; compared with that, {', '.join(told)}."
    return Figure(fig, title, finding, kind_of(rows.kind), source, rows)
