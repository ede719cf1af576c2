"""Vector ALU instructions. Source: AMD CDNA4 ISA manual, VOP1/VOP2/VOP3/VOP3P/VOPC; the suffixes _e32, _e64,
_sdwa and _dpp name encodings of the same instruction and are not part of a row."""

from __future__ import annotations

from sparse_mla.gfx950.isa.row import Row, table

_COMPARE = {"lt": "{a} < {b}", "eq": "{a} == {b}", "le": "{a} <= {b}", "gt": "{a} > {b}", "ge": "{a} >= {b}"}
_FLOAT = _COMPARE | {
    "lg": "({a} < {b}) | ({a} > {b})", "o": "~(is_nan({a}) | is_nan({b}))", "u": "is_nan({a}) | is_nan({b})",
    "nge": "~({a} >= {b})", "nlg": "~(({a} < {b}) | ({a} > {b}))", "ngt": "~({a} > {b})", "nle": "~({a} <= {b})",
    "neq": "~({a} == {b})", "nlt": "~({a} < {b})",
}  # fmt: skip
_INTEGER = _COMPARE | {"ne": "{a} != {b}"}
# type suffix -> operand type, how an operand is read, predicates, what turns the comparison into 32-bit lanes
_COMPARED = {
    "f32": ("f", "{}", _FLOAT, "{}"),
    "i32": ("i", "{}", _INTEGER, "{}"),
    "u32": ("u", "{}", _INTEGER, "{}"),
    "i16": ("i", "({} << 16)", _INTEGER, "{}"),
    "u16": ("u", "({} & 0xffffu)", _INTEGER, "{}"),
    "i64": ("I", "{}", _INTEGER, "to_i({})"),
    "u64": ("U", "{}", _INTEGER, "to_i({})"),
}
COMPARES: list[Row] = [
    row
    for suffix, (kind, read, predicates, narrow) in _COMPARED.items()
    for name, text in predicates.items()
    for row in table(
        "VALU",
        f"v_cmp_{name}_{suffix} d=m a:{kind} b:{kind} | " + narrow.format(text.format(a=read.format("a"), b=read.format("b"))),
    )
] + table("VALU", "v_cmp_class_f32 d=m a:f b:u | (float_class(a) & b) != 0u")

FLOATS: list[Row] = table(
    "VALU",
    """
v_add_f32        d=f a:f b:f      | a + b
v_sub_f32        d=f a:f b:f      | a - b
v_subrev_f32     d=f a:f b:f      | b - a
v_mul_f32        d=f a:f b:f      | a * b
v_fma_f32        d=f a:f b:f c:f  | fma(a, b, c)
v_fmac_f32       d+f a:f b:f      | fma(a, b, d)
v_fmamk_f32      d=f a:f k:f b:f  | fma(a, k, b)
v_fmaak_f32      d=f a:f b:f k:f  | fma(a, b, k)
v_min_f32        d=f a:f b:f      | fmin2(a, b)
v_max_f32        d=f a:f b:f      | fmax2(a, b)
v_max3_f32       d=f a:f b:f c:f  | fmax2(fmax2(a, b), c)
v_min3_f32       d=f a:f b:f c:f  | fmin2(fmin2(a, b), c)
v_med3_f32       d=f a:f b:f c:f  | med3(a, b, c)
v_floor_f32      d=f a:f          | floor(a)
v_ceil_f32       d=f a:f          | ceil(a)
v_trunc_f32      d=f a:f          | trunc(a)
v_rndne_f32      d=f a:f          | rndne(a)
v_fract_f32      d=f a:f          | fract(a)
v_ldexp_f32      d=f a:f b:i      | ldexp(a, b)
v_cvt_f32_i32    d=f a:i          | to_f(a)
v_cvt_f32_u32    d=f a:u          | to_f(a)
v_cvt_i32_f32    d=i a:f          | f_to_i(trunc(a))
v_cvt_u32_f32    d=u a:f          | f_to_u(trunc(a))
v_cvt_f32_ubyte0 d=f a:u          | to_f(a & 0xffu)
v_cvt_f32_ubyte1 d=f a:u          | to_f(a >> 8 & 0xffu)
v_cvt_f32_ubyte2 d=f a:u          | to_f(a >> 16 & 0xffu)
v_cvt_f32_ubyte3 d=f a:u          | to_f(a >> 24)
v_cvt_pk_bf16_f32 d=u a:f b:f     | f_to_bf16(a) | f_to_bf16(b) << 16
v_cvt_f32_bf16   d=f a:u          | bf16_to_f(a)
v_cvt_f32_fp8    d=f a:u          | e4m3_to_f(a & 0xffu)
v_cvt_f32_bf8    d=f a:u          | e5m2_to_f(a & 0xffu)
v_cvt_pk_f32_fp8 d=P a:u          | d0 = e4m3_to_f(a & 0xffu); d1 = e4m3_to_f(a >> 8 & 0xffu)
v_cvt_pk_f32_bf8 d=P a:u          | d0 = e5m2_to_f(a & 0xffu); d1 = e5m2_to_f(a >> 8 & 0xffu)
v_pk_add_f32     d=P a:P b:P      | a + b
v_pk_mul_f32     d=P a:P b:P      | a * b
v_pk_fma_f32     d=P a:P b:P c:P  | fma(a, b, c)
""",
    modifiers="clamp",
) + table(
    "VALU",
    """
v_exp_f32        d=f a:f          | exp2v(a)
v_log_f32        d=f a:f          | log2v(a)
v_rcp_f32        d=f a:f          | rcp(a)
v_rcp_iflag_f32  d=f a:f          | rcp(a)
v_rsq_f32        d=f a:f          | rsq(a)
v_sqrt_f32       d=f a:f          | sqrt(a)
""",
    latency="trans",
    modifiers="clamp",
)

INTEGERS: list[Row] = table(
    "VALU",
    """
v_mov_b32        d=u a:u          | a
v_mov_b64        d=U a:U          | a
v_not_b32        d=u a:u          | ~a
v_and_b32        d=u a:u b:u      | a & b
v_or_b32         d=u a:u b:u      | a | b
v_xor_b32        d=u a:u b:u      | a ^ b
v_xnor_b32       d=u a:u b:u      | ~(a ^ b)
v_or3_b32        d=u a:u b:u c:u  | a | b | c
v_and_or_b32     d=u a:u b:u c:u  | (a & b) | c
v_bfi_b32        d=u a:u b:u c:u  | (a & b) | (~a & c)
v_bfe_u32        d=u a:u b:u c:u  | a >> (b & 31u) & ((1u << (c & 31u)) - 1u)
v_bfe_i32        d=i a:i b:u c:u  | bits_i(a, b & 31u, c & 31u)
v_bfrev_b32      d=u a:u          | bit_reverse(a)
v_ffbh_u32       d=u a:u          | first_high(a)
v_ffbl_b32       d=u a:u          | first_low(a)
v_bcnt_u32_b32   d=u a:u b:u      | pop_count(a) + b
v_perm_b32       d=u a:u b:u c:u  | perm(a, b, c)
v_alignbit_b32   d=u a:u b:u c:u  | to_u((to_U(a) << 32 | to_U(b)) >> to_U(c & 31u))
v_bitop3_b32     d=u a:u b:u c:u  | bitop3(a, b, c, (u32)o->imm)
v_lshlrev_b32    d=u a:u b:u      | b << (a & 31u)
v_lshrrev_b32    d=u a:u b:u      | b >> (a & 31u)
v_ashrrev_i32    d=i a:u b:i      | b >> (iv)(a & 31u)
v_lshlrev_b64    d=U a:u b:U      | b << to_U(a & 63u)
v_lshrrev_b64    d=U a:u b:U      | b >> to_U(a & 63u)
v_ashrrev_i64    d=I a:u b:I      | b >> to_I(a & 63u)
v_add_u32        d=u a:u b:u      | a + b
v_sub_u32        d=u a:u b:u      | a - b
v_subrev_u32     d=u a:u b:u      | b - a
v_add_co_u32     d=u m=m a:u b:u      | d = a + b; m = d < a
v_addc_co_u32    d=u m=m a:u b:u c:m  | Uv t = to_U(a) + to_U(b) + to_U(-c); d = to_u(t); m = to_i(t >> 32) != 0
v_sub_co_u32     d=u m=m a:u b:u      | d = a - b; m = a < b
v_subb_co_u32    d=u m=m a:u b:u c:m  | Uv t = to_U(b) + to_U(-c); d = a - to_u(t); m = to_i(to_U(a) < t)
v_subrev_co_u32  d=u m=m a:u b:u      | d = b - a; m = b < a
v_add3_u32       d=u a:u b:u c:u  | a + b + c
v_lshl_add_u32   d=u a:u b:u c:u  | (a << (b & 31u)) + c
v_add_lshl_u32   d=u a:u b:u c:u  | (a + b) << (c & 31u)
v_lshl_or_b32    d=u a:u b:u c:u  | a << (b & 31u) | c
v_xad_u32        d=u a:u b:u c:u  | (a ^ b) + c
v_lshl_add_u64   d=U a:U b:u c:U  | (a << to_U(b & 7u)) + c
v_mul_lo_u32     d=u a:u b:u      | a * b
v_mul_hi_u32     d=u a:u b:u      | mul_hi_u(a, b)
v_mul_hi_i32     d=i a:i b:i      | mul_hi_i(a, b)
v_mul_u32_u24    d=u a:u b:u      | (a & 0xffffffu) * (b & 0xffffffu)
v_mul_i32_i24    d=i a:i b:i      | (a << 8 >> 8) * (b << 8 >> 8)
v_mad_u32_u24    d=u a:u b:u c:u  | (a & 0xffffffu) * (b & 0xffffffu) + c
v_mad_i32_i24    d=i a:i b:i c:i  | (a << 8 >> 8) * (b << 8 >> 8) + c
v_mad_u64_u32    d=U m=m a:u b:u c:U | Uv t = to_U(a) * to_U(b); d = t + c; m = to_i(d < t)
v_mad_i64_i32    d=I m=m a:i b:i c:I | Iv t = to_I(a) * to_I(b); d = (Iv)((Uv)t + (Uv)c); m = to_i((d < 0) ^ (d < t) ^ (c < 0))
v_min_u32        d=u a:u b:u      | umin(a, b)
v_max_u32        d=u a:u b:u      | umax(a, b)
v_min_i32        d=i a:i b:i      | umin(a, b)
v_max_i32        d=i a:i b:i      | umax(a, b)
v_max3_i32       d=i a:i b:i c:i  | umax(umax(a, b), c)
v_max3_u32       d=u a:u b:u c:u  | umax(umax(a, b), c)
v_add_u16        d=u a:u b:u      | (a + b) & 0xffffu
v_sub_u16        d=u a:u b:u      | (a - b) & 0xffffu
v_mul_lo_u16     d=u a:u b:u      | a * b & 0xffffu
v_lshlrev_b16    d=u a:u b:u      | b << (a & 15u) & 0xffffu
v_lshrrev_b16    d=u a:u b:u      | (b & 0xffffu) >> (a & 15u)
v_pk_lshlrev_b16 d=q a:q b:q      | b << (a & (u16)15)
v_pk_lshrrev_b16 d=q a:q b:q      | b >> (a & (u16)15)
v_pk_add_u16     d=q a:q b:q      | a + b
v_cndmask_b32    d=u a:u b:u c:m  | select(c, b, a)
v_mbcnt_lo_u32_b32 d=u a:u b:u    | pop_count(a & LANES_BELOW_LO) + b
v_mbcnt_hi_u32_b32 d=u a:u b:u    | pop_count(a & LANES_BELOW_HI) + b
v_accvgpr_read_b32  d=u a:u       | a
v_accvgpr_write_b32 d=u a:u       | a
""",
    modifiers="bitop3",
)

LANES: list[Row] = table(
    "VALU",
    """
v_readfirstlane_b32      d=su a:u       | a[EXECUTE ? __builtin_ctzll(EXECUTE) : 0]
v_readlane_b32           d=su a:u b:su  | a[b & 63]
v_writelane_b32          d+x1 a:su b:su | @V(o->o[0], AT(u32, w, o->o[2] & ~1u) & 63) = AT(u32, w, o->o[1] & ~1u); NEXT
v_permlane16_swap_b32    d+x1 a+x1      | @PERMLANE_SWAP(16)
v_permlane32_swap_b32    d+x1 a+x1      | @PERMLANE_SWAP(32)
""",
    latency="lane",
)

VECTOR: list[Row] = COMPARES + FLOATS + INTEGERS + LANES
