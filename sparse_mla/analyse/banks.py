"""LDS bank conflicts by instruction and bank, as the addresses of the executed accesses make them."""

from __future__ import annotations

import pandas as pd

from sparse_mla.analyse.traffic import trace_of, traffic
from sparse_mla.errors import InputError
from sparse_mla.execute.timing import traced_launches
from sparse_mla.gfx950.machine import Launched
from sparse_mla.kernels.case import Case

BANKS = range(64)
_WHAT = ["kernel", "phase", "file", "line", "source", "mnemonic"]


def bank_conflicts(launch: Launched) -> pd.DataFrame:
    """By instruction that passes over the LDS banks, of a launch traced with `banks=True`. Columns: kernel, phase, file,
    line, source, mnemonic, pc, text, does, accesses, kind; phases and conflicts (passes an access, and those of them that
    conflicts added); 0 to 63: dwords that an access wants of that bank beyond the one that it gives in a pass."""
    trace = trace_of(launch)
    if trace.bank_conflicts is None:
        raise InputError("this launch did not count banks; launch(..., banks=True) does")
    frame = traffic(launch)
    frame = frame[frame.phases > 0].reset_index(drop=True)
    more = pd.DataFrame(trace.bank_conflicts[frame.pc], columns=[*BANKS]).div(frame.accesses, axis=0)
    frame = frame[[*_WHAT, "pc", "text", "does", "accesses", "kind"]].assign(
        phases=frame.phases / frame.accesses, conflicts=frame.conflicts / frame.accesses
    )
    return pd.concat([frame, more], axis=1)


def by_line(banks: pd.DataFrame) -> pd.DataFrame:
    """The same by source line and mnemonic, most conflicts of all first: means over accesses, `instructions` and `accesses`
    sums."""
    means, keys = ["phases", "conflicts", *BANKS], [*_WHAT, "does", "kind"]
    whole = banks.assign(instructions=1)
    whole[means] = banks[means].mul(banks.accesses, axis=0)
    sums = whole.groupby(keys, sort=False)[["instructions", "accesses", *means]].sum()
    sums = sums.sort_values("conflicts", ascending=False, kind="stable").reset_index()
    sums[means] = sums[means].div(sums.accesses, axis=0)
    return sums


def totals(kernel: str, tiles: int = 4) -> dict[str, int]:
    """What one whole row of `tiles` tiles of 32 tokens and 16 heads asks of LDS, by a kernel of the catalogue: `accesses`
    (wave instructions), `passes` over the banks, and those of them that are `conflicts`."""
    [launch] = traced_launches(kernel, Case.make(rows=1, main=32 * tiles, extra=0).inputs(), 1, banks=True)
    found = bank_conflicts(launch)
    per = {"accesses": found.accesses, "passes": found.phases * found.accesses, "conflicts": found.conflicts * found.accesses}
    return {name: round(column.sum()) for name, column in per.items()}
