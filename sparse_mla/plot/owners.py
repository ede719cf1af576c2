"""A picture of who writes the output: heads down, dims across, coloured by wave."""

from __future__ import annotations

import pandas as pd
from matplotlib.colors import ListedColormap

from sparse_mla.plot.figure import Figure
from sparse_mla.plot.lds import runs
from sparse_mla.plot.style import CARD, SERIES, canvas


def owners_figure(frame: pd.DataFrame, *, title: str, source: str) -> Figure:
    """What analyse.owners.owners gives, of up to seven waves."""
    grid = frame.pivot_table(index="head", columns="first", values="wave").to_numpy()
    heads, blocks = grid.shape
    waves = sorted(set(frame.wave))
    with canvas(6.2, 3.0) as (fig, axis):
        axis.pcolormesh(grid, cmap=ListedColormap(SERIES[: max(waves) + 1]), vmin=-0.5, vmax=max(waves) + 0.5, edgecolor=CARD)
        for head in range(heads):
            for block in range(blocks):
                axis.text(block + 0.5, head + 0.5, f"{grid[head, block]:.0f}", ha="center", va="center", color=CARD, fontsize=7)
        axis.set(xlabel="dim of the output", ylabel="head", xticks=range(blocks + 1))
        axis.set_xticklabels([frame["last"].max() // blocks * i + i for i in range(blocks + 1)])
        axis.invert_yaxis()
        axis.grid(False)
    rows = []
    for wave, mine in frame.groupby("wave"):
        dims = runs(dim for row in mine.itertuples() for dim in range(row.first, row.last + 1))
        rows.append({"wave": wave, "heads": runs(mine["head"]), "dims": dims})
    words = "; ".join(f"wave {row['wave']} writes dims {row['dims']} of heads {row['heads']}" for row in rows)
    return Figure(fig, title, f"{words[0].upper()}{words[1:]}.", str(frame.kind.iloc[0]), source, pd.DataFrame(rows))
