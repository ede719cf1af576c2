"""The timeline in a real JupyterLab: binary columns arrive, keys stay in the widget, Python learns what was chosen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

SETUP = """
import pandas as pd
from sparse_mla.widgets.timeline import timeline
records = 400
frame = pd.DataFrame({"wave": [n % 4 for n in range(records)], "cu": 0, "simd": [n % 4 for n in range(records)], "slot": 0,
    "begin": [8 * (n // 4) for n in range(records)], "duration": 8, "stall": 4, "pc": [4 * (n // 4) for n in range(records)],
    "text": [f"v_exp_f32 v{n // 4}" for n in range(records)], "source": "decode.hip:3  p = exp(s);", "cause": "memory"})
"""
CELLS = [
    SETUP,
    "t = timeline(frame, title='Waves', kind='modelled', source='a model')\nt",
    "print('chosen:', t.record is not None and t.record.text)",
]


def test_a_notebook_cell_shows_the_timeline_and_hears_from_it(notebook: Callable[..., Any]) -> None:
    live = notebook(CELLS)
    page = live.page
    run = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
    page.evaluate(run)
    canvas = page.locator(".wave-timeline canvas")
    canvas.wait_for()
    assert page.locator(".wave-timeline-legend button", has_text="memory").get_attribute("title") == "1,600 cycles of all waves"
    canvas.click(position={"x": 600, "y": 32})
    active = "document.querySelector('.jp-Notebook .jp-Cell.jp-mod-active').dataset.windowedListIndex"
    before = page.evaluate(active)
    for name in ("+", "+", "ArrowDown", "ArrowUp", "Shift+ArrowDown", "Shift+ArrowRight", "Home", "-", "n", "0", "0", "Enter"):
        canvas.press(name)
    assert page.evaluate(active) == before
    assert page.locator(".jp-Dialog").count() == 0  # 0 0 would ask whether to restart the kernel
    assert re.fullmatch(r"v_exp_f32 v\d+", page.locator(".wave-timeline-detail code").inner_text())
    find = page.locator(".wave-timeline input")
    find.fill("v99$")
    find.press("Enter")
    chosen = "v_exp_f32 v99"
    assert page.locator(".wave-timeline-detail code").inner_text() == chosen
    canvas.press("+")
    page.wait_for_timeout(600)
    live.keep("timeline-light", page.locator(".wave-timeline"))

    # Run everything again: the new view is as the old one was left, and Python prints what was chosen.
    page.evaluate(run)
    page.wait_for_selector(f".jp-OutputArea-output:has-text('chosen: {chosen}')")
    page.wait_for_selector(f".wave-timeline-detail code:has-text('{chosen}')")
    assert page.locator(".wave-timeline").count() == 1
    assert find.input_value() == "v99$"

    # The names of rows are drawn in the theme's ink: the red of their darkest or lightest pixel.
    drawn = "[...document.querySelector('.wave-timeline canvas').getContext('2d').getImageData(0, 25, 150, 14).data]"
    ink = f"Math.max(...{drawn}.filter((_, n, all) => n % 4 === 0 && all[n + 3] > 150), -1)"
    assert 0 <= page.evaluate(ink) < 60
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
    page.wait_for_function(f"{ink} > 200")
