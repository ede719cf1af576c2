"""A real browser for the scripts of widgets: Chromium driven by Playwright, offline; tests are skipped where one is missing."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sparse_mla

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
