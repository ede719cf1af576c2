"""How soon the controls of the lessons answer here: each is moved, first to what nobody has seen yet, then to the same again.

A time is Python's, from the new value to what goes to the browser, drawn and encoded. Lane map and timeline need no Python.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import chdir, redirect_stdout
from typing import Any
from unittest.mock import patch

from IPython.core.interactiveshell import InteractiveShell

from sparse_mla.files import folder
from sparse_mla.widgets import headless

FIRST, AGAIN = 1000.0, 200.0  # ms: bars for what is executed, and for what was shown before
MOST = 4  # choices that are tried from each end of a list
TYPED = {  # into lines
    "address": ("4 * lane", "1056 * (lane % 16) + 16 * (lane // 16)", "256 * lane", "lane // 4 * 64"),
    "line": ("base_tile.h:188", "exp2", "lds.kv", "score"),
    "register": ("v7", "v[4:7]", "a0", "s3"),
}


def bench_widgets(names: Sequence[str] = ("",)) -> list[dict[str, Any]]:
    """Runs the lessons whose names begin so (default: all, 3 minutes) as in a live session, and moves every control. A row a
    control: lesson, control, tried (values), first_ms (median), first_worst_ms, again_worst_ms, ok (no bar was missed)."""
    shell: Any = InteractiveShell.instance()
    boxes, rows = [], []

    def shown(one: Any) -> None:
        boxes.append(one) if hasattr(one, "children") else shell.display_formatter.format(one)

    with (
        tempfile.TemporaryDirectory() as home,
        patch.dict(os.environ, {headless.VARIABLE: "0", "SPARSE_MLA_PROGRESS": f"{home}/progress.json"}),
        patch.object(headless, "display", shown),
        chdir(folder("notebooks")),
    ):
        for path in sorted(folder("notebooks").glob("[0-9]*.ipynb")):
            if not path.name.startswith(tuple(names)):
                continue
            shell.reset(new_session=False)
            for cell in json.loads(path.read_text())["cells"]:
                if cell["cell_type"] == "code":
                    with redirect_stdout(io.StringIO()):
                        shell.run_cell("".join(cell["source"])).raise_error()
                while boxes:
                    *controls, _ = boxes.pop().children
                    rows += [{"lesson": path.stem} | _moved(control) for control in controls]
    return rows


def _moved(control: Any) -> dict[str, Any]:
    name = getattr(control, "description", None) or control.about["name"]
    start, choices = control.value, list(getattr(control, "options", TYPED.get(name, ())))
    tried = [value for value in dict.fromkeys([*choices[:MOST], *choices[-MOST:]]) if value != start]
    first, again = [_milliseconds(control, value) for value in tried], [_milliseconds(control, value) for value in tried]
    _milliseconds(control, start)
    row = {"control": name, "tried": len(tried), "first_ms": round(sorted(first)[len(first) // 2])}
    row |= {"first_worst_ms": round(max(first)), "again_worst_ms": round(max(again))}
    return row | {"ok": max(first) <= FIRST and max(again) <= AGAIN}


def _milliseconds(control: Any, value: Any) -> float:
    with redirect_stdout(io.StringIO()):  # what clears an output in a terminal
        start = time.perf_counter()
        control.value = value
        return 1e3 * (time.perf_counter() - start)
