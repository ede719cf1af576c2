"""Checks have teeth: every right answer passes, every known-wrong one is rejected for its own reason, none looks like another."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse_mla.errors import InputError
from sparse_mla.widgets import course as lessons
from sparse_mla.widgets import progress
from sparse_mla.widgets.course import check, course, exercises, predict, reveal
from sparse_mla.widgets.exercise import Exercise, Wrong, calls, choice, items, value
from sparse_mla.widgets.headless import VARIABLE
from sparse_mla.widgets.source import hip_code, triton_code

ROOT = Path(__file__).parents[2]
COURSE = course()
EACH = pytest.mark.parametrize("exercise", COURSE.values(), ids=COURSE)
MISTAKES = [pytest.param(one, n, id=f"{one.name}-{n}") for one in COURSE.values() for n in range(len(one.wrong))]


@EACH
def test_the_right_answer_is_accepted(exercise: Exercise) -> None:
    verdict = exercise.check(exercise.right)
    assert verdict.ok is True, verdict
    assert len(exercise.wrong) >= 3


@pytest.mark.parametrize("exercise, n", MISTAKES)
def test_a_known_mistake_is_rejected_for_its_own_reason(exercise: Exercise, n: int) -> None:
    verdict = exercise.check(exercise.wrong[n].answer)
    assert verdict.ok is False, verdict
    assert exercise.wrong[n].why in verdict.message  # fails too where two mistakes look the same
    assert verdict.message.startswith(tuple(where for where, _ in exercise.expected))


@EACH
def test_an_untouched_blank_is_not_wrong_and_hints_when_asked(exercise: Exercise) -> None:
    blank = exercise.check(...)
    assert blank.ok is None
    assert exercise.hint not in repr(blank) + exercise.ask
    assert exercise.hint in repr(exercise.check(..., hint=True))
    if callable(exercise.right):
        assert exercise.check(lambda *_: ...).ok is None


@EACH
def test_a_kind_has_what_it_needs(exercise: Exercise) -> None:
    if exercise.kind == "explain":
        assert set(exercise.shown) == {exercise.right, *(mistake.answer for mistake in exercise.wrong)}
    if exercise.kind == "predict":
        assert exercise.expect, "the truth of a prediction comes from a run"
        json.dumps([exercise.right, *(mistake.answer for mistake in exercise.wrong)])
    if exercise.kind == "fault":
        assert exercise.shown is not None


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_asks_what_the_table_asks_in_its_order_and_checks_nothing_else(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    prose = " ".join(" ".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown").split())
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    asked = re.findall(r'\b(check|predict)\("([^"]+)"', code)
    assert [name for _, name in asked] == list(exercises(path.name[:2])), "each is asked once, in the order of EXERCISES"
    for call, name in asked:
        exercise = COURSE[name]
        assert " ".join(exercise.ask.split()) in prose, f"{path.name} does not ask: {exercise.ask}"
        assert (call == "predict") == (exercise.kind == "predict"), name
        assert call == "check" or code.find(f'predict("{name}"') < code.find(f'reveal("{name}"'), f"{name} is not revealed"


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


def test_too_few_observations_are_not_right() -> None:
    exercise = Exercise("x", "Which?", "Look.", lambda answer: enumerate(answer), [1, 2], [])  # type: ignore[arg-type, return-value]
    assert exercise.check([1]).ok is False


WHY = choice("77.why", "Why?", "Think.", "b", {"a": ("Luck.", "Luck has no cause."), "b": "Physics."})


def test_a_choice_gives_the_reason_and_keeps_the_answer() -> None:
    assert WHY.check("a").message == "answer: not a\nLuck has no cause."
    assert WHY.check("z").message == "answer: not z"
    assert WHY.check("b").ok is True
    assert WHY.ask == "Why?\n- **a** Luck.\n- **b** Physics."


HIP = hip_code(
    "#include <hip/hip_runtime.h>\n__global__ void twice(int* x, int n) {\n  @answer@\n}",
    lambda module: _ran(module.twice[2, 64], np.arange(100, dtype=np.int32), 100),
    lambda: {"x": 2 * np.arange(100)},
)
TRITON = triton_code(
    "@triton.jit\ndef twice(x, n, SIZE: tl.constexpr):\n    @answer@",
    lambda function: _ran_triton(function),
    lambda: {"x": 2 * np.arange(100)},
)


def _ran(kernel: Any, x: np.ndarray, n: int) -> tuple[dict[str, Any], Any]:
    return {"x": x}, kernel(x, n, sanitize=True).findings


def _ran_triton(function: Any) -> tuple[dict[str, Any], Any]:
    import torch

    from sparse_mla import triton_on_gfx950

    x = torch.arange(100)
    return {"x": x}, triton_on_gfx950(function)[(2,)](x, 100, SIZE=64, sanitize=True).findings


@pytest.mark.parametrize(
    "code, answer, ok, said",
    [
        (HIP, "int i = blockIdx.x * 64 + threadIdx.x;\nif (i < n) x[i] *= 2;", True, ""),
        (HIP, "int i = blockIdx.x * 64 + threadIdx.x;\nif (i < n && i != 70) x[i] *= 2;", False, "x[70]: you have 70, it is 140"),
        (HIP, "int i = blockIdx.x * 64 + threadIdx.x;\nx[i] *= 2;", False, "outside every buffer.*\n.*answer:2"),
        (HIP, "x[threadIdx.x] *= 2;", False, "global-race.*answer:1"),
        (HIP, "int i = 0\n;x[j] = 1;", False, "answer:2:4: error"),
        (HIP, 7, False, "source text, not int"),
        (TRITON, "i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)\ntl.store(x + i, 2 * tl.load(x + i, i < n), i < n)", True, ""),
        (
            TRITON,
            "i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)\ntl.store(x + i, 2 * i, i < n - 1)",
            False,
            r"x\[99\]: you have 99",
        ),
        (TRITON, "i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)\ntl.store(x + i, 2 * i)", False, "outside every.*\n.*frame:4"),
        (TRITON, "tl.store(x + j, 1)", False, "j is not defined"),
    ],
)
def test_code_is_compiled_run_and_judged_by_the_oracle(code: dict[str, Any], answer: Any, ok: bool, said: str) -> None:
    verdict = Exercise("x", "", "", right="", wrong=[], **code).check(answer)
    assert verdict.ok is ok
    assert re.search(said if "\\" in said or "." in said else re.escape(said), verdict.message), verdict.message


GUESS = Exercise(
    "77.n",
    "How many?",
    "Count.",
    value("n"),
    8,
    [Wrong(64, "Lanes are not phases."), Wrong(4, "That is half."), Wrong(16, "That is double.")],
    kind="predict",
    expect=lambda: [("n", 8)],
)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody is there, and the course is one prediction and one choice."""
    monkeypatch.setenv(VARIABLE, "0")
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "progress.json"))
    monkeypatch.setattr(lessons, "exercises", lambda number: {"77.n": GUESS, "77.why": WHY})
    monkeypatch.setattr(progress, "_here", {})
    return tmp_path / "progress.json"


def test_a_prediction_is_committed_before_anything_is_shown_and_kept(live: Path) -> None:
    shown: list[str] = []
    assert "predict first" in reveal("77.n", lambda: shown.append("seen")).message
    assert predict("77.n", ...).ok is None
    assert "predict first" in reveal("77.n", lambda: shown.append("seen")).message
    assert (shown, live.exists()) == ([], False)
    predict("77.n", 4)
    predict("77.n", 64)  # may be changed until it is revealed
    stored = progress.entry("77.n")
    assert stored["prediction"] == 64
    assert stored["predicted"].startswith("20")
    verdict = reveal("77.n", lambda: shown.append("seen"))
    assert shown == ["seen"]
    assert verdict.ok is False
    assert re.search("predicted 64 .*\nn: you have 64, it is 8\nLanes are not phases.", verdict.message)
    assert "is revealed, and kept" in predict("77.n", 8).message
    assert progress.entry("77.n")["prediction"] == 64
    with pytest.raises(InputError, match="is a prediction"):
        check("77.n", 8)


def test_without_anybody_a_mistake_stands_in_and_nothing_is_stored(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    assert "a common mistake stands in: 64" in predict("77.n", ...).message
    assert "predicted 64" in reveal("77.n").message
    assert check("77.why", "b").ok is True
    assert not live.exists()


def test_tries_are_counted_and_the_first_success_is_kept(live: Path) -> None:
    for answer in ("a", ..., "b"):
        check("77.why", answer)
    solved = progress.entry("77.why")["solved"]
    check("77.why", "a")
    assert progress.entry("77.why") == {"tries": 3, "solved": solved}


def test_a_choice_can_be_made_by_buttons(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(lessons, "display", shown.append)
    assert check("77.why", ...).ok is None
    radio, _ = shown.pop().children
    assert [label for label, _ in radio.options] == ["a: Luck.", "b: Physics."]
    for letter in "ab":
        radio.value = letter
    assert [verdict.ok for verdict in shown] == [None, False, True]
    assert "Luck has no cause." in shown[1].message
    assert progress.entry("77.why")["tries"] == 2
