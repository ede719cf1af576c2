"""Phases of a kernel, as its source names them.

A comment `// phase: gather` (in Python `# phase: gather`) says what that line and the lines after it do, up to the next such
comment; `phase: none` ends it. An instruction belongs to the phase of its own line or, where that has none, of the innermost
call that it was inlined through and that has one: a helper works for whoever calls it. Barriers are a phase of their own, for
there waves wait for others. What no comment covers is `other`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pandas as pd

# Of our kernels, in order.
PHASES = ("load q", "gather", "dequantise", "QK", "softmax", "PV", "barrier", "store", "merge", "other")
_MARK = re.compile(r"(?://|#)\s*phase:\s*(.*?)\s*$")
_CALL = re.compile(r"(\S.*?):(\d+)(?: -> |$)")


def marks(text: str) -> list[str]:
    """The phase of each line of a source, "" where it has none."""
    found, phase = [], ""
    for line in text.splitlines():
        if m := _MARK.search(line):
            phase = "" if m[1] == "none" else m[1]
        found.append(phase)
    return found


def phases_of(frame: pd.DataFrame, text: Callable[[str], str]) -> list[str]:
    """The phase of each row of a frame with columns unit, file, line and calls; `text` gives a file's source."""
    marked: dict[str, list[str]] = {}

    def at(file: str, line: int) -> str:
        if file not in marked:
            marked[file] = marks(text(file))
        return marked[file][line - 1] if 0 < line <= len(marked[file]) else ""

    def chain(file: str, line: int, calls: str) -> Iterator[str]:
        yield at(file, line)
        for m in _CALL.finditer(calls):
            yield at(m[1], int(m[2]))

    known: dict[tuple[str, int, str], str] = {}
    for key in zip(frame.file, frame.line, frame.calls, strict=True):
        if key not in known:
            known[key] = next(filter(None, chain(*key)), "other")
    lines = zip(frame.file, frame.line, frame.calls, strict=True)
    return ["barrier" if unit == "BARRIER" else known[key] for unit, key in zip(frame.unit, lines, strict=True)]
