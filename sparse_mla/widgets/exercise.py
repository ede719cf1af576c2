"""Exercises: a question in the notebook, a blank, and a check that says where an answer first goes wrong.

An exercise is data. `observe` turns an answer into named observations ("A[3][17]" -> "lane 35, ..."), `right` is the
reference answer, and each `Wrong` is an answer people give, with the reason why it is wrong. The check compares the
learner's observations with those of `right`, in order. Tests prove that `right` passes, that every `Wrong` fails, and
that no two of them look the same: data that cannot tell a mistake from the truth is a broken exercise.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Observations = Iterable[tuple[str, Any]]


@dataclass(frozen=True)
class Wrong:
    """A mistake worth naming: an answer, and the sentence for somebody who gives it."""

    answer: Any
    why: str


@dataclass(frozen=True)
class Verdict:
    """What a check found. `ok` is None for a blank that nobody has filled in yet."""

    exercise: str
    ok: bool | None
    message: str

    def __repr__(self) -> str:
        mark = {True: "right", False: "not yet", None: "blank"}[self.ok]
        return f"[{self.exercise}] {mark}: {self.message}"

    def _repr_html_(self) -> str:
        edge, mark = {True: ("#00543d", "✔ right"), False: ("#a33b00", "✘ not yet"), None: ("#5b6068", "… blank")}[self.ok]
        style = f"border-left:4px solid {edge};padding:4px 10px;background:#fbfaf7;color:#23262b"
        text = html.escape(self.message).replace("\n", "<br>")
        return f'<div role="status" style="{style}"><b style="color:{edge}">{mark}</b> {text}</div>'


@dataclass(frozen=True)
class Exercise:
    """One question. `ask` is the sentence that the notebook prints; a test keeps the two the same."""

    name: str
    ask: str
    hint: str
    observe: Callable[[Any], Observations]
    right: Any
    wrong: Sequence[Wrong]
    tolerance: float = 0.0  # relative, for numbers

    def check(self, answer: Any, hint: bool = False) -> Verdict:
        """Compare with the reference, observation by observation; the first difference is the verdict."""
        if answer is ... or answer is None:
            return self._verdict(None, "not answered yet", hint)
        expected = list(self.observe(self.right))
        seen: list[tuple[str, Any]] = []
        raised = ""
        try:
            seen.extend(self.observe(answer))
        except Exception as error:  # a learner's code may raise anything: the place and the message are the lead
            raised = f"your answer raised {type(error).__name__}: {error}"
        for (where, want), (_, got) in zip(expected, seen, strict=False):
            if got is ... or got is None:
                return self._verdict(None, "not answered yet", hint)
            if not self._same(got, want):
                return self._verdict(False, f"{where}: you have {got}, it is {want}{self._known(seen)}", hint)
        if raised:
            return self._verdict(False, f"{expected[len(seen)][0]}: {raised}", hint)
        return self._verdict(True, f"all {len(seen)} agree", False)

    def _verdict(self, ok: bool | None, message: str, hint: bool) -> Verdict:
        return Verdict(self.name, ok, f"{message}\nHint: {self.hint}" if hint else message)

    def _same(self, got: Any, want: Any) -> bool:
        if isinstance(want, int | float | np.number | np.ndarray) and not isinstance(want, bool):
            try:
                if np.shape(got) != np.shape(want):
                    return False
                return bool(np.allclose(np.asarray(got, float), np.asarray(want, float), rtol=self.tolerance, atol=0.0))
            except (TypeError, ValueError):
                return False
        return bool((tuple(got) if isinstance(got, list) else got) == want)

    def _known(self, seen: list[tuple[str, Any]]) -> str:
        """The sentence for a mistake that gives exactly these observations, if it is a listed one."""
        for mistake in self.wrong:
            listed = [got for _, got in self.observe(mistake.answer)]
            if len(listed) == len(seen) and all(self._same(got, want) for (_, got), want in zip(seen, listed, strict=True)):
                return f"\n{mistake.why}"
        return ""


def calls(where: str, *arguments: tuple[Any, ...]) -> Callable[[Any], Observations]:
    """Observe a function at each tuple of arguments; `where` is a format string over them, such as "A[{}][{}]"."""
    return lambda answer: ((where.format(*args), answer(*args)) for args in arguments)


def items(*keys: Any) -> Callable[[Any], Observations]:
    """Observe a dictionary, one key after the other; a key that is missing reads as not answered."""
    return lambda answer: ((str(key), answer.get(key)) for key in keys)
