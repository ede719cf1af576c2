"""Matrix instructions: one table, from which the rows follow. Source: AMD CDNA4 ISA manual, section 7 (CDNA3 for xf32).

A line is the type of C and D, the types of A and B (or one for both), and shapes with their passes: `MxNxK_blocks:passes`.
Elements of A and B fill registers densely; `xN` operands count those registers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sparse_mla.gfx950.isa.row import Row, table

_TABLE = """
mfma   f32 f32      32x32x1_2b:16 16x16x1_4b:8 4x4x1_16b:2 32x32x2:16 16x16x4:8
mfma   f32 xf32     32x32x4:8 16x16x8:4
mfma   f32 f16      32x32x4_2b:16 16x16x4_4b:8 4x4x4_16b:2 32x32x8:8 16x16x16:4 32x32x16:8 16x16x32:4
mfma   f32 bf16     32x32x4_2b:16 16x16x4_4b:8 4x4x4_16b:2 32x32x8:8 16x16x16:4 32x32x16:8 16x16x32:4
mfma   i32 i8       32x32x4_2b:16 16x16x4_4b:8 4x4x4_16b:2 32x32x16:8 16x16x32:4 32x32x32:8 16x16x64:4
mfma   f32 fp8_fp8,fp8_bf8,bf8_fp8,bf8_bf8 32x32x16:8 16x16x32:4
mfma   f64 f64      16x16x4:16 4x4x4_4b:8
smfmac f32 f16      32x32x16:8 16x16x32:4 32x32x32:8 16x16x64:4
smfmac f32 bf16     32x32x16:8 16x16x32:4 32x32x32:8 16x16x64:4
smfmac i32 i8       32x32x32:8 16x16x64:4 32x32x64:8 16x16x128:4
smfmac f32 fp8_fp8,fp8_bf8,bf8_fp8,bf8_bf8 32x32x32:8 16x16x64:4 32x32x64:8 16x16x128:4
"""
_BITS = {"f64": 64, "f32": 32, "xf32": 32, "f16": 16, "bf16": 16, "i8": 8, "fp8": 8, "bf8": 8}
FORMAT_REGISTERS = (8, 8, 6, 6, 4)  # of A (CBSZ) and B (BLGP) in f8f6f4: e4m3, e5m2, e2m3, e3m2, e2m1
_INLINE = ("v_mfma_f32_16x16x32_bf16", "v_mfma_f32_32x32x16_bf16")  # those of our kernels are compiled for their own shape


def _row(kind: str, result: str, types: str, shape: str) -> Row:
    (size, passes), a, b = shape.split(":"), types.split("_")[0], types.split("_")[-1]
    m, k, blocks = (int(x or 1) for x in re.fullmatch(r"(\d+)x\d+x(\d+)(?:_(\d+)b)?", size).groups())  # type: ignore[union-attr]
    name = f"v_{kind}_{result}_{size}_{types}"
    n = k * m * blocks * _BITS[a] // 64 // 32
    d = m * m * blocks * (2 if result == "f64" else 1) // 64
    if kind == "smfmac":
        text = f"d+x{d} a:x{n // 2} b:x{n} i:x1 | @SMFMAC({m}, {k}, {a}, {b})"
    elif result == "f64":
        text = f"d=x{d} a:x2 b:x2 c:c{d} | @mfma_f64(o, w, {m}, {blocks}); NEXT"
    else:
        inline = "_INLINE" * (name in _INLINE)
        text = f"d=x{d} a:x{n} b:x{n} c:c{d} | @MFMA{inline}({m}, {k}, {blocks}, {a}, {b})"
    return table("MFMA", f"{name} {text}", latency=f"mfma{passes}")[0]


def _each() -> list[Row]:
    rows = []
    for line in _TABLE.strip().splitlines():
        kind, result, types, *shapes = line.split()
        rows += [_row(kind, result, one, shape) for shape in shapes for one in types.split(",")]
    return rows


# Scaled and not; `passes` are those of 8-bit elements, others take half as many.
_F8F6F4 = [
    table(
        "MFMA",
        f"v_mfma_{scale}f32_{m}x{m}x{k}_f8f6f4 d=x{d} a:x8 b:x8 c:c{d}{operands} | @mfma_f8f6f4(o, w, {m}, {k}, {on}); NEXT",
        latency=f"mfma{passes}",
    )[0]
    for m, k, d, passes in ((16, 128, 4, 8), (32, 64, 16, 16))
    for on, scale, operands in ((0, "", ""), (1, "scale_", " sa:x1 sb:x1"))
]
MATRIX: list[Row] = _each() + _F8F6F4
# Older spellings: no blocks, no underscore before the type, and "_1k" behind bf16.
ALIASES: dict[str, str] = {}
for row in MATRIX:
    if m := re.fullmatch(r"(v_mfma_\w+?)(?:_\d+b)?_(x?f\d\d|bf16|i8)", row.mnemonic):
        old = m[2] == "bf16" and row.operands[1].width == 2
        ALIASES |= {f"{m[1]}{m[2]}{end}": row.mnemonic for end in ("", "_1k")[: 1 + old]}


@dataclass(frozen=True)
class Controls:
    """What an instruction's modifiers come to: its row with true widths, immediates, and which lanes A (1) and B (2) are read
    from: lane l from (l & keep) + add."""

    row: Row
    imm: int
    aux: int
    lanes: dict[int, tuple[int, int]]


def controls(row: Row, modifiers: dict[str, str]) -> Controls:
    """Takes the modifiers that belong to matrix instructions out of `modifiers`. Raises ValueError for what none has."""
    name = row.mnemonic
    cbsz, abid, blgp = (int(modifiers.pop(key, "0"), 0) for key in ("cbsz", "abid", "blgp"))
    if name.endswith("f8f6f4"):
        if max(cbsz, blgp) >= len(FORMAT_REGISTERS):
            raise ValueError(f"formats are 0 to {len(FORMAT_REGISTERS) - 1}: there is no cbsz {cbsz} with blgp {blgp}")
        widths = {"a": FORMAT_REGISTERS[cbsz], "b": FORMAT_REGISTERS[blgp]}
        operands = tuple(replace(x, type=f"x{widths[x.name]}") if x.name in widths else x for x in row.operands)
        passes = int(row.latency.removeprefix("mfma")) // (1 if 8 in widths.values() else 2)
        picked = 0
        if "_scale_" in name:
            low, high = _bits(modifiers, "op_sel", 0), _bits(modifiers, "op_sel_hi", 3)
            if low >> 2:
                raise ValueError("only the two scales have an op_sel")
            picked = sum((low >> n & 1 | (high >> n & 1) << 1) << 2 * n for n in (0, 1))
        return Controls(replace(row, operands=operands, latency=f"mfma{passes}"), cbsz | blgp << 4, picked, {})
    if "smfmac" in name:
        return Controls(row, 0 if cbsz else abid, 0, {})
    if "f64" in name:
        if cbsz or abid or blgp:
            raise ValueError("matrices of fp64 take no cbsz, abid or blgp")
        return Controls(row, _bits(modifiers, "neg", 0), 0, {})
    blocks = int(several[1]) if (several := re.search(r"_(\d+)b_", name)) else 1
    if 1 << cbsz > blocks or abid >= 1 << cbsz or blgp > 7:
        raise ValueError(f"{blocks} blocks take no cbsz {cbsz} with abid {abid} and blgp {blgp}")
    lanes = {1: ((64 >> cbsz) - 1, (64 >> cbsz) * abid)} if cbsz else {}
    if blgp:
        lanes[2] = (31, 32 * (blgp - 1)) if blgp < 3 else (63, 16) if blgp == 3 else (15, 16 * (blgp - 4))
    return Controls(row, 0, 0, lanes)


def _bits(modifiers: dict[str, str], key: str, default: int) -> int:
    """`op_sel:[1,0,0]` as the number whose bit n is element n."""
    return sum(int(x) << n for n, x in enumerate(modifiers.pop(key).strip("[]").split(","))) if key in modifiers else default
