"""Executed instructions, summed the ways people ask about them.

All functions take the frame of `sparse_mla.execute.counts_frame`: one row for each static instruction and wave with
columns kernel, pc, mnemonic, text, unit, file, line, wave, count (executions, summed over workgroups).
"""

from __future__ import annotations

import pandas as pd

from sparse_mla.analyse.instructions import Sources

UNITS = ("MFMA", "VALU", "LDS", "VMEM", "SALU", "SMEM", "WAIT", "BARRIER", "BRANCH")


def by_unit(counts: pd.DataFrame) -> pd.DataFrame:
    """Wave instructions by wave (rows) and unit (columns, busiest kinds of work first)."""
    table = counts.pivot_table(index="wave", columns="unit", values="count", aggfunc="sum", fill_value=0)
    known = [unit for unit in UNITS if unit in table]
    return table[[*known, *sorted(set(table) - set(known))]].astype(int)


def difference(long: pd.DataFrame, short: pd.DataFrame, times: int = 1) -> pd.DataFrame:
    """What one more tile costs: counts of a longer run minus those of a shorter one of the same kernels, over `times`."""
    same = ["kernel", "pc", "wave"]
    merged = long.merge(short[[*same, "count"]], on=same, suffixes=("", "_short"), validate="one_to_one")
    return merged.assign(count=(merged["count"] - merged.pop("count_short")) / times)


def by_one_wave(counts: pd.DataFrame, wave: int = 0) -> pd.DataFrame:
    """The rows of instructions that `wave` executed and no other wave did: work that the others wait for."""
    executed = counts[counts["count"] > 0].groupby(["kernel", "pc"]).wave.agg(["min", "max"])
    alone = executed[(executed["min"] == wave) & (executed["max"] == wave)].index
    return counts[(counts.wave == wave) & pd.MultiIndex.from_frame(counts[["kernel", "pc"]]).isin(alone)]


def hottest_lines(counts: pd.DataFrame, n: int = 10) -> pd.DataFrame:
    """The `n` source lines with most wave instructions, as analyse.hot.hot_lines has them: file (under csrc/), line, count, share
    of all, the line's text, of, kind."""
    lines = counts.groupby(["file", "line"], as_index=False)["count"].sum()
    lines["share"] = lines["count"] / lines["count"].sum()
    lines, sources = lines.nlargest(n, "count").reset_index(drop=True), Sources({})
    texts = [sources.line(row.file, int(row.line)) for row in lines.itertuples()]
    return lines.assign(source=texts, of="hit", kind="emulated")
