"""A picture of one LDS access: passes down, banks across, and the lane that each bank serves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import CARD, MAGNITUDE, SERIES, canvas


def runs(numbers: Iterable[int]) -> str:
    """Sorted numbers in words, runs joined: "0-3, 8"."""
    kept = np.unique(list(numbers))
    parts = np.split(kept, np.flatnonzero(np.diff(kept) != 1) + 1)
    return ", ".join(f"{part[0]}" if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def passes_figure(frame: pd.DataFrame, *, title: str, source: str) -> Figure:
    """What analyse.lds.lds_access gives. A cell is a dword that a bank hands over; orange edges mark those that had to wait."""
    first = frame.iloc[0]
    passes, needed, banks = int(first.passes), int(first.needed), int(first.banks)
    asked = frame.drop_duplicates(["served", "bank"])
    lanes = np.full((passes, banks), np.nan)
    lanes[asked.served, asked.bank] = asked.lane
    with canvas(8.6, min(0.24 * passes, 6.0) + 1.5) as (fig, axis):
        image = axis.imshow(lanes, cmap=MAGNITUDE, vmin=0, vmax=63, aspect="auto", interpolation="none")
        axis.set(xlabel="bank", ylabel="pass", xticks=range(0, banks, 8), yticks=range(0, passes, max(1, passes // 8)))
        axis.grid(False)
        late = asked[asked.turn > 0]
        axis.scatter(late.bank, late.served, marker="s", s=26, facecolors="none", edgecolors=SERIES[1], linewidths=1.2)
        starts = asked.groupby("phase").served.min().iloc[1:]
        for start in starts:
            axis.axhline(start - 0.5, color=CARD, linewidth=2.5)
        fig.colorbar(image, ax=axis, label="lane (the first that asks)", ticks=range(0, 65, 16), pad=0.02)
    table = frame.groupby("served").agg(
        phase=("phase", "first"),
        lanes=("lane", runs),
        banks=("bank", runs),
        waited=("turn", "first"),
        dwords=("dword", "nunique"),
    )
    finding = f"{passes} passes: as few as this instruction can take, no bank is asked twice in a phase"
    if passes > needed:
        worst = asked.groupby(["phase", "bank"]).size()
        phase, bank = worst.idxmax()
        those = frame[(frame.phase == phase) & (frame.bank == bank)]
        finding = (
            f"{passes} passes in place of {needed}: in phase {phase}, bank {bank} is asked for {worst.max()} different dwords, "
            f"by lanes {runs(those.lane)}"
        )
    return Figure(fig, title, finding + ".", str(first.kind), source, table.reset_index().rename(columns={"served": "pass"}))
