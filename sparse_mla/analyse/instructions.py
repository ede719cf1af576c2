"""Static instructions with what was counted and timed of them, whatever recorded it: the frame that other analyses take.

One row for each launch and static instruction, whose columns are

    dispatch, kernel, pc, text, mnemonic, unit        the instruction; `unit` as gfx950/isa has it, "" for one it does not know
    file, line, calls, source, phase                  innermost source line, the calls that it was inlined through
                                                      ("file:line -> ..."), the line's text, its phase (analyse.phases)
    hit                                               executions by the waves that were traced, of all waves where none were
    latency, stall, idle                              cycles of traced waves, as thread traces count them; absent if not timed
    the CAUSES                                        cycles by cause: of all waves, or of traced ones where `inferred`
    likely, inferred                                  what its stalls are probably due to; True where the causes follow from that
    counted, timed                                    the kind of `hit`, and of all times ("" if not timed)
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from sparse_mla.analyse.causes import likely_causes
from sparse_mla.analyse.phases import phases_of
from sparse_mla.errors import InputError
from sparse_mla.execute.result import Result
from sparse_mla.files import source_file
from sparse_mla.gfx950.decode import row_of
from sparse_mla.gfx950.machine import Launched
from sparse_mla.record.from_emulator import listing
from sparse_mla.record.schema import CAUSES, Recording

TIMES = ("latency", "stall", "idle")
_KEPT = ("dispatch", "kernel", "pc", "text", "file", "line", "hit", *TIMES, *CAUSES)


def instructions(run: Recording | Result | Launched) -> pd.DataFrame:
    """The frame described above, of a recording, or of a run or a launch on the emulator (counts only)."""
    if isinstance(run, Recording):
        table = run["instructions"]
        frame = table[[name for name in _KEPT if name in table]].copy()
        frame["calls"] = table.get("inlined_at", "")
        kinds = run.kind("instructions", "hit"), run.kind("instructions", "latency")
        texts = dict(zip(run["sources"].path, run["sources"].text, strict=True))
    else:
        launches = run.launches if isinstance(run, Result) else (run,)
        if not launches:
            raise InputError("this run executed no machine code that could be looked at; use on='emulator'")
        parts = [listing(one.kernel).assign(dispatch=i, hit=one.counts.sum(axis=0)) for i, one in enumerate(launches)]
        frame = pd.concat(parts, ignore_index=True).rename(columns={"inlined_at": "calls"})[[*_KEPT[:7], "calls"]]
        kinds, texts = ("emulated", ""), {}
    frame["mnemonic"] = frame.text.str.split().str[0].fillna("")
    units = {name: found[0].unit if (found := row_of(name)) else "" for name in frame.mnemonic.unique()}
    sources = Sources(texts)
    frame["unit"] = frame.mnemonic.map(units)
    frame["source"] = [sources.line(file, line) for file, line in zip(frame.file, frame.line, strict=True)]
    frame["phase"] = phases_of(frame, sources.text)
    frame["likely"] = likely_causes(frame)
    frame["inferred"] = "latency" in frame and CAUSES[0] not in frame
    if frame.inferred.any():
        for cause in CAUSES:
            frame[cause] = frame.stall.where(frame.likely == cause, 0)
        rest = frame.latency - frame.stall
        frame["launch"] += rest.where(frame.likely == "launch", 0)
        frame["issue"] += rest.where(frame.likely != "launch", 0)
        frame["dependency"] += frame.idle
    return frame.assign(counted=kinds[0], timed=kinds[1])


class Sources:
    """Texts of source files: those that a recording carries, else ours, else what lies at that path on this machine."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts, self.lines = dict(texts), dict[str, list[str]]()

    def text(self, file: str) -> str:
        """All of it, "" where there is none."""
        if file not in self.texts:
            path = source_file(file)
            self.texts[file] = path.read_text("utf-8", "replace") if file and path.is_file() else ""
        return self.texts[file]

    def line(self, file: str, line: int) -> str:
        """One line without its indentation, "" where there is none."""
        if file not in self.lines:
            self.lines[file] = self.text(file).splitlines()
        lines = self.lines[file]
        return lines[line - 1].strip() if 0 < line <= len(lines) else ""
