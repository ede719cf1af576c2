"""Exercises of 12_write_your_own_kernel: a small kernel made right, and a change of the decode kernel that passes a gate."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from sparse_mla.widgets.exercise import Exercise, Observations, Report, Wrong, choice, items, listing, value
from sparse_mla.widgets.source import hip_code

HEADS = 8
FRAME = """#include <hip/hip_runtime.h>
__global__ void turn(const float* x, float* y, int heads) {
  __shared__ float tile[16][32];
  const int i = threadIdx.x;
  @answer@
}
"""
LATE = "tile[i / 32][i % 32] = i < 32 * heads ? x[i] : 0;\n  y[i] = tile[i % 16][i / 16];"
SECOND = FRAME.replace("@answer@", LATE)  # the second attempt: its load is guarded, a barrier is missing
TURNED = LATE.replace("0;\n", "0;\n  __syncthreads();\n")
VERSIONS = {"second attempt": SECOND, "with a barrier": FRAME.replace("@answer@", TURNED)}
SHARE = {  # the text that is replaced, and by what
    "__device__ __forceinline__ void score(": "template <int HALF> __device__ __forceinline__ void score(",
    "int half = 0; half < 2; ++half": "int half = HALF; half <= HALF; ++half",
    "    if (wave == 0)\n      score(lds, scale_log2, lane);": "    if (wave == 0)\n      score<0>(lds, scale_log2, lane);\n"
    "    else if (wave == 1)\n      score<1>(lds, scale_log2, lane);",
}
CONVERT, SHARED = "bf16x8 dequantise(", "struct Shared"  # where the parts begin that answers replace
FEWER, ROOMIER = {"wave instructions": 0.85}, {"LDS passes": 0.65, "LDS bytes": 1.04}  # goals: shares of what is now


def _turn(module: Any) -> tuple[dict[str, Any], Any]:
    x, y = np.arange(32 * HEADS, dtype=np.float32).reshape(HEADS, 32), np.full((32, 16), np.nan, np.float32)
    done = module.turn[1, 512](x, y, HEADS, sanitize=True)
    return {"y": y}, done.findings


def _turned() -> dict[str, Any]:
    x = np.arange(32 * HEADS, dtype=np.float32).reshape(HEADS, 32)
    return {"y": np.concatenate([x, np.zeros((16 - HEADS, 32), np.float32)]).T}


@lru_cache
def _late() -> tuple[Any, Any]:
    from sparse_mla.execute.hip import hip

    outputs, findings = _turn(hip(SECOND))
    return outputs["y"], findings


def _report() -> Report:
    y, findings = _late()
    return listing(SECOND, f"y[0] = {y[0]}\n", *findings)


def _missing() -> Observations:
    """Where y[0][2] was to come from, by the sanitizer: who writes the byte that wave 0 found unwritten, and in which line."""
    _, findings = _late()
    unwritten, race = (next(f for f in findings if f.kind == kind) for kind in ("unwritten-lds", "lds-race"))
    byte = int(unwritten.what.split("byte ")[1].split(",")[0])
    yield "byte", byte
    yield "wave", race.wave if f"byte {byte} " in race.what else None
    yield "line", race.instruction.source[1]


def _passes() -> int:
    from sparse_mla.analyse.lds import lds_access

    return int(lds_access("ds_read_b32", "128 * (lane % 16) + 4 * (lane // 16)").passes[0])


def shared() -> str:
    """The base design, QK spread over two waves: wave 0 scores tokens 0 to 15 of a tile, wave 1 the others."""
    from sparse_mla.analyse.gate import design

    text = design()
    for old, new in SHARE.items():
        text = text.replace(old, new)
    return text


def _difference() -> Report:
    from sparse_mla.analyse.gate import design

    lines = difflib.unified_diff(design().splitlines(), shared().splitlines(), "before", "after", n=0, lineterm="")
    return Report("\n".join(lines))


def _trend() -> str:
    from sparse_mla.analyse.gate import design, figures

    before, now = figures(design()), figures(shared())
    signs = [np.sign(round(now[x] / before[x] - 1, 3)) for x in ("microseconds", "wave instructions", "LDS passes")]
    return " ".join({-1: "less", 0: "same", 1: "more"}[int(sign)] for sign in signs)


@lru_cache(maxsize=64)
def _gated(head: str, answer: str, goals: tuple[tuple[str, float], ...]) -> tuple[tuple[str, str], ...]:
    from sparse_mla.analyse.gate import changed, gate

    table = gate(changed(head, answer), dict(goals))
    now = [row.limit if row.verdict == "ok" else row.now if isinstance(row.now, str) else f"{row.now:,.0f}"
           for row in table.itertuples()]  # fmt: skip
    return tuple(zip(table.check, now, strict=True))


def _gate_code(head: str, goals: Mapping[str, float]) -> dict[str, Any]:
    """Fields of an exercise whose answer replaces a part of the base design, and has to pass the gate with these goals."""

    def limits() -> Observations:
        from sparse_mla.analyse.gate import design, gate

        table = gate(design(), goals)
        return zip(table.check, table.limit, strict=True)

    def given() -> Report:
        from sparse_mla.analyse.gate import design, part

        return Report(part(design(), head))

    return {"observe": lambda answer: iter(_gated(head, answer, tuple(goals.items()))), "expect": limits, "given": given}


_HEAD = "__device__ __forceinline__ bf16x8 dequantise(uint32_t low, uint32_t high, float scale) { // phase: dequantise\n"
_PAIRS = """  const bf16x2 a = cvt_pk_bf16_fp8<0>(low, scale), b = cvt_pk_bf16_fp8<1>(low, scale);
  const bf16x2 c = cvt_pk_bf16_fp8<0>(high, scale), d = cvt_pk_bf16_fp8<1>(high, scale);
  return {a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]};
}"""
_FLOATS = """  const f32x2 a = __builtin_amdgcn_cvt_pk_f32_fp8(low, false), b = __builtin_amdgcn_cvt_pk_f32_fp8(low, true);
  const f32x2 c = __builtin_amdgcn_cvt_pk_f32_fp8(high, false), d = __builtin_amdgcn_cvt_pk_f32_fp8(high, true);
  const f32x4 e = f32x4{a[0], a[1], b[0], b[1]} * scale, f = f32x4{c[0], c[1], d[0], d[1]} * scale;
  return __builtin_convertvector(__builtin_shufflevector(e, f, 0, 1, 2, 3, 4, 5, 6, 7), bf16x8);
}"""


def _lds(q: int, kv: int, scores: int = 0) -> str:
    return (
        f"struct Shared {{\n  alignas(16) bf16 q[BLOCK_HEADS][HEAD_DIM + {q}];\n"
        f"  alignas(16) bf16 kv[TILE_TOKENS][HEAD_DIM + {kv}];\n"
        f"  alignas(16) float scores[BLOCK_HEADS][TILE_TOKENS + {scores}];\n  int valid[TILE_TOKENS];\n}};"
    )


EXERCISES = [
    Exercise(
        name="12.late",
        ask="y[0][2] is NaN. Give the `byte` of LDS it was read from, the `wave` that should have written it before, and the "
        "`line` of the write behind which a barrier is missing.",
        hint="y[0][2] is thread 2's: it reads tile[2][0]. Which thread writes that?",
        kind="fault",
        observe=items("byte", "wave", "line"),
        right={"byte": 256, "wave": 1, "line": 5},
        expect=_missing,
        given=_report,
        wrong=[
            Wrong({"byte": 8, "wave": 0, "line": 5}, "That is where y[0][2] is in y. It is read from tile[2][0]."),
            Wrong({"byte": 256, "wave": 2, "line": 5}, "Head 2 is not wave 2: a wave writes 64 elements, two heads."),
            Wrong({"byte": 256, "wave": 0, "line": 6}, "Wave 0 reads it. Thread 64 writes it."),
            Wrong({"byte": 256, "wave": 1, "line": 6}, "Line 6 reads: what it reads must be there before."),
        ],
    ),
    Exercise(
        name="12.turn",
        ask="Write the two steps of `turn`: x [heads][32] into `tile`, zeros for heads that do not exist; then y [32][16], "
        "transposed. 512 threads; `i` is the thread.",
        hint="A barrier, where all threads come to it; and no thread may leave before.",
        right=TURNED,
        wrong=[
            Wrong(LATE, "Wave 0 goes on at once. Between the write and the read all waves must meet."),
            Wrong(TURNED.replace("i < 32 * heads ? x[i] : 0", "x[i]"), "There are only 32 * heads numbers in x."),
            Wrong(
                "if (i < 32 * heads) tile[i / 32][i % 32] = x[i];\n__syncthreads();\ny[i] = tile[i % 16][i / 16];",
                "LDS is not zero at first: rows of heads that do not exist are read too.",
            ),
            Wrong(
                "if (i < 32 * heads) {\n  tile[i / 32][i % 32] = x[i];\n  __syncthreads();\n}\n"
                "else tile[i / 32][i % 32] = 0;\ny[i] = tile[i % 16][i / 16];",
                "A barrier is for all waves of the workgroup. Those with heads that do not exist never come to this one.",
            ),
            Wrong(
                "if (i >= 32 * heads) return;\n" + TURNED,
                "Threads that returned write no y, and the rows that they should have cleared are read.",
            ),
        ],
        **hip_code(FRAME, _turn, _turned),
    ),
    Exercise(
        name="12.passes",
        ask="A wave of `turn` reads tile[i % 16][i / 16] with one `ds_read_b32`, for which 64 banks and a single phase serve all "
        "lanes. How many passes does it take?",
        hint="Rows are 32 dwords apart: in how many banks do 16 rows begin?",
        kind="predict",
        observe=value("passes"),
        right=8,
        expect=lambda: [("passes", _passes())],
        wrong=[
            Wrong(1, "That is without conflicts: 64 lanes in 64 banks."),
            Wrong(16, "That would need rows 64 dwords apart. With 32, rows begin in two banks by turns."),
            Wrong(4, "A lane's bank is 32 * (l % 16) + l // 16, modulo 64: 8 values for 64 lanes."),
        ],
    ),
    Exercise(
        name="12.convert",
        ask="Write `dequantise` so that a tile takes the kernel 15 % fewer instructions, and all else stays within its limit.",
        hint="cvt_pk_bf16_fp8<HIGH>(packed, scale) in csrc/include/gfx950.h: two of four bytes, scaled, to bf16, at once.",
        right=_HEAD + _PAIRS,
        wrong=[
            Wrong(_HEAD + _FLOATS, "Two bytes at a time, but still by way of fp32: three steps. One instruction does all three."),
            Wrong(_HEAD + _PAIRS.replace("scale)", "1.0f)"), "Without the token's scale."),
            Wrong(
                _HEAD + _PAIRS.replace("{a[0], a[1], b[0], b[1]", "{b[0], b[1], a[0], a[1]"),
                "Dims 0 and 1 are in the low half of `low`.",
            ),
            Wrong(_HEAD + _PAIRS.replace(", d[0], d[1]", ", c[0], c[1]"), "The last two dims are copies of the two before."),
        ],
        **_gate_code(CONVERT, FEWER),
    ),
    Exercise(
        name="12.share",
        ask="Two waves share QK, 16 tokens each. Compared with before, what do time (modelled), wave instructions and LDS passes "
        'become? Answer with three of the words less, same, more, such as "same same same".',
        hint="What does each of the two waves read that one wave read before?",
        kind="predict",
        observe=value("time, instructions, passes"),
        right="less more more",
        expect=lambda: [("time, instructions, passes", _trend())],
        given=_difference,
        wrong=[
            Wrong("less same same", "MFMAs are as many. But Q is now read by two waves, with every conflict."),
            Wrong("less less less", "Nothing is left out: it is shared out, and each wave needs Q."),
            Wrong("more more more", "Waves 1 to 3 had been waiting: the way to the barrier is shorter now."),
        ],
    ),
    Exercise(
        name="12.pad",
        ask="Write `struct Shared` so that LDS passes fall to 65 % and three workgroups still fit a CU. LDS may grow by 4 %.",
        hint="A pad of 16 bytes is 8 bf16 elements. Every row must begin at a multiple of 16 bytes. Try q and kv one by one.",
        right=_lds(16, 8, 4),
        wrong=[
            Wrong(_lds(16, 0), "Q is read by QK only. The tile is read by QK and by PV."),
            Wrong(_lds(0, 4), "Rows that begin at a multiple of 8 bytes only: ds_write_b128 wants 16."),
            Wrong(
                _lds(8, 8),
                "Nearly. A phase of ds_read_b128 is 8 rows of one slot and 8 others of the next one: of Q, 16 bytes a row "
                "put some of these into the same banks (03_lds_usage).",
            ),
            Wrong(_lds(16, 16), "Good for QK. PV reads rows that are 8 apart: 8 pads of 32 bytes are 256, the same banks again."),
            Wrong(_lds(64, 64), "That takes the room of the third workgroup."),
        ],
        **_gate_code(SHARED, ROOMIER),
    ),
    choice(
        "12.land",
        "The change of question 5 is faster in the model, all cases are right, and the gate fails. How does it land?",
        "Who decides that a price is worth paying, and where is that written?",
        right="c",
        options={
            "a": ("Widen the slack of the two figures until it passes.", "Then every later change may lose as much, unseen."),
            "b": ("Leave the two figures out of the gate.", "What is not held is lost: the next change costs it for nothing."),
            "c": "`sparse-mla budget --accept` makes the new figures the budget, and the commit says what they buy.",
            "d": (
                "Not at all: a gate that fails is final.",
                "It asks a question. A measured or modelled gain can be the answer.",
            ),
        },
    ),
]
