"""Exercises of 10_perf_explorer: intensity, what HBM matters, the knee, a benchmark that reads too little, what bounds few "
"rows."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from sparse_mla.widgets.exercise import Exercise, Observations, Wrong, calls, choice, items, value

ROWS, HEADS = 16, 16
# What each benchmark of 10.benchmark did: extra tokens a row, and what is odd about it.
_RUNS: dict[str, tuple[int, str]] = {"A": (512, ""), "B": (256, ""), "C": (512, "shared"), "D": (512, "cold")}


@lru_cache
def benchmarks() -> pd.DataFrame:
    """Four benchmarks of 16 rows, executed and timed: what each says of itself, its time, and what was read."""
    from sparse_mla.cache.layout import TOKEN_BYTES
    from sparse_mla.execute.timing import time_kernel
    from sparse_mla.gfx950.timing import device
    from sparse_mla.kernels.case import Case

    rows = []
    for run, (extra, how) in _RUNS.items():
        on = device("mi355x").changed(warm=0 if how == "cold" else 1)
        timing = time_kernel(
            "product", Case.make(HEADS, ROWS, 128, extra), split_k=4, band=False, device=on, shared=how == "shared"
        ).timing
        read = [sum(one.counters[f"{level}_read_bytes"] for one in timing.kernels) / 1e6 for level in ("mall", "hbm")]
        rows.append((run, ROWS, 128 + extra, ROWS * (128 + extra) * TOKEN_BYTES / 1e6, *read, timing.microseconds))
    names = ["run", "rows", "tokens a row", "MB of its lists", "MB from MALL", "MB from HBM", "us (modelled)"]
    return pd.DataFrame(rows, columns=names).round(2)


def _too_little() -> Observations:
    seen = benchmarks().set_index("run")
    short = seen["MB from MALL"] + seen["MB from HBM"] < seen["MB of its lists"]
    (run,) = short.index[short]
    yield "run", run
    yield "cause", "shared slots" if _RUNS[run][1] == "shared" else "another"


def _slower(**constants: float) -> Observations:
    from sparse_mla.analyse.what_if import what_if
    from sparse_mla.widgets.perf_explorer import timing_of

    yield "times as long", round(float(what_if(timing_of("product", 4, 512, 8), {"changed": constants}).ratio[1]), 1)


def _twice_the_workgroups() -> Observations:
    from sparse_mla.analyse.regret import times

    us = times().query("kernel == 'product' and layer == 'Flash CSA' and rows == 64 and split_k == 1").set_index("heads")
    yield "times as long", round(float(us.microseconds[128] / us.microseconds[64]))


EXERCISES = [
    Exercise(
        name="10.intensity",
        ask="Return the FLOP for each byte of the cache that is read, if `heads` heads share what is read. A multiply and an "
        "add are two.",
        hint="A token: a dot product of 512 dims and 512 multiply-adds into the output, for each head; and one record, read "
        "once.",
        observe=calls("{} heads", (1,), (8,), (16,), (64,), (128,)),
        right=lambda heads: 4 * 512 * heads / 584,
        solution="2 * (512 + 512) * heads / 584",
        tolerance=1e-6,
        wrong=[
            Wrong(
                lambda heads: 2 * 512 * heads / 584,
                "Twice that: the output takes as many FLOP as the scores, and K and V are one record, read once.",
            ),
            Wrong(lambda heads: 4 * 512 * heads / 1024, "512 dims are not stored as bf16: a record is 584 bytes."),
            Wrong(lambda heads: 2 * 1024 / 584, "Every head uses the record that was read."),
        ],
    ),
    Exercise(
        name="10.hbm",
        ask="HBM gets half as fast. 4 rows of 16 heads, 128 + 512 tokens, caches warm: how many times as long does the decode "
        "take, to one decimal?",
        hint="How many bytes are these, and which memory holds them when a benchmark runs the second time?",
        kind="predict",
        observe=value("times as long"),
        expect=lambda: _slower(hbm_bandwidth=3.5e12),
        right=1.0,
        wrong=[
            Wrong(2.0, "That is a kernel that waits for nothing but HBM's bandwidth. This one reads nothing from HBM."),
            Wrong(1.5, "Half of the time is not HBM's: 1.5 MB lie in the MALL, which holds 256 MiB."),
            Wrong(1.2, "No byte comes from HBM here: the MALL holds what the run before brought."),
        ],
    ),
    Exercise(
        name="10.knee",
        ask="The product kernel, whole rows of 128 + 512 tokens: 64 rows of 64 heads are 256 workgroups, 64 rows of 128 heads "
        "are 512. How many times as long do the 512 take, to the nearest whole number?",
        hint="256 compute units. The occupancy table says how many workgroups one has room for.",
        kind="predict",
        observe=value("times as long"),
        expect=_twice_the_workgroups,
        right=2,
        wrong=[
            Wrong(1, "Two workgroups of this kernel do not fit on a compute unit: the second round waits for the first."),
            Wrong(4, "Twice the workgroups are two rounds, not four."),
            Wrong(3, "Two rounds; and the second one need not start the launch again."),
        ],
    ),
    Exercise(
        name="10.benchmark",
        ask="One of these four benchmarks is not the decode that it claims to be, though its time looks right. Give the `run` "
        "and the `cause`: `cold caches`, `shared slots` (rows read the same tokens), `fewer tokens` or `whole rows`.",
        hint="Each row's list names its own 584-byte records. Compare what the lists name with what came from both memories.",
        kind="fault",
        observe=items("run", "cause"),
        right={"run": "C", "cause": "shared slots"},
        expect=_too_little,
        given=benchmarks,
        wrong=[
            Wrong(
                {"run": "D", "cause": "cold caches"},
                "Cold is what it says it is: all bytes of its lists, and they came from HBM.",
            ),
            Wrong({"run": "B", "cause": "fewer tokens"}, "Fewer tokens a row, and it says so: its lists name that much less."),
            Wrong({"run": "C", "cause": "cold caches"}, "Cold caches read as many bytes, from further away."),
            Wrong({"run": "C", "cause": "fewer tokens"}, "Its lists are as long as A's. What do they name?"),
        ],
    ),
    choice(
        "10.few",
        "What bounds a decode of 4 rows on an MI355X?",
        "Which of the constants moved the time, and by how much? How far is it from each roof?",
        right="d",
        options={
            "a": ("The bandwidth of HBM.", "Nothing is read from HBM here, and halving it changed nothing."),
            "b": ("The matrix units.", "They are used to a few per cent at most: see the finding below the explorer."),
            "c": ("The number of compute units.", "Most of them have a part of a row, or nothing: more units would idle too."),
            "d": "A chain of waits: launch, address translation, first loads, one tile after the other, merge. Each needs "
            "the one before, so only a shorter chain helps, not a wider chip.",
        },
    ),
]
