"""Controls: sliders where somebody can move them, the same content with the defaults named where nobody can."""

from types import SimpleNamespace
from typing import Any

import ipywidgets
import pytest

from sparse_mla.errors import InputError
from sparse_mla.widgets import headless as module
from sparse_mla.widgets.headless import VARIABLE, control, headless
from sparse_mla.widgets.slider import Slider


def session(**kernel: bool) -> SimpleNamespace:
    return SimpleNamespace(kernel=SimpleNamespace(**kernel))


LIVE = session(_allow_stdin=True)


@pytest.mark.parametrize(
    "argument, variable, ipython, expected",
    [
        (None, None, LIVE, False),  # the one that can be asked
        (None, None, session(_allow_stdin=False), True),  # papermill
        (None, None, session(), True),
        (None, None, None, True),
        (None, "1", LIVE, True),
        (None, "0", None, False),
        (False, "1", LIVE, False),
    ],
)
def test_argument_beats_variable_beats_session(
    argument: bool | None, variable: str | None, ipython: Any, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    monkeypatch.setattr(module, "get_ipython", lambda: ipython)
    assert headless(argument) is expected


def test_another_value_of_the_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "yes")
    with pytest.raises(InputError, match="may be 0"):
        headless()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was displayed."""
    found: list[Any] = []
    monkeypatch.setattr(module, "display", found.append)
    return found


def show(rows: int, kind: str) -> str:
    return f"{rows} {kind}"


def test_headless_control_shows_the_defaults_once(shown: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    control(show, True, rows=(4, [1, 2, 4]), kind=("b", ["a", "b"]))
    assert shown == ["4 b"]
    assert capsys.readouterr().out == "rows = 4   (live: 1, 2, 4)\nkind = b   (live: a, b)\n"


def test_live_control_follows_its_inputs(shown: list[Any]) -> None:
    control(show, False, rows=(4, [1, 2, 4]), kind=("b", ["a", "b"]))
    rows, kind, _ = shown.pop().children
    assert isinstance(rows, Slider)
    assert isinstance(kind, ipywidgets.Dropdown)
    assert (rows.about["name"], rows.value) == ("rows", 4)
    rows.index = 1  # as the browser moves it
    kind.value = "a"
    assert shown == ["4 b", "2 b", "2 a"]


def test_what_was_shown_before_comes_back_without_a_call(shown: list[Any]) -> None:
    asked: list[int] = []

    def count(rows: int) -> str:
        asked.append(rows)
        return f"{rows} rows"

    control(count, False, rows=(1, [1, 2, 4]))
    [rows, _] = shown.pop().children
    for index in (1, 2, 1, 0):
        rows.index = index
    assert shown == ["1 rows", "2 rows", "4 rows", "2 rows", "1 rows"]
    assert asked == [1, 2, 4]


def refuse(words: str) -> str:
    if words != "right":
        raise InputError(f"{words}: not <this>")
    return words


def test_a_line_to_type_into_keeps_what_was_typed_and_says_what_is_wrong(
    shown: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_last", {})
    control(refuse, True, words=("right", None))
    assert (shown, capsys.readouterr().out) == (["right"], "words = right   (live: any)\n")
    control(refuse, False, words=("right", None))
    line, _ = shown.pop().children
    line.value = "wrong"
    assert isinstance(line, ipywidgets.Text)
    assert capsys.readouterr().out.endswith("wrong: not <this>\n")
    control(refuse, False, words=("right", None))  # the cell is run again
    assert shown.pop().children[0].value == "wrong"
    control(refuse, False, words=("else", None))  # another cell
    assert shown.pop().children[0].value == "else"
