"""The exercises of the course: one module a notebook, `n` and its name, with a list EXERCISES. docs/course.md says how.

Notebooks call `check`, `predict` and `reveal`, and `given` for what comes with a question.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

from IPython.display import display

from sparse_mla.errors import InputError
from sparse_mla.widgets import progress
from sparse_mla.widgets.exercise import Exercise, Verdict
from sparse_mla.widgets.headless import headless

MODULES = {name.partition("_")[0][1:]: name for _, name, _ in pkgutil.iter_modules(__path__) if name[:1] == "n"}


def exercises(number: str) -> dict[str, Exercise]:
    """The exercises of the notebook with that number, "03", by name."""
    module = import_module(f"{__name__}.{MODULES[number]}") if number in MODULES else None
    return {exercise.name: exercise for exercise in module.EXERCISES} if module else {}


def course() -> dict[str, Exercise]:
    """Every exercise by name, in the order of the course."""
    return {name: exercise for number in sorted(MODULES) for name, exercise in exercises(number).items()}


def _named(name: str) -> Exercise:
    found = exercises(name.partition(".")[0])
    if name not in found:
        raise InputError(f"no exercise {name!r}; there are {', '.join(found or course())}")
    return found[name]


def check(name: str, answer: Any, hint: bool = False) -> Verdict:
    """Check an answer to the exercise called `name`; `hint=True` adds a hint. A wrong answer is a verdict, not an error."""
    exercise = _named(name)
    if exercise.kind == "predict":
        raise InputError(f'{name} is a prediction: predict("{name}", ...) before the run, reveal("{name}") after it')
    if exercise.kind == "explain" and answer is ... and not headless():
        _offer(exercise)
    return _judged(exercise, answer, hint)


def predict(name: str, answer: Any, hint: bool = False) -> Verdict:
    """Commit to a prediction, which may be changed until it is revealed. Where nobody is there, a blank stands for a common
    mistake, and says so."""
    exercise, before = _named(name), progress.entry(name)
    if "revealed" in before:
        return Verdict(name, None, f"you predicted {before['prediction']} ({before['predicted']}); it is revealed, and kept")
    if answer is ... or answer is None:
        if not headless():
            return exercise.check(..., hint)
        answer = exercise.wrong[0].answer
        said = f"nobody is here to predict; a common mistake stands in: {answer}"
    else:
        said = f"your prediction is kept: {answer}"
    made = {"prediction": answer, "predicted": progress.now()}
    return _noted(Verdict(name, None, said), lambda entry: entry | made)


def reveal(name: str, show: Callable[[], Any] | None = None) -> Verdict:
    """What is true, beside the prediction, and what `show()` gives; before a prediction only "predict first"."""
    exercise, before = _named(name), progress.entry(name)
    if "prediction" not in before:
        return Verdict(name, None, f'predict first: predict("{name}", ...)')
    if show:
        display(show())  # type: ignore[no-untyped-call]
    verdict = exercise.check(before["prediction"])
    message = f"predicted {before['prediction']} ({before['predicted']})\n{verdict.message}"
    tried = _tried(bool(verdict.ok))
    once = {"revealed": progress.now()}
    return _noted(Verdict(name, verdict.ok, message), lambda entry: entry if "revealed" in entry else tried(entry) | once)


def given(name: str) -> Any:
    """What comes with a question: a recording, a report, the frame that an answer goes into."""
    return _named(name).shown


def by_notebook() -> list[dict[str, Any]]:
    """A row a notebook: how many exercises it has, how many were answered and are solved, and when the last one was."""
    entries, rows = progress.load()[0], []
    for number in sorted(MODULES):
        mine = [entries.get(name, {}) for name in exercises(number)]
        row: dict[str, Any] = {"notebook": MODULES[number][1:], "exercises": len(mine)}
        row |= {"tried": sum("tries" in one for one in mine), "solved": sum("solved" in one for one in mine)}
        rows.append(row | {"last solved": max((one.get("solved", "") for one in mine), default="")})
    return rows


def _judged(exercise: Exercise, answer: Any, hint: bool = False) -> Verdict:
    verdict = exercise.check(answer, hint)
    return verdict if verdict.ok is None else _noted(verdict, _tried(bool(verdict.ok)))


def _offer(exercise: Exercise) -> None:
    """The options as buttons, and below them the verdict on the one that is chosen."""
    import ipywidgets as widgets  # a live session only

    options = [(f"{letter}: {text}", letter) for letter, text in exercise.shown.items()]
    radio = widgets.RadioButtons(options=options, value=None, layout={"width": "max-content"})
    output = widgets.interactive_output(
        lambda letter: display(_judged(exercise, letter)),  # type: ignore[no-untyped-call]
        {"letter": radio},
    )
    display(widgets.VBox([radio, output]))  # type: ignore[no-untyped-call]


def _tried(ok: bool) -> Callable[[progress.Entry], progress.Entry]:
    return lambda entry: {**({"solved": progress.now()} if ok else {}), **entry, "tries": entry.get("tries", 0) + 1}


def _noted(verdict: Verdict, change: Callable[[progress.Entry], progress.Entry]) -> Verdict:
    problem = progress.update(verdict.exercise, change)
    return Verdict(verdict.exercise, verdict.ok, f"{verdict.message}\n{problem}" if problem else verdict.message)
