"""Checks have teeth: every right answer passes, every known-wrong one is rejected for its own reason, none looks like another."""

import json
from pathlib import Path
from typing import Any

import pytest

from sparse_mla.widgets.course import check, course
from sparse_mla.widgets.exercise import Exercise, Wrong, calls, items

ROOT = Path(__file__).parents[2]
COURSE = course()
EACH = pytest.mark.parametrize("exercise", COURSE.values(), ids=COURSE)
MISTAKES = [pytest.param(one, n, id=f"{one.name}-{n}") for one in COURSE.values() for n in range(len(one.wrong))]


@EACH
def test_the_right_answer_is_accepted(exercise: Exercise) -> None:
    assert check(exercise.name, exercise.right).ok is True
    assert len(exercise.wrong) >= 3


@pytest.mark.parametrize("exercise, n", MISTAKES)
def test_a_known_mistake_is_rejected_for_its_own_reason(exercise: Exercise, n: int) -> None:
    verdict = check(exercise.name, exercise.wrong[n].answer)
    assert verdict.ok is False
    assert exercise.wrong[n].why in verdict.message  # fails too where two mistakes look the same
    assert verdict.message.startswith(tuple(where for where, _ in exercise.observe(exercise.right)))


@EACH
def test_an_untouched_blank_is_not_wrong_and_hints_when_asked(exercise: Exercise) -> None:
    blank = check(exercise.name, ...)
    assert blank.ok is None
    assert exercise.hint not in repr(blank) + exercise.ask
    assert exercise.hint in repr(check(exercise.name, ..., hint=True))
    if callable(exercise.right):
        assert check(exercise.name, lambda *_: ...).ok is None


def test_the_notebooks_ask_what_the_table_asks_and_check_nothing_else() -> None:
    asked: dict[str, str] = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        prose = " ".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        for name, exercise in COURSE.items():
            if f'check("{name}"' in code:
                asked[name] = path.stem
                assert " ".join(exercise.ask.split()) in " ".join(prose.split()), f"{path.name} does not ask: {exercise.ask}"
    assert set(asked) == set(COURSE)
    assert all(name[:2] == notebook[:2] for name, notebook in asked.items())


PLUS = Wrong(lambda n: n + 1, "That adds one.")
SAMPLE = Exercise("x", "Double it.", "Add it to itself.", calls("at {}", (1,), (3,)), lambda n: 2 * n, [PLUS])


@pytest.mark.parametrize(
    "answer, message",
    [
        (lambda n: n + 1, "at 3: you have 4, it is 6\nThat adds one."),
        (lambda n: n**2, "at 1: you have 1, it is 2"),
        (lambda n: "two", "at 1: you have two, it is 2"),
        (lambda n: 2 if n == 1 else 1 / 0, "at 3: your answer raised ZeroDivisionError: division by zero"),
        (lambda: 2, "at 1: your answer raised TypeError"),
    ],
)
def test_the_first_wrong_place_is_named(answer: Any, message: str) -> None:
    verdict = SAMPLE.check(answer)
    assert verdict.ok is False
    assert verdict.message.startswith(message)


def test_a_missing_key_reads_as_blank() -> None:
    exercise = Exercise("x", "Which?", "Look.", items("a", "b"), {"a": 1, "b": 2}, [])
    assert exercise.check({"a": 1}).ok is None
    assert exercise.check({"a": 1, "b": 3}).message == "b: you have 3, it is 2"


def test_verdicts_escape_what_learners_write() -> None:
    assert "<script>" not in SAMPLE.check(lambda n: "<script>")._repr_html_()
