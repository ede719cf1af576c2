"""Pictures of executed instructions."""

from __future__ import annotations

import pandas as pd

from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import SERIES, canvas, name_rows, stack

# One colour a unit wherever units are drawn; hatches so that neighbours part without colour too.
UNIT_LOOK = {
    "MFMA": (SERIES[1], ""), "VALU": (SERIES[0], ""), "LDS": (SERIES[2], "///"), "VMEM": (SERIES[3], ""),
    "SALU": (SERIES[4], "..."), "SMEM": (SERIES[5], "xx"), "WAIT": ("#b9bcc2", ""), "BARRIER": ("#6d727b", "///"),
    "BRANCH": ("#3c4048", ""),
}  # fmt: skip


def mix_figure(by_unit: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Wave instructions of each wave, stacked by unit (or by other columns). `by_unit` is as analyse.counts.by_unit gives."""
    spare = iter(SERIES)
    with canvas(7.4, 0.5 * len(by_unit) + 1.5) as (fig, axis):
        stack(axis, by_unit, {unit: UNIT_LOOK.get(str(unit)) or (next(spare), "") for unit in by_unit})
        name_rows(axis, [f"wave {wave}" for wave in by_unit.index])
        axis.set_xlabel("wave instructions executed")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        fig.legend(loc="outside upper left", ncols=len(by_unit.columns), fontsize=8.5, handlelength=1.2, columnspacing=1.0)
    per_wave, per_unit = by_unit.sum(axis=1), by_unit.sum()
    top = per_unit.nlargest(2)
    finding = (
        f"{int(per_wave.sum()):,} wave instructions: {top.index[0]} {top.iloc[0] / per_unit.sum():.0%}, {top.index[1]} "
        f"{top.iloc[1] / per_unit.sum():.0%}. Wave {per_wave.idxmax()} issues most, {per_wave.max() / per_wave.min():.2f} times "
        f"as many as wave {per_wave.idxmin()}."
    )
    table = by_unit.assign(all=per_wave).reset_index()
    return Figure(fig, title, finding, "emulated", source, table)
