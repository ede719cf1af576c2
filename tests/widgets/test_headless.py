"""Controls: sliders where somebody can move them, the same content with the defaults named where nobody can."""

from types import SimpleNamespace
from typing import Any

import pytest

from sparse_mla.errors import InputError
from sparse_mla.widgets import headless as module
from sparse_mla.widgets.headless import VARIABLE, control, headless


def session(monkeypatch: pytest.MonkeyPatch, **kernel: Any) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(module, "get_ipython", lambda: SimpleNamespace(kernel=SimpleNamespace(**kernel)))


def test_a_live_session_is_the_one_that_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    session(monkeypatch, _allow_stdin=True)
    assert not headless()


@pytest.mark.parametrize("kernel", [{"_allow_stdin": False}, {}])
def test_papermill_and_unknown_sessions_are_headless(monkeypatch: pytest.MonkeyPatch, kernel: dict[str, bool]) -> None:
    session(monkeypatch, **kernel)
    assert headless()


def test_no_ipython_is_headless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(module, "get_ipython", lambda: None)
    assert headless()


def test_argument_beats_variable_beats_session(monkeypatch: pytest.MonkeyPatch) -> None:
    session(monkeypatch, _allow_stdin=True)
    monkeypatch.setenv(VARIABLE, "1")
    assert headless()
    assert not headless(False)
    monkeypatch.setenv(VARIABLE, "yes")
    with pytest.raises(InputError, match="may be 0"):
        headless()


def test_headless_control_shows_the_defaults_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(module, "display", shown.append)
    control(lambda rows, kind: f"{rows} {kind}", True, rows=(4, [1, 2, 4]), kind=("b", {"first": "a", "second": "b"}))
    assert shown == ["4 b"]
    assert capsys.readouterr().out == "rows = 4   (live: 1, 2, 4)\nkind = b   (live: first, second)\n"


def test_live_control_follows_its_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    import ipywidgets

    shown: list[Any] = []
    monkeypatch.setattr(module, "display", shown.append)
    control(lambda rows, kind: f"{rows} {kind}", False, rows=(4, [1, 2, 4]), kind=("b", ["a", "b"]))
    box = shown.pop()
    rows, kind, _ = box.children
    assert isinstance(rows, ipywidgets.SelectionSlider)
    assert isinstance(kind, ipywidgets.Dropdown)
    assert (rows.description, rows.value) == ("rows", 4)
    rows.value = 2
    kind.value = "a"
    assert shown == ["4 b", "2 b", "2 a"]


def test_a_default_outside_its_choices_is_refused() -> None:
    with pytest.raises(InputError, match=r"rows: the default 3 is not among its choices \[1, 2\]"):
        control(print, True, rows=(3, [1, 2]))
