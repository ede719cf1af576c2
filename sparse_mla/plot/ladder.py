"""A picture of the ladder's modelled times."""

from __future__ import annotations

import pandas as pd

from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import INK, SERIES, bar, canvas, name_rows, note, plain_numbers


def times_figure(times: pd.DataFrame, names: dict[str, str], *, title: str, source: str) -> Figure:
    """Microseconds of each version with the model's band, logarithmic. `times`: of analyse.ladder.stored_times, one number of
    rows; `names`: version to kernel, in order. A version that can split a row has its fastest split below."""
    labels = {kernel: f"{step} {version}" for step, (version, kernel) in enumerate(names.items(), 1)}
    shown = times[times.kernel.isin(labels)].reset_index(drop=True)
    whole = shown[shown.split_k == 1]
    with canvas(7.8, 0.3 * len(shown) + 1.0) as (fig, axis):
        for row in shown.itertuples():
            axis.barh(row.Index, row.microseconds, **bar((SERIES[2], "///") if row.split_k > 1 else (SERIES[0], "")))
            axis.plot([row.low, row.high], [row.Index] * 2, color=INK, linewidth=1.2, marker="|")
            note(axis, f"{row.microseconds:g}", (row.high, row.Index), 5, fontsize=9.5)
        split = [f" in {parts} parts" if parts > 1 else "" for parts in shown.split_k]
        name_rows(axis, [labels[kernel] + parts for kernel, parts in zip(shown.kernel, split, strict=True)])
        axis.set(xscale="log", xlabel="microseconds (modelled), logarithmic; line: the model's band")
        plain_numbers(axis.xaxis, form="{x:,.0f}")
        axis.set_xlim(shown.low.min() / 1.5, shown.high.max() * 1.6)
    gain = (whole.microseconds.shift() / whole.microseconds).dropna()
    best = labels[whole.kernel[gain.idxmax()]]
    first, last = whole.microseconds.iloc[0], whole.microseconds.iloc[-1]
    finding = f"{first:g} us become {last:g} for a whole row. The largest single step is {best}: {gain.max():.1f} times as fast."
    return Figure(fig, title, finding, "modelled", source, shown.assign(version=shown.kernel.map(labels)).drop(columns="kind"))
