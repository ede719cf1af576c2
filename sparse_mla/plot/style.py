"""One look for every picture: colours that survive colour blindness and grey printing, units on axes, a light card.

A figure is an opaque off-white card, not a transparent one: a transparent figure needs a text colour that reads on
white and on JupyterLab's dark theme, and no grey reaches a contrast of 4.5 on both. The card reads on either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import NullFormatter

CARD, INK = "#fbfaf7", "#23262b"
# Okabe and Ito's eight colours, without the yellow (too pale on the card); order gives the largest steps first.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MAGNITUDE = "cividis"  # ordered in lightness, so it also reads in grey
# One colour a cause of waiting, wherever time is split: Okabe and Ito's, yellow too, and two greys, so that all nine part for
# every kind of colour blindness and on light and dark ground; hatches for print. Causes are those of gfx950.timing.
CAUSE_LOOK = {
    "issue": ("#0072b2", ""), "arbitration": ("#56b4e9", "..."), "dependency": ("#f0e442", "\\\\\\"), "mfma": ("#cc79a7", ""),
    "lds": ("#009e73", "///"), "memory": ("#d55e00", ""), "bandwidth": ("#e69f00", "xx"), "barrier": ("#50545c", "///"),
    "launch": ("#c9ccd2", ""),
}  # fmt: skip


class Kind(NamedTuple):
    """How a number was obtained: the colours of its badge, and what the word means."""

    ink: str
    paper: str
    means: str


_CERTAIN = ("modelled", "published", "emulated", "measured")  # the least certain first
KINDS = {
    "measured": Kind("#004a75", "#d8ecf8", "timed or read on a device that is named"),
    "emulated": Kind("#00543d", "#d6f0e6", "counted while the machine code was executed: exact"),
    "modelled": Kind("#7a4a00", "#fdecc8", "came out of a formula or the timing model"),
    "published": Kind("#7a2c5c", "#f7e1ee", "somebody else's figure, cited"),
}

# The font ships with matplotlib, so a picture is the same on every machine; names of kernels come from files: a `$` in one is no
# formula.
RC: Any = {
    "figure.facecolor": CARD, "axes.facecolor": CARD, "savefig.facecolor": CARD, "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": "#8a8f98", "xtick.color": INK, "ytick.color": INK,
    "font.family": "DejaVu Sans", "text.parse_math": False, "font.size": 9.5, "axes.titlesize": 10.5,
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "axes.axisbelow": True, "grid.color": "#dedbd3", "grid.linewidth": 0.6, "legend.frameon": False, "hatch.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=SERIES),
}  # fmt: skip


@contextmanager
def canvas(width: float = 7.2, height: float = 3.2, layout: Any = None, **grid: Any) -> Iterator[tuple[Canvas, Any]]:
    """A matplotlib figure of `width` x `height` inches and its axes, under the project's style.

    Axes come by name if a mosaic `layout` is given, otherwise as from `subplots`. The figure is not
    known to pyplot, so nothing is left open and no backend is chosen.
    """
    with mpl.rc_context(RC):
        figure = Canvas(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.subplot_mosaic(layout, **grid) if layout else figure.subplots(**grid)


def kind_of(kinds: Iterable[str]) -> str:
    """One kind for a figure of several: the least certain."""
    return min(kinds, key=_CERTAIN.index)


def bar(look: tuple[str, str] = (SERIES[0], ""), label: str | None = None) -> dict[str, Any]:
    """How a bar, or a part of one, is drawn: colour and hatch."""
    return {"color": look[0], "hatch": look[1], "edgecolor": CARD, "linewidth": 0.4, "label": label}


def note(axis: Any, text: str, at: tuple[Any, Any], x: float = 3, y: float = 0, **look: Any) -> None:
    """Writes beside a point, `x` and `y` points of print away from it."""
    axis.annotate(text, at, xytext=(x, y), textcoords="offset points", **{"va": "center", "fontsize": 7.5} | look)


def name_rows(axis: Any, labels: Sequence[str], code: float = 0, **look: Any) -> None:
    """Names the rows of a picture, first on top; `code`: the size of names in letters of one width."""
    if code:
        wide, look = max(map(len, labels)), {"fontsize": code, "family": "DejaVu Sans Mono"}
        labels = [label.ljust(wide) for label in labels]
    axis.set_yticks(range(len(labels)), labels, **look)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)


def plain_numbers(*sides: Any, form: str = "{x:g}") -> None:
    """Ticks of logarithmic axes, axis.xaxis and so on: matplotlib's own are formulae, which RC shows as they are."""
    for side in sides:
        side.set_major_formatter(form)
        side.set_minor_formatter(NullFormatter())


def stack(axis: Any, parts: pd.DataFrame, looks: Mapping[str, tuple[str, str]]) -> None:
    """Horizontal bars, one a row, which columns divide."""
    left = np.zeros(len(parts))
    for name in parts:
        axis.barh(range(len(parts)), parts[name], left=left, **bar(looks[name], name))
        left = left + parts[name].to_numpy()


def side_by_side(axis: Any, values: pd.DataFrame, form: str = ".3g") -> None:
    """Horizontal bars in groups: one a row, in it a bar a column, with its number; NaN has none."""
    tall = 0.8 / values.shape[1]
    for i, (name, column) in enumerate(values.items()):
        places = np.arange(len(values)) + (i - (values.shape[1] - 1) / 2) * tall
        axis.barh(places, column, tall, **bar((SERIES[i % len(SERIES)], ("", "///", "...")[i % 3]), str(name)))
        for place, value in zip(places, column, strict=True):
            if np.isfinite(value):
                note(axis, f"{value:{form}}", (value, place))
    name_rows(axis, [str(name) for name in values.index], fontsize=8.5)


def place(row: Any) -> str:
    """Where an instruction or a line stands: file, without its folder, and line."""
    return f"{row.file.rsplit('/', 1)[-1]}:{row.line}" if row.file else "no line"
