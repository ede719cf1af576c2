"""Builds the course and these pages as a static site that needs no network: `make docs`, or `python docs/site.py OUT [NAMES]`.

Notebooks are executed first (NAMES: first letters of those to take; all for none). Sphinx with MyST makes the pages; a link to a
file of the repository becomes a download. demo.html holds two widgets that work without Python.
"""

from __future__ import annotations

import html
import json
import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

from sparse_mla import notebooks
from sparse_mla.analyse.lds import INSTRUCTIONS, service
from sparse_mla.gfx950.isa import ARCHES
from sparse_mla.widgets import lane_map

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "project": "sparse_mla",
    "extensions": ["myst_nb"],
    "root_doc": "index",
    "nb_execution_mode": "off",  # they come executed
    "nb_ipywidgets_js": {},  # would be fetched; no page holds a live widget
    "nb_output_stderr": "remove-warn",
    "myst_heading_anchors": 4,
    "html_theme": "alabaster",
    "html_theme_options": {
        "page_width": "1180px",
        "body_max_width": "none",
        "font_family": "sans-serif",
        "description": "MI355X decode kernels, on a CPU",
    },
    "html_copy_source": False,
    "html_use_index": False,
    "exclude_patterns": ["csrc"],
}
WIDE = "div.body table.docutils, div.cell_output { display: block; max-width: 100%; overflow-x: auto }\n"
INDEX = """# sparse_mla

<a href="demo.html">The lane map and the LDS bank simulator, to try in this browser</a>

```{{toctree}}
:maxdepth: 1

{}
```
"""
TRIES = (  # lesson 03: rows of 1,024 bytes; padded by 32 bytes; columns exchanged by XOR; one after the other
    "1024 * (lane % 16) + 16 * (lane // 16)", "1056 * (lane % 16) + 16 * (lane // 16)",
    "1024 * (lane % 16) + 16 * (lane // 16 ^ lane % 16)", "16 * lane",
)  # fmt: skip


def demo() -> str:
    """demo.html with what it has from Python: the lane map's script and places, and how LDS serves each instruction."""
    names = ("bytes", "banks", "phase")
    served = {name: dict(zip(names, service(name), strict=True)) for name in INSTRUCTIONS}
    widget = lane_map.lane_explorer(static=False)
    facts = {"maps": widget.maps, "chosen": widget.chosen, "service": served, "lds_bytes": ARCHES["gfx950"].lds_bytes}
    parts = {"tries": "".join(f'<option value="{html.escape(one)}">' for one in TRIES), "facts": json.dumps(facts)}
    parts |= {"css": (lane_map.HERE / "lane_map.css").read_text(), "lane_map": (lane_map.HERE / "lane_map.js").read_text()}
    page = (ROOT / "docs/demo.html").read_text()
    for name, text in parts.items():
        page = page.replace(f"@{name}@", text)
    return page


def build(out: Path, names: list[str]) -> int:
    """Executes, copies and builds; gives the number of notebooks that failed, and 1 more where a link does not resolve."""
    source = out / "source"
    shutil.rmtree(source, ignore_errors=True)
    for folder in ("docs", "csrc", "profiles", "scripts", "sparse_mla"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, source)
    todo = notebooks.combinations(notebooks.choose(names), [])
    failed = sum(bool(run.error) for run in notebooks.execute_all(todo, source / "notebooks", jobs=2))
    for page in (source / "notebooks").glob("*.html"):
        page.unlink()  # Sphinx makes its own
    pages = ["README", *sorted(f"notebooks/{name}" for _, name, _ in todo)]
    pages += sorted(
        str(page.relative_to(source).with_suffix("")) for part in ("docs", "profiles") for page in (source / part).rglob("*.md")
    )
    (source / "index.md").write_text(INDEX.format("\n".join([*pages, "CONTRIBUTING", "CHANGELOG"])))
    places = source, None, out / "html", out / "doctrees", "html"
    (site := Sphinx(*places, confoverrides=SETTINGS, freshenv=True, warningiserror=True)).build()
    (out / "html/demo.html").write_text(demo())
    (out / "html/_static/custom.css").write_text(WIDE)
    return failed + site.statuscode


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]).resolve(), sys.argv[2:]))
