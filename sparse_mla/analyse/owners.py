"""Who writes what of the output: waves by the cache lines that their executed stores touch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparse_mla.analyse.traffic import trace_of
from sparse_mla.errors import InputError
from sparse_mla.gfx950.accesses import accesses
from sparse_mla.gfx950.machine import Launched
from sparse_mla.gfx950.trace import LINE_BYTES

DIMS = LINE_BYTES // 2  # bf16 dims of a line


def owners(launch: Launched, heads: int = 16, head_dim: int = 512) -> pd.DataFrame:
    """Of a traced launch of one row whose `out` is bf16 [1, heads, head_dim]: which wave of the workgroup stores what.

    A row is one cache line: columns head, first, last (dims), wave (-1: several), kind. InputError where `out` is another."""
    trace = trace_of(launch)
    base, size = next(((at, size) for name, at, size in trace.buffers if name == "out"), (0, 0))
    if size != 2 * heads * head_dim:
        raise InputError(f"out has {size:,} bytes; one row of {heads} heads and {head_dim} dims has {2 * heads * head_dim:,}")
    found = accesses(trace)
    line = (trace.base + np.int64(LINE_BYTES) * found.lines - base) // LINE_BYTES
    inside = (line >= 0) & (line < size // LINE_BYTES)
    touched = pd.DataFrame({"line": line, "wave": np.repeat(found.wave % len(launch.counts), found.count)})[inside]
    by_line = touched.groupby("line").wave.agg(["min", "max"])
    wave = by_line["min"].where(by_line["min"] == by_line["max"], -1)
    at, each = by_line.index.to_numpy(), head_dim // DIMS
    first = at % each * DIMS
    return pd.DataFrame(
        {"head": at // each, "first": first, "last": first + DIMS - 1, "wave": wave.to_numpy(), "kind": "emulated"}
    )
