"""Runs the notebooks without a browser, by papermill, and turns what came out into pages that need no network."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_mla.errors import InputError
from sparse_mla.files import folder

CELL_SECONDS = 300  # far above what any cell takes; a stuck one must not hold a build machine for hours

# nbconvert's page without its scripts, which it would fetch from a public server when the page is opened.
PAGE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}{% block jupyter_widgets %}{% endblock %}"""


@dataclass(frozen=True)
class NotebookRun:
    """One executed notebook. `error` is the traceback of the cell that failed; the notebook up to it is kept."""

    name: str
    executed: Path
    page: Path
    seconds: float
    error: str | None


def available() -> dict[str, Path]:
    """Notebook names in teaching order, and their files; solutions are not among them."""
    return {path.stem: path for path in sorted(folder("notebooks").glob("[0-9]*.ipynb"))}


def choose(names: Sequence[str]) -> list[Path]:
    """The notebooks meant by full names or by their first letters (`02`); all of them for no name."""
    known = available()
    for name in names:
        if not any(key.startswith(name) for key in known):
            raise InputError(f"no notebook {name!r}; there are: {', '.join(known) or 'none'}")
    return [path for key, path in known.items() if not names or any(key.startswith(name) for name in names)]


def execute(source: Path, out: Path, parameters: Mapping[str, Any] | None = None) -> NotebookRun:
    """Execute `source` with `parameters` in place of its own; write NAME.ipynb and NAME.html into `out`."""
    import papermill
    from ipykernel.kernelspec import make_ipkernel_cmd
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class ThisPython(AsyncKernelManager):
        """Starts the interpreter we run in, whatever kernel named python3 is registered for the user or the machine.

        It speaks through sockets in a private folder: TCP would be open to every user of the machine.
        """

        def __init__(self, **options: Any) -> None:
            super().__init__(transport="ipc", ip=f"{private}/kernel", **options)

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(argv=make_ipkernel_cmd(), display_name="Python 3", language="python")

    out.mkdir(parents=True, exist_ok=True)
    executed, error, start = out / source.name, None, time.perf_counter()
    with tempfile.TemporaryDirectory() as private, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of papermill's and nbformat's own making; errors still arrive
        try:
            papermill.execute_notebook(
                str(source),
                str(executed),
                parameters=dict(parameters or {}),
                kernel_name="python3",
                language="python",
                cwd=str(source.parent),
                execution_timeout=CELL_SECONDS,
                progress_bar=False,
                kernel_manager_class=ThisPython,
            )
        except papermill.PapermillExecutionError as problem:
            error = str(problem)
        except Exception as problem:  # a dead kernel or a timed-out cell: reported with the notebook, like a failed cell
            error = f"{type(problem).__name__}: {problem}"
    seconds = time.perf_counter() - start
    return NotebookRun(source.stem, executed, _page(executed), seconds, error)


def _page(executed: Path) -> Path:
    """Write an executed notebook as one self-contained HTML file beside it."""
    from nbconvert.exporters.html import HTMLExporter

    exporter = HTMLExporter(embed_images=True)  # type: ignore[no-untyped-call]
    exporter.raw_template = PAGE
    text, _ = exporter.from_filename(str(executed))
    page = executed.with_suffix(".html")
    page.write_text(text, encoding="utf-8")
    return page


def literal(text: str) -> Any:
    """A parameter given on a command line: a Python literal where it is one, otherwise the words themselves."""
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
