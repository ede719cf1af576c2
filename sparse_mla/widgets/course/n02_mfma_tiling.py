"""Exercises of 02_mfma_tiling: who holds what, how many MFMAs a tile takes, and the order in which V must be loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sparse_mla.analyse.chain import SHAPE, TOKENS, chained_token, run_chain
from sparse_mla.analyse.mfma import SHAPES
from sparse_mla.widgets.course.n00_start_here import tile_by_unit
from sparse_mla.widgets.exercise import Exercise, Observations, Wrong, calls, value


def _place_of_a(i: int, k: int) -> tuple[int, ...]:
    return tuple(int(part) for part in SHAPE.a(i, k))


def _element_of_d(lane: int, register: int) -> tuple[int, int]:
    return 8 * (register // 4) + 4 * (lane // 32) + register % 4, lane % 32


def _mfmas(heads: int, tokens: int, dims: int) -> tuple[int, int]:
    blocks = -(-heads // 16)
    return blocks * -(-tokens // 16) * -(-dims // 32), blocks * -(-dims // 16) * -(-tokens // 32)


def _observe_order(token: Callable[[int, int], Any]) -> Observations:
    """O = (Q K^T) V with small whole numbers, all different enough that a token in the wrong place shows."""
    if token(0, 0) is ...:  # a blank cannot be executed
        return [("O[0][0]", ...)]
    rng = np.random.default_rng(2)
    q, k = rng.integers(0, 3, (16, 32)), np.eye(TOKENS)
    v = rng.integers(-99, 100, (TOKENS, 16))
    out = run_chain(q, k, v, token)
    return ((f"O[{head}][{dim}]", float(out[head, dim])) for head in range(16) for dim in range(16))


EXERCISES = [
    Exercise(
        name="02.wave0",
        ask="How many of a tile's 64 MFMAs does wave 0 execute, when it alone computes QK and four waves share PV?",
        hint="QK and PV take 32 each.",
        observe=value("MFMAs of wave 0"),
        right=40,
        wrong=[
            Wrong(16, "That shares all 64 among four waves; in this design QK is not shared."),
            Wrong(32, "That is QK. Wave 0 takes its part of PV as well."),
            Wrong(64, "PV is shared: each wave computes 8 of its 32 blocks."),
        ],
        kind="predict",
        expect=lambda: [("MFMAs of wave 0", int(tile_by_unit().loc[0, "MFMA"]))],
    ),
    Exercise(
        name="02.place_of_a",
        ask="Return (lane, register, half) of A[i][k] of v_mfma_f32_16x16x32_bf16, where half 0 is the low 16 bits.",
        hint="A lane holds 8 consecutive k of one row. There are 4 groups of 16 lanes.",
        observe=calls("A[{}][{}]", *((i, k) for i in (0, 5, 15) for k in (0, 1, 2, 7, 8, 13, 20, 31))),
        right=_place_of_a,
        solution="i + 16 * (k // 8), k % 8 // 2, k % 2",
        wrong=[
            Wrong(lambda i, k: (i + 16 * (k // 8), k % 8 // 2, 1 - k % 2), "The even k is in the low half."),
            Wrong(lambda i, k: (i + 16 * (k // 8), k % 4, k % 8 // 4), "Neighbouring k share a register; they are not 4 apart."),
            Wrong(
                lambda i, k: (i + 16 * (k % 4), k // 4 // 2, k // 4 % 2),
                "A lane's k are consecutive; they are not dealt out in turn.",
            ),
            Wrong(
                lambda i, k: (4 * i + k // 8, k % 8 // 2, k % 2), "Lanes of one group hold different rows: the row is lane % 16."
            ),
            Wrong(lambda i, k: tuple(int(x) for x in SHAPES["32x32x16"].a(i, k)), "That is the 32x32x16 shape."),
        ],
    ),
    Exercise(
        name="02.element_of_d",
        ask="Return (i, j) of the element of D that v_mfma_f32_32x32x16_bf16 leaves in a lane's register 0 to 15.",
        hint="Rows come in blocks of 8: the lower 32 lanes hold the first 4 rows of a block, the upper 32 lanes the others.",
        observe=calls("lane {}, register {}", *((lane, r) for lane in (0, 9, 31, 32, 63) for r in (0, 3, 4, 9, 15))),
        right=_element_of_d,
        solution="8 * (register // 4) + 4 * (lane // 32) + register % 4, lane % 32",
        wrong=[
            Wrong(
                lambda lane, r: (16 * (lane // 32) + r, lane % 32),
                "Believable, and found in published code; but D comes in blocks of 8 rows, as the measured map shows.",
            ),
            Wrong(lambda lane, r: _element_of_d(lane, r)[::-1], "Row and column are exchanged: the column j is lane % 32."),
            Wrong(lambda lane, r: (4 * (lane // 16) + r, lane % 16), "That is the 16x16 shape."),
            Wrong(
                lambda lane, r: (8 * (r // 4) + 4 * (r % 2) + r % 4, lane % 32), "The two halves of the wave hold different rows."
            ),
        ],
    ),
    Exercise(
        name="02.mfmas_per_tile",
        ask="Return (QK, PV), the numbers of 16x16x32 MFMAs that `tokens` tokens need for `heads` heads and `dims` dims.",
        hint="QK has heads x tokens results and sums over dims; PV has heads x dims results and sums over tokens. Round up.",
        # QK and PV take equally many unless a side is no multiple of 32, so 16 and 48 tokens are among the cases.
        observe=calls("{} heads, {} tokens, {} dims", (16, 32, 512), (16, 16, 512), (32, 48, 512), (5, 32, 512), (16, 64, 256)),
        right=_mfmas,
        solution="""
            blocks = -(-heads // 16)
            return blocks * -(-tokens // 16) * -(-dims // 32), blocks * -(-dims // 16) * -(-tokens // 32)
        """,
        wrong=[
            Wrong(lambda h, t, d: _mfmas(h, t, d)[::-1], "QK sums over dims, PV over tokens: you have them the other way round."),
            Wrong(lambda h, t, d: _mfmas(h // 16 * 16, t, d), "5 heads still take a whole tile of 16 rows."),
            Wrong(lambda h, t, d: _mfmas(h, 16, d), "An MFMA gives 16 columns; 32 tokens need two of them for QK."),
            Wrong(lambda h, t, d: (_mfmas(h, t, 2 * d)[0], _mfmas(h, 2 * t, d)[1]), "One MFMA sums over 32 products, not 16."),
            Wrong(
                lambda h, t, d: (_mfmas(h, t, d)[0], -(-h // 16) * (d // 16) * (t // 32)),
                "A PV whose last 16 of 32 tokens are empty still has to run: round up.",
            ),
        ],
    ),
    Exercise(
        name="02.token_order",
        ask="Return the token whose score lies in element t (0 to 7) of lane group g (0 to 3): V is loaded in that order.",
        hint="Elements 0 to 3 come from the first product: row i = 4 g + t of a D that covers tokens 0 to 15.",
        observe=_observe_order,
        right=chained_token,
        solution="16 * (t // 4) + 4 * group + t % 4",
        wrong=[
            Wrong(
                lambda g, t: 8 * g + t, "That is the order of an operand read from memory; these scores come from D registers."
            ),
            Wrong(lambda g, t: 4 * g + t if t >= 4 else 16 + 4 * g + t, "The first product, tokens 0 to 15, was packed first."),
            Wrong(
                lambda g, t: 4 * t + g if t < 4 else 16 + 4 * (t - 4) + g,
                "In D the register counts single rows and the lane group steps by 4.",
            ),
            Wrong(lambda g, t: 4 * g + t % 4, "The second product holds tokens 16 to 31."),
            Wrong(lambda g, t: 16 * (t % 2) + 4 * g + t // 2, "The packing puts two results of one product into a register."),
        ],
    ),
]
