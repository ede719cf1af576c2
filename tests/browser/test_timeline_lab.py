"""The timeline in a real JupyterLab: binary columns arrive, keys stay in the widget, Python learns what was chosen."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
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


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab of its own, on loopback and with a token."""
    (tmp_path / "work").mkdir()
    blank: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**blank, "id": f"c{n}", "source": source} for n, source in enumerate(CELLS)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "work" / "waves.ipynb").write_text(json.dumps(notebook))
    port, token = free_port(), "only-on-loopback"
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    options += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={tmp_path / 'work'}", "--expose-app-in-browser"]
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url="]
    homes = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    homes |= {f"JUPYTERLAB_{name}_DIR": str(tmp_path / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    environment = os.environ | homes | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("SPARSE_MLA_HEADLESS", None)
    log = (tmp_path / "log").open("w")
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=5)
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab/tree/waves.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def test_a_notebook_cell_shows_the_timeline_and_hears_from_it(chromium: Any, lab: str, tmp_path: Path) -> None:
    page = chromium.new_page(viewport={"width": 1300, "height": 950})
    asked: list[str] = []  # of anybody but the server

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        route.abort()

    page.route(lambda url: "127.0.0.1" not in url, refuse)
    page.goto(lab)
    page.set_default_timeout(60_000)
    page.wait_for_selector("#jp-main-statusbar :text('| Idle')")  # the kernel is there
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
    page.screenshot(path=tmp_path / "light.png")

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
    page.screenshot(path=tmp_path / "dark.png")
    assert asked == []
    page.close()
