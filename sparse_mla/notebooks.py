"""Runs the notebooks without a browser, by papermill, and turns what came out into pages that need no network.

Many at once: processes of this machine or of a Dask cluster get a notebook's text and send back what came out, so that they need
this package but no common folder.
"""

from __future__ import annotations

import ast
import itertools
import json
import logging
import os
import re
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sparse_mla.errors import InputError
from sparse_mla.files import PACKAGE, folder

CELL_SECONDS = 300  # far above what any cell takes; a stuck one must not hold a build machine for hours

# nbconvert's page without its scripts, which it would fetch from a public server when the page is opened.
PAGE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}{% block jupyter_widgets %}{% endblock %}"""


@dataclass(frozen=True)
class NotebookRun:
    """One executed notebook. `error` is the traceback of the cell that failed; the notebook up to it is kept. `peak_mib` is the
    most memory that its kernel held, None where the system does not say."""

    name: str
    executed: Path
    page: Path
    seconds: float
    error: str | None
    peak_mib: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        peak = None if self.peak_mib is None else round(self.peak_mib)
        paths = {"notebook": str(self.executed), "page": str(self.page)}
        return {"name": self.name, "seconds": round(self.seconds, 1), "peak_mib": peak, **paths, "error": self.error}


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


def parameters_of(source: Path) -> set[str]:
    """The names in a notebook's parameters cell."""
    cells = json.loads(source.read_text())["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    found = [node.target for node in ast.walk(ast.parse("\n".join(tagged))) if isinstance(node, ast.AnnAssign)]
    return {target.id for target in found if isinstance(target, ast.Name)}


def combinations(sources: Sequence[Path], given: Sequence[tuple[str, Any]]) -> list[tuple[Path, str, dict[str, Any]]]:
    """What to run: each notebook with every combination of the values given for its parameters, and a name for what comes out.

    A parameter given several times is swept. Raises InputError for one that none of the notebooks has.
    """
    values: dict[str, list[Any]] = {}
    for name, value in given:
        values.setdefault(name, []).append(value)
    has = {source: parameters_of(source) if values else set() for source in sources}
    for name in set(values) - set().union(*has.values()):
        raise InputError(f"no parameter {name!r}; there are {', '.join(sorted(set().union(*has.values())))}")
    todo = []
    for source in sources:
        mine = {name: several for name, several in values.items() if name in has[source]}
        swept = [name for name, several in mine.items() if len(several) > 1]
        for chosen in itertools.product(*mine.values()):
            setting = dict(zip(mine, chosen, strict=True))
            words = [re.sub(r"[^\w.=-]+", "_", f"{name}={setting[name]}") for name in swept]
            todo.append((source, "-".join([source.stem, *words]), setting))
    return todo


def execute(source: Path, out: Path, parameters: Mapping[str, Any] | None = None, name: str = "") -> NotebookRun:
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
            here = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(PACKAGE.parent)]))  # this very package
            return KernelSpec(argv=make_ipkernel_cmd(), display_name="Python 3", language="python", env={"PYTHONPATH": here})

        async def shutdown_kernel(self, *args: Any, **options: Any) -> None:  # type: ignore[override]
            with suppress(KeyError, TypeError, OSError, StopIteration):  # a dead kernel, or a system without /proc
                status = Path(f"/proc/{vars(self.provisioner)['pid']}/status").read_text().splitlines()
                peaks.append(int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024)
            await super().shutdown_kernel(*args, **options)

    name, peaks = name or source.stem, list[float]()
    out.mkdir(parents=True, exist_ok=True)
    executed, error, start = out / f"{name}.ipynb", None, time.perf_counter()
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
    return NotebookRun(name, executed, _page(executed), seconds, error, max(peaks, default=None))


def execute_all(
    todo: Sequence[tuple[Path, str, dict[str, Any]]],
    out: Path,
    jobs: int = 1,
    engine: str = "local",
    scheduler: str | None = None,
) -> Iterator[NotebookRun]:
    """Execute what `combinations` gave, `jobs` at a time, each as it is done; at the end `out`/summary.json holds all.

    `engine` "dask" uses the cluster at the address `scheduler`, or one of `jobs` processes on this machine.
    """
    settings, rows = {name: setting for _, name, setting in todo}, []
    with _pool(jobs, engine, scheduler) as pool:
        out.mkdir(parents=True, exist_ok=True)
        for future in as_completed([pool.submit(_away, source.read_text(), name, setting) for source, name, setting in todo]):
            run, files = future.result()
            for file, text in files.items():
                (out / file).write_text(text, encoding="utf-8")
            run = replace(run, executed=out / run.executed.name, page=out / run.page.name)
            rows.append(run.as_dict() | {"parameters": settings[run.name]})
            yield run
    (out / "summary.json").write_text(json.dumps(sorted(rows, key=lambda row: str(row["name"])), indent=1) + "\n")


@contextmanager
def _pool(jobs: int, engine: str, scheduler: str | None) -> Iterator[Executor]:
    """Processes that stay for all runs: of this machine, or of a Dask cluster."""
    if engine == "local":
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            yield pool
        return
    try:
        import distributed
    except ImportError:
        raise InputError("--engine dask needs Dask: pip install 'sparse_mla[dask]'") from None
    here = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.ERROR}
    try:
        options = {"address": scheduler, "timeout": 5} if scheduler else here
        client = distributed.Client(**options)  # type: ignore[no-untyped-call]
    except OSError as problem:
        raise InputError(f"no Dask scheduler at {scheduler}: {problem}") from None
    with client:
        yield client.get_executor()  # type: ignore[no-untyped-call]


def _away(text: str, name: str, setting: dict[str, Any]) -> tuple[NotebookRun, dict[str, str]]:
    """`execute` in another process: the notebook's text in, the run and its files out."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.ipynb"
        source.write_text(text, encoding="utf-8")
        run = execute(source, Path(folder) / "out", setting, name)
        return run, {path.name: path.read_text(encoding="utf-8") for path in (run.executed, run.page)}


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
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
