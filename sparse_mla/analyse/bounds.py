"""What no kernel can beat: the least times of a decode by its bytes, by its arithmetic, and by its chain of waits."""

from __future__ import annotations

import pandas as pd

from sparse_mla.analyse.limits import roofs
from sparse_mla.cache.layout import HEAD_DIM, TOKEN_BYTES
from sparse_mla.gfx950.timing import Device

# One request after the other, as any kernel of one launch must: it starts, fetches its first instructions, reads where a row's
# list begins, then the slots, then tokens, stores, and ends. Constants of the device (profiles/devices), and how often.
CHAIN = {"launch_start": 1, "first_fetch": 1, "mall_hit": 3, "store_done": 1, "launch_end": 1}


def work(rows: int, heads: int, tokens: int) -> tuple[int, int]:
    """(FLOP, bytes) of a decode in which every row attends to `tokens` tokens of its own: a multiply and an add for each of 512
    dims, for the scores and again for the output; the tokens' cache records, and 2 bytes for each element of Q and output."""
    return 4 * HEAD_DIM * heads * tokens * rows, rows * (tokens * TOKEN_BYTES + 2 * 2 * heads * HEAD_DIM)


def bounds(rows: int, heads: int, tokens: int, on: Device) -> pd.DataFrame:
    """Columns bound (HBM, MALL: all bytes once at that bandwidth; MFMA BF16: all FLOP at the peak; chain: CHAIN), microseconds,
    low, high (at the ends of the device's constants), kind."""
    flop, size = work(rows, heads, tokens)
    at = roofs(on).set_index("roof")
    amount = {"HBM": size, "MALL": size, "MFMA BF16": flop}
    found = [(name, *(1e6 * n / at.loc[name, ["value", "high", "low"]])) for name, n in amount.items()]
    ends = [sum(n * end.value(x) for x, n in CHAIN.items()) / end.value("clock") * 1e6 for end in (on, on.low(), on.high())]
    frame = pd.DataFrame([*found, ("chain", *ends)], columns=["bound", "microseconds", "low", "high"])
    return frame.assign(kind="modelled")
