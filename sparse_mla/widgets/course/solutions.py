"""Solutions notebooks: a lesson with its blanks filled from the exercises' right answers, and nothing else changed.

A blank is a line of code that ends in `# your answer`, in the cell that checks it. What follows `return` or `name =` is replaced,
otherwise the `...`; a solution of several lines replaces the whole line.
"""

from __future__ import annotations

import copy
import json
import re
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

from sparse_mla.errors import InputError
from sparse_mla.widgets.course import exercises
from sparse_mla.widgets.exercise import Exercise

BLANK = re.compile(r"^(?P<indent>\s*)(?P<to>return |\w+ = )?(?P<rest>.*?)(?P<mark>  # your answer.*)$", re.MULTILINE)
ASKED = re.compile(r'\b(?:check|predict)\("(\d\d)(\.\w+)"')
_LINK = re.compile(r"(\]\()(?!\w+:|#)")


def spelled(exercise: Exercise) -> str:
    """The right answer as a notebook spells it: `solution`, or the literal."""
    if exercise.solution or callable(exercise.right):
        if not exercise.solution:
            raise InputError(f"{exercise.name}: its right answer is a function, so it needs `solution`, the text for a notebook")
        return textwrap.dedent(exercise.solution).strip("\n")
    if isinstance(exercise.right, str) and "\n" in exercise.right:
        return f'r"""\n{exercise.right.strip(chr(10))}\n"""'
    text = repr(exercise.right)
    return text if '"' in text else text.replace("'", '"')


def solve(lesson: dict[str, Any]) -> dict[str, Any]:
    """The solutions notebook of a lesson, both as JSON. Relative links lead one folder up."""
    notebook = copy.deepcopy(lesson)
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            text = _LINK.sub(r"\1../", text)
        elif BLANK.search(text):
            if not (asked := ASKED.search(text)):
                raise InputError(f"cell {cell['id']} has a blank, but no check or predict of an exercise")
            text = BLANK.sub(partial(_filled, exercises(asked[1])[asked[1] + asked[2]]), text)
        cell["source"] = text.splitlines(keepends=True)
    return notebook


def _filled(exercise: Exercise, blank: re.Match[str]) -> str:
    solution, mark = spelled(exercise), "  # solution"
    if exercise.solution and "\n" in solution:
        return textwrap.indent(solution, blank["indent"])
    rest = solution if blank["to"] else blank["rest"].replace("...", solution, 1)
    return f"{blank['indent']}{blank['to'] or ''}{rest}{mark}"


def write(lesson: Path) -> Path:
    """Write the solutions of a lesson's file into the folder `solutions` beside it."""
    out = lesson.parent / "solutions" / lesson.name
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(solve(json.loads(lesson.read_text())), indent=1, ensure_ascii=False) + "\n")
    return out
