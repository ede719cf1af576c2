"""A picture of what splitting rows costs and gains."""

from __future__ import annotations

import pandas as pd

from sparse_mla.errors import InputError
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import SERIES, bar, canvas, note


def splits_figure(times: pd.DataFrame, planned: int, workgroups: int, *, title: str, source: str) -> Figure:
    """Modelled time over the number of parts. `times`: columns split_k, microseconds, of one case; `planned`: the planner's
    choice; `workgroups`: of the unsplit case."""
    if times.empty:
        raise InputError(f"{title}: no times are stored for this case; docs/planner.md says which were left out, and why")
    rows = times.sort_values("split_k").reset_index(drop=True)
    best = rows.loc[rows.microseconds.idxmin()]
    with canvas(7.2, 3.0) as (fig, axis):
        for at, row in enumerate(rows.itertuples()):
            look = SERIES[int(row.split_k == best.split_k)], "///" if row.split_k == planned else ""
            axis.bar(at, row.microseconds, **bar(look))
            note(axis, f"{row.microseconds:.3g}", (at, row.microseconds), 0, ha="center", va="bottom", fontsize=9.5)
        names = [f"{split}\n{split * workgroups}" for split in rows.split_k]
        axis.set(xlabel="parts a row; below, workgroups", ylabel="microseconds (modelled)")
        axis.set_xticks(range(len(rows)), names)
        axis.grid(axis="x", visible=False)
    chosen = rows[rows.split_k == planned]
    finding = f"{best.split_k:.0f} parts are fastest, {best.microseconds:.3g} us (orange)"
    finding += f"; whole rows take {rows.microseconds[0]:.3g} us"
    if len(chosen):
        finding += f". The planner takes {planned} (hatched), {chosen.microseconds.iloc[0] / best.microseconds - 1:.1%} slower"
    table = rows[["split_k", "microseconds"]].assign(workgroups=rows.split_k * workgroups)
    return Figure(fig, title, f"{finding}.", "modelled", source, table)
