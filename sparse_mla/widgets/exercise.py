"""Exercises: a question in the notebook, a blank, and a check that says where an answer first goes wrong.

An exercise is data. `observe` turns an answer into named observations ("A[3][17]" -> "lane 35, ..."), `right` is the
reference answer, and each `Wrong` is an answer people give, with the reason why it is wrong. The check compares the
learner's observations, in order, with what `expect` says: an oracle or a run; without one, the observations of `right`. Tests
prove that `right` passes, that every `Wrong` fails, and that no two of them look the same: data that cannot tell a mistake from
the truth is a broken exercise. docs/course.md shows how to write one of each kind.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

Observations = Iterable[tuple[str, Any]]
Kind = Literal["fill", "predict", "fault", "explain"]
ANSWERED_BY = {"fill": "code", "predict": "a number or word, before the run", "fault": "a dictionary", "explain": "a letter"}


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
        mark = {True: "right", False: "not yet", None: "open"}[self.ok]
        return f"[{self.exercise}] {mark}: {self.message}"

    def _repr_html_(self) -> str:
        edge, mark = {True: ("#00543d", "✔ right"), False: ("#a33b00", "✘ not yet"), None: ("#5b6068", "… open")}[self.ok]
        style = f"border-left:4px solid {edge};padding:4px 10px;background:#fbfaf7;color:#23262b"
        text = html.escape(self.message).replace("\n", "<br>")
        return f'<div role="status" style="{style}"><b style="color:{edge}">{mark}</b> {text}</div>'


@dataclass(frozen=True)
class Exercise:
    """One question. `ask` is what the notebook prints, in these words; a test keeps the two the same."""

    name: str  # the notebook's number, a dot, a word: "03.phases"
    ask: str
    hint: str
    observe: Callable[[Any], Observations]
    right: Any
    wrong: Sequence[Wrong]
    tolerance: float = 0.0  # relative, for numbers
    kind: Kind = "fill"
    expect: Callable[[], Observations] | None = None
    solution: str = ""  # `right` as a notebook spells it, where it is a function
    given: Any = None  # evidence or frame that the notebook shows; a function is called, once

    def check(self, answer: Any, hint: bool = False) -> Verdict:
        """Compare with what is expected, observation by observation; the first difference is the verdict."""
        if answer is ... or answer is None:
            return self._verdict(None, "not answered yet", hint)
        seen, raised = self._observed(answer)
        for (where, want), (_, got) in zip(self.expected, seen, strict=False):
            if got is ... or got is None:
                return self._verdict(None, "not answered yet", hint)
            if not self._same(got, want):
                # Where answers can be counted on one hand, naming the right one would end the exercise.
                told = f"not {got}" if self.kind in ("fault", "explain") else f"you have {got}, it is {want}"
                told = str(got) if "\n" in str(got) else told  # a report speaks for itself
                return self._verdict(False, f"{where}: {told}{self._known(seen, raised)}", hint)
        if raised or len(seen) < len(self.expected):
            said = f"your answer raised {raised}" if raised else "your answer ends here"
            return self._verdict(False, f"{self.expected[len(seen)][0]}: {said}{self._known(seen, raised)}", hint)
        return self._verdict(True, f"all {len(seen)} agree" if len(seen) > 1 else f"{seen[0][0]} is {seen[0][1]}", False)

    @cached_property
    def expected(self) -> list[tuple[str, Any]]:
        """What is true: by the oracle or run of `expect`, otherwise by the right answer."""
        return list(self.expect() if self.expect else self.observe(self.right))

    @cached_property
    def shown(self) -> Any:
        """What the notebook shows with the question."""
        return self.given() if callable(self.given) else self.given

    @cached_property
    def _mistakes(self) -> list[tuple[list[tuple[str, Any]], str]]:
        return [self._observed(mistake.answer) for mistake in self.wrong]

    def _observed(self, answer: Any) -> tuple[list[tuple[str, Any]], str]:
        """What an answer shows, up to where it raises, and what it raises: a learner's code may raise anything."""
        seen: list[tuple[str, Any]] = []
        try:
            seen.extend(self.observe(answer))
        except Exception as error:
            return seen, f"{type(error).__name__}: {error}"
        return seen, ""

    def _verdict(self, ok: bool | None, message: str, hint: bool) -> Verdict:
        return Verdict(self.name, ok, f"{message}\nHint: {self.hint}" if hint else message)

    def _same(self, got: Any, want: Any) -> bool:
        if isinstance(want, int | float | np.number | np.ndarray) and not isinstance(want, bool):
            try:
                if np.shape(got) != np.shape(want):
                    return False
                both = np.asarray(got, float), np.asarray(want, float)
                return bool(np.allclose(*both, rtol=self.tolerance, atol=0.0, equal_nan=True))
            except (TypeError, ValueError):
                return False
        return bool((tuple(got) if isinstance(got, list) else got) == want)

    def _known(self, seen: list[tuple[str, Any]], raised: str) -> str:
        """The sentence for a mistake that gives exactly these observations, if it is a listed one."""
        for mistake, (listed, then) in zip(self.wrong, self._mistakes, strict=True):
            alike = len(listed) == len(seen) and raised.splitlines()[:1] == then.splitlines()[:1]  # addresses differ further down
            if alike and all(self._same(got, want) for (_, got), (_, want) in zip(seen, listed, strict=True)):
                return f"\n{mistake.why}"
        return ""


class Report(str):
    """Text that a notebook shows as it is."""

    def __repr__(self) -> str:
        return str(self)


def listing(source: str, *found: Any) -> Report:
    """Evidence of a find-the-fault exercise: source with line numbers, and below it what its run showed."""
    numbered = "\n".join(f"{n:2}  {line}" for n, line in enumerate(source.splitlines(), 1))
    return Report("\n".join([numbered, "", *map(str, found)]))


def calls(where: str, *arguments: tuple[Any, ...]) -> Callable[[Any], Observations]:
    """Observe a function at each tuple of arguments; `where` is a format string over them, such as "A[{}][{}]"."""
    return lambda answer: ((where.format(*args), answer(*args)) for args in arguments)


def items(*keys: Any) -> Callable[[Any], Observations]:
    """Observe a dictionary, one key after the other; a key that is missing reads as not answered."""
    return lambda answer: ((str(key), answer.get(key)) for key in keys)


def value(what: str) -> Callable[[Any], Observations]:
    """Observe the answer itself, called `what`."""
    return lambda answer: [(what, answer)]


def elements(name: str, array: Any) -> Observations:
    """Every element of an array, by its name and place, as plain Python numbers."""
    for place, number in np.ndenumerate(np.asarray(array)):
        yield name + "".join(f"[{at}]" for at in place), number.item()


def choice(name: str, ask: str, hint: str, right: str, options: Mapping[str, str | tuple[str, str]]) -> Exercise:
    """An explain exercise. `options`: letter to text, and for the wrong ones to (text, why it is wrong)."""
    texts = {letter: option if isinstance(option, str) else option[0] for letter, option in options.items()}
    wrong = [Wrong(letter, option[1]) for letter, option in options.items() if letter != right]
    listed = "\n".join(f"- **{letter}** {text}" for letter, text in texts.items())
    return Exercise(name, f"{ask}\n{listed}", hint, value("answer"), right, wrong, kind="explain", given=texts)
