"""Micro-operations: what the decoder puts before or after an instruction for its modifiers, so that no row needs variants.

They work on the wave's temporary registers: a source modifier copies the changed operand to one, a destination modifier
mends the result afterwards. `imm` selects (SDWA: byte 0..3, word 4..5, dword 6; `aux` 1 sign-extends).
"""

from __future__ import annotations

from sparse_mla.gfx950.isa.row import Row, table

MICRO: dict[str, Row] = {
    row.mnemonic: row
    for row in table(
        "MICRO",
        """
_block                          | @BLOCK
_stop                           | @STOP
_check                          | @GO(sanitize_check(o, w))
_check_result                   | @GO(sanitize_result(o, w))
_past_end                       | @return fault(w, o, FAULT_PAST_END, 0, 0, 0)
_pick_halves        d=u a:u     | (a >> (o->imm ? 16 : 0) & 0xffffu) | (a >> (o->aux ? 16 : 0)) << 16
_neg_f32            d=u a:u     | a ^ 0x80000000u
_abs_f32            d=u a:u     | a & 0x7fffffffu
_negabs_f32         d=u a:u     | a | 0x80000000u
_clamp_f32          d+f         | (fv)select(is_nan(d), splat(0), (uv)fmin2(fmax2(d, (fv)0.0f), (fv)1.0f))
_mfma_lanes         d=u a:u     | @MFMA_LANES
_sdwa_source        d=u a:u     | sdwa_source(a, (u32)o->imm, o->aux)
_sdwa_pad           d=u a:u     | sdwa_pad(a, (u32)o->imm)
_sdwa_preserve      d+u a:u     | sdwa_preserve(d, a, (u32)o->imm)
""",
    )
}
