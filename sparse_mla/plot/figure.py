"""A figure with its text twin: what the picture shows is also said, so it can be read, searched and tested.

JupyterLab 4.6.6 and nbconvert's lab template drop the alt text given as display metadata, so the HTML is ours:
`<figure><img alt=...><figcaption>`, with the numbers folded underneath. `text/plain` holds the same for terminals.
"""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure as Canvas

from sparse_mla.errors import InputError
from sparse_mla.plot.style import CARD, INK, KINDS, RC

DPI = 144  # 1.5 pixels a CSS pixel: sharp on a dense screen, and a figure stays near 50 kB


def badge(kind: str, source: str) -> str:
    """A small HTML label: how a number was obtained, and by what. The word carries the meaning, not the colour."""
    look = KINDS[kind]
    style = f"background:{look.paper};color:{look.ink};border:1px solid;border-radius:9px;padding:1px 8px;font-size:85%"
    return f'<span style="{style}" title="{html.escape(look.means)}"><b>{kind}</b> · {html.escape(source)}</span>'


@dataclass(frozen=True)
class Figure:
    """A drawn canvas and everything needed to do without it.

    `finding` is one or two sentences: what a reader should see. `table` holds the numbers that were drawn.
    `kind` is measured, emulated, modelled or published; `source` names the device, kernel, formula or citation.
    """

    canvas: Canvas
    title: str
    finding: str
    kind: str
    source: str
    table: pd.DataFrame

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind {self.kind!r} is not known; a number is one of {', '.join(KINDS)}")

    @property
    def alt(self) -> str:
        """What the picture shows, for somebody who cannot see it."""
        return f"{self.title}. {self.finding}"

    @property
    def text(self) -> str:
        """The text twin: title, kind, finding and numbers."""
        return f"{self.title}  [{self.kind}: {self.source}]\n{self.finding}\n\n{self.table.to_string(index=False)}"

    @cached_property
    def png(self) -> bytes:
        """The picture."""
        out = BytesIO()
        with mpl.rc_context(RC):
            self.canvas.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
        return out.getvalue()

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png).decode()
        width = round(self.canvas.get_figwidth() * 96)
        box = f"margin:4px 0;padding:8px;background:{CARD};color:{INK};border-radius:6px;display:inline-block;max-width:{width}px"
        table = html.escape(self.table.to_string(index=False))
        return (
            f'<figure style="{box}"><b>{html.escape(self.title)}</b><br>'
            f'<img alt="{html.escape(self.alt)}" width="{width}" style="max-width:100%" src="data:image/png;base64,{data}">'
            f"<figcaption>{badge(self.kind, self.source)} {html.escape(self.finding)}"
            f"<details><summary>The numbers as text</summary>"
            f'<pre style="background:{CARD};color:{INK};overflow:auto">{table}</pre></details></figcaption></figure>'
        )

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """HTML for a browser, the bare picture for exports that know no HTML, text for everything else."""
        data = {"text/html": self._repr_html_(), "image/png": base64.b64encode(self.png).decode(), "text/plain": self.text}
        return data, {"image/png": {"alt": self.alt}}
