"""Every notebook runs without a browser and leaves pages that can be read: figures with text, no dead widgets.

As it is in every mode, its solutions with every verdict right, and a few with other parameters; each run may take as long as
the lesson promises in docs/course.md.
"""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sparse_mla import cli
from sparse_mla.notebooks import execute

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = [path.stem for path in sorted(FOLDER.glob("[0-9]*.ipynb"))]
RUNS: list[tuple[str, dict[str, Any]]] = [
    *((name, {"mode": mode}) for name in NAMES for mode in ("emulator", "recorded")),
    ("00_start_here", {"case_name": "heads-17"}),
    ("01_sparse_mla_and_the_cache", {"case_name": "ragged-invalid", "block_size": 3, "context": 700, "seed": 5}),
    ("02_mfma_tiling", {"shape_name": "32x32x16", "operand": "D", "row": 31, "column": 0}),
]
SECONDS = 40  # on two idle cores; the limit below leaves room for a busy machine


class Alts(HTMLParser):
    """The alt texts of all images in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.alts: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.alts.append(dict(attrs).get("alt"))


def faults(notebook: dict[str, Any]) -> list[str]:
    """What in an executed notebook's outputs a reader could not use; every rule has a broken example below."""
    found = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and cell["execution_count"] is None:
            found.append(f"{cell['id']}: not executed")
        for output in cell.get("outputs", ()):
            data, stream = output.get("data", {}), "".join(output.get("text", ""))
            plain, page = "".join(data.get("text/plain", "")), "".join(data.get("text/html", ""))
            rules = {
                "traceback": output["output_type"] != "error",
                "warning or other noise": output.get("name") != "stderr",
                "progress bar": not re.search(r"\d+%\|", stream + plain),
                "widget without a static twin": not any("widget" in mime for mime in data),
                "picture without a text twin": not any(m.startswith("image/") for m in data) or len(plain.split()) > 20,
                "image without alt text": all(alt and len(alt) > 20 for alt in Alts(page).alts),
                "bare picture": "image/png" not in data or bool(Alts(page).alts),
                "object without a readable form": not re.search(r" at 0x[0-9a-f]{6,}|<IPython", plain),
            }
            found += [f"{cell['id']}: {rule}" for rule, kept in rules.items() if not kept]
    return found


@pytest.mark.parametrize("name, parameters", RUNS, ids=["-".join([name, *map(str, given.values())]) for name, given in RUNS])
def test_runs_headlessly(name: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    done = execute(FOLDER / f"{name}.ipynb", tmp_path, parameters)
    assert done.error is None, done.error
    assert faults(json.loads(done.executed.read_text())) == []
    assert done.seconds < 5 * SECONDS
    assert "<script src=" not in done.page.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_solutions_are_judged_right(name: str, tmp_path: Path) -> None:
    done = execute(FOLDER / "solutions" / f"{name}.ipynb", tmp_path)
    assert done.error is None, done.error
    notebook = json.loads(done.executed.read_text())
    assert faults(notebook) == []
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    said = "\n".join("".join(output.get("data", {}).get("text/plain", "")) for output in outputs)
    asked = re.findall(r'\b(check|reveal)\("([^"]+)"', "\n".join("".join(cell["source"]) for cell in notebook["cells"]))
    assert re.findall(r"^\[(\d\d\.\w+)\] right", said, re.MULTILINE) == [name for _, name in asked], said


LONG = "a text twin that says in at least twenty words " * 3


@pytest.mark.parametrize(
    "fault, shown",
    [
        ("traceback", {"output_type": "error"}),
        ("warning or other noise", {"name": "stderr", "text": ["careful"]}),
        ("progress bar", {"name": "stdout", "text": ["  0%|          | 0/7"]}),
        ("widget without a static twin", {"data": {"application/vnd.jupyter.widget-view+json": {}}}),
        ("picture without a text twin", {"data": {"image/png": "", "text/plain": "<Figure>", "text/html": "<img>"}}),
        ("image without alt text", {"data": {"image/png": "", "text/plain": LONG, "text/html": "<img src=''>"}}),
        ("bare picture", {"data": {"image/png": "", "text/plain": LONG}}),
        ("object without a readable form", {"data": {"text/plain": "<Thing at 0x7f0011223344>"}}),
        ("not executed", None),
    ],
)
def test_an_unusable_output_is_named(fault: str, shown: dict[str, Any] | None) -> None:
    outputs = [{"output_type": "display_data", **shown}] if shown else []
    cell = {"cell_type": "code", "id": "here", "execution_count": 1 if shown else None, "outputs": outputs}
    assert f"here: {fault}" in faults({"cells": [cell]})


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook of two parameters that fails where rows is 0."""
    sources = {"rows: int = 2  # rows\nmode: str = 'emulator'  # mode": ["parameters"], "print(60 // rows, mode)": []}
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{n}", "source": source, "metadata": {"tags": tags}, "outputs": [], "execution_count": None}
        for n, (source, tags) in enumerate(sources.items())
    ]
    book = tmp_path / "notebooks/00_book.ipynb"
    book.parent.mkdir()
    book.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    monkeypatch.setattr("sparse_mla.notebooks.folder", lambda name: book.parent)
    return tmp_path


@pytest.mark.parametrize("engine", ["local", "dask"])
def test_a_sweep_runs_on_two_processes_or_dask_workers(engine: str, book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if engine == "dask":
        pytest.importorskip("distributed")
    out = book / "out"
    swept = ["-p", "rows=0", "-p", "rows=3", "-p", "rows=5", "--mode", "recorded", "--jobs", "2", "--engine", engine]
    assert cli.main(["notebooks", "run", "--out", str(out), *swept]) == 1  # one of them divides by zero
    assert "ZeroDivisionError" in capsys.readouterr().err
    summary = json.loads((out / "summary.json").read_text())
    assert [row["parameters"] for row in summary] == [{"rows": rows, "mode": "recorded"} for rows in (0, 3, 5)]
    assert [bool(row["error"]) for row in summary] == [True, False, False]
    assert all(row["seconds"] > 0 and row["peak_mib"] > 10 for row in summary)
    for row in summary:
        rows = row["parameters"]["rows"]
        assert Path(row["notebook"]) == out / f"00_book-rows={rows}.ipynb"
        assert (f"{60 // rows} recorded" if rows else "ZeroDivisionError") in Path(row["page"]).read_text()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["-p", "row=1"], "no parameter 'row'; there are mode, rows"),
        (["--mode", "gpu"], "torch sees no GPU here"),
        (["--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler at tcp://127.0.0.1:9"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_does(
    arguments: list[str], said: str, book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["notebooks", "run", "--out", str(book / "out"), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not list(book.glob("out/*.ipynb"))
