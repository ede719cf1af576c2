"""The site that `make docs` builds: all pages, nothing fetched, no dead link, no picture without words."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("myst_nb", reason="the site's tool is not installed: pip install myst-nb")
ROOT = Path(__file__).parents[2]
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Tags(HTMLParser):
    """Every start tag of a page, with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Tags]:
    out = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, ROOT / "docs/site.py", out, "02"], check=True, cwd=ROOT, env=None, capture_output=True)
    return {page: Tags(page.read_text()) for page in (out / "html").rglob("*.html")}


def test_each_text_and_the_executed_notebook_are_pages(site: dict[Path, Tags]) -> None:
    names = {page.stem for page in site}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} | {"README", "index", "02_mfma_tiling"} <= names
    [book] = [tags for page, tags in site.items() if page.stem == "02_mfma_tiling"]
    assert sum(tag == "figure" for tag, _ in book.found) >= 3  # drawn by running it


def test_nothing_is_fetched_and_every_picture_has_words(site: dict[Path, Tags]) -> None:
    for page, tags in site.items():
        for tag, given in tags.found:
            address = given.get(FETCHED.get(tag, ""), "") or ""
            assert not urlsplit(address).netloc, f"{page.name}: <{tag}> asks for {address}"
            assert tag != "img" or (given.get("alt") or "").strip(), f"{page.name}: no alt text: {address[:80]}"


def test_no_style_asks_for_anything_either(site: dict[Path, Tags]) -> None:
    top = next(page for page in site if page.stem == "index").parent
    for file in [*top.rglob("*.css"), *site]:
        assert not re.search(r"(@import|url\()[\s\"']*(https?:)?//", file.read_text()), file.name


def test_links_resolve(site: dict[Path, Tags]) -> None:
    names = {
        page: {given[key] for _, given in tags.found for key in ("id", "name") if given.get(key)} for page, tags in site.items()
    }
    dead = []
    for page, tags in site.items():
        for tag, given in tags.found:
            parts = urlsplit(given.get("href") or "")
            if tag != "a" or parts.scheme or not given.get("href"):
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.is_file() or (parts.fragment and target in names and unquote(parts.fragment) not in names[target]):
                dead.append(f"{page.name}: {given['href']}")
    assert dead == []
