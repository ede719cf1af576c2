"""Every notebook runs without a browser and leaves pages that can be read: figures with text, no dead widgets."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sparse_mla.notebooks import execute

FOLDER = Path(__file__).parents[2] / "notebooks"
RUNS: list[tuple[str, dict[str, Any]]] = [
    *((path.stem, {}) for path in sorted(FOLDER.glob("[0-9]*.ipynb"))),
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


@pytest.mark.parametrize(
    "name, parameters", RUNS, ids=lambda value: value if isinstance(value, str) else "-".join(value) or "as-is"
)
def test_runs_headlessly(name: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    done = execute(FOLDER / f"{name}.ipynb", tmp_path, parameters)
    assert done.error is None, done.error
    assert faults(json.loads(done.executed.read_text())) == []
    assert done.seconds < 5 * SECONDS
    assert "<script src=" not in done.page.read_text()


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
