"""Decode times over rows beside what bounds them, and the same decode under the roofs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparse_mla.plot.decode_us import MARKERS, times_line
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import INK, SERIES, canvas, plain_numbers

_DASHES = {"HBM": "--", "MALL": "-.", "MFMA BF16": ":", "chain": (0, (5, 1))}


def bounds_figure(
    times: pd.DataFrame, limits: pd.DataFrame, roof: pd.DataFrame, row: int, *, cached: float, title: str, source: str
) -> Figure:
    """Left, microseconds over rows; right, FLOP/s over FLOP a byte of our series.

    `times`: series, kind, rows, us, and for our series (the first) split, flop, bytes; `limits`: analyse.bounds.bounds with a
    column rows; `roof`: analyse.limits.roofs; `row`: the number of rows to speak of; `cached`: bytes that the MALL holds."""
    ours = times[times.series == times.series.iloc[0]]
    with canvas(9.4, 3.7, ncols=2, width_ratios=[1.25, 1]) as (fig, (axis, right)):
        for i, ((series, kind), line) in enumerate(times.groupby(["series", "kind"], sort=False)):
            times_line(axis, line, i, kind, f"{series} · {kind}", markersize=5, linewidth=1.6 if i == 0 else 1.0)
        for i, (bound, line) in enumerate(limits.groupby("bound", sort=False)):
            axis.plot(line.rows, line.microseconds, color="#77736a", linestyle=_DASHES[bound], linewidth=1.0)
            place = line.iloc[min(i, len(line) - 1) if bound != "chain" else 0]  # apart, where lines are near each other
            axis.annotate(bound, (place.rows, place.microseconds), fontsize=7.5, va="bottom", ha="center", color=INK)
        axis.axvline(row, color="#dedbd3", linewidth=6, zorder=0)
        axis.set(xscale="log", yscale="log", xlabel="rows (query tokens)", ylabel="microseconds")
        axis.set_xticks(ours.rows, ours.rows)
        fig.legend(loc="lower left", ncols=3, fontsize=7.5)
        x = np.geomspace(1, 3000, 60)
        at = roof.set_index("roof").value
        for bound in ("HBM", "MALL"):
            right.plot(x, np.minimum(x * at[bound], at["MFMA BF16"]) / 1e12, color=INK, linestyle=_DASHES[bound], label=bound)
        rate = ours.flop / ours.us / 1e6
        right.plot(ours.flop / ours.bytes, rate, "o-", color=SERIES[0], markerfacecolor="none")
        mine = ours.rows == row
        right.plot((ours.flop / ours.bytes)[mine], rate[mine], "o", color=SERIES[1], label=f"{row} rows")
        right.set(xscale="log", yscale="log", xlabel="FLOP a byte of cache, Q and output", ylabel="TFLOP/s (modelled)")
        right.legend(loc="lower right", fontsize=7.5)
        plain_numbers(axis.yaxis, right.xaxis, right.yaxis)
        axis.minorticks_off()
        right.minorticks_off()
        fig.set_layout_engine(None)  # a constrained layout draws everything twice, and a slider waits for it
        fig.subplots_adjust(left=0.08, right=0.98, top=0.97, bottom=0.3, wspace=0.22)
    (here,) = ours[mine].itertuples()
    fits = here.bytes <= cached  # then HBM is not asked: the model's caches are warm
    near = limits[(limits.rows == row) & ~((limits.bound == "HBM") & fits)].set_index("bound").microseconds
    parts = f"{here.split:.0f} {'part' if here.split == 1 else 'parts'} for each row"
    finding = (
        f"{row} rows take {here.us:.3g} us in {parts} (modelled). "
        f"No kernel could be below {near.max():.3g} us ({near.idxmax()}): "
        f"{here.us / near.max():.1f} times that. Its bytes move at {here.bytes / here.us / 1e6:.2g} TB/s, "
        f"its matrix products at {here.flop / here.us * 1e6 / at['MFMA BF16']:.1%} of the peak."
    )
    kinds = times[["series", "kind", "rows", "us"]].assign(split=times.split.map("{:.0f}".format, na_action="ignore"))
    lines = limits.assign(series="bound: " + limits.bound, us=limits.microseconds.round(2))[["series", "kind", "rows", "us"]]
    table = pd.concat([kinds, lines]).fillna({"split": ""})
    return Figure(fig, title, finding, "modelled", source, table)


def knee_figure(times: pd.DataFrame, places: dict[str, int], *, title: str, source: str) -> Figure:
    """Time of whole rows over workgroups. `times`: kernel, layer, workgroups, microseconds; `places`: how many workgroups of a
    kernel the chip has room for at a time."""
    with canvas(7.2, 3.2) as (fig, axis):
        for i, ((kernel, layer), line) in enumerate(times.groupby(["kernel", "layer"], sort=False)):
            at = [*places].index(kernel)
            axis.plot(line.workgroups, line.microseconds, ("-", "--")[at], marker=MARKERS[i], color=SERIES[i],
                      markerfacecolor="none", label=f"{kernel}, {layer}")  # fmt: skip
        for i, (kernel, room) in enumerate(places.items()):
            axis.axvline(room, color=INK, linewidth=0.9, linestyle=("-", "--")[i])
            axis.annotate(f"{kernel}: {room}", (room, times.microseconds.max()), fontsize=8, ha="right", va="top", rotation=90)
        axis.set(xscale="log", yscale="log", xlabel="workgroups (whole rows)", ylabel="microseconds (modelled)")
        plain_numbers(axis.xaxis, axis.yaxis)
        axis.legend(fontsize=8, ncols=2)
    told = []
    for (kernel, layer), line in times.groupby(["kernel", "layer"], sort=False):
        us = line.set_index("workgroups").microseconds
        told.append(f"{kernel}, {layer}: {us[us.index.min()]:.3g} us for 1, {us[256]:.3g} for 256, {us[512]:.3g} for 512")
    return Figure(fig, title, "; ".join(told) + ".", "modelled", source, times)
