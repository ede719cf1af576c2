"""Lessons in a real JupyterLab: what a learner touches answers, what is typed is judged, and what is shown can be read by all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Open = Callable[..., Any]
Check = Callable[..., None]
EXPLORERS = {"05": "split_explorer(", "10": "perf_explorer(kernel"}  # by notebook: the cell with its sliders
PRESENT = [number for number in EXPLORERS if [*(ROOT / "notebooks").glob(f"{number}_*.ipynb")]]


def test_all_of_the_first_lesson_runs_and_judges(notebook: Open, accessible: Check) -> None:
    live = notebook("00")
    live.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    live.page.wait_for_selector(f".jp-Cell[data-windowed-list-index='{live.find('00.counts')}'] [role=status]")
    assert live.page.locator("[data-mime-type*='stderr'], [data-mime-type*='error']").all_inner_texts() == []
    live.keep("00")

    at = live.find("def relative_l2")
    verdict = live.cell(at).locator("[role=status]")
    assert "open" in verdict.inner_text()
    blank = live.sources()[at]
    for answer, said in (
        ("abs(actual - expected).max()", "not yet"),
        ("((actual - expected) ** 2).sum() ** 0.5 / (expected ** 2).sum() ** 0.5", "right"),
    ):
        live.write(at, blank.replace("...", answer, 1))
        live.run(at)
        assert said in verdict.inner_text()

    at = live.find("def show(tokens")  # another shape, by keyboard: the figure is drawn anew
    picture = live.cell(at).locator("img")
    before = picture.get_attribute("src")
    assert "256 extra tokens, split 1" in picture.get_attribute("alt")
    live.cell(at).get_by_role("slider", name="tokens").press("ArrowRight")
    live.cell(at).locator("img[alt*='512 extra tokens, split 1']").wait_for()
    assert picture.get_attribute("src") != before
    accessible(live.page)


def test_lanes_are_clicked_and_walked_in_the_lane_map(notebook: Open, accessible: Check) -> None:
    live = notebook("02")
    live.run(1, live.find("SHAPES[shape_name]"), at := live.find("lane_explorer(shape_name"))
    cell = live.cell(at)
    said, matrix = cell.locator(".lane-map-status"), cell.get_by_role("application", name="D, 16 by 16")
    assert "A[5][9]" in said.inner_text()
    matrix.click(position={"x": 9 * 9 + 4, "y": 5 * 9 + 4})
    # D of 16x16x32: rows in fours over groups of 16 lanes, columns over the lanes of a group (CDNA4 ISA, matrix layouts)
    assert said.inner_text().startswith("D[5][9]: lane 25, v1")
    for name in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowLeft", "0", "0", "b", "d", "d"):
        matrix.press(name)
    assert said.inner_text().startswith("D[8][8]: lane 40, v0")
    assert live.page.locator(".jp-Dialog").count() == 0  # 0 0 would ask whether to restart the kernel
    assert len(live.sources()) == live.page.locator(".jp-Notebook .jp-Cell").count()
    column = cell.get_by_label("Column")
    column.fill("3")
    column.press("Enter")
    assert said.inner_text().startswith("D[8][3]: lane 35, v0")
    live.run(at)
    said.wait_for()
    assert said.inner_text().startswith("D[8][3]")  # running the cell again keeps it
    for theme in ("Light", "Dark"):
        live.theme(theme)
        live.page.wait_for_timeout(100)
        live.keep(f"02-lane-map-{theme.lower()}", cell)
        accessible(live.page)


def test_an_address_is_typed_into_the_bank_simulator(notebook: Open, accessible: Check) -> None:
    live = notebook("03")
    live.run(1, live.find("access_figure, lds_explorer"), at := live.find("lds_explorer(instruction, address)"))
    cell = live.cell(at)
    picture, line = cell.locator("img"), cell.get_by_label("address")
    picture.wait_for()
    before = picture.get_attribute("src")
    line.fill("16 * lane")
    line.press("Enter")
    cell.locator("img[alt*='at 16 * lane']").wait_for()
    assert picture.get_attribute("src") != before
    assert "no bank is asked twice" in picture.get_attribute("alt")
    live.keep("03-lds", cell)
    line.fill("16 * lanes")
    line.press("Enter")
    cell.get_by_text("lanes").wait_for()  # a message, not a traceback
    assert cell.locator("[data-mime-type*=error]").count() == 0
    for theme in ("Light", "Dark"):
        live.theme(theme)
        accessible(live.page)


@pytest.mark.parametrize("number", PRESENT)
def test_sliders_of_the_explorers_answer_to_the_keyboard(notebook: Open, accessible: Check, number: str) -> None:
    live = notebook(number)
    at = live.find(EXPLORERS[number])
    live.run(1, at)
    cell = live.cell(at)
    picture = cell.locator("img").first
    picture.wait_for()
    sliders = cell.get_by_role("slider")
    assert sliders.count() >= 2
    for slider in sliders.all()[:2]:
        before, text = picture.get_attribute("src"), picture.get_attribute("alt")
        slider.press("ArrowRight")
        changed = "([img, old]) => !img.isConnected || img.src !== old"
        live.page.wait_for_function(changed, arg=[picture.element_handle(), before])
        picture.wait_for()
        assert picture.get_attribute("alt") != text
    for theme in ("Light", "Dark"):
        live.theme(theme)
        live.keep(f"{number}-explorer-{theme.lower()}", cell)
        accessible(live.page)
