"""Pictures of what holds a kernel back: occupancy, utilisation, rooflines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import INK, SERIES, bar, canvas, kind_of, note, plain_numbers, side_by_side

LEVEL_LOOK = {
    "LDS": (SERIES[2], "s"), "L1": (SERIES[4], "v"), "L2": (SERIES[0], "o"), "MALL": (SERIES[5], "D"),
    "HBM": (SERIES[1], "^"),
}  # fmt: skip
_DASHES = {"LDS": ":", "L1": (0, (5, 1)), "L2": "-", "MALL": "-.", "HBM": "--"}


def occupancy_figure(rows: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Waves of a compute unit that each resource has room for, by launch; the scarcest is marked. `rows`: what
    analyse.limits.occupancy gives."""
    names = rows.drop_duplicates("dispatch").kernel.tolist()
    slots = rows[rows.resource == "waves"].waves.max()
    with canvas(4.2 * len(names) + 0.8, 2.9, ncols=len(names), sharey=True, squeeze=False) as (fig, axes):
        for axis, name, (_, mine) in zip(axes[0], names, rows.groupby("dispatch", sort=False), strict=True):
            for at, row in enumerate(mine.itertuples()):
                height = min(row.waves, slots)
                look = (SERIES[1], "///") if row.limits else (SERIES[2 if row.resource == "reached" else 4], "")
                axis.bar(at, height, **bar(look))
                note(axis, f"{row.waves:.3g}", (at, height), 0, 2, ha="center", va="baseline", fontsize=8)
            axis.set_xticks(range(len(mine)), [f"{row.resource}\n{_needs(row)}" for row in mine.itertuples()], fontsize=8)
            axis.set(title=name[:40], ylim=(0, slots * 1.12))
            axis.grid(axis="x", visible=False)
        axes[0][0].set_ylabel("waves of a CU")
    told = []
    for name, (_, mine) in zip(names, rows.groupby("dispatch", sort=False), strict=True):
        first = mine[mine.limits].iloc[0]
        reached = mine[mine.resource == "reached"].waves
        mean = f", {reached.iloc[0]:.1f} on average" if len(reached) else ""
        told.append(f"{name}: {first.waves:.0f} of {slots:.0f} waves, limited by {first.resource}{mean}")
    return Figure(fig, title, "; ".join(told) + ".", rows.kind.iloc[0], source, rows.drop(columns="kind"))


def _needs(row: Any) -> str:
    if row.resource == "reached":
        return f"mean\n({row.kind})"
    return f"{row.needs:,} of\n{row.has:,}" if row.resource != "grid" else f"{row.workgroups:.0f} a CU"


def utilisation_figure(rows: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Per cent metrics of each launch. `rows`: what analyse.limits.utilisation gives."""
    metrics, launches = rows.metric.unique(), _launches(rows)
    kinds = rows.drop_duplicates("metric").set_index("metric")
    labels = [f"{name}{' (of wave time)' if 'wave' in kinds.unit[name] else ''}" for name in metrics]
    with canvas(7.6, (0.22 * len(launches) + 0.1) * len(metrics) + 1.4) as (fig, axis):
        values = rows.pivot(index="metric", columns="dispatch", values="value")[[*launches]].reindex(metrics)
        side_by_side(axis, values.set_axis(labels).set_axis([*launches.values()], axis=1))
        axis.set(xlim=(0, max(100, 1.05 * rows.value.max())), xlabel=f"% ({', '.join(sorted(set(rows.kind)))})")
        fig.legend(loc="outside upper left", ncols=2, fontsize=8.5, handlelength=1.2)
    first, kernel = next(iter(launches.items()))
    told = ", ".join(f"{row.metric} {row.value:.3g} %" for row in rows[rows.dispatch == first].head(6).itertuples())
    return Figure(fig, title, f"{kernel}: {told}.", kind_of(rows.kind), source, rows.drop(columns="formula"))


def _launches(rows: pd.DataFrame) -> dict[int, str]:
    """Kernels by number of their launch, in the order of the rows."""
    return dict(zip(rows.dispatch, rows.kernel, strict=True))


def roofline_figure(rows: pd.DataFrame, roofs: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Left: each launch with matrix work under the roofs, a mark for each level of memory. Right: the share of each roof that
    every launch takes. `rows`, `roofs`: what analyse.limits.roofline and roofs give."""
    placed = rows[rows.rate > 0]
    at = roofs.set_index("roof")
    with canvas(9.6, 4.0, ncols=2, width_ratios=[1.7, 1]) as (fig, (axis, bars)):
        if len(placed):
            _roofs(axis, placed, at)
        else:
            axis.text(0.5, 0.5, "no matrix instructions", ha="center", transform=axis.transAxes)
            axis.set_axis_off()
        matrix = placed.drop_duplicates("dispatch")
        shares = pd.concat([rows.assign(name=rows.level), matrix.assign(name="MFMA " + matrix.matrix, share=matrix.of_peak)])
        names = [*(level for level in LEVEL_LOOK if level in set(shares.name)), *sorted(set(shares.name) - set(LEVEL_LOOK))]
        launches = _launches(rows)
        values = 100 * shares.pivot(index="name", columns="dispatch", values="share").reindex(names)[[*launches]]
        side_by_side(bars, values.set_axis([kernel[:30] for kernel in launches.values()], axis=1), ".2g")
        bars.set_xlabel(f"share of the roof, % ({kind_of(rows.kind)})")
        bars.margins(x=0.15)
        bars.legend(loc="lower left", bbox_to_anchor=(-0.3, 1.0), fontsize=7.5, handlelength=1.2)
    told = []
    for kernel, (_, mine) in zip(launches.values(), rows.groupby("dispatch", sort=False), strict=True):
        best = mine.loc[mine.share.idxmax()]
        of = f", {mine.of_peak.iloc[0]:.2g} of the {mine.matrix.iloc[0]} matrix peak" if mine.rate.iloc[0] else ""
        far = " It is near none of them." if max(best.share, mine.of_peak.max()) < 0.2 else ""
        told.append(f"{kernel} takes {best.share:.2g} of the {best.level} roof, its highest{of}.{far}")
    return Figure(
        fig, title, " ".join(told), kind_of(rows.kind), source, rows.drop(columns=["low", "high"]).dropna(axis=1, how="all")
    )


def _roofs(axis: Any, placed: pd.DataFrame, at: pd.DataFrame) -> None:
    levels = [level for level in LEVEL_LOOK if level in at.index]
    slow = at.value[levels].min()
    peaks = placed.drop_duplicates("matrix").set_index("matrix").peak
    left, right = placed.intensity.min() / 6, max(placed.intensity.max() * 6, 2 * peaks.max() / slow)
    x = np.geomspace(left, right, 200)
    for level in sorted(levels, key=lambda level: level != "L2"):  # first, so that dashes show where another is as high
        colour, marker = LEVEL_LOOK[level]
        roof = np.minimum(x * at.value[level], peaks.max())
        look: Any = {"color": colour, "linestyle": _DASHES[level], "marker": marker, "markevery": [], "markeredgecolor": INK}
        axis.plot(x, roof, linewidth=1.6, label=f"{level} {at.value[level] / 1e12:.3g} TB/s", **look)
        low, high = (np.minimum(x * at.at[level, end], peaks.max()) for end in ("low", "high"))
        axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    for matrix, peak in peaks.items():
        axis.axhline(peak, color=INK, linewidth=1.0)
        note(axis, f"MFMA {matrix} {peak / 1e15:.3g} PFLOP/s", (left, peak), 2, 3, va="baseline")
    for row in placed.itertuples():
        colour, marker = LEVEL_LOOK[row.level]
        axis.plot(row.intensity, row.rate, marker, color=colour, markeredgecolor=INK, markersize=7, zorder=4)
        if pd.notna(row.low):
            rates = [row.flop / ns * 1e9 for ns in (row.high, row.low)]
            axis.plot([row.intensity] * 2, rates, color=colour, linewidth=1.2, zorder=3)
    for (_, kernel), some in placed.groupby(["dispatch", "kernel"]):
        end = some.loc[some.intensity.idxmax()]
        note(axis, f"{kernel} ({end.kind})", (end.intensity, end.rate), 0, -14, ha="center", va="baseline")
    axis.set(xscale="log", yscale="log", xlabel="FLOP of matrix instructions a byte at that level", ylabel="FLOP/s")
    plain_numbers(axis.xaxis, axis.yaxis)
    axis.set_ylim(placed.rate.min() / 12, peaks.max() * 3)
    axis.set_xlim(left, right)
    axis.legend(loc="lower right", fontsize=7.5)
