"""Scalar instructions: one value a wave. SCC is the wave's condition bit.

Source: AMD CDNA4 ISA manual, SOP1/SOP2/SOPC/SOPK/SOPP, SMEM."""

from __future__ import annotations

from sparse_mla.gfx950.isa.row import Row, table

_SAVED = {"and": "a & d", "or": "a | d", "xor": "a ^ d", "andn1": "~a & d", "andn2": "a & ~d", "orn1": "~a | d",
          "orn2": "a | ~d", "nand": "~(a & d)", "nor": "~(a | d)", "xnor": "~(a ^ d)"}  # fmt: skip

SALU: list[Row] = table(
    "SALU",
    """
s_mov_b32             d=su a:su             | a
s_mov_b64             d=sU a:sU             | a
s_movk_i32            d=si a:si             | (i16)a
s_cmov_b32            d+su a:su             | SCC ? a : d
s_cmov_b64            d+sU a:sU             | SCC ? a : d
s_cmovk_i32           d+si a:si             | SCC ? (i32)(i16)a : d
s_not_b32             d=su a:su             | d = ~a; SCC = d != 0
s_not_b64             d=sU a:sU             | d = ~a; SCC = d != 0
s_getpc_b64           d=sU                  | 0
s_brev_b32            d=su a:su             | __builtin_bitreverse32(a)
s_brev_b64            d=sU a:sU             | __builtin_bitreverse64(a)
s_bcnt0_i32_b32       d=su a:su             | d = 32 - (u32)__builtin_popcount(a); SCC = d != 0
s_bcnt0_i32_b64       d=su a:sU             | d = 64 - (u32)__builtin_popcountll(a); SCC = d != 0
s_bcnt1_i32_b32       d=su a:su             | d = (u32)__builtin_popcount(a); SCC = d != 0
s_bcnt1_i32_b64       d=su a:sU             | d = (u32)__builtin_popcountll(a); SCC = d != 0
s_ff0_i32_b32         d=su a:su             | ~a ? (u32)__builtin_ctz(~a) : ~0u
s_ff0_i32_b64         d=su a:sU             | ~a ? (u32)__builtin_ctzll(~a) : ~0u
s_ff1_i32_b32         d=su a:su             | a ? (u32)__builtin_ctz(a) : ~0u
s_ff1_i32_b64         d=su a:sU             | a ? (u32)__builtin_ctzll(a) : ~0u
s_flbit_i32_b32       d=su a:su             | a ? (u32)__builtin_clz(a) : ~0u
s_flbit_i32_b64       d=su a:sU             | a ? (u32)__builtin_clzll(a) : ~0u
s_flbit_i32           d=su a:si             | a ^ a >> 31 ? (u32)__builtin_clz((u32)(a ^ a >> 31)) : ~0u
s_flbit_i32_i64       d=su a:sI             | a ^ a >> 63 ? (u32)__builtin_clzll((u64)(a ^ a >> 63)) : ~0u
s_bitset0_b32         d+su a:su             | d & ~(1u << (a & 31))
s_bitset1_b32         d+su a:su             | d | 1u << (a & 31)
s_bitset0_b64         d+sU a:su             | d & ~(1ull << (a & 63))
s_bitset1_b64         d+sU a:su             | d | 1ull << (a & 63)
s_bitreplicate_b64_b32 d=sU a:su            | spread(a, 1) * 3
s_quadmask_b32        d=su a:su             | d = (u32)quads(a); SCC = d != 0
s_quadmask_b64        d=sU a:sU             | d = quads(a); SCC = d != 0
s_wqm_b32             d=su a:su             | d = (u32)spread(quads(a), 2) * 15; SCC = d != 0
s_wqm_b64             d=sU a:sU             | d = spread(quads(a), 2) * 15; SCC = d != 0
s_sext_i32_i8         d=si a:su             | (i8)a
s_sext_i32_i16        d=si a:su             | (i16)a
s_abs_i32             d=su a:su             | d = (i32)a < 0 ? -a : a; SCC = d != 0
s_add_u32             d=su a:su b:su        | d = a + b; SCC = d < a
s_addc_u32            d=su a:su b:su        | u64 t = (u64)a + b + SCC; d = (u32)t; SCC = t >> 32 != 0
s_sub_u32             d=su a:su b:su        | d = a - b; SCC = a < b
s_subb_u32            d=su a:su b:su        | u64 t = (u64)b + SCC; d = a - (u32)t; SCC = a < t
s_add_i32             d=si a:si b:si        | SCC = __builtin_add_overflow(a, b, &d)
s_sub_i32             d=si a:si b:si        | SCC = __builtin_sub_overflow(a, b, &d)
s_addk_i32            d+si a:si             | SCC = __builtin_add_overflow(d, (i32)(i16)a, &d)
s_mulk_i32            d+su a:su             | d * (u32)(i16)a
s_mul_i32             d=su a:su b:su        | a * b
s_mul_hi_u32          d=su a:su b:su        | (u32)((u64)a * b >> 32)
s_mul_hi_i32          d=si a:si b:si        | (i32)((i64)a * b >> 32)
s_absdiff_i32         d=su a:si b:si        | d = (u32)a - (u32)b; d = (i32)d < 0 ? -d : d; SCC = d != 0
s_min_u32             d=su a:su b:su        | SCC = a < b; d = SCC ? a : b
s_max_u32             d=su a:su b:su        | SCC = a >= b; d = SCC ? a : b
s_min_i32             d=si a:si b:si        | SCC = a < b; d = SCC ? a : b
s_max_i32             d=si a:si b:si        | SCC = a >= b; d = SCC ? a : b
s_and_b32             d=su a:su b:su        | d = a & b; SCC = d != 0
s_and_b64             d=sU a:sU b:sU        | d = a & b; SCC = d != 0
s_or_b32              d=su a:su b:su        | d = a | b; SCC = d != 0
s_or_b64              d=sU a:sU b:sU        | d = a | b; SCC = d != 0
s_xor_b32             d=su a:su b:su        | d = a ^ b; SCC = d != 0
s_xor_b64             d=sU a:sU b:sU        | d = a ^ b; SCC = d != 0
s_andn2_b32           d=su a:su b:su        | d = a & ~b; SCC = d != 0
s_andn2_b64           d=sU a:sU b:sU        | d = a & ~b; SCC = d != 0
s_orn2_b32            d=su a:su b:su        | d = a | ~b; SCC = d != 0
s_orn2_b64            d=sU a:sU b:sU        | d = a | ~b; SCC = d != 0
s_nand_b32            d=su a:su b:su        | d = ~(a & b); SCC = d != 0
s_nor_b32             d=su a:su b:su        | d = ~(a | b); SCC = d != 0
s_xnor_b32            d=su a:su b:su        | d = ~(a ^ b); SCC = d != 0
s_nand_b64            d=sU a:sU b:sU        | d = ~(a & b); SCC = d != 0
s_nor_b64             d=sU a:sU b:sU        | d = ~(a | b); SCC = d != 0
s_xnor_b64            d=sU a:sU b:sU        | d = ~(a ^ b); SCC = d != 0
s_lshl_b32            d=su a:su b:su        | d = a << (b & 31); SCC = d != 0
s_lshl_b64            d=sU a:sU b:su        | d = a << (b & 63); SCC = d != 0
s_lshr_b32            d=su a:su b:su        | d = a >> (b & 31); SCC = d != 0
s_lshr_b64            d=sU a:sU b:su        | d = a >> (b & 63); SCC = d != 0
s_ashr_i32            d=si a:si b:su        | d = a >> (b & 31); SCC = d != 0
s_ashr_i64            d=sI a:sI b:su        | d = a >> (b & 63); SCC = d != 0
s_lshl1_add_u32       d=su a:su b:su        | u64 t = ((u64)a << 1) + b; d = (u32)t; SCC = t >> 32 != 0
s_lshl2_add_u32       d=su a:su b:su        | u64 t = ((u64)a << 2) + b; d = (u32)t; SCC = t >> 32 != 0
s_lshl3_add_u32       d=su a:su b:su        | u64 t = ((u64)a << 3) + b; d = (u32)t; SCC = t >> 32 != 0
s_lshl4_add_u32       d=su a:su b:su        | u64 t = ((u64)a << 4) + b; d = (u32)t; SCC = t >> 32 != 0
s_bfe_u32             d=su a:su b:su        | d = bits_u(a, b & 31, b >> 16 & 127); SCC = d != 0
s_bfe_i32             d=si a:si b:su        | d = (i32)bits_s(a, b & 31, b >> 16 & 127, 32); SCC = d != 0
s_bfe_u64             d=sU a:sU b:su        | d = bits_U(a, b & 63, b >> 16 & 127); SCC = d != 0
s_bfe_i64             d=sI a:sI b:su        | d = bits_s(a, b & 63, b >> 16 & 127, 64); SCC = d != 0
s_bfm_b64             d=sU a:su b:su        | ((1ull << (a & 63)) - 1) << (b & 63)
s_pack_lh_b32_b16     d=su a:su b:su        | (a & 0xffff) | (b & 0xffff0000u)
s_pack_hh_b32_b16     d=su a:su b:su        | a >> 16 | (b & 0xffff0000u)
s_bfm_b32             d=su a:su b:su        | ((1u << (a & 31)) - 1) << (b & 31)
s_pack_ll_b32_b16     d=su a:su b:su        | (a & 0xffff) | b << 16
s_cselect_b32         d=su a:su b:su        | SCC ? a : b
s_cselect_b64         d=sU a:sU b:sU        | SCC ? a : b
s_bitcmp0_b32         a:su b:su             | SCC = (a >> (b & 31) & 1) == 0
s_bitcmp1_b32         a:su b:su             | SCC = (a >> (b & 31) & 1) == 1
s_bitcmp0_b64         a:sU b:su             | SCC = (a >> (b & 63) & 1) == 0
s_bitcmp1_b64         a:sU b:su             | SCC = (a >> (b & 63) & 1) == 1
s_cmp_eq_u32          a:su b:su             | SCC = a == b
s_cmp_lg_u32          a:su b:su             | SCC = a != b
s_cmp_gt_u32          a:su b:su             | SCC = a > b
s_cmp_ge_u32          a:su b:su             | SCC = a >= b
s_cmp_lt_u32          a:su b:su             | SCC = a < b
s_cmp_le_u32          a:su b:su             | SCC = a <= b
s_cmp_eq_i32          a:si b:si             | SCC = a == b
s_cmp_lg_i32          a:si b:si             | SCC = a != b
s_cmp_gt_i32          a:si b:si             | SCC = a > b
s_cmp_ge_i32          a:si b:si             | SCC = a >= b
s_cmp_lt_i32          a:si b:si             | SCC = a < b
s_cmp_le_i32          a:si b:si             | SCC = a <= b
s_cmp_eq_u64          a:sU b:sU             | SCC = a == b
s_cmp_lg_u64          a:sU b:sU             | SCC = a != b
s_andn1_wrexec_b64    d=sU a:sU             | EXECUTE = ~a & EXECUTE; d = EXECUTE; SCC = EXECUTE != 0
s_andn2_wrexec_b64    d=sU a:sU             | EXECUTE = a & ~EXECUTE; d = EXECUTE; SCC = EXECUTE != 0
s_movrels_b32         d=su a:su             | @MOVREL(u32, 1, 0)
s_movrels_b64         d=sU a:sU             | @MOVREL(u64, 1, 0)
s_movreld_b32         d=su a:su             | @MOVREL(u32, 0, 1)
s_movreld_b64         d=sU a:sU             | @MOVREL(u64, 0, 1)
s_set_gpr_idx_on      a:su b:su             | u32* m = &SREG(u32, w, M0); *m = (*m & ~0xf0ffu) | (a & 255) | (b & 15) << 12
s_set_gpr_idx_idx     a:su                  | u32* m = &SREG(u32, w, M0); *m = (*m & ~0xffu) | (a & 255)
s_set_gpr_idx_mode    a:su                  | u32* m = &SREG(u32, w, M0); *m = (*m & ~0xf000u) | (a & 15) << 12
s_getreg_b32          d=su k:su             | @GETREG
s_setreg_b32          k:su a:su             | @SETREG
s_setreg_imm32_b32    k:su a:su             | @SETREG
"""
    + "".join(
        f"s_{name}_saveexec_b64 d=sU a:sU | d = EXECUTE; EXECUTE = {value}; SCC = EXECUTE != 0\n"
        for name, value in _SAVED.items()
    )
    + "".join(
        f"s_cmpk_{name}_{t}32 a:s{t} b:s{t} | SCC = a {op} ({t}16)b\n"
        for t in "iu"
        for name, op in (("eq", "=="), ("lg", "!="), ("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
    ),
)

CLOCKS: list[Row] = table(
    "SMEM",
    """
s_memtime        d=sU              | (u64)(w->launch->budget - (u64)w->budget)
s_memrealtime    d=sU              | (u64)(w->launch->budget - (u64)w->budget)
""",
)

CONTROL: list[Row] = (
    CLOCKS
    + table(
        "BRANCH",
        """
s_branch          t:L | @BRANCH(1)
s_cbranch_scc0    t:L | @BRANCH(!w->scc)
s_cbranch_scc1    t:L | @BRANCH(w->scc)
s_cbranch_vccz    t:L | @BRANCH(!SREG(u64, w, VCC))
s_cbranch_vccnz   t:L | @BRANCH(SREG(u64, w, VCC))
s_cbranch_execz   t:L | @BRANCH(!exec_of(w))
s_cbranch_execnz  t:L | @BRANCH(exec_of(w))
s_cbranch_cdbgsys             t:L | @BRANCH(0)
s_cbranch_cdbguser            t:L | @BRANCH(0)
s_cbranch_cdbgsys_or_user     t:L | @BRANCH(0)
s_cbranch_cdbgsys_and_user    t:L | @BRANCH(0)
s_endpgm              | @END_PROGRAM
s_endpgm_saved        | @END_PROGRAM
s_call_b64        d=sU t:L | @CALL(o->target)
s_setpc_b64       a:sU     | @JUMP(0)
s_swappc_b64      d=sU a:sU | @CALL_POINTER
s_trap            a:su     | @return fault(w, o, FAULT_TRAP, 0, 0, 0)
s_sendmsghalt     a:su     | @return fault(w, o, FAULT_TRAP, 0, 0, 0)
s_sethalt         a:su     | @if (AT(u32, w, o->o[0] & ~1u) & 1) return fault(w, o, FAULT_TRAP, 0, 0, 0); NEXT
""",
    )
    + table("BARRIER", "s_barrier | @BARRIER")
    # No functional effect: the decoder drops them, counts and timing keep them.
    + table(
        "WAIT",
        """
s_nop        a:k | @NEXT
s_waitcnt    a:k | @NEXT
s_sleep      a:k | @NEXT
s_setprio    a:k | @NEXT
s_set_gpr_idx_off | @NEXT
s_sendmsg    a:k | @NEXT
s_incperflevel a:k | @NEXT
s_decperflevel a:k | @NEXT
s_ttracedata     | @NEXT
s_wakeup         | @NEXT
v_nop            | @NEXT
v_clrexcp        | @NEXT
s_atc_probe        a:k | @NEXT
s_atc_probe_buffer a:k | @NEXT
s_icache_inv     | @NEXT
""",
    )
)
