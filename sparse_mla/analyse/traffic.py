"""What instructions ask of memory and LDS: bytes by instruction, by buffer and by level, and how often the same ones again.

Counted, not modelled: `asked` are the bytes of all active lanes, `moved` those of the cache lines that they lie in (128
bytes, 64 for scalar loads; an instruction asks for a line once), `distinct` those of lines that differ. `reuse` = moved /
distinct: what caches could save at best. Only levels below L1 need a model or a device, and come from counters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparse_mla.analyse.instructions import instructions
from sparse_mla.errors import InputError
from sparse_mla.execute.result import Result
from sparse_mla.gfx950.accesses import accesses, buffer_of, line_bytes, summary
from sparse_mla.gfx950.machine import Launched
from sparse_mla.gfx950.trace import KINDS, LINE_BYTES, SCALAR_LINE_BYTES, Trace
from sparse_mla.record.counters import derive
from sparse_mla.record.schema import Recording

_WHAT = ["dispatch", "kernel", "pc", "text", "mnemonic", "unit", "file", "line", "source", "phase"]
_DOES = {"smem": "load", "load_to_lds": "load"}


def traffic(run: Recording | Result | Launched) -> pd.DataFrame:
    """By static instruction that touched memory or LDS. Columns: those of the instruction, space (as in a recording), does
    (load, store, atomic), accesses (wave instructions), asked, moved, distinct (bytes; the last two 0 for LDS), reuse,
    phases and conflicts (passes over the LDS banks, and those of them that conflicts added), kind. A run must have been
    traced."""
    if isinstance(run, Recording):
        table, kind = run["memory"], run.kind("memory")
        if table.empty:
            raise InputError("this recording has no memory table: emulated ones have it; no profiler counts single instructions")
    else:
        launches = run.launches if isinstance(run, Result) else (run,)
        table = pd.concat([pd.DataFrame(summary(trace_of(one))).assign(dispatch=i) for i, one in enumerate(launches)])
        kind = "emulated"
    found = table.rename(columns={"bytes": "asked"}).drop(columns="kind").assign(does=table.kind.replace(_DOES), kind=kind)
    wide = np.where(found.space.str.startswith("scalar"), SCALAR_LINE_BYTES, LINE_BYTES)
    found = found.assign(moved=found.lines * wide, distinct=found.distinct * wide)
    found["reuse"] = found.moved / found.distinct.where(found.distinct > 0)
    found = found.merge(instructions(run)[_WHAT], on=["dispatch", "pc"], validate="one_to_one")
    return found[[*_WHAT, "space", "does", "accesses", "asked", "moved", "distinct", "reuse", "phases", "conflicts", "kind"]]


def by_buffer(launch: Launched) -> pd.DataFrame:
    """By buffer of a traced launch, loads and stores apart: columns buffer, does, bytes (its size), accesses (wave
    instructions that touch it), moved, distinct, reuse, touched (share of its lines), kind. Scratch and LDS are no
    buffers."""
    trace = trace_of(launch)
    done = accesses(trace)
    one = np.repeat(np.arange(len(done.pc)), done.count)
    pc = done.pc[one]
    does = np.array([_DOES.get(name, name) for name in KINDS])[trace.accesses["kind"][pc]]
    lines = pd.DataFrame({"at": buffer_of(trace, pc, done.lines), "access": one, "line": done.lines, "does": does})
    lines["wide"] = line_bytes(trace)[pc]
    rows = []
    for (at, does), some in lines[lines["at"] >= 0].groupby(["at", "does"]):
        name, _, size = trace.buffers[int(at)]
        distinct = int(some.drop_duplicates(["line", "wide"]).wide.sum())
        rows.append((name, does, size, some.access.nunique(), int(some.wide.sum()), distinct))
    frame = pd.DataFrame(rows, columns=["buffer", "does", "bytes", "accesses", "moved", "distinct"])
    touched = (frame.distinct / frame.bytes.clip(lower=1)).clip(upper=1)
    return frame.assign(reuse=frame.moved / frame.distinct, touched=touched, kind="emulated")


def levels(recording: Recording) -> pd.DataFrame:
    """Bytes at each level of the memory, by dispatch: what lanes ask for, what L1 is asked for, what L2 is, what memory is.
    Columns: dispatch, kernel, level, bytes, kind. A level is left out where the recording has neither its counts nor its
    counters."""
    rows = []
    names = dict(zip(recording["dispatches"].dispatch, recording["dispatches"].kernel, strict=True))
    if len(recording["memory"]):
        vector = traffic(recording)
        vector = vector[vector.moved.gt(0) & ~vector.space.str.startswith("scalar")]
        for dispatch, mine in vector.groupby("dispatch"):
            rows += [
                (dispatch, "lanes", mine.asked.sum(), mine.kind.iloc[0]),
                (dispatch, "L1", mine.moved.sum(), mine.kind.iloc[0]),
            ]
    known = derive(recording) if len(recording["counters"]) and len(recording["dispatches"]) else pd.DataFrame()
    spent = (recording["dispatches"].end - recording["dispatches"].start).set_axis(recording["dispatches"].dispatch)
    for row in known.itertuples():
        if row.metric == "L2 bandwidth":  # GB/s are bytes a nanosecond
            rows.append((row.dispatch, "L2", row.value * spent[row.dispatch], row.kind))
        elif row.metric in ("read from memory", "written to memory"):
            rows.append((row.dispatch, "memory", row.value, row.kind))
    frame = pd.DataFrame(rows, columns=["dispatch", "level", "bytes", "kind"])
    frame = frame.groupby(["dispatch", "level"], as_index=False, sort=False).agg({"bytes": "sum", "kind": "first"})
    frame.insert(1, "kernel", frame.dispatch.map(names))
    return frame


def trace_of(launch: Launched) -> Trace:
    """The trace of a launch. Raises InputError where it has none."""
    if launch.trace is None:
        raise InputError(f"{launch.kernel.name} was not traced: decode it with trace=True, or use a timed run or a recording")
    return launch.trace
