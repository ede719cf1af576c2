"""Exercises of 08_triton_twin: what the compiler repeats, an online softmax in Triton, a maximum over lanes in HIP, barriers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from sparse_mla.widgets.exercise import Exercise, Observations, Wrong, choice, items, value
from sparse_mla.widgets.source import hip_code, triton_code

_TRITON = """
@triton.jit
def softmax_sum(x, out, n, TILE: tl.constexpr):
    top, total = -3.0e38, 0.0
    for first in range(0, n, TILE):
        at = first + tl.arange(0, TILE)
        score = tl.load(x + at, mask=at < n, other=-float("inf"))
        @answer@
    tl.store(out, top)
    tl.store(out + 1, total)
"""


def _scores() -> Any:
    return np.random.default_rng(8).uniform(-9, 9, 200).astype(np.float32)


def _launch_triton(function: Any) -> tuple[dict[str, Any], Any]:
    import torch

    from sparse_mla.execute.triton_emulated import triton_on_gfx950

    x, out = torch.from_numpy(_scores()), torch.zeros(2)
    done = triton_on_gfx950(function)[(1,)](x, out, 200, TILE=64, num_warps=1, sanitize=True)
    return {"out": out.numpy()}, done.findings


def _sum() -> dict[str, Any]:
    x = _scores().astype(np.float64)
    return {"out": np.array([x.max(), np.exp2(x - x.max()).sum()])}


_RIGHT = """higher = tl.maximum(top, tl.max(score, 0))
total = total * tl.exp2(top - higher) + tl.sum(tl.exp2(score - higher), 0)
top = higher"""

_HIP = """
#include <hip/hip_runtime.h>
// a score a lane; lanes m, m + 16, m + 32 and m + 48 have scores of head m: each is to get the largest of its head's
__global__ void max_of_head(const float* scores, float* out) {
  float most = scores[threadIdx.x];
  @answer@
  out[threadIdx.x] = most;
}
"""
_SHUFFLES = "most = fmaxf(most, __shfl_xor(most, 16));\nmost = fmaxf(most, __shfl_xor(most, 32));"


def _launch_hip(module: Any) -> tuple[dict[str, Any], Any]:
    scores, out = _scores()[:64], np.zeros(64, np.float32)
    done = module.max_of_head[1, 64](scores, out, sanitize=True)
    return {"out": out}, done.findings


def _products(kernel: str) -> int:
    from sparse_mla.analyse.tile_code import tile_code

    code = tile_code(kernel)
    return round(float(code.hit[code.unit == "MFMA"].sum()))


STATEMENT = "score = _dot(q0"


@lru_cache
def _evidence() -> Any:
    """The operations and the machine code of the first product of QK, in the order of the text."""
    from sparse_mla.analyse import twin
    from sparse_mla.widgets.page import Page

    line, code = twin.statement_named(STATEMENT), twin.triton_code()
    mine = code[(code.statement == line) & (code.hit > 0)]
    operations = twin.ttgir().query("statement == @line and op != 'scf.yield'")[["op", "result"]]
    runs = mine.groupby((mine.mnemonic != mine.mnemonic.shift()).cumsum(), as_index=False).agg(
        {"mnemonic": "first", "hit": "sum"}
    )
    return Page((operations.set_index("op"), runs.rename(columns={"hit": "executions a tile"}).set_index("mnemonic")))


def _truth() -> Observations:
    from sparse_mla.analyse import twin

    line, code = twin.statement_named(STATEMENT), twin.triton_code()
    mine = code[(code.statement == line) & (code.hit > 0)]
    operations = twin.ttgir().query("statement == @line")
    yield "operation", operations[operations.result.str.contains("memdesc")].op.iloc[0]
    yield "instruction", mine[mine.mnemonic.str.startswith("ds_write")].mnemonic.iloc[0]
    yield "barriers", round(mine[mine.unit == "BARRIER"].hit.sum() / 4)


EXERCISES = [
    Exercise(
        name="08.products",
        ask="The base kernel executes 64 MFMAs a tile: 32 for QK, by wave 0, and 32 for PV, by all four. How many does Triton's "
        "kernel, with four waves and the same tile?",
        hint="Look at `warpsPerCTA` of the layout of the scores. Are there 4 x 16 heads for the four waves?",
        kind="predict",
        observe=value("MFMAs"),
        right=160,
        expect=lambda: [("MFMAs", _products("triton"))],
        wrong=[
            Wrong(64, "That would be each product once. The four waves have only 16 rows of scores among them."),
            Wrong(256, "PV is not repeated: its output has 512 dims, enough for all four waves."),
            Wrong(128, "QK takes 32 in each of four waves; and there is PV."),
        ],
    ),
    choice(
        "08.repeated",
        "Why does every wave compute all scores?",
        "The layout of the scores says how many waves stand along the heads, and how many along the tokens.",
        right="c",
        options={
            "a": ("Because the softmax needs all tokens of a head.", "It does, but the base kernel hands them over through LDS."),
            "b": ("Because Triton cannot share a product among waves.", "It shares PV: `warpsPerCTA = [1, 4]`, 128 dims a wave."),
            "c": "Its layout puts the four waves along the heads, `warpsPerCTA = [4, 1]`. 16 heads are one MFMA high, so "
            "the other three places repeat it. Each wave then has the scores it needs, and nobody waits for wave 0.",
            "d": ("Because the tile has only 32 tokens.", "Two waves could have 16 each; the layout does not put them there."),
        },
    ),
    Exercise(
        name="08.barriers",
        ask="This is the first of four products of QK. Which TTGIR `operation` sends K through LDS, which `instruction` "
        "writes it there, and how many `barriers` of the workgroup does this statement bring a tile? (Executions are of four "
        "waves.)",
        hint="A memdesc is a place in LDS. A barrier is executed by all four waves.",
        kind="fault",
        observe=items("operation", "instruction", "barriers"),
        right={"operation": "ttg.local_alloc", "instruction": "ds_write_b128", "barriers": 2},
        expect=_truth,
        given=_evidence,
        wrong=[
            Wrong({"operation": "ttg.local_load", "instruction": "ds_write_b128", "barriers": 2}, "That reads it back."),
            Wrong({"operation": "ttg.local_alloc", "instruction": "ds_read_b128", "barriers": 2}, "That reads it back."),
            Wrong(
                {"operation": "ttg.local_alloc", "instruction": "ds_write_b128", "barriers": 8},
                "Eight executions, by four "
                "waves: one before the writes, so that nobody overwrites what is still read, and one behind them.",
            ),
        ],
    ),
    Exercise(
        name="08.softmax",
        ask="Write the step of the online softmax in Triton: `top` is the largest score so far (log2 domain) and "
        "`total` the sum of 2^(score - top). Bring both up to date with the tile's `score`.",
        hint="What was summed before is relative to the old maximum. tl.maximum, tl.max(x, 0), tl.sum(x, 0), tl.exp2.",
        right=_RIGHT,
        tolerance=1e-5,
        wrong=[
            Wrong(_RIGHT.replace(" * tl.exp2(top - higher)", ""), "What was summed before must be brought to the new maximum."),
            Wrong(_RIGHT.replace("exp2", "exp"), "Scores are in the log2 domain: powers of 2."),
            Wrong(_RIGHT.replace("top = higher", "pass"), "The next tile needs the new maximum."),
            Wrong(
                _RIGHT.replace("higher = tl.maximum(top, tl.max(score, 0))", "higher = tl.max(score, 0)"),
                "The maximum of the tile alone may be lower than the one so far.",
            ),
        ],
        **triton_code(_TRITON, _launch_triton, _sum),
    ),
    Exercise(
        name="08.lanes",
        ask="Do in HIP what `tl.max` does across lanes: every lane gets the largest score of its head. Lanes m, "
        "m + 16, m + 32 and m + 48 belong to head m.",
        hint="__shfl_xor(x, mask) gives the x of the lane whose number differs by the bits of mask.",
        right=_SHUFFLES,
        wrong=[
            Wrong("most = fmaxf(most, __shfl_xor(most, 16));", "That are two of the four lanes."),
            Wrong(_SHUFFLES.replace("16", "1").replace("32", "2"), "Lanes 1 and 2 apart belong to other heads."),
            Wrong(_SHUFFLES.replace("fmaxf(most, __shfl_xor(most, 32))", "most + __shfl_xor(most, 32)"), "Not the sum."),
            Wrong("for (int i = 1; i < 64; i *= 2) most = fmaxf(most, __shfl_xor(most, i));", "That mixes all 16 heads."),
        ],
        **hip_code(_HIP, _launch_hip, lambda: {"out": np.tile(_scores()[:64].reshape(4, 16).max(0), 4)}),
    ),
]
