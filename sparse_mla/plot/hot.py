"""Pictures of where instructions and time go: source lines, instructions, phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from sparse_mla.plot.counts import UNIT_LOOK
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import CAUSE_LOOK, INK, bar, canvas, name_rows, note, place, stack


def hot_figure(rows: pd.DataFrame, *, title: str, source: str) -> Figure:
    """The hottest lines or instructions, split by cause where that is known. `rows`: what analyse.hot.hot_lines or
    hot_instructions gives, or analyse.counts.hottest_lines."""
    timed = [cause for cause in CAUSE_LOOK if cause in rows and rows.of[0] == "time" and rows[cause].any()]
    labels = [_label(row) for row in rows.itertuples()]
    with canvas(9.0, 0.3 * len(rows) + 1.4) as (fig, axis):
        _bars(axis, rows, timed, 100 * rows.share)
        name_rows(axis, labels, code=7.5)
        what = _whose(rows) if timed else "executed wave instructions" if rows.of[0] == "hit" else rows.of[0]
        axis.set_xlabel(f"{what}, % ({rows.kind[0]})")
        if timed:
            fig.legend(loc="outside upper left", ncols=len(timed), fontsize=8, handlelength=1.2, columnspacing=0.9)
    first = rows.iloc[0]
    finding = f"These {len(rows)} take {rows.share.sum():.0%}; {_label(first).split('  ')[0]} alone takes {first.share:.0%}"
    finding += f", mostly {first.main}." if timed else "."
    return Figure(fig, title, finding, first.kind, source, _percent(rows))


def phases_figure(split: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Phases: time by cause where it is known, and executed instructions by unit. `split`: what analyse.hot.phase_split gives."""
    causes = [cause for cause in CAUSE_LOOK if cause in split and split[cause].any()]
    units = [unit for unit in split if unit in UNIT_LOOK]
    panels = [(f"{_whose(split)}, % ({split.kind[0]})", causes)] if causes else []
    panels.append((f"executed wave instructions, % ({split.counted[0]})", units))
    with canvas(4.3 * len(panels) + 0.9, 0.3 * len(split) + 1.9, ncols=len(panels), sharey=True, squeeze=False) as (fig, axes):
        for axis, (label, columns) in zip(axes[0], panels, strict=True):
            whole = split[columns].sum(axis=1)
            _bars(axis, split, columns, 100 * whole / whole.sum())
            name_rows(axis, split.phase)
            axis.set_xlabel(label)
            axis.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=5, fontsize=7.5, handlelength=1.2, columnspacing=0.9)
    top = split.loc[split.share.idxmax()]
    others = [f"{row.phase} {row.share:.0%}" for row in split.nlargest(5, "share").iloc[1:].itertuples() if row.share > 0.01]
    finding = f"{top.phase} takes most, {top.share:.0%}" + (f", mostly {top.main}" if causes else "")
    finding += f"; then {', '.join(others)}." if others else "."
    return Figure(fig, title, finding, split.kind.iloc[0], source, _percent(split))


def _whose(rows: pd.DataFrame) -> str:
    return "traced waves' time by likely cause" if rows.inferred[0] else "all waves' time"


def _bars(axis: Any, rows: pd.DataFrame, columns: Sequence[str], lengths: pd.Series) -> None:
    """Horizontal bars of `lengths`, divided as `columns` are; whole ones where there are no columns."""
    if columns:
        stack(axis, rows[columns].mul(lengths / rows[columns].sum(axis=1).clip(lower=1), axis=0), CAUSE_LOOK | UNIT_LOOK)
    else:
        axis.barh(range(len(rows)), lengths, **bar())
    for at, length in enumerate(lengths):
        note(axis, f"{length:.2g}" if length < 1 else f"{length:.1f}", (length, at), color=INK)
    axis.margins(x=0.08)


def _label(row: Any) -> str:
    phase = f" [{row.phase}]" if getattr(row, "phase", "other") != "other" else ""
    return f"{place(row)}{phase}  {str(getattr(row, 'text', row.source))[:46]}"


def _percent(frame: pd.DataFrame) -> pd.DataFrame:
    """As a reader of text wants it: without what the figure says elsewhere."""
    left = frame.drop(
        columns=[x for x in ("of", "kind", "counted", "inferred", *(["source"] if "text" in frame else [])) if x in frame]
    )
    if "source" in left:
        left["source"] = left.source.str[:60]
    return left.assign(share=(100 * frame.share).round(1).astype(str) + " %")
