"""Scalar instructions: one value a wave. SCC is the wave's condition bit.

Source: AMD CDNA4 ISA manual, SOP1/SOP2/SOPC/SOPK/SOPP, SMEM."""

from __future__ import annotations

from sparse_mla.gfx950.isa.row import Row, table

SALU: list[Row] = table(
    "SALU",
    """
s_mov_b32             d=su a:su             | a
s_mov_b64             d=sU a:sU             | a
s_movk_i32            d=si a:si             | (i16)a
s_cmov_b32            d+su a:su             | SCC ? a : d
s_not_b32             d=su a:su             | d = ~a; SCC = d != 0
s_not_b64             d=sU a:sU             | d = ~a; SCC = d != 0
s_getpc_b64           d=sU                  | 0
s_brev_b32            d=su a:su             | __builtin_bitreverse32(a)
s_bcnt1_i32_b32       d=su a:su             | d = (u32)__builtin_popcount(a); SCC = d != 0
s_bcnt1_i32_b64       d=su a:sU             | d = (u32)__builtin_popcountll(a); SCC = d != 0
s_ff1_i32_b32         d=su a:su             | a ? (u32)__builtin_ctz(a) : ~0u
s_ff1_i32_b64         d=su a:sU             | a ? (u32)__builtin_ctzll(a) : ~0u
s_flbit_i32_b32       d=su a:su             | a ? (u32)__builtin_clz(a) : ~0u
s_flbit_i32_b64       d=su a:sU             | a ? (u32)__builtin_clzll(a) : ~0u
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
s_bfm_b32             d=su a:su b:su        | ((1u << (a & 31)) - 1) << (b & 31)
s_pack_ll_b32_b16     d=su a:su b:su        | (a & 0xffff) | b << 16
s_cselect_b32         d=su a:su b:su        | SCC ? a : b
s_cselect_b64         d=sU a:sU b:sU        | SCC ? a : b
s_bitcmp0_b32         a:su b:su             | SCC = (a >> (b & 31) & 1) == 0
s_bitcmp1_b32         a:su b:su             | SCC = (a >> (b & 31) & 1) == 1
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
s_cmpk_eq_i32         a:si b:si             | SCC = a == (i16)b
s_cmpk_lg_i32         a:si b:si             | SCC = a != (i16)b
s_cmpk_gt_i32         a:si b:si             | SCC = a > (i16)b
s_cmpk_lt_i32         a:si b:si             | SCC = a < (i16)b
s_cmpk_eq_u32         a:su b:su             | SCC = a == (u16)b
s_cmpk_lg_u32         a:su b:su             | SCC = a != (u16)b
s_cmpk_gt_u32         a:su b:su             | SCC = a > (u16)b
s_cmpk_lt_u32         a:su b:su             | SCC = a < (u16)b
s_and_saveexec_b64    d=sU a:sU             | d = EXECUTE; EXECUTE = a & d; SCC = EXECUTE != 0
s_or_saveexec_b64     d=sU a:sU             | d = EXECUTE; EXECUTE = a | d; SCC = EXECUTE != 0
s_xor_saveexec_b64    d=sU a:sU             | d = EXECUTE; EXECUTE = a ^ d; SCC = EXECUTE != 0
s_andn2_saveexec_b64  d=sU a:sU             | d = EXECUTE; EXECUTE = a & ~d; SCC = EXECUTE != 0
""",
)

CONTROL: list[Row] = (
    table(
        "BRANCH",
        """
s_branch          t:L | @BRANCH(1)
s_cbranch_scc0    t:L | @BRANCH(!w->scc)
s_cbranch_scc1    t:L | @BRANCH(w->scc)
s_cbranch_vccz    t:L | @BRANCH(!SREG(u64, w, VCC))
s_cbranch_vccnz   t:L | @BRANCH(SREG(u64, w, VCC))
s_cbranch_execz   t:L | @BRANCH(!exec_of(w))
s_cbranch_execnz  t:L | @BRANCH(exec_of(w))
s_endpgm              | @END_PROGRAM
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
s_sethalt    a:k | @NEXT
s_icache_inv     | @NEXT
""",
    )
)
