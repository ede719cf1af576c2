"""Every notebook has one form, so that people, papermill and reviews can rely on it."""

import ast
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from sparse_mla.widgets.course import MODULES
from sparse_mla.widgets.course.solutions import solve

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
MOST_CELLS, MOST_LINES, WIDTH = 24, 6, 128
HEADINGS = ("**Goals**", "**Time**", "**Needs**", "**Mode** emulator, recorded")
NETWORK = re.compile(r"pip install|https?://|urllib|requests\.|wget|curl |^\s*!|^\s*%(?!load_ext sparse_mla|%hip)", re.MULTILINE)
LINK = re.compile(r"(?:\]\(|(?:src|href)=[\"'])(?!\w+:|#)([^)#\"']+)")
MARK = "# your answer"
CALL = re.compile(r"^(?:check|predict|reveal)\(", re.MULTILINE)


def text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def lines(cell: dict[str, Any]) -> list[str]:
    return [line for line in text(cell).splitlines() if line.strip()]


def faults(notebook: dict[str, Any], folder: Path = FOLDER) -> list[str]:
    """What is not as it should be; every rule has a broken example below."""
    cells, found = notebook["cells"], []
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    rules = {
        "nbformat 4.5": (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5),
        "unique ids": len({cell.get("id") for cell in cells} - {None}) == len(cells),
        "kernelspec python3": notebook["metadata"].get("kernelspec", {}).get("name") == "python3",
        "language info": notebook["metadata"].get("language_info", {}).get("name") == "python",
        "no papermill traces": "papermill" not in json.dumps([notebook["metadata"], *(cell["metadata"] for cell in cells)]),
        "outputs stripped": all(not cell["outputs"] and cell["execution_count"] is None for cell in code),
        "few cells": len(cells) <= MOST_CELLS,
        "short cells": all(len(lines(cell)) <= MOST_LINES for cell in code),
        "lines that fit": all(len(line) <= WIDTH for cell in code for line in lines(cell)),
        "links lead somewhere": all((folder / link).exists() for c in cells if c not in code for link in LINK.findall(text(c))),
        "pictures have words": not re.search(
            r"!\[\s*\]|<img(?![^>]*alt=.[^>]{20})", "".join(text(c) for c in cells if c not in code)
        ),
        "a verdict ends its cell, where it is shown": all(
            text(c).count("\n", found.start()) == 0 for c in code for found in CALL.finditer(text(c))
        ),
        "blanks beside their check": all(re.search(r"\b(?:check|predict)\(", text(c)) for c in code if MARK in text(c)),
        "no network, shell or install": not any(NETWORK.search(text(cell)) for cell in code),
        "one title, first": sum(text(cell).startswith("# ") for cell in cells if cell not in code) == 1
        and text(cells[0]).startswith("# "),
        "goals, time, needs and mode": all(heading in text(cells[0]) for heading in HEADINGS),
        "one parameters cell, second": [cell["metadata"].get("tags", []) == ["parameters"] for cell in cells].index(True) == 1
        if any(cell["metadata"].get("tags") for cell in cells)
        else False,
    }
    found += [rule for rule, kept in rules.items() if not kept]
    if not found and 'mode: str = "emulator"  # ' not in text(cells[1]):
        found.append("a parameter mode")
    for line in text(cells[1]).splitlines() if not found else ():
        statement = ast.parse(line).body[0]
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.value, ast.Constant) or "  # " not in line:
            found.append(f"typed, literal and commented parameters: {line}")
    return found


@EACH
def test_form(path: Path) -> None:
    assert faults(json.loads(path.read_text())) == []
    nbformat.validate(nbformat.read(path, as_version=4))  # type: ignore[no-untyped-call]


@EACH
def test_papermill_understands_every_parameter(path: Path) -> None:
    parameters = papermill.inspect_notebook(str(path))
    assert parameters
    for name, parameter in parameters.items():
        assert parameter["inferred_type_name"] in ("str", "int", "float", "bool"), name
        assert parameter["help"], name


def test_notebooks_are_numbered_without_gaps_and_have_their_exercises() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{n:02}" for n in range(len(NOTEBOOKS))]
    assert sorted(MODULES.values()) == [f"n{path.stem}" for path in NOTEBOOKS]


@EACH
def test_solutions_are_what_their_lesson_and_answers_give(path: Path) -> None:
    solution = FOLDER / "solutions" / path.name
    assert json.loads(solution.read_text()) == solve(json.loads(path.read_text())), (
        f"run: sparse-mla notebooks solutions {path.stem}"
    )


@EACH
def test_a_solution_differs_from_its_lesson_only_where_an_answer_goes(path: Path) -> None:
    lesson, solution = (json.loads(file.read_text()) for file in (path, FOLDER / "solutions" / path.name))
    assert [cell["id"] for cell in lesson["cells"]] == [cell["id"] for cell in solution["cells"]]
    for before, after in zip(lesson["cells"], solution["cells"], strict=True):
        if before["cell_type"] == "markdown":
            assert text(after).replace("](../", "](") == text(before)  # links of a folder below
            continue
        kept = [line for line in lines(before) if MARK not in line]
        added = iter(lines(after))
        assert all(line in added for line in kept), before["id"]  # in order, nothing of the lesson missing
        assert (len(kept) < len(lines(before))) == (text(before) != text(after)), before["id"]
        assert MARK not in text(after), before["id"]


def test_no_solution_is_left_without_its_lesson() -> None:
    assert sorted(path.name for path in (FOLDER / "solutions").glob("*")) == [path.name for path in NOTEBOOKS]


def _set(cell: int, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda notebook: notebook["cells"][cell].update({key: value})


def _add(cell: int, line: str) -> Callable[[dict[str, Any]], None]:
    return lambda notebook: notebook["cells"][cell]["source"].append("\n" + line)


@pytest.mark.parametrize(
    "fault, spoil",
    [
        ("nbformat 4.5", lambda nb: nb.update(nbformat_minor=4)),
        ("unique ids", lambda nb: nb["cells"][2].update(id=nb["cells"][3]["id"])),
        ("kernelspec python3", lambda nb: nb["metadata"].update(kernelspec={"name": "conda-env-x"})),
        ("language info", lambda nb: nb["metadata"].pop("language_info")),
        ("no papermill traces", lambda nb: nb["cells"][1]["metadata"].update(papermill={})),
        ("outputs stripped", _set(1, "execution_count", 3)),
        ("few cells", lambda nb: nb["cells"].extend(copy.deepcopy(nb["cells"]))),
        ("short cells", _set(3, "source", ["x = 1\n"] * 7)),
        ("lines that fit", _set(3, "source", ["x" * 129])),
        ("links lead somewhere", _set(2, "source", ["[there](../docs/nowhere.md)"])),
        ("pictures have words", _set(2, "source", ["![](lanes.png)"])),
        ("pictures have words", _set(2, "source", ["<img src='lanes.png'>"])),
        ("a verdict ends its cell", _set(3, "source", ["check('00.a', 1)\n", "print(1)"])),
        ("blanks beside their check", _set(3, "source", ["x = ...  # your answer"])),
        ("a parameter mode", _set(1, "source", ["rows: int = 4  # rows"])),
        ("no network, shell or install", _set(3, "source", ["!pip install x"])),
        ("one title, first", _set(2, "source", ["# Another title"])),
        ("goals, time, needs and mode", _set(0, "source", ["# Title"])),
        ("one parameters cell, second", _set(1, "metadata", {})),
        ("typed, literal and commented parameters", _add(1, "rows = 4  # no type")),
        ("typed, literal and commented parameters", _add(1, "rows: int = 2 * 2  # computed")),
        ("typed, literal and commented parameters", _add(1, "rows: int = 4")),
    ],
)
def test_a_broken_form_is_named(fault: str, spoil: Callable[[dict[str, Any]], None]) -> None:
    notebook = json.loads(NOTEBOOKS[0].read_text())
    spoil(notebook)
    assert any(found.startswith(fault) for found in faults(notebook))
