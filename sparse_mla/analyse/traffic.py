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
from sparse_mla.record.counters import Chip, derive
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
    at, wide, does = buffer_of(trace, pc, done.lines), line_bytes(trace)[pc], [_DOES.get(name, name) for name in KINDS]
    kind = np.array([does.index(name) for name in does])[trace.accesses["kind"][pc]]
    rows, group = [], at * len(does) + kind
    for number in np.unique(group[at >= 0]).tolist():
        mine = np.flatnonzero(group == number)
        name, _, size = trace.buffers[number // len(does)]
        differ = np.unique(wide[mine] << 32 | done.lines[mine]) >> 32  # the sizes of the different lines
        sums = len(np.unique(one[mine])), int(wide[mine].sum()), int(differ.sum())
        rows.append((name, does[number % len(does)], size, *sums))
    frame = pd.DataFrame(rows, columns=["buffer", "does", "bytes", "accesses", "moved", "distinct"])
    touched = (frame.distinct / frame.bytes.clip(lower=1)).clip(upper=1)
    return frame.assign(reuse=frame.moved / frame.distinct, touched=touched, kind="emulated")


def levels(recording: Recording, chip: Chip | None = None) -> pd.DataFrame:
    """Bytes that each level of the memory is asked for, by dispatch. Columns: dispatch, kernel, level, bytes, kind.

    Levels: `LDS` and `lanes` what active lanes ask of LDS and of L1; `lines` the cache lines that the latter lie in; `L2`
    what L1s ask for, `fabric` what L2s do; `HBM` what the memory-side cache does (no device counts it). Those are left out
    for which the recording has neither accesses nor counters."""
    dispatches = recording["dispatches"].set_index("dispatch")
    found: list[tuple[int, str, float, str]] = []
    if len(recording["memory"]):
        asked = traffic(recording)
        for dispatch, mine in asked[~asked.space.str.startswith("scalar")].groupby("dispatch"):
            vector = mine[mine.moved > 0]
            sums = {"LDS": mine.asked[mine.phases > 0], "lanes": vector.asked, "lines": vector.moved}
            found += [(dispatch, level, float(x.sum()), mine.kind.iloc[0]) for level, x in sums.items()]
    for row in derive(recording, chip).itertuples() if len(recording["counters"]) and len(dispatches) else ():
        if row.metric == "L2 bandwidth":  # GB/s are bytes a nanosecond
            spent = dispatches.end[row.dispatch] - dispatches.start[row.dispatch]
            found.append((row.dispatch, "L2", row.value * spent, row.kind))
        elif row.metric in ("read from memory", "written to memory"):
            found.append((row.dispatch, "fabric", row.value, row.kind))
    counters = recording["counters"]
    hbm = counters[counters.name.isin(["hbm_read_bytes", "hbm_write_bytes"])]
    found += [(row.dispatch, "HBM", row.value, row.kind) for row in hbm.itertuples()]
    frame = pd.DataFrame(found, columns=["dispatch", "level", "bytes", "kind"])
    frame = frame.groupby(["dispatch", "level"], as_index=False, sort=False).agg({"bytes": "sum", "kind": "first"})
    frame.insert(1, "kernel", frame.dispatch.map(dispatches.kernel))
    return frame.sort_values("dispatch", kind="stable", ignore_index=True)


def trace_of(launch: Launched) -> Trace:
    """The trace of a launch. Raises InputError where it has none."""
    if launch.trace is None:
        raise InputError(f"{launch.kernel.name} was not traced: decode it with trace=True, or use a timed run or a recording")
    return launch.trace
