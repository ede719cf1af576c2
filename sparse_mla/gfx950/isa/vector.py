"""Vector ALU instructions. Source: AMD CDNA4 ISA manual, VOP1/VOP2/VOP3/VOP3P/VOPC; the suffixes _e32, _e64,
_sdwa and _dpp name encodings of the same instruction and are not part of a row."""

from __future__ import annotations

from sparse_mla.gfx950.isa.row import Row, table

_COMPARE = {"lt": "{a} < {b}", "eq": "{a} == {b}", "le": "{a} <= {b}", "gt": "{a} > {b}", "ge": "{a} >= {b}",
            "f": "({a} < {b}) & ({a} > {b})"}  # fmt: skip
_FLOAT = _COMPARE | {
    "lg": "({a} < {b}) | ({a} > {b})", "o": "~(is_nan({a}) | is_nan({b}))", "u": "is_nan({a}) | is_nan({b})",
    "nge": "~({a} >= {b})", "nlg": "~(({a} < {b}) | ({a} > {b}))", "ngt": "~({a} > {b})", "nle": "~({a} <= {b})",
    "neq": "~({a} == {b})", "nlt": "~({a} < {b})", "tru": "~(({a} < {b}) & ({a} > {b}))",
}  # fmt: skip
_INTEGER = _COMPARE | {"ne": "{a} != {b}", "t": "~(({a} < {b}) & ({a} > {b}))"}
# type suffix -> operand type, predicates, what turns the comparison into 32-bit lanes
_COMPARED = {
    "f16": ("h", _FLOAT, "{}"),
    "f32": ("f", _FLOAT, "{}"),
    "f64": ("F", _FLOAT, "to_i({})"),
    "i16": ("j", _INTEGER, "{}"),
    "u16": ("w", _INTEGER, "{}"),
    "i32": ("i", _INTEGER, "{}"),
    "u32": ("u", _INTEGER, "{}"),
    "i64": ("I", _INTEGER, "to_i({})"),
    "u64": ("U", _INTEGER, "to_i({})"),
}
COMPARES: list[Row] = [
    row
    for x in ("", "x")  # v_cmpx writes EXEC too: the decoder adds that
    for text in (
        f"v_cmp{x}_class_f16 d=m a:g b:u | (half_class(a) & b) != 0u",
        f"v_cmp{x}_class_f32 d=m a:f b:u | (float_class(a) & b) != 0u",
        f"v_cmp{x}_class_f64 d=m a:F b:u | (double_class(a) & b) != 0u",
        *(
            f"v_cmp{x}_{name}_{suffix} d=m a:{kind} b:{kind} | {narrow.format(text.format(a='a', b='b'))}"
            for suffix, (kind, predicates, narrow) in _COMPARED.items()
            for name, text in predicates.items()
        ),
    )
    for row in table("VALU", text)
]

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
v_cvt_pk_bf16_f32 d=u a:f b:f     | pack_bf16(a, b)
v_cvt_f32_bf16   d=f a:b          | a
v_mul_legacy_f32 d=f a:f b:f      | ((a == 0.0f) | (b == 0.0f)) ? (fv)0.0f : a * b
v_minimum3_f32   d=f a:f b:f c:f  | fminimum(fminimum(a, b), c)
v_maximum3_f32   d=f a:f b:f c:f  | fmaximum(fmaximum(a, b), c)
v_frexp_exp_i32_f32 d=i a:f       | to_i(frexp_exp(to_F(a)))
v_frexp_mant_f32 d=f a:f          | to_f(frexp_mant(to_F(a)))
v_div_scale_f32  d=f m=m a:f b:f c:f | d = div_scale(a, b, c, &m)
v_div_fixup_f32  d=f a:f b:f c:f  | div_fixup(a, b, c, -150)
v_cvt_rpi_i32_f32 d=i a:f         | f_to_i(floor(a + 0.5f))
v_cvt_flr_i32_f32 d=i a:f         | f_to_i(floor(a))
v_cvt_off_f32_i4 d=f a:i          | to_f(a << 28 >> 28) * 0.0625f
v_cubeid_f32     d=f a:f b:f c:f  | cube(a, b, c, (fv)4.0f + below(c), (fv)2.0f + below(b), below(a))
v_cubesc_f32     d=f a:f b:f c:f  | cube(a, b, c, against(c, a), a, -against(a, c))
v_cubetc_f32     d=f a:f b:f c:f  | cube(a, b, c, -b, against(b, c), -b)
v_cubema_f32     d=f a:f b:f c:f  | cube(a, b, c, 2.0f * c, 2.0f * b, 2.0f * a)
v_dot2_f32_f16   d=f a:H b:H c:f  | d = a0 * b0 + c; d = a1 * b1 + d
v_dot2c_f32_f16  d+f a:H b:H      | d = a0 * b0 + d; d = a1 * b1 + d
v_dot2_f32_bf16  d=f a:E b:E c:f  | d = a0 * b0; d = a1 * b1 + d; d = d + c
v_dot2c_f32_bf16 d+f a:E b:E      | d = a0 * b0 + d; d = a1 * b1 + d
v_fma_mix_f32    d=f a:X b:X c:X  | fma(a, b, c)
v_fma_mixlo_f16  d~h a:X b:X c:X  | fma(a, b, c)
v_fma_mixhi_f16  d~h a:X b:X c:X  | fma(a, b, c)
v_cvt_f32_f16    d=f a:h          | a
v_cvt_f16_f32    d=h a:f          | a
v_cvt_pknorm_i16_f32 d=u a:f b:f  | normed(a, -1) | normed(b, -1) << 16
v_cvt_pknorm_u16_f32 d=u a:f b:f  | normed(a, 0) | normed(b, 0) << 16
v_cvt_pk_u8_f32  d=u a:f b:u c:u  | byte_of(c, a, b)
v_cvt_pkaccum_u8_f32 d+u a:f b:u  | byte_of(d, a, b)
v_cvt_pk_f16_f32 d=u a:f b:f      | f_to_h(a) | f_to_h(b) << 16
v_cvt_pkrtz_f16_f32 d=u a:f b:f   | f_to_h_zero(a) | f_to_h_zero(b) << 16
v_cvt_sr_f16_f32  d~w a:f b:u     | to_small_sr(a, HALF, b)
v_cvt_sr_bf16_f32 d~w a:f b:u     | to_small_sr(a, BF16, b)
v_cvt_pk_fp8_f32 d~w a:f b:f      | to_small(a, FP8) | to_small(b, FP8) << 8
v_cvt_pk_bf8_f32 d~w a:f b:f      | to_small(a, BF8) | to_small(b, BF8) << 8
v_cvt_sr_fp8_f32 d~y a:f b:u      | to_small_sr(a, FP8, b)
v_cvt_sr_bf8_f32 d~y a:f b:u      | to_small_sr(a, BF8, b)
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
v_exp_legacy_f32 d=f a:f          | exp2v(a)
v_log_legacy_f32 d=f a:f          | log2v(a)
v_rcp_f32        d=f a:f          | rcp(a)
v_rcp_iflag_f32  d=f a:f          | rcp(a)
v_rsq_f32        d=f a:f          | rsq(a)
v_sqrt_f32       d=f a:f          | sqrt(a)
v_sin_f32        d=f a:f          | sinv(a)
v_cos_f32        d=f a:f          | cosv(a)
v_exp_f16        d=h a:h          | exp2v(a)
v_log_f16        d=h a:h          | log2v(a)
v_rcp_f16        d=h a:h          | rcp(a)
v_rsq_f16        d=h a:h          | rsq(a)
v_sqrt_f16       d=h a:h          | sqrt(a)
v_sin_f16        d=h a:h          | sinv(a)
v_cos_f16        d=h a:h          | cosv(a)
v_rcp_f64        d=F a:F          | 1.0 / a
v_rsq_f64        d=F a:F          | 1.0 / sqrt(a)
v_sqrt_f64       d=F a:F          | sqrt(a)
""",
    latency="trans",
    modifiers="clamp",
)

# The scale of division is read from VCC, which the text does not name.
DIVISIONS: list[Row] = table(
    "VALU",
    """
v_div_fmas_f32   d=f a:f b:f c:f  | div_fmas(a, b, c, mask_lanes(SREG(u64, w, VCC)))
v_div_fmas_f64   d=F a:F b:F c:F  | div_fmas(a, b, c, to_I(mask_lanes(SREG(u64, w, VCC))))
""",
    modifiers="clamp",
)

HALVES: list[Row] = table(
    "VALU",
    """
v_add_f16        d=h a:h b:h      | a + b
v_sub_f16        d=h a:h b:h      | a - b
v_subrev_f16     d=h a:h b:h      | b - a
v_mul_f16        d=h a:h b:h      | a * b
v_min_f16        d=h a:h b:h      | fmin2(a, b)
v_max_f16        d=h a:h b:h      | fmax2(a, b)
v_fma_f16        d~h a:h b:h c:h  | fma_h(a, b, c)
v_fma_legacy_f16 d=h a:h b:h c:h  | fma_h(a, b, c)
v_mad_f16        d~h a:h b:h c:h  | mad_h(a, b, c)
v_mad_legacy_f16 d=h a:h b:h c:h  | mad_h(a, b, c)
v_mac_f16        d+h a:h b:h      | mad_h(a, b, d)
v_madmk_f16      d=h a:h k:h b:h  | mad_h(a, k, b)
v_madak_f16      d=h a:h b:h k:h  | mad_h(a, b, k)
v_cvt_norm_i16_f16 d=w a:h        | normed(a, -1)
v_cvt_norm_u16_f16 d=w a:h        | normed(a, 0)
v_cvt_pknorm_i16_f16 d=u a:h b:h  | normed(a, -1) | normed(b, -1) << 16
v_cvt_pknorm_u16_f16 d=u a:h b:h  | normed(a, 0) | normed(b, 0) << 16
v_min3_f16       d~h a:h b:h c:h  | fmin2(fmin2(a, b), c)
v_max3_f16       d~h a:h b:h c:h  | fmax2(fmax2(a, b), c)
v_med3_f16       d~h a:h b:h c:h  | med3(a, b, c)
v_div_fixup_f16  d~h a:h b:h c:h  | div_fixup(a, b, c, -300)
v_div_fixup_legacy_f16 d=h a:h b:h c:h | div_fixup(a, b, c, -300)
v_ldexp_f16      d=h a:h b:j      | ldexp(a, b)
v_floor_f16      d=h a:h          | floor(a)
v_ceil_f16       d=h a:h          | ceil(a)
v_trunc_f16      d=h a:h          | trunc(a)
v_rndne_f16      d=h a:h          | rndne(a)
v_fract_f16      d=h a:h          | fract_h(a)
v_frexp_mant_f16 d=h a:h          | to_f(frexp_mant(to_F(a)))
v_frexp_exp_i16_f16 d=j a:h       | to_i(frexp_exp(to_F(a)))
v_cvt_f16_u16    d=h a:w          | to_f(a)
v_cvt_f16_i16    d=h a:j          | to_f(a)
v_cvt_u16_f16    d=w a:h          | umin(f_to_u(trunc(a)), splat(0xffff))
v_cvt_i16_f16    d=w a:h          | saturate(f_to_i(trunc(a)), -32768, 32767)
v_pack_b32_f16   d=u a:g b:g      | a | b << 16
v_pk_add_f16     d=H a:H b:H      | a + b
v_pk_mul_f16     d=H a:H b:H      | a * b
v_pk_min_f16     d=H a:H b:H      | fmin2(a, b)
v_pk_max_f16     d=H a:H b:H      | fmax2(a, b)
v_pk_fma_f16     d=H a:H b:H c:H  | fma_h(a, b, c)
v_pk_fmac_f16    d+H a:H b:H      | fma_h(a, b, d)
v_pk_minimum3_f16 d=H a:H b:H c:H | fminimum(fminimum(a, b), c)
v_pk_maximum3_f16 d=H a:H b:H c:H | fmaximum(fmaximum(a, b), c)
""",
    modifiers="clamp",
)

DOUBLES: list[Row] = table(
    "VALU",
    """
v_add_f64        d=F a:F b:F      | a + b
v_mul_f64        d=F a:F b:F      | a * b
v_fma_f64        d=F a:F b:F c:F  | fma(a, b, c)
v_fmac_f64       d+F a:F b:F      | fma(a, b, d)
v_min_f64        d=F a:F b:F      | fmin2(a, b)
v_max_f64        d=F a:F b:F      | fmax2(a, b)
v_floor_f64      d=F a:F          | floor(a)
v_ceil_f64       d=F a:F          | ceil(a)
v_trunc_f64      d=F a:F          | trunc(a)
v_rndne_f64      d=F a:F          | rndne(a)
v_fract_f64      d=F a:F          | fract(a)
v_ldexp_f64      d=F a:F b:i      | ldexp(a, to_I(b))
v_frexp_exp_i32_f64 d=i a:F       | to_i(frexp_exp(a))
v_frexp_mant_f64 d=F a:F          | frexp_mant(a)
v_div_scale_f64  d=F m=m a:F b:F c:F | Iv t; d = div_scale(a, b, c, &t); m = to_i(t)
v_div_fixup_f64  d=F a:F b:F c:F  | div_fixup(a, b, c, -1075)
v_cvt_f64_f32    d=F a:f          | to_F(a)
v_cvt_f64_i32    d=F a:i          | to_F(a)
v_cvt_f64_u32    d=F a:u          | to_F(a)
v_cvt_f32_f64    d=f a:F          | to_f(a)
v_cvt_i32_f64    d=i a:F          | F_to_i(a)
v_cvt_u32_f64    d=u a:F          | F_to_u(a)
v_trig_preop_f64 d=F a:F b:u      | trig_preop(a, b)
""",
    modifiers="clamp",
    latency="double",
)

# Conversions with a scale, the exponent field of a float. To a number: what it is packed as, from the parts of a source.
_UP = {"f32": "d0 = {0}; d1 = {1}", "f16": "d = f_to_h({0}) | f_to_h({1}) << 16",
       "bf16": "d = f_to_bf16({0}) | f_to_bf16({1}) << 16"}  # fmt: skip
_EIGHT = {"fp8": ("e4m3_to_f", "FP8"), "bf8": ("e5m2_to_f", "BF8")}
_SIX = {"fp6": "FP6", "bf6": "BF6"}
_LETTER = {"f32": "f", "f16": "h", "bf16": "b"}
_FROM_PAIR = {"f32": ("a:f b:f", "a", "b", "c"), "f16": ("a:H", "a0", "a1", "b"), "bf16": ("a:E", "a0", "a1", "b")}
SCALED: list[Row] = table(
    "VALU",
    "\n".join(
        [
            f"v_cvt_scalef32_pk_{to}_{x} d={'P' if to == 'f32' else 'u'} a:w b:u | "
            + pack.format(f"scale_up({f}(a & 0xffu), b)", f"scale_up({f}(a >> 8), b)")
            for to, pack in _UP.items()
            for x, (f, _) in _EIGHT.items()
        ]
        + [
            f"v_cvt_scalef32_pk_{to}_fp4 d={'P' if to == 'f32' else 'u'} a:y b:u | "
            + pack.format("scale_up(from_small(a & 15u, FP4), b)", "scale_up(from_small(a >> 4, FP4), b)")
            for to, pack in _UP.items()
        ]
        + [
            f"v_cvt_scalef32_{to}_{x} d{'~h' if to == 'f16' else '=f'} a:y b:u | scale_up({f}(a), b)"
            for to in ("f32", "f16")
            for x, (f, _) in _EIGHT.items()
        ]
        + [
            f"v_cvt_scalef32_pk_{x}_{source} d~{kind} {operands} {s}:u | "
            f"to_small(scale_down({lo}, {s}), {code}) | to_small(scale_down({hi}, {s}), {code}) << {bits}"
            for source, (operands, lo, hi, s) in _FROM_PAIR.items()
            for x, kind, bits, code in (("fp8", "w", 8, "FP8"), ("bf8", "w", 8, "BF8"), ("fp4", "y", 4, "FP4"))
        ]
        + [
            f"v_cvt_scalef32_sr_{x}_{source} d~y a:{kind} b:u c:u | to_small_sr(scale_down(a, c), {code}, b)"
            for source, kind in _LETTER.items()
            for x, (_, code) in _EIGHT.items()
        ]
        + [
            f"v_cvt_scalef32_sr_pk_fp4_{source} d~y a:{kind} b:u c:u | "
            "to_small_sr(scale_down(a0, c), FP4, b) | to_small_sr(scale_down(a1, c), FP4, prng(b)) << 4"
            for source, kind in (("f32", "P"), ("f16", "H"), ("bf16", "E"))
        ]
        + [
            f"v_cvt_scalef32_pk32_{to}_{x} d=x{32 if to == 'f32' else 16} a:x6 b:u | @UNPACK_SIX_{letter}({code})"
            for to, letter in _LETTER.items()
            for x, code in _SIX.items()
        ]
        + [f"v_cvt_scalef32_2xpk16_{x}_f32 d=x6 a:x16 b:x16 c:u | @PACK_SIX_TWO({code})" for x, code in _SIX.items()]
        + [
            f"v_cvt_scalef32_pk32_{x}_{source} d=x6 a:x16 b:u | @PACK_SIX({code}, {_LETTER[source]})"
            for source in ("f16", "bf16")
            for x, code in _SIX.items()
        ]
        + [
            f"v_cvt_scalef32_sr_pk32_{x}_{source} d=x6 a:x{32 if source == 'f32' else 16} b:u c:u | "
            f"@PACK_SIX_SR({code}, {letter})"
            for source, letter in _LETTER.items()
            for x, code in _SIX.items()
        ]
    ),
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
v_med3_i32       d=i a:i b:i c:i  | umax(umin(a, b), umin(umax(a, b), c))
v_med3_u32       d=u a:u b:u c:u  | umax(umin(a, b), umin(umax(a, b), c))
v_min3_i32       d=i a:i b:i c:i  | umin(umin(a, b), c)
v_min3_u32       d=u a:u b:u c:u  | umin(umin(a, b), c)
v_add_i32        d=i a:i b:i      | (iv)((uv)a + (uv)b)
v_sub_i32        d=i a:i b:i      | (iv)((uv)a - (uv)b)
v_subbrev_co_u32 d=u m=m a:u b:u c:m  | Uv t = to_U(a) + to_U(-c); d = b - to_u(t); m = to_i(to_U(b) < t)
v_mul_lo_i32     d=u a:u b:u      | a * b
v_mul_hi_u32_u24 d=u a:u b:u      | mul_hi_u(a & 0xffffffu, b & 0xffffffu)
v_mul_hi_i32_i24 d=i a:i b:i      | mul_hi_i(a << 8 >> 8, b << 8 >> 8)
v_mad_u32_u16    d=u a:w b:w c:u  | a * b + c
v_mad_i32_i16    d=i a:j b:j c:i  | (iv)((uv)(a * b) + (uv)c)
v_bfm_b32        d=u a:u b:u      | ((1u << (a & 31u)) - 1u) << (b & 31u)
v_ffbh_i32       d=u a:i          | first_high((uv)(a ^ a >> 31))
v_alignbyte_b32  d=u a:u b:u c:u  | to_u((to_U(a) << 32 | to_U(b)) >> to_U((c & 3u) << 3))
v_lerp_u8        d=u a:u b:u c:u  | (a & b) + ((a ^ b) >> 1 & 0x7f7f7f7fu) + ((a ^ b) & c & 0x01010101u)
v_sad_u8         d=u a:u b:u c:u  | sad(a, b, 8, 0) + c
v_sad_hi_u8      d=u a:u b:u c:u  | (sad(a, b, 8, 0) << 16) + c
v_sad_u16        d=u a:u b:u c:u  | sad(a, b, 16, 0) + c
v_sad_u32        d=u a:u b:u c:u  | sad(a, b, 32, 0) + c
v_msad_u8        d=u a:u b:u c:u  | sad(a, b, 8, 1) + c
v_qsad_pk_u16_u8 d=U a:U b:u c:U  | qsad(a, b, c, 0)
v_mqsad_pk_u16_u8 d=U a:U b:u c:U | qsad(a, b, c, 1)
v_mqsad_u32_u8   d=x4 a:U b:u c:x4 | @MQSAD
v_prng_b32       d=u a:u          | prng(a)
v_swap_b32       d+u a+u          | uv t = a; a = d; d = t
v_ashr_pk_i8_i32 d~w a:i b:i c:u | iv n = (iv)(c & 31); d = saturate(b >> n, -128, 127) << 8 | (saturate(a >> n, -128, 127) & 255)
v_ashr_pk_u8_i32 d~w a:i b:i c:u  | iv n = (iv)(c & 31u); d = saturate(a >> n, 0, 255) | saturate(b >> n, 0, 255) << 8
v_sat_pk_u8_i16  d=w a:u          | saturate((iv)(a << 16) >> 16, 0, 255) | saturate((iv)a >> 16, 0, 255) << 8
v_cvt_pk_u16_u32 d=u a:u b:u      | umin(a, splat(0xffff)) | umin(b, splat(0xffff)) << 16
v_cvt_pk_i16_i32 d=u a:i b:i      | (saturate(a, -32768, 32767) & 0xffffu) | saturate(b, -32768, 32767) << 16
v_dot2_i32_i16   d=i a:u b:u c:i  | (iv)((uv)dot_i(a, b, 16) + (uv)c)
v_dot2_u32_u16   d=u a:u b:u c:u  | dot_u(a, b, 16) + c
v_dot4_i32_i8    d=i a:u b:u c:i  | (iv)((uv)dot_i(a, b, 8) + (uv)c)
v_dot4_u32_u8    d=u a:u b:u c:u  | dot_u(a, b, 8) + c
v_dot8_i32_i4    d=i a:u b:u c:i  | (iv)((uv)dot_i(a, b, 4) + (uv)c)
v_dot8_u32_u4    d=u a:u b:u c:u  | dot_u(a, b, 4) + c
v_dot2c_i32_i16  d+i a:u b:u      | (iv)((uv)dot_i(a, b, 16) + (uv)d)
v_dot4c_i32_i8   d+i a:u b:u      | (iv)((uv)dot_i(a, b, 8) + (uv)d)
v_dot8c_i32_i4   d+i a:u b:u      | (iv)((uv)dot_i(a, b, 4) + (uv)d)
v_bitop3_b16     d~w a:w b:w c:w  | bitop3(a, b, c, (u32)o->imm)
v_add_u16        d=w a:w b:w      | a + b
v_sub_u16        d=w a:w b:w      | a - b
v_subrev_u16     d=w a:w b:w      | b - a
v_mul_lo_u16     d=w a:w b:w      | a * b
v_min_u16        d=w a:w b:w      | umin(a, b)
v_max_u16        d=w a:w b:w      | umax(a, b)
v_min_i16        d=j a:j b:j      | umin(a, b)
v_max_i16        d=j a:j b:j      | umax(a, b)
v_lshlrev_b16    d=w a:w b:w      | b << (a & 15u)
v_lshrrev_b16    d=w a:w b:w      | b >> (a & 15u)
v_ashrrev_i16    d=j a:w b:j      | b >> (iv)(a & 15u)
v_add_i16        d~w a:w b:w      | a + b
v_sub_i16        d~w a:w b:w      | a - b
v_mad_u16        d~w a:w b:w c:w  | a * b + c
v_mad_i16        d~w a:w b:w c:w  | a * b + c
v_mad_legacy_u16 d=w a:w b:w c:w  | a * b + c
v_mad_legacy_i16 d=w a:w b:w c:w  | a * b + c
v_min3_u16       d~w a:w b:w c:w  | umin(umin(a, b), c)
v_max3_u16       d~w a:w b:w c:w  | umax(umax(a, b), c)
v_med3_u16       d~w a:w b:w c:w  | umax(umin(a, b), umin(umax(a, b), c))
v_min3_i16       d~j a:j b:j c:j  | umin(umin(a, b), c)
v_max3_i16       d~j a:j b:j c:j  | umax(umax(a, b), c)
v_med3_i16       d~j a:j b:j c:j  | umax(umin(a, b), umin(umax(a, b), c))
v_pk_mov_b32     d=P a:P b:P      | d0 = a0; d1 = b0; (void)a1; (void)b1
v_pk_sub_u16     d=q a:q b:q      | a - b
v_pk_add_i16     d=q a:q b:q      | a + b
v_pk_sub_i16     d=q a:q b:q      | a - b
v_pk_mul_lo_u16  d=q a:q b:q      | a * b
v_pk_mad_u16     d=q a:q b:q c:q  | a * b + c
v_pk_mad_i16     d=q a:q b:q c:q  | a * b + c
v_pk_min_u16     d=q a:q b:q      | umin(a, b)
v_pk_max_u16     d=q a:q b:q      | umax(a, b)
v_pk_min_i16     d=p a:p b:p      | umin(a, b)
v_pk_max_i16     d=p a:p b:p      | umax(a, b)
v_pk_ashrrev_i16 d=p a:q b:p      | b >> (pv)(a & (u16)15)
v_pk_lshlrev_b16 d=q a:q b:q      | b << (a & (u16)15)
v_pk_lshrrev_b16 d=q a:q b:q      | b >> (a & (u16)15)
v_pk_add_u16     d=q a:q b:q      | a + b
v_cndmask_b32    d=u a:f b:f c:m  | select(c, (uv)b, (uv)a)
v_mbcnt_lo_u32_b32 d=u a:u b:u    | pop_count(a & LANES_BELOW_LO) + b
v_mbcnt_hi_u32_b32 d=u a:u b:u    | pop_count(a & LANES_BELOW_HI) + b
v_accvgpr_read_b32  d=u a:u       | a
v_accvgpr_write_b32 d=u a:u       | a
v_accvgpr_mov_b32   d=u a:u       | a
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

VECTOR: list[Row] = COMPARES + FLOATS + DIVISIONS + HALVES + DOUBLES + SCALED + INTEGERS + LANES
