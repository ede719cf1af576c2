"""Pictures of what the decode kernel is worth in serving."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparse_mla.errors import InputError
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import SERIES, bar, canvas

_BARS = {  # column: label, (colour, hatch)
    "gain": ("gained (published)", (SERIES[3], "")),
    "base_gain": ("base instead (modelled)", (SERIES[0], "///")),
    "product_gain": ("product instead (modelled)", (SERIES[2], "...")),
    "ceiling": ("attention free of cost (modelled)", (SERIES[4], "xx")),
}


def serving_figure(shares: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Throughput gained at each published point beside what modelled kernels and a free one would gain. `shares`: what
    analyse.serving.shares gives."""
    places, tall = np.arange(len(shares)), 0.8 / len(_BARS)
    with canvas(7.4, 3.4) as (fig, axis):
        for i, (column, (label, look)) in enumerate(_BARS.items()):
            bars = axis.bar(places + (i - 1.5) * tall, shares[column], tall, **bar(look, label))
            axis.bar_label(bars, fmt="%.1f", fontsize=7.5, padding=1)
        names = [f"{x.workload}, {x.concurrency} at once\nattention {x.share:.1f} % of a step" for x in shares.itertuples()]
        axis.set_xticks(places, names, fontsize=8.5)
        axis.set_ylabel("throughput gained, %")
        axis.grid(axis="x", visible=False)
        fig.legend(loc="outside upper left", ncols=2, fontsize=8.5)
    over = [f"{x.workload} at {x.concurrency}" for x in shares.itertuples() if x.gain > x.ceiling]
    room = (shares.product_gain - shares.base_gain).max()
    finding = (
        f"Published gains of {shares.gain.min():.1f} to {shares.gain.max():.1f} %; over this baseline a kernel that takes no "
        f"time could gain {shares.ceiling.min():.1f} to {shares.ceiling.max():.1f} %, and product at most {room:.1f} points "
        "more than base. "
        + (f"More was gained than it could give: {', '.join(over)}." if over else "No gain is above what it could give.")
    )
    return Figure(fig, title, finding, "modelled", source, shares.drop(columns="kind").round(2))


def amdahl_figure(share: float = 10.0, speed_up: float = 2.0) -> Figure:
    """What a kernel with `share` percent of a step's time gains by being up to 100 times as fast: throughput, percent."""
    if not 0 < share < 100 or speed_up < 1:
        raise InputError(f"share {share} %, speed-up {speed_up}: a share is between 0 and 100, a speed-up 1 or more")
    faster = np.array([1, 1.5, 2, 3, 4, 8, 16, 100, speed_up])
    rows = pd.DataFrame({"speed-up": np.unique(faster)})
    for each in (5.0, 10.0, 20.0, 40.0, share):
        rows[f"share {each:g} %"] = 100 * (1 / (1 - each / 100 + each / 100 / rows["speed-up"]) - 1)
    mine = rows[f"share {share:g} %"]
    most, here = 100 * (1 / (1 - share / 100) - 1), float(mine[rows["speed-up"] == speed_up].iloc[0])
    with canvas(7.2, 3.0) as (fig, axis):
        for i, name in enumerate(rows.columns[1:]):
            own = name == f"share {share:g} %"
            look = {"marker": "osvD*"[i % 5], "markersize": 4, "linewidth": 2.2 if own else 1.0}
            axis.plot(rows["speed-up"], rows[name], label=name, color=SERIES[i], zorder=4 if own else 2, **look)
        axis.axhline(most, color=SERIES[6], linestyle="--", linewidth=1.0)
        axis.annotate(f"a kernel of no cost: +{most:.1f} %", (100, most), ha="right", va="bottom", fontsize=8)
        axis.set(xscale="log", xlabel="how many times as fast the kernel gets", ylabel="throughput gained, %")
        axis.set_xticks([1, 2, 4, 8, 16, 100], [1, 2, 4, 8, 16, 100])
        axis.minorticks_off()
        axis.legend(fontsize=8)
    finding = (
        f"With {share:g} % of the time, a kernel {speed_up:g} times as fast gains {here:.1f} %, one of no cost {most:.1f} %."
    )
    return Figure(fig, "Amdahl's law", finding, "modelled", "g = 1 / (1 - f + f / s)", rows.round(2))
