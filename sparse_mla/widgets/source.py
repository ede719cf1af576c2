"""Exercises whose answer is source text: a fragment of HIP or Triton code goes into a frame, is compiled for gfx950, and runs.

Each gives the fields `observe`, `expect` and `given` of an Exercise. A frame has one line `@answer@`. `launch` runs what was
built and gives (outputs, findings): arrays by name, and what the sanitizer found, so that an answer with a race or a read out of
bounds is wrong even where its numbers happen to be right. `truth` gives the same arrays by an independent way.
"""

from __future__ import annotations

import linecache
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sparse_mla.errors import InputError
from sparse_mla.widgets.exercise import Observations, elements

Outputs = Mapping[str, Any]
Launch = Callable[[Any], tuple[Outputs, Sequence[Any]]]


def hip_code(frame: str, launch: Launch, truth: Callable[[], Outputs]) -> dict[str, Any]:
    """The answer is lines of HIP. `launch` gets the compiled module; messages count lines from the answer's first."""

    def build(answer: str) -> Any:
        from sparse_mla.execute.hip import hip

        after = frame[: frame.index("@answer@")].count("\n") + 2
        return hip(frame.replace("@answer@", f'#line 1 "answer"\n{answer}\n#line {after} "frame"'))

    return _code(frame, build, launch, truth)


def triton_code(frame: str, launch: Launch, truth: Callable[[], Outputs]) -> dict[str, Any]:
    """The answer is lines of a `@triton.jit` function, which `launch` gets; `tl` and `triton` are there. Messages count lines
    from the frame's first, the decorator."""

    def build(answer: str) -> Any:
        import triton
        import triton.language as tl

        before, _, after = frame.strip("\n").partition("@answer@")
        text = before + textwrap.dedent(answer).strip("\n").replace("\n", "\n" + before.rpartition("\n")[2]) + after
        linecache.cache["frame"] = (len(text), None, text.splitlines(keepends=True), "frame")  # where Triton looks for it
        names: dict[str, Any] = {"triton": triton, "tl": tl, "__name__": "frame"}
        exec(compile(text, "frame", "exec"), names)
        return next(made for made in names.values() if isinstance(made, triton.JITFunction))

    return _code(frame, build, launch, truth)


def _code(frame: str, build: Callable[[str], Any], launch: Launch, truth: Callable[[], Outputs]) -> dict[str, Any]:
    def observe(answer: str) -> Observations:
        if not isinstance(answer, str):
            raise InputError(f"the answer is source text, not {type(answer).__name__}")
        outputs, findings = launch(build(answer))
        yield "sanitizer", str(findings[0]) if findings else "finds nothing"
        for name, array in outputs.items():
            yield from elements(name, array)

    def expect() -> Observations:
        yield "sanitizer", "finds nothing"
        for name, array in truth().items():
            yield from elements(name, array)

    blank = "...  // your answer" if "__global__" in frame else "...  # your answer"
    return {"observe": observe, "expect": expect, "given": frame.strip("\n").replace("@answer@", blank)}
