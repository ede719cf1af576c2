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
    live.run_all()
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
    live.run_all()
    cell = live.cell(at := live.find("lane_explorer(shape_name"))
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
    live.run_all()
    cell = live.cell(at := live.find("lds_explorer(instruction, address)"))
    picture, line = cell.locator("img"), cell.get_by_label("address")
    picture.wait_for()
    before = picture.get_attribute("src")
    line.fill("16 * lane")
    line.press("Enter")
    cell.locator("img[alt*='at 16 * lane']").wait_for()
    assert picture.get_attribute("src") != before
    assert "no bank is asked twice" in picture.get_attribute("alt")
    live.keep("03-lds", cell)
    live.run(at)  # running the cell again keeps what was typed
    cell.locator("img[alt*='at 16 * lane']").wait_for()
    assert line.input_value() == "16 * lane"
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
    live.run_all()
    cell = live.cell(at := live.find(EXPLORERS[number]))
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
    kept = [slider.get_attribute("aria-valuetext") for slider in sliders.all()], picture.get_attribute("alt")
    live.run(at)
    picture.wait_for()
    assert ([slider.get_attribute("aria-valuetext") for slider in sliders.all()], picture.get_attribute("alt")) == kept
    for theme in ("Light", "Dark"):
        live.theme(theme)
        live.keep(f"{number}-explorer-{theme.lower()}", cell)
        accessible(live.page)


MENUS = [  # picture, call of widgets, one of its menus, another choice in it, and words of the figure that follows
    ("kernel-diff", "kernel_diff.kernel_explorer()", "phase", "QK", "base → ladder/swizzle, by unit, QK only"),
    ("isa-browser", "isa_browser.isa_explorer(kind='u32')", "kind", "f32", "as f32 after `v_mfma_f32_16x16x32_bf16"),
    ("triton-twin", "isa_browser.twin_explorer()", "beside", "product", "QK: product → triton, by mnemonic"),
    ("device", "perf_explorer.device_explorer()", "kernel", "base", "base: 4 rows of 16 heads"),
]


def test_a_menu_changes_what_is_shown_and_running_again_keeps_it(notebook: Open, accessible: Check) -> None:
    live = notebook([f"from sparse_mla.widgets import {call.split('.')[0]}\n{call}" for _, call, *_ in MENUS])
    live.run_all()
    for at, (_, _, control, choice, words) in enumerate(MENUS):
        picture, menu = live.cell(at).locator("img"), live.cell(at).get_by_label(control, exact=True)
        picture.wait_for()
        assert words not in picture.get_attribute("alt")
        menu.select_option(choice)
        live.cell(at).locator(f"img[alt*='{words}']").wait_for()
        live.run(at)
        live.cell(at).locator(f"img[alt*='{words}']").wait_for()
        assert menu.input_value() == choice
    for theme in ("Light", "Dark"):
        live.theme(theme)
        for at, (picture, *_) in enumerate(MENUS):
            live.keep(f"{picture}-{theme.lower()}", live.cell(at))
        accessible(live.page)
