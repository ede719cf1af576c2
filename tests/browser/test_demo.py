"""The page that needs no install: opened from its file, without a network, it says what Python and the emulator say."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse_mla.analyse.lds import INSTRUCTIONS, lds_access
from sparse_mla.errors import InputError
from sparse_mla.plot.lds import passes_figure

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    pytest.importorskip("myst_nb", reason="the site's tool is not installed: pip install myst-nb")
    file = tmp_path_factory.mktemp("demo") / "demo.html"
    file.write_text(runpy.run_path(str(ROOT / "docs/site.py"))["demo"]())
    context = chromium.new_context(offline=True, viewport={"width": 1200, "height": 900})
    page, failures, asked = context.new_page(), [], []
    page.on("pageerror", lambda error: failures.append(error))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    assert (failures, asked) == ([], [file.as_uri()])
    context.close()


def simulate(demo: Any, instruction: str, address: str) -> str:
    demo.get_by_label("Instruction").select_option(instruction)
    demo.get_by_label("Address of a lane").fill(address)
    said: str = demo.locator(".lds [role=status]").inner_text()
    return said


def test_the_bank_simulator_says_what_was_executed(demo: Any) -> None:
    rng = np.random.default_rng(3)
    tries = [("ds_read_b128", one.get_attribute("value")) for one in demo.locator("#tries option").all()]
    for instruction in INSTRUCTIONS:
        a, b, c, d = rng.integers(1, 99, 4).tolist()
        tries.append(
            (instruction, f"({a} * lane ^ {b} * (lane // {c} << 2) | {d}) % {64 + b} - -(~(lane - 64) & {d} + 3 >> 1) + 64")
        )
        tries.append((instruction, f"((-{a} * lane // 7 % {b} - {a} % -{b}) * {d} & ~(3 - lane % 2)) + (5 * lane >> 1)"))
    for instruction, address in tries:
        figure = passes_figure(lds_access(instruction, address), title="t", source="s")
        assert simulate(demo, instruction, address) == figure.finding, (instruction, address)
        cells = demo.evaluate(
            "[...document.querySelectorAll('.lds tr')].map((row) => [...row.cells].map((one) => one.textContent))"
        )
        expected = figure.table[cells[0]].astype(str).values.tolist()
        assert cells[1:] == expected, (instruction, address)


def test_what_python_refuses_is_refused(demo: Any) -> None:
    for wrong in (
        *("lane ** 2", "lane / 2", "1.5 * lane", "lane // 0", "lane % (lane - 1)", "1 << 40", "lane >> 32", "x", "lanes", ""),
        *("(lane", "lane)", "lane +", "+lane", "7 7", "-lane", "4000 * lane", "65536 * 65536 % 4", "2147483648"),
    ):
        with pytest.raises(InputError):
            lds_access("ds_read_b32", wrong)
        said = simulate(demo, "ds_read_b32", wrong)
        assert said.endswith("an address may hold whole numbers, lane, parentheses and + - * // % << >> & | ^ ~"), wrong
        assert demo.locator(".lds tr").count() == 0
    assert "lane 41 is at byte 164000; LDS has bytes 0 to 163839" in simulate(demo, "ds_read_b32", "4000 * lane")


def test_the_lane_map_answers(demo: Any, accessible: Callable[..., None]) -> None:
    said = demo.locator(".lane-map-status")
    assert said.inner_text().startswith("A[5][9]: lane 21, v0 high half")
    matrix = demo.get_by_role("application", name="D, 16 by 16")
    matrix.click(position={"x": 9 * 9 + 4, "y": 5 * 9 + 4})
    assert said.inner_text().startswith("D[5][9]: lane 25, v1")  # as in JupyterLab; CDNA4 ISA, matrix layouts
    matrix.press("ArrowDown")
    assert said.inner_text().startswith("D[6][9]: lane 25, v2")
    demo.get_by_label("Shape").select_option("32x32x16")
    assert "Sums over 16 elements of A" in said.inner_text()
    accessible(demo, "body")
