"""What every instruction row means, stated a second time: from AMD's CDNA3/CDNA4 manuals, never from the rows' own effects.

A statement is a function of the row's read operands, by name. Integers and masks are exact Python integers (one, or a NumPy
object array of 64 lanes), so nothing wraps: a result counts modulo the width of what it is written to. Floats are float32
arrays. `scc`, `exec`, `lane` and `imm` may be asked for too. A statement returns the written operands in order, then SCC where
the instruction writes it, then EXEC. `x` of a load is the memory at the address, little-endian; `d` is the old register.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.gfx950 import statements_memory

Statement = Callable[..., Any]
M32, M64 = 2**32 - 1, 2**64 - 1
f32, f64 = np.float32, np.float64


def sext(x: Any, bits: int) -> Any:
    """The low bits as a two's complement number."""
    return ((x & (1 << bits) - 1) ^ 1 << bits - 1) - (1 << bits - 1)


def each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Python's own on every lane, or on one number."""
    return lambda *args: np.frompyfunc(function, len(args), 1)(*args)


def raw(x: Any) -> Any:
    """float32 to its bits, as exact integers."""
    return x.view(np.uint32).astype(object)


def real(x: Any) -> Any:
    """Bits to float32."""
    return np.array(x & M32, dtype=np.uint32).view(f32)


popcount = each(lambda x: x.bit_count())
first_one = each(lambda x: (x & -x).bit_length() - 1)  # -1 where there is none
leading_zeros = each(lambda x, bits: bits - x.bit_length() if x else -1)


def reverse(x: Any) -> Any:
    return sum((x >> i & 1) << 31 - i for i in range(32))


def fma(a: Any, b: Any, c: Any) -> Any:
    """a*b + c rounded once to float32: the product is exact in float64, the sum is rounded to odd there."""
    p, c = a.astype(f64) * b.astype(f64), c.astype(f64)
    s = p + c
    t = s - p
    error = (p - (s - t)) + (c - t)
    even = (s.view(np.int64) & 1) == 0
    return np.where(np.isfinite(s) & (error != 0) & even, np.nextafter(s, np.copysign(np.inf, error)), s).astype(f32)


def signalling(x: Any) -> Any:
    return np.isnan(x) & ((x.view(np.uint32) & 0x400000) == 0)


def fextreme(a: Any, b: Any, lesser: bool) -> Any:
    """Minimum or maximum, MODE.IEEE set as in compute kernels: a signalling NaN makes NaN, a number beats a quiet one."""
    zeros = np.where(np.signbit(a) == lesser, a, b)  # -0 is less than +0
    picked = np.where((a == 0) & (b == 0), zeros, np.where((a < b) if lesser else (a >= b), a, b))
    picked = np.where(np.isnan(a), b, np.where(np.isnan(b), a, picked))
    return np.where(signalling(a) | signalling(b), f32(np.nan), picked)


fmin: Statement = lambda a, b: fextreme(a, b, True)  # noqa: E731
fmax: Statement = lambda a, b: fextreme(a, b, False)  # noqa: E731


def fmed(a: Any, b: Any, c: Any) -> Any:
    top = fmax(fmax(a, b), c)
    middle = np.where(top == a, fmax(b, c), np.where(top == b, fmax(a, c), fmax(a, b)))
    return np.where(np.isnan(a) | np.isnan(b) | np.isnan(c), fmin(fmin(a, b), c), middle)


def to_integer(a: Any, low: int, high: int) -> Any:
    """Truncated and saturated; NaN is 0."""
    return np.clip(np.trunc(np.where(np.isnan(a), 0, a).astype(f64)), low, high).astype(np.int64).astype(object)


def bf16(x: Any) -> Any:
    """float32 to bf16 bits, to nearest, ties to even; every NaN is the same one here."""
    return np.where(np.isnan(x), 0x7FC0, (raw(x) + 0x7FFF + (raw(x) >> 16 & 1)) >> 16)


def small_float(code: int, m: int) -> Any:
    """OCP e4m3fn (no infinity, NaN is all ones) or e5m2 (as IEEE), by the bits of the mantissa."""
    bias = 2 ** (6 - m) - 1
    sign, e, fraction = (-1) ** (code >> 7), code >> m & 2 * bias + 1, code % 2**m
    if e == 2 * bias + 1 and (m == 2 or fraction == 7):
        return sign * np.inf if fraction == 0 else np.nan
    return sign * (fraction * 2.0 ** (1 - bias - m) if e == 0 else (1 + fraction / 2**m) * 2.0 ** (e - bias))


FP8, BF8 = (np.array([small_float(code, m) for code in range(256)], f32) for m in (3, 2))


def byte(x: Any, i: int) -> Any:
    return (x >> 8 * i & 0xFF).astype(np.int64)


def set_bits(x: int) -> list[int]:
    return [i for i in range(8) if x >> i & 1]


def perm(a: int, b: int, c: int) -> int:
    """Every byte of c chooses: 0..7 a byte of {a, b}, 8..11 the sign of byte 1, 3, 5, 7 of it, 12 zero, 13 and more all ones."""
    data = (a << 32 | b).to_bytes(8, "little")
    choices = [*data, *(0xFF * (x >> 7) for x in data[1::2]), 0]
    return int.from_bytes((choices[s] if s < 13 else 0xFF for s in c.to_bytes(4, "little")), "little")


def float_class(a: Any, b: Any) -> Any:
    bits, mag = raw(a), raw(a) & 0x7FFFFFFF
    kind = np.select([mag > 0x7F800000, mag == 0x7F800000, mag >= 0x800000, mag > 0], [0, 2, 3, 4], 5)
    mirrored = np.where(np.isnan(a), np.where(signalling(a), 0, 1), np.where(bits >> 31 == 1, kind, 11 - kind))
    return b >> mirrored.astype(object) & 1


def swapped(d: Any, a: Any, step: int) -> Any:
    """v_permlane{16,32}_swap: the upper half of every 2*step lanes of vdst changes places with the lower half of src."""
    lane = np.arange(64)
    upper = (lane // step) % 2 == 1
    return np.where(upper, a[(lane - step) % 64], d), np.where(upper, a, d[(lane + step) % 64])


def permuted(v: Any, a: Any, exec: int, imm: int) -> Any:
    """ds_bpermute: lane v / 4 of src, 0 where that lane is inactive."""
    lane = ((v + imm) // 4 % 64).astype(int)
    return np.where([exec >> int(x) & 1 for x in lane], a[lane], 0)


def nz(x: Any, bits: int = 64) -> Any:
    """With the SCC of most scalar instructions: whether the result is not 0."""
    return x & (1 << bits) - 1, x & (1 << bits) - 1 != 0


def bfe(x: Any, offset: Any, width: Any) -> Any:
    return x >> (offset & 31) & (1 << width) - 1


def overflowing(x: int) -> tuple[int, bool]:
    """With the SCC of signed sums."""
    return x, x != sext(x, 32)


ORDER: dict[str, Statement] = {
    "eq": lambda a, b: a == b,
    "lg": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}
LOGIC: dict[str, Statement] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "andn2": lambda a, b: a & ~b,
    "orn2": lambda a, b: a | ~b,
    "nand": lambda a, b: ~(a & b),
    "nor": lambda a, b: ~(a | b),
    "xnor": lambda a, b: ~(a ^ b),
}

SALU: dict[str, Statement] = {
    "s_mov_b32": lambda a: a,
    "s_mov_b64": lambda a: a,
    "s_movk_i32": lambda a: sext(a, 16),
    "s_cmov_b32": lambda d, a, scc: a if scc else d,
    "s_not_b32": lambda a: nz(~a, 32),
    "s_not_b64": lambda a: nz(~a),
    "s_getpc_b64": lambda: 0,  # ours: code lies at 0, its data at known addresses
    "s_brev_b32": lambda a: reverse(a),
    "s_bcnt1_i32_b32": lambda a: nz(a.bit_count()),
    "s_bcnt1_i32_b64": lambda a: nz(a.bit_count()),
    "s_ff1_i32_b32": lambda a: first_one(a),
    "s_ff1_i32_b64": lambda a: first_one(a),
    "s_flbit_i32_b32": lambda a: leading_zeros(a, 32),
    "s_flbit_i32_b64": lambda a: leading_zeros(a, 64),
    "s_sext_i32_i8": lambda a: sext(a, 8),
    "s_sext_i32_i16": lambda a: sext(a, 16),
    "s_abs_i32": lambda a: nz(abs(sext(a, 32))),
    "s_add_u32": lambda a, b: (a + b, a + b > M32),
    "s_addc_u32": lambda a, b, scc: (a + b + scc, a + b + scc > M32),
    "s_sub_u32": lambda a, b: (a - b, b > a),
    "s_subb_u32": lambda a, b, scc: (a - b - scc, b + scc > a),
    "s_add_i32": lambda a, b: overflowing(a + b),
    "s_sub_i32": lambda a, b: overflowing(a - b),
    "s_addk_i32": lambda d, a: overflowing(d + sext(a, 16)),
    "s_mulk_i32": lambda d, a: d * sext(a, 16),
    "s_mul_i32": lambda a, b: a * b,
    "s_lshl_b32": lambda a, b: nz(a << (b & 31), 32),
    "s_lshl_b64": lambda a, b: nz(a << (b & 63)),
    "s_lshr_b32": lambda a, b: nz(a >> (b & 31)),
    "s_lshr_b64": lambda a, b: nz(a >> (b & 63)),
    "s_ashr_i32": lambda a, b: nz(a >> (b & 31)),
    "s_ashr_i64": lambda a, b: nz(a >> (b & 63)),
    "s_bfe_u32": lambda a, b: nz(bfe(a, b, b >> 16 & 0x7F)),
    "s_bfm_b32": lambda a, b: (1 << (a & 31)) - 1 << (b & 31),
    "s_pack_ll_b32_b16": lambda a, b: b << 16 | a & 0xFFFF,
    "s_cselect_b32": lambda a, b, scc: a if scc else b,
    "s_cselect_b64": lambda a, b, scc: a if scc else b,
    "s_bitcmp0_b32": lambda a, b: not a >> (b & 31) & 1,
    "s_bitcmp1_b32": lambda a, b: a >> (b & 31) & 1,
}
for _op, _logic in LOGIC.items():
    SALU |= {f"s_{_op}_b64": lambda a, b, f=_logic: nz(f(a, b))}
    if _op in ("and", "or", "xor", "andn2", "orn2"):
        SALU |= {f"s_{_op}_b32": lambda a, b, f=_logic: nz(f(a, b), 32)}
    if _op in ("and", "or", "xor", "andn2"):
        SALU |= {f"s_{_op}_saveexec_b64": lambda a, exec, f=_logic: (exec, f(a, exec) != 0, f(a, exec))}
for _op, _order in ORDER.items():
    SALU |= {f"s_cmp_{_op}_{t}": _order for t in ("u32", "i32", *(("u64",) if _op in ("eq", "lg") else ()))}
    if _op not in ("ge", "le"):
        SALU[f"s_cmpk_{_op}_i32"] = lambda a, b, order=_order: order(a, sext(b, 16))
        SALU[f"s_cmpk_{_op}_u32"] = lambda a, b, order=_order: order(a, b & 0xFFFF)
for _t in ("u32", "i32"):
    SALU[f"s_mul_hi_{_t}"] = lambda a, b: a * b >> 32
    SALU[f"s_min_{_t}"] = lambda a, b: (min(a, b), a < b)
    SALU[f"s_max_{_t}"] = lambda a, b: (max(a, b), a >= b)
SALU |= {f"s_lshl{n}_add_u32": lambda a, b, n=n: ((a << n) + b, (a << n) + b > M32) for n in (1, 2, 3, 4)}
# Operands that must be constants.
WRITTEN_OUT = {name: "b" if "cmpk" in name else "a" for name in SALU if name.split("_")[1].endswith("k")}
WRITTEN_OUT |= {"v_fmamk_f32": "k", "v_fmaak_f32": "k", "v_madmk_f16": "k", "v_madak_f16": "k"}

VALU: dict[str, Statement] = {
    "v_cmp_o_f32": lambda a, b: ~np.isnan(a) & ~np.isnan(b),
    "v_cmp_u_f32": lambda a, b: np.isnan(a) | np.isnan(b),
    "v_cmp_lg_f32": lambda a, b: (a < b) | (a > b),
    "v_cmp_nlg_f32": lambda a, b: ~((a < b) | (a > b)),
    "v_cmp_class_f32": float_class,
    "v_add_f32": lambda a, b: a + b,
    "v_sub_f32": lambda a, b: a - b,
    "v_subrev_f32": lambda a, b: b - a,
    "v_mul_f32": lambda a, b: a * b,
    "v_fma_f32": fma,
    "v_fmac_f32": lambda d, a, b: fma(a, b, d),
    "v_fmamk_f32": lambda a, k, b: fma(a, k, b),
    "v_fmaak_f32": lambda a, b, k: fma(a, b, k),
    "v_min_f32": fmin,
    "v_max_f32": fmax,
    "v_min3_f32": lambda a, b, c: fmin(fmin(a, b), c),
    "v_max3_f32": lambda a, b, c: fmax(fmax(a, b), c),
    "v_med3_f32": fmed,
    "v_floor_f32": lambda a: np.floor(a),
    "v_ceil_f32": lambda a: np.ceil(a),
    "v_trunc_f32": lambda a: np.trunc(a),
    "v_rndne_f32": lambda a: np.rint(a),
    "v_fract_f32": lambda a: np.minimum(a - np.floor(a), real(0x3F7FFFFF)),  # never 1
    "v_ldexp_f32": lambda a, b: np.ldexp(a.astype(f64), np.clip(b, -400, 400).astype(np.int64)).astype(f32),
    "v_cvt_f32_i32": lambda a: a.astype(f64).astype(f32),
    "v_cvt_f32_u32": lambda a: a.astype(f64).astype(f32),
    "v_cvt_i32_f32": lambda a: to_integer(a, -(2**31), 2**31 - 1),
    "v_cvt_u32_f32": lambda a: to_integer(a, 0, M32),
    "v_cvt_pk_bf16_f32": lambda a, b: bf16(b) << 16 | bf16(a),
    "v_cvt_f32_fp8": lambda a: FP8[byte(a, 0)],
    "v_cvt_f32_bf8": lambda a: BF8[byte(a, 0)],
    "v_cvt_pk_f32_fp8": lambda a: np.stack([FP8[byte(a, 0)], FP8[byte(a, 1)]]),
    "v_cvt_pk_f32_bf8": lambda a: np.stack([BF8[byte(a, 0)], BF8[byte(a, 1)]]),
    "v_pk_add_f32": lambda a, b: a + b,
    "v_pk_mul_f32": lambda a, b: a * b,
    "v_pk_fma_f32": fma,
    # In float64: see TRANSCENDENTAL and OPEN below.
    "v_exp_f32": lambda a: np.exp2(a.astype(f64)),
    "v_log_f32": lambda a: np.log2(a.astype(f64)),
    "v_rcp_f32": lambda a: 1 / a.astype(f64),
    "v_rsq_f32": lambda a: 1 / np.sqrt(a.astype(f64)),
    "v_sqrt_f32": lambda a: np.sqrt(a.astype(f64)),
    "v_not_b32": lambda a: ~a,
    "v_or3_b32": lambda a, b, c: a | b | c,
    "v_and_or_b32": lambda a, b, c: a & b | c,
    "v_bfi_b32": lambda a, b, c: a & b | ~a & c,
    "v_bfe_u32": lambda a, b, c: bfe(a, b, c & 31),
    "v_bfe_i32": lambda a, b, c: np.where(c & 31, each(sext)(a >> (b & 31), np.maximum(c & 31, 1)), 0),
    "v_bfrev_b32": lambda a: reverse(a),
    "v_ffbh_u32": lambda a: leading_zeros(a, 32),
    "v_ffbl_b32": lambda a: first_one(a),
    "v_bcnt_u32_b32": lambda a, b: popcount(a) + b,
    "v_perm_b32": lambda a, b, c: each(perm)(a, b, c),
    "v_alignbit_b32": lambda a, b, c: (a << 32 | b) >> (c & 31),
    "v_bitop3_b32": lambda a, b, c, imm: sum((a ^ i // 4 - 1) & (b ^ i // 2 % 2 - 1) & (c ^ i % 2 - 1) for i in set_bits(imm)),
    "v_lshlrev_b32": lambda a, b: b << (a & 31),
    "v_lshrrev_b32": lambda a, b: b >> (a & 31),
    "v_ashrrev_i32": lambda a, b: b >> (a & 31),
    "v_lshlrev_b64": lambda a, b: b << (a & 63),
    "v_lshrrev_b64": lambda a, b: b >> (a & 63),
    "v_ashrrev_i64": lambda a, b: b >> (a & 63),
    "v_add_u32": lambda a, b: a + b,
    "v_sub_u32": lambda a, b: a - b,
    "v_subrev_u32": lambda a, b: b - a,
    "v_add_co_u32": lambda a, b: (a + b, a + b > M32),
    "v_addc_co_u32": lambda a, b, c: (a + b + c, a + b + c > M32),
    "v_sub_co_u32": lambda a, b: (a - b, b > a),
    "v_subb_co_u32": lambda a, b, c: (a - b - c, b + c > a),
    "v_subrev_co_u32": lambda a, b: (b - a, a > b),
    "v_add3_u32": lambda a, b, c: a + b + c,
    "v_lshl_add_u32": lambda a, b, c: (a << (b & 31)) + c,
    "v_add_lshl_u32": lambda a, b, c: (a + b & M32) << (c & 31),
    "v_lshl_or_b32": lambda a, b, c: a << (b & 31) | c,
    "v_xad_u32": lambda a, b, c: (a ^ b) + c,
    "v_lshl_add_u64": lambda a, b, c: (a << (b & 7)) + c,
    "v_mul_lo_u32": lambda a, b: a * b,
    "v_mul_u32_u24": lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF),
    "v_mul_i32_i24": lambda a, b: sext(a, 24) * sext(b, 24),
    "v_mad_u32_u24": lambda a, b, c: (a & 0xFFFFFF) * (b & 0xFFFFFF) + c,
    "v_mad_i32_i24": lambda a, b, c: sext(a, 24) * sext(b, 24) + c,
    "v_mad_u64_u32": lambda a, b, c: (a * b + c, a * b + c > M64),
    "v_mad_i64_i32": lambda a, b, c: (a * b + c, a * b + c >> 64 & 1),  # bit 64 of the 65-bit sum
    # 16-bit results: this generation clears the upper half of the destination.
    "v_lshlrev_b16": lambda a, b: b << (a & 15) & 0xFFFF,
    "v_lshrrev_b16": lambda a, b: (b & 0xFFFF) >> (a & 15),
    "v_pk_lshlrev_b16": lambda a, b: b << (a & 15),
    "v_pk_lshrrev_b16": lambda a, b: b >> (a & 15),
    "v_mbcnt_lo_u32_b32": lambda a, b, lane: popcount(a & (1 << lane) - 1 & M32) + b,
    "v_mbcnt_hi_u32_b32": lambda a, b, lane: popcount(a & (1 << lane) - 1 >> 32) + b,
    # A whole register and single lanes of it. EXEC matters to the first and to no other.
    "v_readfirstlane_b32": lambda a, exec: a[max(0, first_one(exec))],
    "v_readlane_b32": lambda a, b: a[b & 63],
    "v_writelane_b32": lambda d, a, b: np.where(np.arange(64) == b & 63, a, d),
    "v_permlane16_swap_b32": lambda d, a: swapped(d, a, 16),
    "v_permlane32_swap_b32": lambda d, a: swapped(d, a, 32),
    "ds_bpermute_b32": permuted,
}
VALU |= {f"v_cvt_f32_ubyte{i}": lambda a, i=i: byte(a, i).astype(f32) for i in range(4)}
VALU |= {f"v_{op}_b32": LOGIC[op] for op in ("and", "or", "xor", "xnor")}
VALU |= dict.fromkeys(("v_mov_b32", "v_mov_b64", "v_accvgpr_read_b32", "v_accvgpr_write_b32"), SALU["s_mov_b32"])
for _t in ("u32", "i32"):
    VALU[f"v_mul_hi_{_t}"] = lambda a, b: a * b >> 32
    VALU[f"v_min_{_t}"] = lambda a, b: each(min)(a, b)
    VALU[f"v_max_{_t}"] = lambda a, b: each(max)(a, b)
    VALU[f"v_max3_{_t}"] = lambda a, b, c: each(max)(a, b, c)
for _op, _order in ORDER.items():
    _name = "ne" if _op == "lg" else _op
    VALU |= dict.fromkeys((f"v_cmp_{_name}_{t}" for t in ("i32", "u32", "i64", "u64")), _order)
    if _op != "lg":  # not what Python calls unequal: NaN makes it false
        VALU[f"v_cmp_{_op}_f32"] = _order
        VALU[f"v_cmp_n{_op}_f32"] = lambda a, b, order=_order: ~order(a, b)


def tiny(x: Any) -> Any:
    return (x != 0) & (np.abs(x) < 2.0**-126)


TRANSCENDENTAL = {f"v_{name}_f32" for name in ("exp", "log", "rcp", "rcp_iflag", "rsq", "sqrt")}  # right to within one ulp
VALU["v_rcp_iflag_f32"] = VALU["v_rcp_f32"]
# Lanes that are not compared, for the manual leaves them open: of the transcendentals (except v_exp_f32, which is known to give
# denormals) those that take or give denormals; v_fract_f32 of an infinity, which is NaN if it subtracts before it clamps.
OPEN: dict[str, Statement] = {"v_log_f32": tiny, "v_sqrt_f32": tiny, "v_rsq_f32": tiny}
OPEN["v_fract_f32"] = lambda x: abs(x) == np.inf
OPEN["v_rcp_f32"] = OPEN["v_rcp_iflag_f32"] = lambda x: tiny(x) | (abs(x) > 2.0**126)

TAKEN: dict[str, Statement] = {  # branches
    "s_branch": lambda scc, vcc, exec: True,
    "s_cbranch_scc0": lambda scc, vcc, exec: not scc,
    "s_cbranch_scc1": lambda scc, vcc, exec: scc,
    "s_cbranch_vccz": lambda scc, vcc, exec: vcc == 0,
    "s_cbranch_vccnz": lambda scc, vcc, exec: vcc != 0,
    "s_cbranch_execz": lambda scc, vcc, exec: exec == 0,
    "s_cbranch_execnz": lambda scc, vcc, exec: exec != 0,
    **dict.fromkeys(("s_cbranch_cdbgsys", "s_cbranch_cdbguser"), lambda scc, vcc, exec: False),  # no debugger is attached
    **dict.fromkeys(("s_cbranch_cdbgsys_or_user", "s_cbranch_cdbgsys_and_user"), lambda scc, vcc, exec: False),
}  # fmt: skip
# Waits and hints change no register; what s_endpgm and s_barrier do is in test_launch.py.
NO_EFFECT = {"s_nop": "7", "s_waitcnt": "vmcnt(0) lgkmcnt(0)", "s_sleep": "1", "s_setprio": "3", "s_sethalt": "0",
             "s_icache_inv": "", "s_barrier": "", "s_endpgm": "", **statements_memory.NO_EFFECT}  # fmt: skip
