"""What every matrix instruction means, stated a second time, from AMD's CDNA4 manual, sections 7.1 to 7.5.

Matrices are [blocks, rows, columns]. Elements are decoded to float64, which holds all but fp64's products exactly, or to
Python integers; registers hold elements densely, low bits first ("items", per lane).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.gfx950.statements import fma

# Table 28 (dense) and 33 (sparse): variants, with the number of blocks behind them where there is more than one.
_OPCODES = """
V_MFMA_F32_{}_F32      32x32x1_2B 16x16x1_4B 4x4x1_16B 32x32x2 16x16x4
V_MFMA_F32_{}_F16      32x32x4_2B 16x16x4_4B 4x4x4_16B 32x32x8 16x16x16 16x16x32 32x32x16
V_MFMA_F32_{}_BF16     32x32x4_2B 16x16x4_4B 4x4x4_16B 32x32x8 16x16x16 16x16x32 32x32x16
V_MFMA_I32_{}_I8       32x32x4_2B 16x16x4_4B 4x4x4_16B 32x32x16 16x16x32 16x16x64 32x32x32
V_MFMA_F64_{}_F64      16x16x4 4x4x4_4B
V_MFMA_F32_{}_BF8_BF8  16x16x32 32x32x16
V_MFMA_F32_{}_BF8_FP8  16x16x32 32x32x16
V_MFMA_F32_{}_FP8_BF8  16x16x32 32x32x16
V_MFMA_F32_{}_FP8_FP8  16x16x32 32x32x16
V_MFMA_F32_{}_F8F6F4   16x16x128 32x32x64
V_MFMA_SCALE_F32_{}_F8F6F4 16x16x128 32x32x64
V_MFMA_F32_{}_XF32     16x16x8 32x32x4
V_SMFMAC_F32_{}_F16    16x16x32 32x32x16 16x16x64 32x32x32
V_SMFMAC_F32_{}_BF16   16x16x32 32x32x16 16x16x64 32x32x32
V_SMFMAC_I32_{}_I8     16x16x64 32x32x32 16x16x128 32x32x64
V_SMFMAC_F32_{}_BF8_BF8 16x16x64 32x32x32 16x16x128 32x32x64
V_SMFMAC_F32_{}_BF8_FP8 16x16x64 32x32x32 16x16x128 32x32x64
V_SMFMAC_F32_{}_FP8_BF8 16x16x64 32x32x32 16x16x128 32x32x64
V_SMFMAC_F32_{}_FP8_FP8 16x16x64 32x32x32 16x16x128 32x32x64
"""


@dataclass(frozen=True)
class Format:
    """Exponent and mantissa bits, bias (Table 30), and what has no number: "ieee", "fn" (only S.1...1), "fnuz" (only -0), ""."""

    exponent: int
    mantissa: int
    bias: int
    special: str = ""

    @property
    def bits(self) -> int:
        return 1 + self.exponent + self.mantissa

    def decode(self, code: int) -> float:
        sign, last = (-1.0) ** (code >> self.bits - 1), (1 << self.exponent) - 1
        e, f = code >> self.mantissa & last, code % (1 << self.mantissa)
        if self.special == "ieee" and e == last:
            return float("nan") if f else sign * float("inf")
        nans = {"fn": [(1 << self.bits - 1) - 1, (1 << self.bits) - 1], "fnuz": [1 << self.bits - 1]}
        if code in nans.get(self.special, ()):
            return float("nan")
        return sign * (f + (e > 0) * 2.0**self.mantissa) * 2.0 ** (max(e, 1) - self.bias - self.mantissa)


FORMATS = {
    "F64": Format(11, 52, 1023, "ieee"), "F32": Format(8, 23, 127, "ieee"), "XF32": Format(8, 23, 127, "ieee"),
    "F16": Format(5, 10, 15, "ieee"), "BF16": Format(8, 7, 127, "ieee"), "I8": Format(0, 7, 0), "FP8": Format(4, 3, 7, "fn"),
    "BF8": Format(5, 2, 15, "ieee"), "FP6": Format(2, 3, 1), "BF6": Format(3, 2, 3), "FP4": Format(2, 1, 1),
    "FP8Z": Format(4, 3, 8, "fnuz"), "BF8Z": Format(5, 2, 16, "fnuz"),
}  # fmt: skip
F8F6F4 = ("FP8", "BF8", "FP6", "BF6", "FP4")  # by CBSZ and BLGP


def decode(name: str, codes: Any) -> Any:
    """Items to float64, or to integers."""
    if name == "I8":
        return codes.astype(np.uint8).view(np.int8).astype(np.int64)
    if name == "F64":
        return codes.astype(np.uint64).view(np.float64)
    if name in ("F32", "XF32"):
        with np.errstate(invalid="ignore"):  # signalling NaNs
            return (codes & (0xFFFFE000 if name == "XF32" else 0xFFFFFFFF)).astype(np.uint32).view(np.float32).astype(np.float64)
    return values(name)[codes.astype(np.int64)]


@cache
def values(name: str) -> Any:
    """Of all codes of a format."""
    return np.array([FORMATS[name].decode(code) for code in range(1 << FORMATS[name].bits)])


@dataclass(frozen=True)
class Spec:
    """An instruction: m = n, k, blocks, types."""

    name: str
    m: int
    k: int
    blocks: int
    result: str
    a: str
    b: str

    @property
    def sparse(self) -> bool:
        return "smfmac" in self.name

    @property
    def scaled(self) -> bool:
        return "scale" in self.name

    def registers(self, kind: str) -> int:
        """Of A (compressed where sparse), B or D."""
        if kind == "d":
            return self.m**2 * self.blocks * (2 if self.result == "F64" else 1) // 64
        half = 2 if self.sparse and kind == "a" else 1
        return self.k * self.m * self.blocks * FORMATS[getattr(self, kind)].bits // 2048 // half

    def operand(self, k: int, part: int) -> tuple[Any, Any]:
        """(lane, item) of A[b, i, k], and of B[b, k, i]: [blocks, m, k]. `part`: items that a lane has of consecutive k."""
        b, i, at = np.indices((self.blocks, self.m, k))
        held = k * self.m * self.blocks // 64
        part = min(part, held)
        group = at // part % (k // held)
        return i + self.m * (b + self.blocks * group), at // (part * (k // held)) * part + at % part

    def d(self) -> tuple[Any, Any]:
        """(lane, item) of D[b, i, j]. For fp64's 4x4 blocks AMD's layout tool, its examples and others' measurements agree on
        another order of lanes than the manual's formula gives: rows are furthest apart, not blocks."""
        b, i, j = np.indices((self.blocks, self.m, self.m))
        h = 1 if self.result == "F64" else 4
        b_i = -(-64 // (self.m * self.m // h))
        m_i = 64 // b_i // self.m
        g = self.m // (h * m_i)
        rows = i // h % m_i
        lane = j + self.m * (b % b_i + b_i * rows if h == 1 else rows + m_i * (b % b_i))
        return lane, i % h + h * (i // (h * m_i) + g * (b // b_i))


def _specs() -> dict[str, Spec]:
    specs = {}
    for line in _OPCODES.strip().splitlines():
        opcode, *variants = line.split()
        result, types = re.fullmatch(r"V_(?:MFMA|SMFMAC)(?:_SCALE)?_(\w+?)_\{}_(\w+)", opcode).groups()  # type: ignore[union-attr]
        for variant in variants:
            m, k, blocks = re.fullmatch(r"(\d+)x\d+x(\d+)(?:_(\d+)B)?", variant).groups()  # type: ignore[union-attr]
            name = opcode.format(variant).lower()
            specs[name] = Spec(name, int(m), int(k), int(blocks or 1), result, types.split("_")[0], types.split("_")[-1])
    return specs


SPECS = _specs()


def items(words: NDArray[np.uint32], bits: int) -> Any:
    """Registers [n, 64] as items [n * 32 // bits, 64], Python integers."""
    whole = sum(words[i].astype(object) << 32 * i for i in range(len(words)))
    return np.array([whole >> bits * t & (1 << bits) - 1 for t in range(32 * len(words) // bits)])


def operands(spec: Spec, a: Any, b: Any, index: Any = None) -> tuple[Any, Any, Any]:
    """A, B [blocks, m, k] from registers, and for sparse A which k each of its elements stands for (else None)."""
    fa, fb = FORMATS[spec.a], FORMATS[spec.b]
    eight = spec.k if not (spec.a in F8F6F4 and "f8f6f4" in spec.name) else 16
    part_a, part_b = ((eight if f.bits == 8 else spec.k) for f in (fa, fb))
    if spec.sparse:
        part_a, part_b = 64 // fa.bits, 128 // fb.bits
    lane, item = spec.operand(spec.k // 2 if spec.sparse else spec.k, part_a)
    left = decode(spec.a, items(a, fa.bits))[item, lane]
    right_lane, right_item = spec.operand(spec.k, part_b)
    right = decode(spec.b, items(b, fb.bits))[right_item, right_lane]
    if not spec.sparse:
        return left, right, None
    held = index.astype(np.int64)[lane] >> 2 * item & 3
    return left, right, np.arange(spec.k // 2) // 2 * 4 + held


def gathered(spec: Spec, words: NDArray[np.uint32]) -> Any:
    """C or D [blocks, m, m] from registers."""
    lane, item = spec.d()
    if spec.result == "F64":
        return items(words, 64).astype(np.uint64).view(np.float64)[item, lane]
    return words.view(np.int32 if spec.result == "I32" else np.float32)[item, lane]


def plain(spec: Spec, a: Any, b: Any, c: Any, ks: Any = None, scales: Any = None) -> Any:
    """D by the emulator's own order: k ascending, rounded at every step; f8f6f4 in sums of 32, scaled and added."""
    pairs: list[tuple[Any, Any]] = []
    for t in range(a.shape[2]):
        right = b[:, :, t][:, None, :] if ks is None else b[0][np.arange(spec.m), ks[0, :, t][:, None]][None]
        pairs.append((a[:, :, t][:, :, None], right))
    if spec.result == "I32":
        total = sum((x * y for x, y in pairs), c.astype(np.int64))
        return (total & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    if spec.result == "F64":
        exact = np.vectorize(lambda x, y, z: float(Fraction(x) * Fraction(y) + Fraction(z)))
        for x, y in pairs:
            c = exact(x, y, c)
        return c
    total, eights = c, "f8f6f4" in spec.name
    step = 32 if eights else len(pairs)
    for start in range(0, len(pairs), step):
        sums = np.zeros_like(c) if eights else total
        for x, y in pairs[start : start + step]:
            sums = fma(x.astype(np.float32), y.astype(np.float32), sums)
        if eights:
            scale = 1.0 if scales is None else scales[0][:, None, start // 32] * scales[1][:, start // 32]
            sums = (sums.astype(np.float64) * scale + total.astype(np.float64)).astype(np.float32)
        total = sums
    return total


def floor(x: Fraction, bits: int) -> Fraction:
    """Down to a multiple of 2^-bits."""
    return Fraction(x * 2**bits // 1, 2**bits)


def exponent(x: Fraction, least: int) -> int:
    """Of a number of a format whose smallest normal one is 2^least."""
    e = abs(x.numerator).bit_length() - x.denominator.bit_length()
    return max(e if abs(x) >= Fraction(2) ** e else e - 1, least)


def cdna3(format_a: Format, format_b: Format, a: Any, b: Any, c: float) -> float:
    """One element by the published bit-exact model of CDNA3: finite numbers in Fractions, group by group."""
    size = {32: 4, 16: 8, 8: 16}[format_a.bits]
    for start in range(0, len(a), size):
        x, y = ([float(value) for value in row[start : start + size]] for row in (a, b))
        c = _group(format_a, format_b, x, y, float(c))
    return c


def _group(format_a: Format, format_b: Format, a: list[float], b: list[float], c: float) -> float:
    whole = np.float64(c) + sum(x * y for x, y in zip(a, b, strict=True))
    if not np.isfinite(whole):
        return float(whole)
    above, below = (any(s * x * y >= 2.0**128 for x, y in zip(a, b, strict=True)) for s in (1, -1))
    if above or below:
        return float("nan") if above and below else float("inf") if above else float("-inf")
    pairs = [(Fraction(x), Fraction(y)) for x, y in zip(a, b, strict=True)]

    def aligned(some: list[tuple[Fraction, Fraction]]) -> tuple[Fraction, int | None]:
        """Products cut off at 24 bits of the largest exponent, in units of 2^that exponent."""
        known = [(x * y, exponent(x, 1 - format_a.bias) + exponent(y, 1 - format_b.bias)) for x, y in some if x * y]
        top = max((e for _, e in known), default=None)
        if top is None:
            return Fraction(0), None
        cut = (Fraction(int(p / Fraction(2) ** top * 2**24), 2**24) for p, _ in known)  # int() truncates
        return sum(cut, Fraction(0)), top

    parts = [aligned(pairs[0::2]), aligned(pairs[1::2])] if format_a.bits == 8 else [aligned(pairs)]
    top = max((e for _, e in parts if e is not None), default=None)
    high = exponent(Fraction(c), -126) if c else None
    if top is None and high is None:
        return 0.0
    total = Fraction(0)
    last = max(e for e in (top, high) if e is not None)
    if top is not None:
        total = sum((floor(s * Fraction(2) ** (e - top), 24) for s, e in parts if e is not None), Fraction(0))
        total = floor(total * Fraction(2) ** (top - last), 31)
    if high is not None and not (format_a.bits == 8 and high < last - 25):
        total += floor(Fraction(c) / Fraction(2) ** last, 24)
    with np.errstate(over="ignore"):
        return float(np.float32(float(total * Fraction(2) ** last)))  # exact in float64, so rounded once
