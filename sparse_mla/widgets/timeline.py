"""Waves over time to touch: a canvas of instruction records in a live session, a figure and its text twin everywhere else."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparse_mla.errors import InputError
from sparse_mla.plot.style import CAUSE_LOOK, KINDS
from sparse_mla.plot.timeline import timeline_figure
from sparse_mla.widgets.headless import headless

HERE = Path(__file__).parent
NUMBERS = ("wave", "cu", "simd", "slot", "begin", "duration", "stall", "pc")
COLUMNS = (*NUMBERS, "text", "source", "cause")
PLACE = ("xcd", "se", "cu", "simd")  # what groups waves; the first two where the frame has them
LONGEST = 2**32  # cycles: times travel as 32 bits

# How each timeline was left (known by what it shows), so that running the cell again does not lose it.
_last: dict[tuple[str, str, str], dict[str, Any]] = {}


def timeline(frame: pd.DataFrame, *, title: str, kind: str, source: str, static: bool | None = None) -> Any:
    """Show what every wave did and waited for, instruction by instruction. `static=True` gives the figure.

    `frame` is what analyse.timeline.timeline gives: a row is one instruction record. It has wave, cu, simd, slot (integers; xcd
    and se too, if known); begin, duration and stall (shader clocks; the instruction issues at begin + stall and is over at begin
    + duration); pc (byte address), text (the instruction), source (its source line, or ""); cause (of its stall: a key of
    plot.style.CAUSE_LOOK) and, optionally, inferred (true where that is a guess). `kind` and `source` say how the times were
    obtained, as for every figure.

    The widget's `selected` is the position in `frame` of the chosen record or None, in both directions; `record` is that row.
    InputError for a frame that is empty, lacks a column, or has times that cannot be.
    """
    columns, rows, lines, origin = pack(frame)
    if kind not in KINDS:
        raise InputError(f"kind {kind!r} is not known; a number is one of {', '.join(KINDS)}")
    if headless(static):
        return timeline_figure(frame, title=title, kind=kind, source=source)
    guessed = "inferred" in frame and frame.inferred.any()
    note = "Causes are inferred from the instruction that stalled." if guessed else ""
    about = {"title": title, "kind": kind, "source": source, "note": note, **KINDS[kind]._asdict()}
    about |= {"origin": origin, "causes": [[cause, colour] for cause, (colour, _) in CAUSE_LOOK.items()]}
    key = title, kind, source
    left = _last.get(key, {"view": {}, "selected": None})
    if left["selected"] is not None and left["selected"] >= len(frame):
        left = left | {"selected": None}
    widget = _widget_class()(frame, about=about, columns=columns, rows=rows, lines=lines, **left)
    widget.observe(lambda _: _last.update({key: {"view": widget.view, "selected": widget.selected}}), ["view", "selected"])
    return widget


def pack(frame: pd.DataFrame) -> tuple[dict[str, bytes], list[list[str]], dict[str, list[Any]], int]:
    """The frame as what travels: columns of little-endian bytes, names of rows, static instructions, and the first cycle.

    Records are sorted by wave and time. Columns [records]: begin (from the first cycle), duration, stall, line (index of the
    static instruction), place (position in `frame`), all u32, and cause u8 (index in CAUSE_LOOK); starts, u32 [rows + 1], holds
    the first record of each row. A row's name is its group (CU and SIMD) and the wave.
    """
    _check(frame)
    origin = int(frame.begin.min())
    group = [name for name in PLACE if name in frame and frame[name].notna().all()]
    order = frame.reset_index(drop=True).sort_values([*group, "slot", "wave", "begin"], kind="stable")
    place = order.index.to_numpy()
    same = (order[[*group, "slot", "wave"]].diff().fillna(0) == 0).all(axis=1).to_numpy()
    first = np.flatnonzero(~same)
    starts = np.concatenate([[0], first, [len(order)]])
    rows = [
        [" ".join(f"{name.upper()} {getattr(row, name)}" for name in group), f"slot {row.slot} wave {row.wave}"]
        for row in order.iloc[starts[:-1]].itertuples()
    ]
    static = ["pc", "text", "source"]
    order = order.fillna({"text": "", "source": ""})  # an address that the listing lacks
    line = order.groupby(static, sort=False).ngroup()
    lines: dict[str, list[Any]] = order.drop_duplicates(static)[static].to_dict("list")
    lines["pc"] = [f"{pc:#x}" for pc in lines["pc"]]
    times = {"begin": order.begin - origin, "duration": order.duration, "stall": order.stall}
    numbers = times | {"line": line, "place": place, "starts": starts}
    columns = {name: np.asarray(values).astype("<u4").tobytes() for name, values in numbers.items()}
    columns["cause"] = pd.Categorical(order.cause, categories=[*CAUSE_LOOK]).codes.astype("u1").tobytes()
    return columns, rows, lines, origin


def _check(frame: pd.DataFrame) -> None:
    if missing := [name for name in COLUMNS if name not in frame]:
        raise InputError(f"a timeline's frame needs the columns {', '.join(COLUMNS)}; it lacks {', '.join(missing)}")
    if frame.empty:
        raise InputError("there is nothing to show: the frame has no record; trace at least one wave")
    for name in NUMBERS:
        if frame[name].dtype.kind not in "iu":
            raise InputError(f"column {name} holds {frame[name].dtype}; it may hold integers only")
    if unknown := sorted(set(frame.cause.astype(str)) - set(CAUSE_LOOK)):
        raise InputError(f"cause {', '.join(unknown)} is not known; a cause is one of {', '.join(CAUSE_LOOK)}")
    wrong = (frame.stall < 0) | (frame.duration < frame.stall)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        row = frame.iloc[at]
        raise InputError(f"record {at}: a stall of {row.stall} of {row.duration} cycles; 0 <= stall <= duration must hold")
    if (span := int((frame.begin.astype("i8") + frame.duration).max() - frame.begin.min())) >= LONGEST:
        raise InputError(f"the records span {span} cycles; a timeline shows fewer than {LONGEST}; cut the frame by `begin`")


@lru_cache
def _widget_class() -> Any:
    """The widget; made on first use, so that headless runs load no widget library."""
    import anywidget
    import traitlets

    class Timeline(anywidget.AnyWidget):
        """Front end in timeline.js. `view` is shared both ways: begin, end (cycles), top (pixels), search, cause."""

        _esm = HERE / "timeline.js"
        _css = HERE / "timeline.css"
        about = traitlets.Dict().tag(sync=True)
        columns = traitlets.Dict().tag(sync=True)
        rows: Any = traitlets.List().tag(sync=True)
        lines = traitlets.Dict().tag(sync=True)
        view = traitlets.Dict().tag(sync=True)
        selected = traitlets.Int(None, allow_none=True).tag(sync=True)

        def __init__(self, frame: pd.DataFrame, **traits: Any) -> None:
            self.frame = frame  # `selected` is checked against it
            super().__init__(**traits)

        @traitlets.validate("selected")
        def _exists(self, proposal: Any) -> int | None:
            place: int | None = proposal["value"]
            if place is not None and not 0 <= place < len(self.frame):
                raise InputError(f"selected = {place}; the frame has the records 0 to {len(self.frame) - 1}, None chooses none")
            return place

        @property
        def record(self) -> Any:
            """The chosen row of the frame (a Series), or None."""
            return None if self.selected is None else self.frame.iloc[self.selected]

    return Timeline
