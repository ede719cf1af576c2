"""Two matrix products in a row without moving a number between lanes: scores into PV, executed.

The scores are computed transposed, S^T = K Q^T, so that a lane's D registers all belong to one head, the same head (lane
% 16) whose column that lane holds when D becomes the B operand of O^T = V^T P^T. What does not fit is the order: D hands
lane group g tokens 4g..4g+3 (and 16 + those from the second product), while B wants depths 8g..8g+7. But depth is summed
over, so its order is free as long as A uses the same one. Load V's rows in the order in which the tokens already lie.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sparse_mla.analyse.mfma import LANES, SHAPES
from sparse_mla.analyse.mfma_probe import operand_registers
from sparse_mla.gfx950.machine import run_snippet

SHAPE = SHAPES["16x16x32"]
TOKENS = 32

# v0-3 K rows 0-15, v4-7 K rows 16-31, v8-11 Q^T, v12-15 V^T; v16-23 scores, v24-27 their bf16, v28-31 the output.
# s_nop: the hardware does not wait for these results, software must (8 slots after a 16x16x32, 2 before the next).
CHAIN = f"""
{SHAPE.mnemonic} v[16:19], v[0:3], v[8:11], 0
{SHAPE.mnemonic} v[20:23], v[4:7], v[8:11], 0
s_nop 7
v_cvt_pk_bf16_f32 v24, v16, v17
v_cvt_pk_bf16_f32 v25, v18, v19
v_cvt_pk_bf16_f32 v26, v20, v21
v_cvt_pk_bf16_f32 v27, v22, v23
s_nop 1
{SHAPE.mnemonic} v[28:31], v[12:15], v[24:27], 0
"""


def chained_token(group: int, t: int) -> int:
    """The token whose score is element t (0-7) of lane group `group` (0-3) after CHAIN's packing."""
    return 4 * group + t if t < 4 else 16 + 4 * group + t - 4


def run_chain(
    q: npt.ArrayLike, k: npt.ArrayLike, v: npt.ArrayLike, token: Callable[[int, int], int] = chained_token
) -> npt.NDArray[np.float32]:
    """(q k^T) v through three executed MFMAs. q [16, 32], k [32, 32], v [32, 16], exact in bf16; returns [16, 16] (head, dim).

    `token(group, t)` says which row of v goes where lane group g = 0..3 holds its element t = 0..7.
    """
    q, k, v = np.asarray(q), np.asarray(k), np.asarray(v)
    order = [token(depth // 8, depth % 8) for depth in range(TOKENS)]
    row, depth = np.indices((SHAPE.m, SHAPE.k))
    places = SHAPE.a(row, depth)
    loaded = [operand_registers(operand, places) for operand in (k[:16], k[16:], q, v[order].T)]
    vgpr = np.concatenate([*loaded, np.zeros((16, LANES), np.uint32)])
    out = run_snippet(CHAIN, vgpr=vgpr).vgpr[28:32].view(np.float32)
    lane, register = SHAPE.d(*np.indices((SHAPE.m, SHAPE.m)))
    return out[register, lane].T
