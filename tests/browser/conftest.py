"""A real browser for the scripts of widgets: Chromium driven by Playwright, offline; tests are skipped where one is missing."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sparse_mla

ROOT = Path(__file__).parents[2]
WIDGETS = Path(sparse_mla.__file__).parent / "widgets"
# No sandbox: it needs rights that containers lack. Pages come from `route` or from loopback.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--force-device-scale-factor=1"]

# What JupyterLab's themes give to widgets; values as of JupyterLab 4.6.
THEMES = {
    "light": {"ui-font-color1": "rgba(0, 0, 0, 0.87)", "layout-color0": "#ffffff", "layout-color1": "#ffffff"}
    | {"layout-color2": "#eeeeee", "border-color1": "#bdbdbd", "border-color2": "#e0e0e0", "brand-color1": "#0d7c9c"},
    "dark": {"ui-font-color1": "rgba(255, 255, 255, 0.87)", "layout-color0": "#111111", "layout-color1": "#212121"}
    | {"layout-color2": "#424242", "border-color1": "#616161", "border-color2": "#424242", "brand-color1": "#1976d2"},
}

# A front end's model and a page for one view of it. Bytes arrive at an odd offset of a larger buffer, as they may in a message.
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/widget.css"><style id="theme"></style>
<body style="margin:8px;width:1100px;font-family:sans-serif;background:var(--jp-layout-color0)"><div id="cell"></div>
<script>addEventListener("error", (event) => { window.failed = event.message; });
addEventListener("unhandledrejection", (event) => { window.failed = `${event.reason?.stack}`; });</script>
<script type="module">
import * as module from "/widget.js";
const revive = (key, value) => {
  if (typeof value?.base64 !== "string") return value;
  const text = atob(value.base64), bytes = new Uint8Array(text.length + 1);
  for (let i = 0; i < text.length; i++) bytes[i + 1] = text.charCodeAt(i);
  return new DataView(bytes.buffer, 1);
};
const state = JSON.parse(await (await fetch("/state.json")).text(), revive), heard = {};
window.model = {
  saved: 0, get: (name) => state[name],
  set(name, value) { state[name] = value; (heard[`change:${name}`] ?? []).forEach((act) => act()); },
  save_changes() { this.saved++; },
  on: (event, act) => (heard[event] ??= []).push(act),
  off: (event, act) => { heard[event] = heard[event].filter((other) => other !== act); },
};
window.module = module;
window.cleanup = module.default.render({ model: window.model, el: document.getElementById("cell") });
window.ready = true;
</script>"""


def theme_css(name: str) -> str:
    return ":root{" + "".join(f"--jp-{key}:{value};" for key, value in THEMES[name].items()) + "}"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser for the whole session."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    if (path := shutil.which("chromium") or shutil.which("google-chrome")) is None:
        pytest.skip("neither chromium nor google-chrome is on PATH: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def show(chromium: Any) -> Iterator[Callable[..., Any]]:
    """`show(script, traits, theme="light")` gives a page with one view of the widget in sparse_mla/widgets/`script`.js."""
    pages = []

    def opened(script: str, traits: dict[str, Any], theme: str = "light") -> Any:
        page = chromium.new_page(viewport={"width": 1130, "height": 760})
        pages.append(page)
        page.failures = []
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        state = json.dumps(traits, default=lambda raw: {"base64": base64.b64encode(raw).decode()})
        served = {"/": ("text/html", PAGE), "/state.json": ("application/json", state)}
        served["/widget.js"] = ("text/javascript", (WIDGETS / f"{script}.js").read_text())
        served["/widget.css"] = ("text/css", (WIDGETS / f"{script}.css").read_text())

        def answer(route: Any) -> None:
            kind, body = served.get("/" + route.request.url.split("/", 3)[3], ("", ""))
            if kind:
                route.fulfill(body=body, content_type=kind)
            else:
                route.abort()

        page.route("**/*", answer)
        page.goto("http://widget.test/")
        page.wait_for_function("window.ready || window.failed")
        assert not page.evaluate("window.failed"), page.evaluate("window.failed")
        page.evaluate("css => { document.getElementById('theme').textContent = css }", theme_css(theme))
        page.wait_for_timeout(60)
        return page

    yield opened
    for page in pages:
        assert page.failures == []
        page.close()


OUTPUTS = ".jp-Notebook .jp-OutputArea-output, .jp-Notebook .jp-MarkdownOutput"


@pytest.fixture(scope="session")
def accessible() -> Callable[..., None]:
    """`accessible(page, area)`: no serious or critical violation of axe-core's rules in these elements. They are by default what
    our cells put out; JupyterLab's own are not ours, nor are its colours for links and code in Markdown. While it looks, nothing
    is clipped: axe takes what JupyterLab's panels hold for hidden, and would not judge its contrast."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed: pip install axe-playwright-python"
    )
    script = """async (area) => {
      const style = document.head.appendChild(document.createElement("style"));
      style.textContent = "* { overflow: visible !important; contain: none !important }";
      const found = await axe.run({ include: [...document.querySelectorAll(area)] }, { elementRef: true });
      style.remove();
      const theirs = (rule, element) =>
        ["color-contrast", "link-in-text-block"].includes(rule) && element.closest(".jp-MarkdownOutput :is(a, code)");
      return found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
        .flatMap(({ id, help, nodes }) => nodes.filter(({ element }) => !theirs(id, element))
          .map(({ html }) => `${id}: ${help}: ${html.slice(0, 200)}`));
    }"""

    def scan(page: Any, area: str = OUTPUTS) -> None:
        page.evaluate(axe.Axe().axe_script)
        assert page.locator(area).count() > 0
        assert page.evaluate(script, area) == []

    return scan


# --- a real JupyterLab

NOTEBOOK = "window.jupyterapp.shell.currentWidget"
TOKEN = "only-on-loopback"
NEWS = '{"fetchNews": "false", "checkForUpdates": false}'


@dataclass
class Live:
    """A notebook open in JupyterLab: its page, and its cells by number."""

    page: Any

    def cell(self, number: int) -> Any:
        return self.page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{number}']")

    def run(self, *numbers: int) -> None:
        """Run cells and wait until they are done; one that raises fails the test."""
        for number in numbers:
            act = f"async () => {{ {NOTEBOOK}.content.deselectAll(); {NOTEBOOK}.content.activeCellIndex = {number};"
            self.page.evaluate(act + " return await window.jupyterapp.commands.execute('notebook:run-cell'); }")
            assert self.cell(number).locator("[data-mime-type*=error]").count() == 0, self.cell(number).inner_text()

    def run_all(self) -> None:
        """Run all cells; none may raise or warn."""
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_selector("#jp-main-statusbar :text('| Idle')")
        prompts = self.page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").all_inner_texts()
        assert prompts == [f"[{n + 1}]:" for n in range(len(prompts))]
        assert self.page.locator("[data-mime-type*='stderr'], [data-mime-type*='error']").all_inner_texts() == []

    def write(self, number: int, source: str) -> None:
        self.page.evaluate(f"source => {NOTEBOOK}.content.widgets[{number}].model.sharedModel.setSource(source)", source)

    def sources(self) -> list[str]:
        found: list[str] = self.page.evaluate(f"{NOTEBOOK}.content.widgets.map(cell => cell.model.sharedModel.getSource())")
        return found

    def find(self, words: str) -> int:
        """The first code cell with these words."""
        kinds = self.page.evaluate(f"{NOTEBOOK}.content.widgets.map(cell => cell.model.type)")
        pairs = zip(kinds, self.sources(), strict=True)
        return next(n for n, (kind, source) in enumerate(pairs) if kind == "code" and words in source)

    def theme(self, name: str) -> None:
        self.page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{ theme: 'JupyterLab {name}' }})")
        self.page.wait_for_selector(f"body[data-jp-theme-light={'false' if name == 'Dark' else 'true'}]", state="attached")

    def keep(self, name: str, element: Any = None) -> None:
        """A screenshot into the folder that SPARSE_MLA_SCREENSHOTS names, if it does."""
        if folder := os.environ.get("SPARSE_MLA_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            if element:  # all of it in view: what JupyterLab scrolls is not put together
                self.page.set_viewport_size({"width": 1300, "height": 950 + round(element.bounding_box()["height"])})
            (element or self.page).screenshot(path=Path(folder) / f"{name}.png")
            self.page.set_viewport_size({"width": 1300, "height": 950})


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Iterator[tuple[str, Path]]:
    """One JupyterLab of its own for all tests, on loopback and with a token: its address and the folder it serves."""
    home = tmp_path_factory.mktemp("lab")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    (home / "work").mkdir()
    # All cells are in the page, however long the notebook: they are counted, and scanned.
    for name, text in (("notebook-extension/tracker", '{"windowingMode": "none"}'), ("apputils-extension/notification", NEWS)):
        settings = home / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text(text)
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    options += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={home / 'work'}", "--expose-app-in-browser"]
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url="]
    homes = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    homes |= {f"JUPYTERLAB_{name}_DIR": str(home / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    homes |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "SPARSE_MLA_PROGRESS": str(home / "progress.json")}
    homes |= {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")}  # compiled kernels stay
    environment = os.environ | homes
    environment.pop("SPARSE_MLA_HEADLESS", None)
    with (home / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=log)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={TOKEN}", timeout=5)
                    break
                except OSError:
                    assert server.poll() is None, (home / "log").read_text()
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}", home / "work"
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture
def notebook(lab: tuple[str, Path], chromium: Any) -> Iterator[Callable[..., Live]]:
    """`notebook("02")` opens that lesson, `notebook(cells)` one of these sources; the kernel is there, nothing has run.

    Nobody but the server may be asked for anything.
    """
    opened: list[Any] = []
    address, work = lab

    def refuse(route: Any) -> None:
        route.abort()
        opened[-1].failures.append(f"asked for {route.request.url}")

    def live(what: str | Sequence[str]) -> Live:
        if isinstance(what, str):
            [source] = (ROOT / "notebooks").glob(f"{what}_*.ipynb")
            name, text = source.name, source.read_text()
        else:
            blank: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
            cells = [{**blank, "id": f"c{n}", "source": source} for n, source in enumerate(what)]
            kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
            name = "cells.ipynb"
            text = json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
        (work / name).write_text(text)
        page = chromium.new_page(viewport={"width": 1300, "height": 950})
        opened.append(page)
        page.failures = []
        page.set_default_timeout(60_000)
        page.route(lambda url: address not in url, refuse)
        page.goto(f"{address}/lab/tree/{name}?token={TOKEN}&reset")
        page.wait_for_selector("#jp-main-statusbar :text('| Idle')")
        opened_now = Live(page)
        opened_now.theme("Light")  # the server keeps what the test before has chosen
        return opened_now

    yield live
    for page in opened:
        assert page.failures == []
        page.evaluate(f"{NOTEBOOK}.context.sessionContext.shutdown()")
        page.close()
