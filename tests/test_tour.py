"""The tour: what it says is what was found, and the page is safe to open."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from sparse_mla import doctor, notebooks, tables, tour


class Page(HTMLParser):
    """Collects the tags of a page, the addresses it names and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []
        self.words = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tour of one case, one made-up notebook and nothing slow."""
    report = doctor.Report((doctor.Check("<b>part</b>", True, True, "found & fine", "all", "none"),), {"emulator": True})
    row = {"case": "ragged", "rel_l2 whole": 1.7e-3, "split_k": 8, "rel_l2 split": 1.6e-3}
    book = notebooks.NotebookRun("00_book", Path("00_book.ipynb"), Path("00_book.html"), 1.25, None)
    monkeypatch.setattr(doctor, "examine", lambda: report)
    monkeypatch.setattr(tables, "resources", lambda: [{"kernel": "<i>base</i>", "VGPR": 141}])
    monkeypatch.setattr(tables, "runs", lambda: iter([row]))
    monkeypatch.setattr(tables, "tile_counts", lambda: [{"unit": "total", "emulated": 2044.0, "published": 2772}])
    monkeypatch.setattr(notebooks, "available", lambda: {"00_book": Path("00_book.ipynb")})
    monkeypatch.setattr(notebooks, "execute_all", lambda todo, *_: iter([book][: len(todo)]))


@pytest.mark.usefixtures("short")
def test_the_page_links_the_notebooks_and_fetches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tour.tour(tmp_path / "new") == 0
    page = Page(tmp_path / "new/index.html")
    assert page.links == ["00_book.html"]
    assert not page.tags & {"script", "img", "link", "b", "i"}
    assert "<b>part</b>" in page.words
    assert "<i>base</i>" in page.words
    printed = capsys.readouterr().out
    for word in ("2,044", "2,772", "ragged", "1.70e-03", "index.html", "make lab"):
        assert word in printed
    assert "FAILED" not in printed


NO_EMULATOR = doctor.Report((doctor.Check("p", False, True, "none", "all", "none"),), {"emulator": False})
FAILED = notebooks.NotebookRun("00_book", Path("a.ipynb"), Path("a.html"), 1.0, "ZeroDivisionError: <i>")


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "part, found, said",
    [
        ("tables.runs", [{"case": "ragged", "rel_l2 whole": 1e-3, "rel_l2 split": 3.1e-3}], "3.10e-03"),
        ("notebooks.execute_all", [FAILED], "ZeroDivisionError: <i>"),
        ("notebooks.available", {}, "The notebooks failed"),
        ("doctor.examine", NO_EMULATOR, "This machine failed"),
    ],
)
def test_what_is_wrong_is_said_and_returned(
    part: str, found: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(f"sparse_mla.{part}", lambda *_: found)
    assert tour.tour(tmp_path) == 1
    assert "FAILED" in capsys.readouterr().out
    page = Page(tmp_path / "index.html")
    assert said in page.words
    assert "i" not in page.tags


def test_a_table_aligns_words_left_and_numbers_right() -> None:
    rows = [{"name": "a", "count": 1234567, "share": 0.12345}, {"name": "long", "count": 5, "share": 2044.4}]
    assert tables.text(rows) == "name      count  share\na     1,234,567  0.123\nlong          5  2,044"
    assert tables.text([]) == ""
