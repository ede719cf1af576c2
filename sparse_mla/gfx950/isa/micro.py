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
_check                          | @CHECK_REGISTERS
_check_all                      | @GO(sanitize_check(o, w))
_trace_block                    | @TRY(trace_block(o, w)); NEXT
_trace                          | @TRY(trace_access(o, w)); NEXT
_check_result                   | @GO(sanitize_result(o, w))
_past_end                       | @return fault(w, o, FAULT_PAST_END, 0, 0, 0)
_pick_halves        d=u a:u     | ((a >> 16 * (o->imm & 1) & 0xffffu) | a >> 16 * (o->imm >> 1) << 16) ^ o->aux
_half_to_f32        d=f a:u     | h_to_f(a >> (u32)o->imm)
_sign_32            d=u a:u     | (a & ~(u32)o->imm) ^ o->aux
_sign_64            d=U a:U     | (a & ~((u64)o->imm << 32)) ^ (u64)o->aux << 32
_clamp_f32          d+f         | (fv)select(is_nan(d), splat(0), (uv)fmin2(fmax2(d, (fv)0.0f), (fv)1.0f))
_condition          d=sU        | o->imm == 0 ? SCC : o->imm == 1 ? SREG(u64, w, VCC) == 0 : EXECUTE == 0
_mfma_lanes         d=u a:u     | @MFMA_LANES
_clamp_f16          d+h         | (fv)select(is_nan(d), splat(0), (uv)fmin2(fmax2(d, (fv)0.0f), (fv)1.0f))
_clamp_pk_f16       d+H         | (fv)select(is_nan(d), splat(0), (uv)fmin2(fmax2(d, (fv)0.0f), (fv)1.0f))
_clamp_f64          d+F         | is_nan(d) ? (Fv)0.0 : fmin2(fmax2(d, (Fv)0.0), (Fv)1.0)
_dpp                            | @DPP
_indexed_source                 | @INDEXED(1, 0)
_indexed_result                 | @INDEXED(0, 1)
_exec_back                      | @exec_of(w) = AT(u64, w, o->o[0]); NEXT
_sdwa_sext          d=u a:u     | sdwa_sext(a, (u32)o->imm)
_sdwa_source        d=u a:u     | sdwa_source(a, (u32)o->imm, o->aux)
v_cvt_f32_fp8_part  d=f a:u     | e4m3_to_f(a >> sdwa_shift((u32)o->imm))
_sdwa_pad           d=u a:u     | sdwa_pad(a, (u32)o->imm)
_sdwa_preserve      d+u a:u     | sdwa_preserve(d, a, (u32)o->imm)
""",
    )
}
# The integer instructions that `clamp` makes saturate.
MICRO |= {
    row.mnemonic: row
    for row in table(
        "MICRO",
        """
v_subrev_u32_clamp  d=u a:u b:u | __builtin_elementwise_sub_sat(b, a)
v_subrev_u16_clamp  d=w a:w b:w | b - umin(a, b)
v_add_u16_clamp     d=w a:w b:w | umin(a + b, splat(0xffff))
v_sub_u16_clamp     d=w a:w b:w | a - umin(a, b)
v_add_i16_clamp     d~w a:j b:j | saturate(a + b, -32768, 32767)
v_sub_i16_clamp     d~w a:j b:j | saturate(a - b, -32768, 32767)
v_dot4_i32_i8_clamp d=i a:u b:u c:i | __builtin_elementwise_add_sat(dot_i(a, b, 8), c)
v_dot4_u32_u8_clamp d=u a:u b:u c:u | __builtin_elementwise_add_sat(dot_u(a, b, 8), c)
v_dot8_i32_i4_clamp d=i a:u b:u c:i | __builtin_elementwise_add_sat(dot_i(a, b, 4), c)
v_dot8_u32_u4_clamp d=u a:u b:u c:u | __builtin_elementwise_add_sat(dot_u(a, b, 4), c)
"""
        + "".join(
            f"v_{pk}{op}_{t}_clamp d={k} a:{k} b:{k} | __builtin_elementwise_{op}_sat(a, b)\n"
            for pk, t, k in (("", "u32", "u"), ("", "i32", "i"), ("pk_", "u16", "q"), ("pk_", "i16", "p"))
            for op in ("add", "sub")
        ),
    )
}
