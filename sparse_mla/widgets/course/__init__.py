"""Every exercise of the course by name: one module a notebook, named after it. Notebooks only call `check`."""

from __future__ import annotations

from typing import Any

from sparse_mla.errors import InputError
from sparse_mla.widgets.course import cache, mfma_tiling, start
from sparse_mla.widgets.exercise import Exercise, Verdict

COURSE: dict[str, Exercise] = {exercise.name: exercise for part in (start, cache, mfma_tiling) for exercise in part.EXERCISES}


def check(name: str, answer: Any, hint: bool = False) -> Verdict:
    """Check an answer to the exercise called `name`; `hint=True` adds a hint. A wrong answer is a verdict, not an error."""
    if name not in COURSE:
        raise InputError(f"no exercise {name!r}; there are {', '.join(COURSE)}")
    return COURSE[name].check(answer, hint)
