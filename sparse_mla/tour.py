"""Everything the workbench does, once, in a few minutes: on the terminal, and as one page with the executed notebooks."""

from __future__ import annotations

import html
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparse_mla import doctor, notebooks, tables

REL_L2_LIMIT = 3e-3  # of bf16 results against float64

STYLE = """
:root { color-scheme: light dark; --ink: #23262b; --paper: #fbfaf7; --line: #d5d2ca; --link: #0b5394; --bad: #a33b00 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e4df; --paper: #1b1d21; --line: #43464c; --link: #8ab8e8; --bad: #ff9d6b }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
body { max-width: 80rem; margin: 2rem auto; padding: 0 1rem }
a { color: var(--link) }
.bad { color: var(--bad); font-weight: bold }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums }
th, td { padding: 2px 12px 2px 0; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap }
td.number, th.number { text-align: right }
pre { overflow-x: auto; font-size: 13px }
"""


@dataclass(frozen=True)
class Section:
    """One part of the tour: a table or a text, what it says in a sentence, and whether it is as it should be."""

    title: str
    note: str
    rows: Sequence[tables.Row] = ()
    text: str = ""
    links: str = ""  # the column whose values are files beside the page
    good: bool = True

    def page(self) -> str:
        """As HTML; every word of it escaped."""
        mark = "" if self.good else ' <span class="bad">failed</span>'
        parts = [f"<h2>{html.escape(self.title)}{mark}</h2>", f"<p>{html.escape(self.note)}</p>"]
        if self.text:
            parts.append(f"<pre>{html.escape(self.text)}</pre>")
        if self.rows:
            head = "".join(f'<th scope="col"{_side(value)}>{html.escape(name)}</th>' for name, value in self.rows[0].items())
            body = "".join(f"<tr>{''.join(self._cell(*item) for item in row.items())}</tr>" for row in self.rows)
            parts.append(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')
        return "\n".join(parts)

    def _cell(self, name: str, value: object) -> str:
        shown = html.escape(tables.shown(value))
        return f"<td{_side(value)}>" + (f'<a href="{shown}">{shown}</a>' if name == self.links else shown) + "</td>"


def _side(value: object) -> str:
    return ' class="number"' if isinstance(value, int | float) else ""


def tour(out: Path) -> int:
    """Run all parts, print each as it is done, write `out`/index.html. 0 when every part is as it should be, otherwise 1."""
    start = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    sections: list[Section] = []

    def add(section: Section) -> None:
        sections.append(section)
        print(f"\n== {section.title}{'' if section.good else ': FAILED'} ==\n{section.note}\n", flush=True)
        print("\n".join(part for part in (section.text, tables.text(section.rows)) if part), flush=True)

    report = doctor.examine()
    add(Section("This machine", "What works here and what does not.", text=str(report), good=report.modes["emulator"]))
    add(
        Section(
            "The kernels",
            "Compiled for gfx950; what each takes of a compute unit, by the compiler's own metadata.",
            tables.resources(),
        )
    )
    add(_cases())
    counts = tables.tile_counts()
    here, there = counts[-1]["emulated"], counts[-1]["published"]
    note = (
        f"Wave instructions for 32 tokens and 16 heads: {here:,.0f} counted while our base kernel's machine code ran (emulated), "
        f"{there:,} in a published source of the same design (published)."
    )
    add(Section("One tile of the base kernel", note, counts))
    add(_notebooks(out))

    good = all(section.good for section in sections)
    page = out / "index.html"
    page.write_text(_page([sections[-1], *sections[:-1]], time.perf_counter() - start), encoding="utf-8")
    print(f"\n{'Everything is as it should be' if good else 'Something FAILED, see above'}; {time.perf_counter() - start:.0f} s.")
    print(f"Read it in a browser:  {page.resolve().as_uri()}")
    print("Try it yourself:       make lab   (JupyterLab, on this machine only, with a token)")
    return 0 if good else 1


def _cases() -> Section:
    """The base kernel on every named case; no progress bar, but a row as soon as there is one."""
    rows = list(tables.runs())
    worst = max(max(row["rel_l2 whole"], row["rel_l2 split"]) for row in rows)
    note = (
        f"The base kernel's machine code, executed (emulated), against a float64 reference. Worst relative L2 error: "
        f"{worst:.2e}; {REL_L2_LIMIT:g} is allowed, and rounding the exact result to bf16 costs 1.7e-3 by itself."
    )
    return Section("The base kernel on every named case", note, rows, good=worst <= REL_L2_LIMIT)


def _notebooks(out: Path) -> Section:
    """Every notebook, executed without a browser, one a core."""
    runs = []
    print()
    for run in notebooks.execute_all(notebooks.combinations([*notebooks.available().values()], []), out, os.cpu_count() or 1):
        print(f"executed {run.name}", flush=True)
        runs.append(run)
    runs.sort(key=lambda run: run.name)
    rows = [
        {"notebook": run.page.name, "result": "failed" if run.error else "ok", "seconds": round(run.seconds, 1)} for run in runs
    ]
    errors = [f"{run.name}\n{run.error}" for run in runs if run.error]
    note = "Executed by papermill; open one to read it."
    good = bool(rows) and not errors
    return Section("The notebooks", note, rows, "\n".join(errors), links="notebook", good=good)


def _page(sections: Sequence[Section], seconds: float) -> str:
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>sparse_mla: the tour</title><style>{STYLE}</style></head>
<body><main><h1>sparse_mla: the tour</h1>
<p>DeepSeek-V4 sparse-MLA decode attention, compiled for AMD gfx950 and executed on this machine's CPU
in {seconds:.0f} seconds.</p>
{"".join(section.page() for section in sections)}
</main></body></html>
"""
