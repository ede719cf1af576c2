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

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
MOST_CELLS, MOST_LINES = 24, 8
HEADINGS = ("**Goals**", "**Time**", "**Needs**", "**Mode**")
NETWORK = re.compile(r"pip install|https?://|urllib|requests\.|wget|curl |^\s*[!%]", re.MULTILINE)


def text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def faults(notebook: dict[str, Any]) -> list[str]:
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
        "short cells": all(sum(bool(line.strip()) for line in text(cell).splitlines()) <= MOST_LINES for cell in code),
        "no network, shell or install": not any(NETWORK.search(text(cell)) for cell in code),
        "one title, first": sum(text(cell).startswith("# ") for cell in cells if cell not in code) == 1
        and text(cells[0]).startswith("# "),
        "goals, time, needs and mode": all(heading in text(cells[0]) for heading in HEADINGS),
        "one parameters cell, second": [cell["metadata"].get("tags", []) == ["parameters"] for cell in cells].index(True) == 1
        if any(cell["metadata"].get("tags") for cell in cells)
        else False,
    }
    found += [rule for rule, kept in rules.items() if not kept]
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


def test_notebooks_are_numbered_without_gaps() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{n:02}" for n in range(len(NOTEBOOKS))]


def _set(cell: int, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda notebook: notebook["cells"][cell].update({key: value})


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
        ("short cells", _set(3, "source", ["x = 1\n"] * 9)),
        ("no network, shell or install", _set(3, "source", ["!pip install x"])),
        ("one title, first", _set(2, "source", ["# Another title"])),
        ("goals, time, needs and mode", _set(0, "source", ["# Title"])),
        ("one parameters cell, second", _set(1, "metadata", {})),
        ("typed, literal and commented parameters", _set(1, "source", ["rows = 4  # no type"])),
        ("typed, literal and commented parameters", _set(1, "source", ["rows: int = 2 * 2  # computed"])),
        ("typed, literal and commented parameters", _set(1, "source", ["rows: int = 4"])),
    ],
)
def test_a_broken_form_is_named(fault: str, spoil: Callable[[dict[str, Any]], None]) -> None:
    notebook = json.loads(NOTEBOOKS[0].read_text())
    spoil(notebook)
    assert any(found.startswith(fault) for found in faults(notebook))
