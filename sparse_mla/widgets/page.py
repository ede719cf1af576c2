"""Several things that one control shows together: figures, tables, and text, of which the first line is the heading."""

from __future__ import annotations

import html
from dataclasses import dataclass

import pandas as pd

from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import CARD, INK

FOLDED = 16  # lines of text from which on only the heading is shown until it is opened


@dataclass(frozen=True)
class Page:
    """Figures, tables, texts and other pages, one below the other. Its text twin is theirs."""

    parts: tuple[Figure | pd.DataFrame | str | Page, ...]

    def __repr__(self) -> str:
        return "\n\n".join(part.to_string() if isinstance(part, pd.DataFrame) else str(part) for part in self.parts)

    def _repr_html_(self) -> str:
        return "\n".join(_shown(part) for part in self.parts)


def _shown(part: Figure | pd.DataFrame | str | Page) -> str:
    if isinstance(part, Figure | Page):
        return part._repr_html_()
    if isinstance(part, pd.DataFrame):
        return f'<div style="overflow-x:auto">{part.to_html(float_format=lambda x: f"{x:,.4g}", na_rep="-")}</div>'
    heading, _, rest = part.partition("\n")
    if not rest:
        return f"<p>{html.escape(heading)}</p>"
    state = "" if rest.count("\n") >= FOLDED else " open"
    style = f"background:{CARD};color:{INK};padding:6px;overflow:auto"
    return f'<details{state}><summary>{html.escape(heading)}</summary><pre style="{style}">{html.escape(rest)}</pre></details>'
