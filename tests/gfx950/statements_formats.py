"""What the rows mean, continued (statements.py): fp64, f16, bf16, the small floats, divisions and the lesser integer families.

f16, bf16 and fp64 operands are float64 arrays, which hold all of them; the harness rounds a result once to what it is written
to. Small floats are ml_dtypes' own. Stochastic rounding and div_fmas follow the emulator's documented reading of the manual.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np

from tests.gfx950 import statements
from tests.gfx950.statements import (
    M32,
    M64,
    ORDER,
    Statement,
    each,
    f32,
    f64,
    fextreme,
    first_one,
    leading_zeros,
    nz,
    raw,
    reverse,
    sext,
    to_integer,
)

SMALL = {"fp8": ml_dtypes.float8_e4m3fn, "bf8": ml_dtypes.float8_e5m2, "fp6": ml_dtypes.float6_e2m3fn, "f16": np.float16,
         "bf6": ml_dtypes.float6_e3m2fn, "fp4": ml_dtypes.float4_e2m1fn, "bf16": ml_dtypes.bfloat16}  # fmt: skip
MANTISSA = {"fp8": (3, 7), "bf8": (2, 15), "fp6": (3, 1), "bf6": (2, 3), "fp4": (1, 1), "f16": (10, 15), "bf16": (7, 127)}
"""Bits, bias."""
LARGEST = {"fp6": 7.5, "bf6": 28.0, "fp4": 6.0}  # takes the place of what overflows
NAN = {"fp8": 0x7F, "bf8": 0x7F, "fp6": 0x1F, "bf6": 0x1F, "fp4": 7, "f16": 0x7E00, "bf16": 0x7FC0}


def code(x: Any, to: str) -> Any:
    """float64 to the bits of a small float, rounded once to nearest even, as exact integers."""
    nan = np.isnan(x)
    if to in LARGEST:
        x = np.copysign(np.minimum(np.abs(x), LARGEST[to]), x)
    # A cast of float64 may go through float32: round to odd there first.
    y = x.astype(f32)
    lost = (y.astype(f64) != x) & np.isfinite(x) & np.isfinite(y)
    bits = y.view(np.uint32) - (lost & (np.abs(y.astype(f64)) > np.abs(x)))
    y = np.where(lost, bits | 1, bits).astype(np.uint32).view(f32)
    kind = SMALL[to]
    bits = y.astype(kind).view(np.uint16 if np.dtype(kind).itemsize == 2 else np.uint8)
    return np.where(nan, NAN[to], bits).astype(object)


def number(bits: Any, of: str) -> Any:
    """The bits of a small float as float64."""
    kind = SMALL[of]
    width = np.uint16 if np.dtype(kind).itemsize == 2 else np.uint8
    return np.asarray(bits).astype(np.int64).astype(width).view(kind).astype(f64)


def noisy(x: Any, noise: Any, to: str) -> Any:
    """Stochastic rounding: noise is added below the last bit that stays, and the sum truncated."""
    m, bias = MANTISSA[to]

    def one(x: float, noise: int) -> float:
        if not math.isfinite(x):
            return x
        quantum = Fraction(2) ** (max(math.frexp(x)[1] - 1, 1 - bias) - m)
        steps = abs(Fraction(x)) / quantum + Fraction(noise >> 9 + m, 1 << 23 - m)
        return math.copysign(float(math.floor(steps) * quantum), x)

    return code(each(one)(x, noise).astype(f64), to)


def prng(x: Any) -> Any:
    return (x << 1 ^ 197 * (x >> 31)) & M32


def scale(s: Any) -> Any:
    """The exponent field of a float as a power of two; 255 is NaN."""
    e = s >> 23 & 255
    return np.where(e == 255, np.nan, np.ldexp(1.0, (e - 127).astype(np.int64)))


def fma64(a: Any, b: Any, c: Any) -> Any:
    def one(a: float, b: float, c: float) -> float:
        if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)) or not (a and b):
            return float(f64(a) * f64(b) + f64(c))
        exact = Fraction(a) * Fraction(b) + Fraction(c)
        try:
            return float(exact) or (-0.0 if exact < 0 else 0.0)
        except OverflowError:
            return math.inf if exact > 0 else -math.inf

    return each(one)(a, b, c).astype(f64)


def extreme(lesser: bool) -> Statement:
    """Minimum or maximum of f16 or fp64; float64 keeps a signalling f16 signalling, as the harness makes it."""

    def of(a: Any, b: Any) -> Any:
        quiet = [(x.view(np.uint64) & 1 << 51) != 0 for x in (a, b)]
        zeros = np.where(np.signbit(a) == lesser, a, b)
        picked = np.where((a == 0) & (b == 0), zeros, np.where((a < b) if lesser else (a > b), a, b))
        picked = np.where(np.isnan(a), b, np.where(np.isnan(b), a, picked))
        return np.where((np.isnan(a) & ~quiet[0]) | (np.isnan(b) & ~quiet[1]), np.nan, picked)

    return of


low, high = extreme(True), extreme(False)


def strict(f: Statement) -> Statement:
    """With NaN winning over numbers."""
    return lambda a, b, c: np.where(np.isnan(a) | np.isnan(b) | np.isnan(c), np.nan, f(f(a, b), c))


def medium(a: Any, b: Any, c: Any) -> Any:
    top = high(high(a, b), c)
    middle = np.where(top == a, high(b, c), np.where(top == b, high(a, c), high(a, b)))
    return np.where(np.isnan(a) | np.isnan(b) | np.isnan(c), low(low(a, b), c), middle)


def middle(a: Any, b: Any, c: Any) -> Any:
    return each(lambda *x: sorted(x)[1])(a, b, c)


def frexp(x: Any) -> tuple[Any, Any]:
    m, e = np.frexp(x)
    return m, np.where(np.isfinite(x), e, 0).astype(object)


def classes(bits: int, mantissa: int) -> Statement:
    """v_cmp_class of another width: sNaN, qNaN, then -inf ... +inf."""

    def one(x: int, mask: int) -> int:
        field, fraction = x >> mantissa & (1 << bits - 1 - mantissa) - 1, x & (1 << mantissa) - 1
        if field == (1 << bits - 1 - mantissa) - 1:
            kind = 9 if not fraction else fraction >> mantissa - 1
        else:
            kind = 8 if field else 7 if fraction else 6
        return mask >> (11 - kind if kind > 1 and x >> bits - 1 else kind) & 1

    return lambda a, b: each(one)(a, b)


def turns(x: Any, shift: float) -> Any:
    """sin(2 pi (x + shift)); beyond 256 turns that of 0."""
    x = x.astype(f64)
    t = x - np.rint(x)
    t = np.where(np.abs(t) > 0.25, np.copysign(0.5, t) - t, t) if shift == 0 else 0.25 - np.abs(t)
    return np.where(np.abs(x) > 256, x * 0 + 4 * shift, np.sin(2 * np.pi * t))


def bits_of(x: Any, mantissa: int) -> Any:
    """The exponent field of float32 or float64."""
    return (x.view(np.uint32 if mantissa == 23 else np.uint64) >> mantissa).astype(np.int64) & (255 if mantissa == 23 else 2047)


def div_scale(mantissa: int, limit: int, step: int) -> Statement:
    """Cases of the manual in its order; the huge denominator of a denormal quotient is scaled down, not up."""

    def of(a: Any, b: Any, c: Any) -> Any:
        least = np.finfo(a.dtype).tiny
        quotient = np.abs(c / b)
        small = (quotient < least) & (quotient != 0)
        huge = np.isfinite(b) & (np.abs(b) > 1 / least)
        cases = [
            ((c == 0) | (b == 0), np.nan, False),
            (bits_of(c, mantissa) - bits_of(b, mantissa) >= limit, np.where(a == b, np.ldexp(a, step), a), True),
            (bits_of(b, mantissa) == 0, np.ldexp(a, step), False),
            (huge & small, np.where(a == b, np.ldexp(a, -step), a), True),
            (huge, np.ldexp(a, -step), False),
            (small, np.where(a == c, np.ldexp(a, step), a), True),
            (bits_of(c, mantissa) <= (23 if mantissa == 23 else 53), np.ldexp(a, step), False),
        ]
        when = [case[0] for case in cases]
        return np.select(when, [np.broadcast_to(case[1], a.shape) for case in cases], a), np.select(
            when, [case[2] for case in cases], False
        )

    return of


def div_fixup(mantissa: int, least: int) -> Statement:
    def of(a: Any, b: Any, c: Any) -> Any:
        sign = np.where(np.signbit(b) != np.signbit(c), -1.0, 1.0)
        inf_b, inf_c = np.isinf(b), np.isinf(c)
        under = bits_of(c, mantissa) - bits_of(b, mantissa) < least if mantissa else np.zeros(a.shape, bool)
        over = np.isnan(a) & (np.abs(c) > np.abs(b))  # how the steps before end when the quotient is too large
        value = np.select([(b == 0) | inf_c, inf_b | (c == 0), under, over], [np.inf, 0.0, 0.0, np.inf], np.abs(a))
        bad = np.isnan(b) | np.isnan(c) | ((b == 0) & (c == 0)) | (inf_b & inf_c)
        return np.where(bad, np.nan, sign * value)

    return of


def dot(bits: int, signed: bool) -> Statement:
    def of(a: Any, b: Any, c: Any) -> Any:
        parts = [[sext(x >> i, bits) if signed else x >> i & (1 << bits) - 1 for x in (a, b)] for i in range(0, 32, bits)]
        return sum(x * y for x, y in parts) + c

    return of


def sad(a: Any, b: Any, bits: int, masked: bool = False) -> Any:
    parts = [((a >> i & (1 << bits) - 1), (b >> i & (1 << bits) - 1)) for i in range(0, 32, bits)]
    return sum(abs(x - y) * (1 if not masked else (y != 0) * 1) for x, y in parts)


def clip(x: Any, low: int, high: int) -> Any:
    return np.clip(x, low, high)


def spread(x: int, n: int) -> int:
    """Every bit n times."""
    return sum(((1 << n) - 1) * (x >> i & 1) << n * i for i in range(64 // n))


def quads(x: int) -> int:
    return sum((x >> 4 * i & 15 != 0) << i for i in range(16))


def bfe_signed(x: int, b: int, bits: int) -> int:
    width = min(b >> 16 & 0x7F, bits)
    return sext(x >> (b & bits - 1), width) if width else 0


SALU: dict[str, Statement] = statements.SALU | {
    "s_cmov_b64": lambda d, a, scc: a if scc else d,
    "s_cmovk_i32": lambda d, a, scc: sext(a, 16) if scc else d,
    "s_brev_b64": lambda a: reverse(a & M32) << 32 | reverse(a >> 32),
    "s_bcnt0_i32_b32": lambda a: nz(32 - a.bit_count()),
    "s_bcnt0_i32_b64": lambda a: nz(64 - a.bit_count()),
    "s_ff0_i32_b32": lambda a: first_one(~a & M32),
    "s_ff0_i32_b64": lambda a: first_one(~a & M64),
    "s_flbit_i32": lambda a: leading_zeros(a if a >= 0 else ~a, 32),
    "s_flbit_i32_i64": lambda a: leading_zeros(a if a >= 0 else ~a, 64),
    "s_bitset0_b32": lambda d, a: d & ~(1 << a % 32),
    "s_bitset1_b32": lambda d, a: d | 1 << a % 32,
    "s_bitset0_b64": lambda d, a: d & ~(1 << a % 64),
    "s_bitset1_b64": lambda d, a: d | 1 << a % 64,
    "s_bitreplicate_b64_b32": lambda a: spread(a, 2),
    "s_quadmask_b32": lambda a: nz(quads(a)),
    "s_quadmask_b64": lambda a: nz(quads(a)),
    "s_wqm_b32": lambda a: nz(spread(quads(a), 4)),
    "s_wqm_b64": lambda a: nz(spread(quads(a), 4)),
    "s_absdiff_i32": lambda a, b: nz(abs(sext(a - b, 32)), 32),
    "s_nand_b32": lambda a, b: nz(~(a & b), 32),
    "s_nor_b32": lambda a, b: nz(~(a | b), 32),
    "s_xnor_b32": lambda a, b: nz(~(a ^ b), 32),
    "s_bfe_i32": lambda a, b: nz(bfe_signed(a, b, 32), 32),
    "s_bfe_i64": lambda a, b: nz(bfe_signed(a, b, 64)),
    "s_bfe_u64": lambda a, b: nz(a >> b % 64 & (1 << (b >> 16 & 0x7F)) - 1),
    "s_bfm_b64": lambda a, b: (1 << a % 64) - 1 << b % 64,
    "s_pack_lh_b32_b16": lambda a, b: b >> 16 << 16 | a & 0xFFFF,
    "s_pack_hh_b32_b16": lambda a, b: b >> 16 << 16 | a >> 16,
    "s_bitcmp0_b64": lambda a, b: not a >> b % 64 & 1,
    "s_bitcmp1_b64": lambda a, b: a >> b % 64 & 1,
    "s_andn1_wrexec_b64": lambda a, exec: (~a & exec, ~a & exec != 0, ~a & exec),
    "s_andn2_wrexec_b64": lambda a, exec: (a & ~exec, a & ~exec & M64 != 0, a & ~exec & M64),
}
for _op in ("ge", "le"):
    SALU[f"s_cmpk_{_op}_i32"] = lambda a, b, order=ORDER[_op]: order(a, sext(b, 16))
    SALU[f"s_cmpk_{_op}_u32"] = lambda a, b, order=ORDER[_op]: order(a, b & 0xFFFF)
_SAVED: dict[str, Statement]
_SAVED = {"andn1": lambda a, e: ~a & e, "orn1": lambda a, e: ~a | e, "orn2": lambda a, e: a | ~e,
          "nand": lambda a, e: ~(a & e), "nor": lambda a, e: ~(a | e), "xnor": lambda a, e: ~(a ^ e)}  # fmt: skip
for _op, _f in _SAVED.items():
    SALU[f"s_{_op}_saveexec_b64"] = lambda a, exec, f=_f: (exec, f(a, exec) & M64 != 0, f(a, exec) & M64)
# Scalar registers by number, the MODE register, VGPR indexing, calls, traps and clocks: tests of their own.
APART = {f"s_movrel{x}_b32": "s0, s2" for x in "sd"} | {f"s_movrel{x}_b64": "s[0:1], s[2:3]" for x in "sd"}
APART["s_sendmsghalt"] = "sendmsg(MSG_INTERRUPT)"
APART |= {"s_set_gpr_idx_on": "s0, gpr_idx(SRC0)", "s_set_gpr_idx_idx": "s0", "s_set_gpr_idx_mode": "gpr_idx(DST)", "s_trap": "2",
          "s_getreg_b32": "s0, hwreg(HW_REG_MODE)", "s_setreg_b32": "hwreg(HW_REG_MODE, 12, 9), s0", "s_sethalt": "1",
          "s_setreg_imm32_b32": "hwreg(HW_REG_MODE, 12, 9), 1", "s_call_b64": "s[0:1], label", "s_setpc_b64": "s[0:1]",
          "s_swappc_b64": "s[0:1], s[2:3]", "s_memtime": "s[0:1]", "s_memrealtime": "s[0:1]", "s_endpgm_saved": ""}  # fmt: skip
NO_EFFECT = statements.NO_EFFECT | dict.fromkeys(("s_set_gpr_idx_off", "s_ttracedata", "s_wakeup", "v_nop", "v_clrexcp"), "")
NO_EFFECT |= {"s_atc_probe": "1, s[4:5], 0x10", "s_atc_probe_buffer": "1, s[4:7], s3"}
NO_EFFECT |= {"s_sendmsg": "sendmsg(MSG_INTERRUPT)", "s_incperflevel": "1", "s_decperflevel": "1"}
WRITTEN_OUT = statements.WRITTEN_OUT | {name: "b" if "cmpk" in name else "a" for name in SALU if name.split("_")[1].endswith("k")}


def quad_sad(a: Any, b: Any, c: Any, bits: int, masked: bool) -> Any:
    """Sums of absolute differences between b and four bytes of a that begin one later each, added to fields of c."""
    fields = [(sad(a >> 8 * k & M32, b, 8, masked) + (c >> bits * k)) % 2**bits for k in range(4)]
    return sum(x << bits * k for k, x in enumerate(fields))


def cube(a: Any, b: Any, c: Any) -> Any:
    """Face, its two coordinates and twice the main one, for a direction x, y, z."""

    def one(x: float, y: float, z: float) -> tuple[float, ...]:
        if abs(z) >= abs(x) and abs(z) >= abs(y):
            return (5.0, -x, -y, 2 * z) if z < 0 else (4.0, x, -y, 2 * z)
        if abs(y) >= abs(x):
            return (3.0, x, -z, 2 * y) if y < 0 else (2.0, x, z, 2 * y)
        return (1.0, z, -y, 2 * x) if x < 0 else (0.0, -z, -y, 2 * x)

    return np.array([one(*xyz) for xyz in zip(a.astype(f64), b.astype(f64), c.astype(f64), strict=True)]).T


def normed(x: Any, most: int, signed: bool) -> Any:
    """[0, 1] or [-1, 1] to integers, to nearest even; NaN is 0."""
    y = f32(np.clip(x, -1 if signed else 0, 1).astype(f64) * most)
    return np.where(np.isnan(x), 0, np.rint(y)).astype(np.int64).astype(object) & 0xFFFF


def to_byte(x: Any) -> Any:
    return np.rint(np.clip(np.where(np.isnan(x), 0, x), 0, 255)).astype(np.int64).astype(object)


def unfused(a: Any, b: Any, c: Any) -> Any:
    """Product and sum rounded each to f16; what is denormal, given or got, is a zero."""

    def flushed(x: Any) -> Any:
        x = x.astype(np.float16)
        return np.where(np.abs(x) < np.float16(2.0**-14), np.copysign(np.float16(0), x), x).astype(f64)

    return flushed(flushed(flushed(a) * flushed(b)) + flushed(c))


def _inverse_tangent(n: int, unit: int) -> int:
    """unit * atan(1 / n) by its series."""
    total, term, k = 0, unit // n, 1
    while term:
        total, term, k = total + term // k, -(term // (n * n)), k + 2
    return total


_UNIT = 1 << 1300
_TWO_OVER_PI = 2 * (_UNIT << 1201) // (4 * (4 * _inverse_tangent(5, _UNIT) - _inverse_tangent(239, _UNIT)))  # Machin


def two_over_pi(a: int, part: int) -> float:
    """53 of the first 1201 bits behind the point of 2 / pi, as a number; a large exponent goes further down."""
    e = a >> 52 & 0x7FF
    at = part % 32 * 53 + max(0, e - 1077)
    bits = (_TWO_OVER_PI << at) % 2**1201 >> 1201 - 53
    return float(Fraction(bits) * Fraction(2) ** (-53 - at + 128 * (e >= 1968)))


VALU: dict[str, Statement] = statements.VALU | {
    "v_cndmask_b32": lambda a, b, c: raw(np.where(c.astype(bool), b, a)),
    "v_cvt_f32_bf16": lambda a: a,
    "v_mul_legacy_f32": lambda a, b: np.where((a == 0) | (b == 0), f32(0), a * b),
    "v_minimum3_f32": strict(lambda a, b: fextreme(a, b, True)),
    "v_maximum3_f32": strict(lambda a, b: fextreme(a, b, False)),
    "v_frexp_exp_i32_f32": lambda a: frexp(a)[1],
    "v_frexp_mant_f32": lambda a: frexp(a)[0],
    "v_sin_f32": lambda a: turns(a, 0.0),
    "v_cos_f32": lambda a: turns(a, 0.25),
    "v_cvt_rpi_i32_f32": lambda a: to_integer(np.floor(a + f32(0.5)), -(2**31), 2**31 - 1),
    "v_cvt_flr_i32_f32": lambda a: to_integer(np.floor(a), -(2**31), 2**31 - 1),
    "v_cvt_off_f32_i4": lambda a: sext(a, 4).astype(f64) / 16,
    "v_fma_mix_f32": statements.fma,
    "v_fma_mixlo_f16": lambda a, b, c: statements.fma(a, b, c).astype(f64),
    "v_fma_mixhi_f16": lambda a, b, c: statements.fma(a, b, c).astype(f64),
    "v_cvt_f32_f16": lambda a: a,
    "v_cvt_f16_f32": lambda a: a,
    "v_cvt_pk_f16_f32": lambda a, b: code(a.astype(f64), "f16") | code(b.astype(f64), "f16") << 16,
    "v_cvt_pkrtz_f16_f32": lambda a, b: toward_zero(a) | toward_zero(b) << 16,
    "v_div_scale_f32": div_scale(23, 96, 64),
    "v_div_scale_f64": div_scale(52, 768, 128),
    "v_div_fixup_f32": div_fixup(23, -150),
    "v_div_fixup_f64": div_fixup(52, -1075),
    "v_div_fmas_f32": lambda a, b, c, vcc: np.where(vcc.astype(bool), scaled_fma(a, b, c), statements.fma(a, b, c)),
    "v_div_fmas_f64": lambda a, b, c, vcc: np.ldexp(
        fma64(a, b, c), np.where(vcc.astype(bool), np.where(np.abs(c) >= 2, 128, -128), 0)
    ),
    "v_dot2_i32_i16": dot(16, True),
    "v_dot2_u32_u16": dot(16, False),
    "v_dot4_i32_i8": dot(8, True),
    "v_dot4_u32_u8": dot(8, False),
    "v_dot8_i32_i4": dot(4, True),
    "v_dot8_u32_u4": dot(4, False),
    "v_dot2c_i32_i16": lambda d, a, b: dot(16, True)(a, b, d),
    "v_dot4c_i32_i8": lambda d, a, b: dot(8, True)(a, b, d),
    "v_dot8c_i32_i4": lambda d, a, b: dot(4, True)(a, b, d),
    # Products of halves are exact in fp32; the sums are rounded in the manual's order.
    "v_dot2_f32_f16": lambda a, b, c: f32(a[1] * b[1]) + (f32(a[0] * b[0]) + c),
    "v_dot2c_f32_f16": lambda d, a, b: f32(a[1] * b[1]) + (f32(a[0] * b[0]) + d),
    "v_dot2_f32_bf16": lambda a, b, c: (f32(a[0] * b[0]) + f32(a[1] * b[1])) + c,
    "v_dot2c_f32_bf16": lambda d, a, b: f32(a[1] * b[1]) + (f32(a[0] * b[0]) + d),
    "v_cmp_class_f16": classes(16, 10),
    "v_cmp_class_f64": lambda a, b: classes(64, 52)(a.view(np.uint64).astype(object), b),
    "v_pack_b32_f16": lambda a, b: b << 16 | a,
    "v_pk_mov_b32": lambda a, b: np.stack([a[0], b[0]]),
    "v_rcp_f64": lambda a: 1 / a,
    "v_rsq_f64": lambda a: 1 / np.sqrt(a),
    "v_sqrt_f64": lambda a: np.sqrt(a),
    "v_ldexp_f64": lambda a, b: np.ldexp(a, np.clip(b, -5000, 5000).astype(np.int64)),
    "v_ldexp_f16": lambda a, b: np.ldexp(a, np.clip(b, -200, 200).astype(np.int64)),
    "v_fract_f64": lambda a: np.minimum(a - np.floor(a), 1 - 2.0**-53),
    "v_fract_f16": lambda a: np.minimum(a - np.floor(a), 1 - 2.0**-11),
    "v_frexp_exp_i32_f64": lambda a: frexp(a)[1],
    "v_frexp_mant_f64": lambda a: frexp(a)[0],
    "v_frexp_exp_i16_f16": lambda a: frexp(a)[1],
    "v_frexp_mant_f16": lambda a: frexp(a)[0],
    "v_cvt_f64_f32": lambda a: a.astype(f64),
    "v_cvt_f64_i32": lambda a: a.astype(f64),
    "v_cvt_f64_u32": lambda a: a.astype(f64),
    "v_cvt_f32_f64": lambda a: a.astype(f32),
    "v_cvt_i32_f64": lambda a: to_integer(a, -(2**31), 2**31 - 1),
    "v_cvt_u32_f64": lambda a: to_integer(a, 0, M32),
    "v_cvt_f16_u16": lambda a: a.astype(f64),
    "v_cvt_f16_i16": lambda a: a.astype(f64),
    "v_cvt_u16_f16": lambda a: to_integer(a, 0, 65535),
    "v_cvt_i16_f16": lambda a: to_integer(a, -32768, 32767),
    "v_cvt_pk_u16_u32": lambda a, b: clip(a, 0, 65535) | clip(b, 0, 65535) << 16,
    "v_cvt_pk_i16_i32": lambda a, b: clip(a, -32768, 32767) & 65535 | (clip(b, -32768, 32767) & 65535) << 16,
    "v_sat_pk_u8_i16": lambda a: clip(sext(a, 16), 0, 255) | clip(sext(a >> 16, 16), 0, 255) << 8,
    "v_ashr_pk_i8_i32": lambda a, b, c: clip(a >> c % 32, -128, 127) & 255 | (clip(b >> c % 32, -128, 127) & 255) << 8,
    "v_ashr_pk_u8_i32": lambda a, b, c: clip(a >> c % 32, 0, 255) | clip(b >> c % 32, 0, 255) << 8,
    "v_prng_b32": lambda a: prng(a),
    "v_swap_b32": lambda d, a: (a, d),
    "v_alignbyte_b32": lambda a, b, c: (a << 32 | b) >> 8 * (c & 3),
    "v_bfm_b32": lambda a, b: (1 << a % 32) - 1 << b % 32,
    "v_ffbh_i32": lambda a: leading_zeros(np.where(a >= 0, a, ~a), 32),
    "v_lerp_u8": lambda a, b, c: sum(((a >> i & 255) + (b >> i & 255) + (c >> i & 1) >> 1) << i for i in (0, 8, 16, 24)),
    "v_sad_u8": lambda a, b, c: sad(a, b, 8) + c,
    "v_sad_hi_u8": lambda a, b, c: (sad(a, b, 8) << 16) + c,
    "v_sad_u16": lambda a, b, c: sad(a, b, 16) + c,
    "v_sad_u32": lambda a, b, c: abs(a - b) + c,
    "v_msad_u8": lambda a, b, c: sad(a, b, 8, True) + c,
    "v_med3_i32": middle,
    "v_med3_u32": middle,
    "v_min3_i32": lambda a, b, c: each(min)(a, b, c),
    "v_min3_u32": lambda a, b, c: each(min)(a, b, c),
    "v_add_i32": lambda a, b: a + b,
    "v_qsad_pk_u16_u8": lambda a, b, c: quad_sad(a, b, c, 16, False),
    "v_mqsad_pk_u16_u8": lambda a, b, c: quad_sad(a, b, c, 16, True),
    "v_mqsad_u32_u8": lambda a, b, c: quad_sad(a, b, c, 32, True),
    "v_cubeid_f32": lambda a, b, c: cube(a, b, c)[0],
    "v_cubesc_f32": lambda a, b, c: cube(a, b, c)[1],
    "v_cubetc_f32": lambda a, b, c: cube(a, b, c)[2],
    "v_cubema_f32": lambda a, b, c: cube(a, b, c)[3],
    "v_cvt_norm_i16_f16": lambda a: normed(a, 32767, True),
    "v_cvt_norm_u16_f16": lambda a: normed(a, 65535, False),
    "v_cvt_pk_u8_f32": lambda a, b, c: c & ~(255 << 8 * (b % 4)) | to_byte(a) << 8 * (b % 4),
    "v_cvt_pkaccum_u8_f32": lambda d, a, b: d & ~(255 << 8 * (b % 4)) | to_byte(a) << 8 * (b % 4),
    "v_mad_f16": unfused,
    "v_mad_legacy_f16": unfused,
    "v_mac_f16": lambda d, a, b: unfused(a, b, d),
    "v_madmk_f16": lambda a, k, b: unfused(a, k, b),
    "v_madak_f16": lambda a, b, k: unfused(a, b, k),
    "v_trig_preop_f64": lambda a, b: each(two_over_pi)(a.view(np.uint64).astype(object), b).astype(f64),
    "v_sub_i32": lambda a, b: a - b,
    "v_subbrev_co_u32": lambda a, b, c: (b - a - c, a + c > b),
    "v_mul_lo_i32": lambda a, b: a * b,
    "v_mul_hi_u32_u24": lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF) >> 32,
    "v_mul_hi_i32_i24": lambda a, b: sext(a, 24) * sext(b, 24) >> 32,
    "v_mad_u32_u16": lambda a, b, c: a * b + c,
    "v_mad_i32_i16": lambda a, b, c: a * b + c,
    "v_bitop3_b16": statements.VALU["v_bitop3_b32"],
    "v_ashrrev_i16": lambda a, b: b >> a % 16,
    "v_pk_ashrrev_i16": lambda a, b: b >> (a & 15),
    "v_accvgpr_mov_b32": lambda a: a,
    "v_cvt_sr_f16_f32": lambda a, b: noisy(a.astype(f64), b, "f16"),
    "v_cvt_sr_bf16_f32": lambda a, b: noisy(a.astype(f64), b, "bf16"),
    "v_cvt_sr_fp8_f32": lambda a, b: noisy(a.astype(f64), b, "fp8"),
    "v_cvt_sr_bf8_f32": lambda a, b: noisy(a.astype(f64), b, "bf8"),
    "v_cvt_pk_fp8_f32": lambda a, b: code(a.astype(f64), "fp8") | code(b.astype(f64), "fp8") << 8,
    "v_cvt_pk_bf8_f32": lambda a, b: code(a.astype(f64), "bf8") | code(b.astype(f64), "bf8") << 8,
}


def toward_zero(x: Any) -> Any:
    """float32 to f16 bits, truncated: the neighbour below where rounding to nearest went up."""
    x = x.astype(f64)
    near = code(x, "f16")
    up = (np.abs(number(near, "f16")) > np.abs(x)) & np.isfinite(x)
    return near - up.astype(object)


def scaled_fma(a: Any, b: Any, c: Any) -> Any:
    """fma scaled by 2^64 or 2^-64, whichever brings it toward 1, and rounded once."""

    def one(a: float, b: float, c: float) -> float:
        if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
            return float(f64(a) * f64(b) + f64(c))
        exact = (Fraction(a) * Fraction(b) + Fraction(c)) * Fraction(2) ** (64 if abs(c) >= 2 else -64)
        if exact == 0:
            return a * b + c
        e = max(math.frexp(float(exact))[1] - 24, -149)  # float32 has 24 bits, and its denormals end at 2^-149
        steps = exact / Fraction(2) ** e
        return float(round(steps) * Fraction(2) ** e) or math.copysign(0.0, steps)

    return each(one)(*(x.astype(f64) for x in (a, b, c))).astype(f64)


_WIDE: dict[str, Statement] = {
    "v_add_f16 v_add_f64 v_pk_add_f16 v_add_u16 v_add_i16 v_pk_add_u16 v_pk_add_i16": lambda a, b: a + b,
    "v_sub_f16 v_sub_u16 v_sub_i16 v_pk_sub_u16 v_pk_sub_i16": lambda a, b: a - b,
    "v_subrev_f16 v_subrev_u16": lambda a, b: b - a,
    "v_mul_f16 v_mul_f64 v_pk_mul_f16 v_mul_lo_u16 v_pk_mul_lo_u16": lambda a, b: a * b,
    "v_mad_u16 v_mad_i16 v_mad_legacy_u16 v_mad_legacy_i16 v_pk_mad_u16 v_pk_mad_i16": lambda a, b, c: a * b + c,
}
for _names, _f in _WIDE.items():
    VALU |= dict.fromkeys(_names.split(), _f)
for _op, _pick, _float in (("min", each(min), low), ("max", each(max), high)):
    VALU |= dict.fromkeys((f"v_{_op}_f16", f"v_{_op}_f64", f"v_pk_{_op}_f16"), _float)
    VALU |= dict.fromkeys((f"v_{p}{_op}_{t}16" for t in "ui" for p in ("", "pk_")), lambda a, b, f=_pick: f(a, b))
    VALU |= dict.fromkeys((f"v_{_op}3_{t}16" for t in "ui"), lambda a, b, c, f=_pick: f(f(a, b), c))
    VALU[f"v_{_op}3_f16"] = lambda a, b, c, f=_float: f(f(a, b), c)
    VALU[f"v_pk_{_op}imum3_f16"] = strict(_float)
VALU |= {"v_med3_f16": medium, "v_med3_u16": middle, "v_med3_i16": middle}
VALU |= dict.fromkeys(("v_fma_f16", "v_fma_legacy_f16", "v_pk_fma_f16"), lambda a, b, c: a * b + c)  # exact enough in float64
VALU |= {"v_fma_f64": fma64, "v_fmac_f64": lambda d, a, b: fma64(a, b, d), "v_pk_fmac_f16": lambda d, a, b: a * b + d}
VALU |= dict.fromkeys(("v_div_fixup_f16", "v_div_fixup_legacy_f16"), div_fixup(0, 0))
for _op, _f in {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rndne": np.rint}.items():
    VALU |= dict.fromkeys((f"v_{_op}_f16", f"v_{_op}_f64"), lambda a, f=_f: f(a))
for _op in ("exp", "log", "rcp", "rsq", "sqrt", "sin", "cos"):
    VALU[f"v_{_op}_f16"] = VALU[f"v_{_op}_f32"]
for _op in ("exp", "log"):
    VALU[f"v_{_op}_legacy_f32"] = VALU[f"v_{_op}_f32"]
for _t in ("f32", "f16"):
    VALU[f"v_cvt_pknorm_i16_{_t}"] = lambda a, b: normed(a, 32767, True) | normed(b, 32767, True) << 16
    VALU[f"v_cvt_pknorm_u16_{_t}"] = lambda a, b: normed(a, 65535, False) | normed(b, 65535, False) << 16
TRANSCENDENTAL = (
    {"v_exp_legacy_f32", "v_log_legacy_f32"}
    | statements.TRANSCENDENTAL
    | {f"v_{op}_f16" for op in ("exp", "log", "rcp", "rsq", "sqrt", "sin", "cos")}
)
TRANSCENDENTAL |= {"v_sin_f32", "v_cos_f32"}
# NaN made into a format without one, and a fraction of infinity, are left open.
OPEN: dict[str, Statement] = (
    {"v_log_legacy_f32": statements.OPEN["v_log_f32"]}
    | statements.OPEN
    | dict.fromkeys(("v_fract_f16", "v_fract_f64"), statements.OPEN["v_fract_f32"])
)

for _t in ("f16", "f64"):
    for _op in (*ORDER, *(f"n{op}" for op in ORDER), "o", "u"):
        VALU[f"v_cmp_{_op}_{_t}"] = VALU[f"v_cmp_{_op}_f32"]
for _t in ("f16", "f32", "f64"):
    VALU |= {f"v_cmp_f_{_t}": lambda a, b: np.zeros(64, bool), f"v_cmp_tru_{_t}": lambda a, b: np.ones(64, bool)}
for _t in ("u16", "i16", "u32", "i32", "u64", "i64"):
    VALU |= {f"v_cmp_f_{_t}": lambda a, b: np.zeros(64, bool), f"v_cmp_t_{_t}": lambda a, b: np.ones(64, bool)}
    VALU |= {f"v_cmp_{'ne' if op == 'lg' else op}_{_t}": order for op, order in ORDER.items()}


def also_exec(compare: Statement) -> Statement:
    """v_cmpx writes EXEC as well: only active lanes stay."""

    def both(a: Any, b: Any, scc: int, exec: int) -> Any:
        result = compare(a, b)
        return result, scc, exec & sum(bool(x) << lane for lane, x in enumerate(result))

    return both


VALU |= {name.replace("v_cmp_", "v_cmpx_"): also_exec(f) for name, f in VALU.items() if name.startswith("v_cmp_")}

for _x in ("fp8", "bf8"):
    for _to in ("f32", "f16", "bf16"):
        _pack: Statement = (lambda x: np.stack(x)) if _to == "f32" else (lambda x, to=_to: code(x[0], to) | code(x[1], to) << 16)
        VALU[f"v_cvt_scalef32_pk_{_to}_{_x}"] = lambda a, b, x=_x, pack=_pack: pack(
            [number(a >> i & 255, x) * scale(b) for i in (0, 8)]
        )
        VALU[f"v_cvt_scalef32_pk_{_to}_fp4"] = lambda a, b, pack=_pack: pack(
            [number(a >> i & 15, "fp4") * scale(b) for i in (0, 4)]
        )
        if _to != "bf16":
            VALU[f"v_cvt_scalef32_{_to}_{_x}"] = lambda a, b, x=_x: number(a, x) * scale(b)
        VALU[f"v_cvt_scalef32_sr_{_x}_{_to}"] = lambda a, b, c, x=_x: noisy(a.astype(f64) / scale(c), b, x)
for _x, _bits in (("fp8", 8), ("bf8", 8), ("fp4", 4)):
    VALU[f"v_cvt_scalef32_pk_{_x}_f32"] = lambda a, b, c, x=_x, n=_bits: (
        code(a.astype(f64) / scale(c), x) | code(b.astype(f64) / scale(c), x) << n)  # fmt: skip
    for _from in ("f16", "bf16"):
        VALU[f"v_cvt_scalef32_pk_{_x}_{_from}"] = lambda a, b, x=_x, n=_bits: (
            code(a[0] / scale(b), x) | code(a[1] / scale(b), x) << n
        )
for _from in ("f32", "f16", "bf16"):
    VALU[f"v_cvt_scalef32_sr_pk_fp4_{_from}"] = lambda a, b, c: (
        noisy(a[0].astype(f64) / scale(c), b, "fp4") | noisy(a[1].astype(f64) / scale(c), prng(b), "fp4") << 4)  # fmt: skip
# 32 six-bit floats at once: test_six_bit_floats.
SIX = {f"v_cvt_scalef32_pk32_{to}_{x}" for to in ("f32", "f16", "bf16") for x in ("fp6", "bf6")}
SIX |= {f"v_cvt_scalef32_{sr}pk32_{x}_{s}" for x in ("fp6", "bf6") for sr in ("", "sr_") for s in ("f16", "bf16")}
SIX |= {f"v_cvt_scalef32_{kind}_{x}_f32" for x in ("fp6", "bf6") for kind in ("2xpk16", "sr_pk32")}

# What a row leaves of its destination, by name: the low half, all but a byte, or the high half; the others write all of it.
KEPT = {
    0xFFFF: r"v_fma_mixhi_f16",
    0xFFFFFF00: r"v_cvt_(scalef32_)?sr_(fp8|bf8)_\w+|v_cvt_scalef32_(sr_)?pk_fp4_\w+",
    0xFFFF0000: r"v_(fma|mad|div_fixup)_f16|v_(min3|max3|med3)_[fiu]16|v_bitop3_b16|v_(add|sub)_i16|v_mad_[iu]16|"
    r"v_ashr_pk_[iu]8_i32|v_fma_mixlo_f16|v_cvt_sr_b?f16_f32|v_cvt_pk_(fp8|bf8)_f32|v_cvt_scalef32_pk_(fp8|bf8)_\w+|v_cvt_scalef32_f16_(fp8|bf8)",
}


def kept(name: str) -> int:
    """The bits of its destination that an instruction leaves as they were."""
    return next((bits for bits, names in KEPT.items() if re.fullmatch(names, name)), 0)
