"""The command line as a user meets it: exit codes, one clear line for a mistake, JSON where it is asked for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sparse_mla import cli, notebooks


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("run", "bose"), "base"),
        (("run", "base", "--case", "pro-csa-h61"), "pro-csa-h16"),
        (("run", "base", "--case", "pro-csa-h16", "--rows", "3"), "leave out --rows"),
        (("run", "base", "--heads", "0"), "at least 1 head"),
        (("run", "base", "--main", "-5"), "no negative length"),
        (("run", "base", "--split-k", "3"), "invalid choice: '3' (choose from"),
        (("run", "base", "--rows", "two"), "invalid integer value: 'two'"),
        (("run", "base", "--seed", "99999999999999999999"), "more than 1,048,576"),
        (("tour", "--out", "/dev/null/tour"), "/dev/null/tour"),
        (("run", "base", "--main", "32", "--extra", "0", "--rows", "1", "--on", "gpu"), "no gfx950 device"),
        (("build", "--compiler", "no/such/clang"), "no/such/clang"),
        (("isa",), "--rows"),
        (("isa", "bose"), "base"),
        (("notebooks", "run", "99"), "00_start_here"),
        (("frobnicate",), "invalid choice"),
        ((), "COMMAND"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_2(arguments: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        code = cli.main(arguments)
    except SystemExit as leaving:  # argparse's way
        code = int(leaving.code or 0)
    printed = capfd.readouterr()
    assert (code, printed.out) == (2, "")
    assert said in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("command", ["doctor", "cases", "build", "isa --rows", "isa --coverage", "notebooks list"])
def test_what_prints_a_table_prints_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command.split(), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    rows = data if isinstance(data, list) else data["checks"]
    assert cli.main(command.split()) == 0
    assert len(capsys.readouterr().out.splitlines()) >= len(rows) > 0


def test_isa_shows_source_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["isa", "base"]) == 0
    text = capsys.readouterr().out
    assert "v_mfma_f32_16x16x32_bf16" in text
    assert ".loc" in text


@pytest.mark.parametrize("command, lines", [("isa base | head -1", 1), ("notebooks list | true", 0)])
def test_a_reader_that_stops_reading_is_no_error(command: str, lines: int) -> None:
    done = subprocess.run(
        f"PYTHONUNBUFFERED= {sys.executable} -m sparse_mla {command}", shell=True, capture_output=True, text=True
    )
    assert (done.stdout.count("\n"), done.stderr) == (lines, "")


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook with a parameter, whose last cell fails where that is 0; on a machine whose kernel named python3 is broken."""
    sources = {"rows: int = 2": ["parameters"], "import sys; print(60 // rows, sys.executable)": []}
    cells: list[dict[str, object]] = [
        {"cell_type": "code", "id": f"c{n}", "source": source, "metadata": {"tags": tags}, "outputs": [], "execution_count": None}
        for n, (source, tags) in enumerate(sources.items())
    ]
    path = tmp_path / "00_book.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    monkeypatch.setattr(notebooks, "folder", lambda name: tmp_path)
    broken = tmp_path / "kernels/python3/kernel.json"
    broken.parent.mkdir(parents=True)
    broken.write_text(json.dumps({"argv": ["false", "{connection_file}"], "display_name": "broken", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    return path


def test_notebooks_run_with_parameters_into_a_page_without_network(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = book.parent / "out"
    assert cli.main(["notebooks", "run", "00", "-p", "rows=5", "--out", str(out), "--json"]) == 0
    (done,) = json.loads(capsys.readouterr().out)
    assert (done["name"], done["error"]) == ("00_book", None)
    page = (out / "00_book.html").read_text()
    assert f"12 {sys.executable}" in page
    assert "<script" not in page


def test_a_failing_notebook_shows_its_traceback_and_keeps_what_ran(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = book.parent / "out"
    assert cli.main(["notebooks", "run", "-p", "rows=0", "--out", str(out)]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("failed")
    assert "ZeroDivisionError" in printed.err
    assert "ZeroDivisionError" in (out / "00_book.ipynb").read_text()
    assert "ZeroDivisionError" in (out / "00_book.html").read_text()
