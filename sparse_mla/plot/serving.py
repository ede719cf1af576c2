"""A picture of what the decode kernel is worth in serving."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import CARD, SERIES, canvas

_BARS = {  # column: label, colour, hatch
    "gain": ("gained (published)", SERIES[3], ""),
    "base_gain": ("base instead (modelled)", SERIES[0], "///"),
    "product_gain": ("product instead (modelled)", SERIES[2], "..."),
    "ceiling": ("attention free of cost (modelled)", SERIES[4], "xx"),
}


def serving_figure(shares: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Throughput gained at each published point beside what modelled kernels and a free one would gain. `shares`: what
    analyse.serving.shares gives."""
    places, tall = np.arange(len(shares)), 0.8 / len(_BARS)
    with canvas(7.4, 3.4) as (fig, axis):
        for i, (column, (label, colour, hatch)) in enumerate(_BARS.items()):
            bars = axis.bar(
                places + (i - 1.5) * tall, shares[column], tall, color=colour, hatch=hatch, edgecolor=CARD, label=label
            )
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
