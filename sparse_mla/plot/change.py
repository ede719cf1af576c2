"""Pictures of differences: two recordings, what-if scenarios, and what uncertain constants do to a modelled time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import CARD, CAUSE_LOOK, INK, SERIES, bar, canvas, kind_of, name_rows, note, stack

LESS, MORE = (SERIES[0], ""), (SERIES[1], "///")


def compare_figure(rows: pd.DataFrame, *, title: str, source: str, n: int = 14) -> Figure:
    """The `n` first rows of analyse.compare.compare_time, compare_counters or compare_launches: after minus before."""
    rows = rows.reset_index(drop=True)
    shown, unit = rows.head(n), rows.unit.iloc[0]
    mixed = rows.unit.nunique() > 1  # counters: of several units, so relative
    values = 100 * (shown.ratio - 1) if mixed else shown.difference
    labels = [_label(row) for row in shown.itertuples()]
    with canvas(8.8, 0.28 * len(shown) + 1.3) as (fig, axis):
        _diverge(axis, values, labels, "+.3g" if mixed else "+,.0f")
        pair = " → ".join(", ".join(sorted(set(kinds))) for kinds in (shown.kind_before, shown.kind_after))
        axis.set_xlabel(f"after − before, {'%' if mixed else unit} ({pair})")
    if mixed:
        finding = f"{labels[0]} differs most: {_number(shown.before[0])} before, {_number(shown.after[0])} after."
    else:
        whole = rows.before.sum(), rows.after.sum()
        finding = f"In all {whole[0]:,.0f} {unit} before and {whole[1]:,.0f} after ({_ratio(whole[1], whole[0])}). "
        more, less = (next(rows.iloc[[at]].itertuples()) for at in (rows.difference.idxmax(), rows.difference.idxmin()))
        told = [f"most is added by {_label(more)} ({more.difference:+,.0f})"] if more.difference > 0 else []
        told += [f"most is saved by {_label(less)} ({less.difference:+,.0f})"] if less.difference < 0 else []
        finding += f"{told[0][0].upper()}{', '.join(told)[1:]}." if told else "Nothing differs."
    kinds = {*rows.kind_before, *rows.kind_after}
    return Figure(fig, title, finding, kind_of(kinds), source, shown.drop(columns=["kind_before", "kind_after"]))


def what_if_figure(rows: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Microseconds of each scenario, divided as the waves' time is; bands where there are. `rows`: what
    analyse.what_if.what_if gives."""
    with canvas(8.6, 0.38 * len(rows) + 1.5) as (fig, axis):
        used = [cause for cause in CAUSE_LOOK if rows[cause].any()]
        stack(axis, rows[used].mul(rows.microseconds, axis=0), CAUSE_LOOK)
        axis.axvline(rows.microseconds[0], color=INK, linewidth=0.9, linestyle="--")
        for place, row in enumerate(rows.itertuples()):
            if pd.notna(row.low):
                axis.plot([row.low, row.high], [place, place], color=INK, linewidth=1.2, marker="|")
            end = row.microseconds if pd.isna(row.low) else max(row.microseconds, row.high)
            text = f"{row.microseconds:.2f}" + (f" ({100 * (row.ratio - 1):+.1f} %)" if place else "")
            note(axis, text, (end, place), 4, fontsize=8, bbox={"facecolor": CARD, "edgecolor": "none", "pad": 0.5})
        name_rows(axis, rows.scenario)
        axis.margins(x=0.16)
        axis.set_xlabel("microseconds (modelled), divided as the waves' time is")
        fig.legend(loc="outside upper left", ncols=9, fontsize=8, handlelength=1.2, columnspacing=0.9)
    finding = f"{rows.microseconds[0]:.2f} us as it is"
    if len(rows) > 1:
        best = rows.iloc[1:].loc[rows.microseconds.iloc[1:].idxmin()]
        finding += f"; of these, '{best.scenario}' would be fastest: {best.microseconds:.2f} us ({100 * (best.ratio - 1):+.1f} %)"
    return Figure(fig, title, finding + ".", "modelled", source, rows.drop(columns="kind").dropna(axis=1, how="all"))


def sensitivity_figure(rows: pd.DataFrame, now: float, *, title: str, source: str, n: int = 12) -> Figure:
    """Microseconds between the two ends of each uncertain constant, around the time `now`. `rows`: what
    analyse.what_if.sensitivity gives."""
    shown = rows.head(n)
    with canvas(8.0, 0.3 * len(shown) + 1.3) as (fig, axis):
        axis.barh(range(len(shown)), shown.slow - shown.fast, left=shown.fast, **bar())
        axis.axvline(now, color=INK, linewidth=0.9, linestyle="--")
        for place, row in enumerate(shown.itertuples()):
            note(axis, f"{row.low:g} … {row.high:g} {row.unit}", (row.slow, place), 4)
        name_rows(axis, [f"{row.constant} [{row.certainty}]" for row in shown.itertuples()])
        span = max(shown.slow.max() - shown.fast.min(), 0.01 * now)
        axis.set_xlim(shown.fast.min() - 0.05 * span, shown.slow.max() + 0.35 * span)
        axis.set_xlabel("microseconds (modelled), each constant alone at its ends")
    first = rows.iloc[0]
    finding = (
        f"Of {len(rows)} uncertain constants {first.constant} matters most: {first.fast:.2f} to {first.slow:.2f} us, "
        f"{now:.2f} us with its value of {first.value:g} {first.unit}; "
        f"{int((rows.swing < 0.01 * now).sum())} move the time by less than 1 %."
    )
    return Figure(fig, title, finding, "modelled", source, rows.drop(columns="kind"))


def _diverge(axis: Any, values: pd.Series, labels: list[str], form: str) -> None:
    """Bars to the left and to the right of 0."""
    for sign, look, name in ((-1, LESS, "less"), (1, MORE, "more")):
        some = values[values * sign > 0]
        axis.barh(some.index, some, **bar(look, name))
    for place, value in values.items():
        known, left = pd.notna(value), value < 0
        note(axis, f"{value:{form}}" if known else "new", (value if known else 0, place), -3 if left else 3,
             ha="right" if left else "left")  # fmt: skip
    name_rows(axis, labels, code=7.5)
    axis.axvline(0, color=INK, linewidth=0.9)
    axis.margins(x=0.18)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.locator_params(axis="x", nbins=6)


def _label(row: Any) -> str:
    """What a row is about."""
    if hasattr(row, "name") and isinstance(row.name, str):
        return f"{row.kernel[:22]}  {row.name}" if "→" not in row.kernel else row.name
    if hasattr(row, "phase"):
        what = getattr(row, "text", getattr(row, "source", ""))
        return f"[{row.phase}]  {what[:50]}" if what else str(row.phase)
    return str(row.kernel)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _ratio(after: float, before: float) -> str:
    return f"{100 * (after / before - 1):+.1f} %" if before else "from nothing"
