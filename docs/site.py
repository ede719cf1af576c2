"""Builds the course and these pages as a static site that needs no network: `make docs`, or `python docs/site.py OUT [NAMES]`.

Notebooks are executed first (NAMES: first letters of those to take; all for none). Sphinx with MyST makes the pages; a link to a
file of the repository becomes a download.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

from sparse_mla import notebooks

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
        "font_family": "sans-serif",
        "description": "MI355X decode kernels, on a CPU",
    },
    "html_copy_source": False,
    "exclude_patterns": ["csrc", "profiles"],
}
INDEX = "# sparse_mla\n\n```{{toctree}}\n:maxdepth: 1\n\n{}\n```\n"


def build(out: Path, names: list[str]) -> int:
    """Executes, copies and builds; gives the number of notebooks that failed."""
    source = out / "source"
    shutil.rmtree(source, ignore_errors=True)
    for folder in ("docs", "csrc", "profiles", "scripts"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, source)
    todo = notebooks.combinations(notebooks.choose(names), [])
    failed = sum(bool(run.error) for run in notebooks.execute_all(todo, source / "notebooks", jobs=2))
    for page in (source / "notebooks").glob("*.html"):
        page.unlink()  # Sphinx makes its own
    pages = ["README", *sorted(f"notebooks/{name}" for _, name, _ in todo)]
    pages += sorted(str(page.relative_to(source).with_suffix("")) for page in (source / "docs").glob("*.md"))
    (source / "index.md").write_text(INDEX.format("\n".join([*pages, "CONTRIBUTING", "CHANGELOG"])))
    Sphinx(source, None, out / "html", out / "doctrees", "html", confoverrides=SETTINGS, freshenv=True).build()
    return failed


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]).resolve(), sys.argv[2:]))
