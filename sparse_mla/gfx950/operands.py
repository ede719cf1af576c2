"""Operands as written to the offsets that handlers take: registers, constants, conditions, and what stands before a source."""

from __future__ import annotations

import struct

from sparse_mla.gfx950.assembly import Arg
from sparse_mla.gfx950.isa.row import Operand
from sparse_mla.gfx950.modifiers import (
    HALF_KINDS,
    HARDWARE_SGPRS,
    SGPR_OFFSET,
    VECTOR,
    VGPR_BYTES,
    Context,
    Emitted,
    Modifiers,
    listed,
)

_CONDITIONS = 112  # scalar registers from here on belong to trap handlers, so no kernel names them
_SIGN_BITS = {"f": (0, 31), "X": (0, 31), "h": (0, 15), "b": (0, 15), "g": (0, 15), "F": (1, 31)}  # dword and bit


class Operands(Modifiers):
    """The slots of operands."""

    def register(self, at: Context, arg: Arg) -> int:
        """Offset of a register, scalar ones marked."""
        if arg.kind == "s":
            if arg.first + arg.count > HARDWARE_SGPRS:
                raise self.fail(at, f"there is no scalar register {arg.first}")
            return SGPR_OFFSET + 4 * arg.first | 1
        return VECTOR | VGPR_BYTES * (arg.first + (self.agpr_first if arg.kind == "a" else 0))

    def operand(self, at: Context, operand: Operand, arg: Arg) -> list[int]:
        """The slots of one operand; emits the micro-operations of its source modifiers."""
        if operand.value == "P":
            return self.pair(at, operand, arg)
        if arg.kind in "vas":
            if arg.count != operand.width:
                raise self.fail(at, f"operand {operand.name} takes {operand.width} registers, not {arg.count},")
            if arg.kind != "s" and operand.scalar:
                raise self.fail(at, f"operand {operand.name} must be scalar")
            if arg.kind == "s" and not operand.scalar and (operand.write or operand.value[0] in "xc"):
                raise self.fail(at, f"operand {operand.name} must be a vector register")
            offset = self.register(at, arg)
            self.note(at, operand, arg, arg.first, arg.count)
        elif arg.kind in ("int", "float") and not operand.write and operand.value[0] != "x":
            if isinstance(arg.value, int) and arg.value >> 32 > 0 and operand.width != 2:
                raise self.fail(at, f"operand {operand.name} has 32 bits: {arg.value:#x} does not fit")
            offset = self.constant(dwords(arg.value, operand))
        elif arg.kind == "condition" and not operand.write and operand.value[0] not in "xcqpPHE":
            slot = SGPR_OFFSET + 4 * (_CONDITIONS + 2 * int(arg.value)) | 1
            self.ops.append(Emitted("_condition", [slot], at.pc, int(arg.value)))
            offset = slot
        else:
            raise self.fail(at, f"operand {operand.name} cannot be {arg.kind}")
        if operand.read and not operand.write and not operand.scalar:
            offset = self.source(at, operand, arg, offset)
        if arg.neg or arg.abs:
            if operand.value not in _SIGN_BITS or operand.write:
                raise self.fail(at, f"negation or absolute value of a {operand.value} operand is not known")
            dword, bit = _SIGN_BITS[operand.value]
            offset = self.through(at, f"_sign_{32 << dword}", offset, arg.abs << bit, arg.neg << bit, 1 + dword)
        return [offset]

    def source(self, at: Context, operand: Operand, arg: Arg, offset: int) -> int:
        """A read operand's offset behind what the encoding does to sources before their signs."""
        at.sources += 1
        n, kind = at.sources - 1, operand.value
        if kind[0] in "xc":
            return offset
        if self.indexed >> n & 1 and arg.kind in "va":
            offset = self.through(at, "_indexed_source", offset, 0, self.behind(at, operand, arg))
        if at.suffix == "_sdwa":
            return self.sdwa_source(at, arg, offset)
        if arg.sext:
            raise self.fail(at, "sext() belongs to SDWA")
        if at.suffix == "_dpp":
            return self.dpp(at, operand, arg, offset) if n == 0 else offset
        if kind in "qpHE":
            low, high = (listed(at, key, n, value) for key, value in (("op_sel", 0), ("op_sel_hi", 1)))
            signs = sum(listed(at, f"neg_{half}", n, 0) << bit for half, bit in (("lo", 15), ("hi", 31)))
            if signs and kind in "qp":
                raise self.fail(at, "signs belong to packed floats")
            return offset if (low, high, signs) == (0, 1, 0) else self.through(at, "_pick_halves", offset, low | high << 1, signs)
        selected = listed(at, "op_sel", n, 0)
        if kind == "X":
            half = listed(at, "op_sel_hi", n, 0)
            if half and arg.kind == "float":
                offset = self.constant(dwords(arg.value, Operand("", "h", True, False)))
            return self.through(at, "_half_to_f32", offset, 16 * selected) if half else offset
        if kind == "y":  # a byte
            selected += 2 * listed(at, "op_sel", n + 1, 0)
            return self.through(at, "_sdwa_source", offset, selected) if selected else offset
        if n in at.bytes_at or not selected:
            return offset
        if kind not in HALF_KINDS:
            raise self.fail(at, f"operand {operand.name} has no halves to select from")
        return self.through(at, "_sdwa_source", offset, 5)

    def pair(self, at: Context, operand: Operand, arg: Arg) -> list[int]:
        """The two dwords of a packed fp32 operand: op_sel picks the one for the low result, op_sel_hi for the high one."""
        low, high, signs = 0, 1, (0, 0)
        if not operand.write:
            n = at.sources
            at.sources += 1
            low, high = listed(at, "op_sel", n, 0), listed(at, "op_sel_hi", n, 1)
            signs = listed(at, "neg_lo", n, 0), listed(at, "neg_hi", n, 0)
        if arg.neg or arg.abs:
            raise self.fail(at, "a packed instruction takes its signs as neg_lo and neg_hi")
        if arg.kind in ("int", "float") and not operand.write:
            if low or high:
                raise self.fail(at, "a constant has no high half: op_sel and op_sel_hi must be 0 for it")
            constant = self.constant(dwords(arg.value, Operand("", "f", True, False)))
            return [self.through(at, "_sign_32", constant, 0, 1 << 31) if sign else constant for sign in signs]
        if arg.kind not in "vas" or arg.count != 2:
            raise self.fail(at, f"operand {operand.name} takes a register pair")
        base, step = self.register(at, arg), 4 if arg.kind == "s" else VGPR_BYTES
        for half in sorted({low, high}):
            self.note(at, operand, arg, arg.first + half, 1)
        places = base + step * low, base + step * high
        return [self.through(at, "_sign_32", x, 0, 1 << 31) if sign else x for x, sign in zip(places, signs, strict=True)]

    def note(self, at: Context, operand: Operand, arg: Arg, first: int, count: int) -> None:
        """Remembers registers that the instruction touches, for the sanitizer."""
        at.accesses.append((operand, arg.kind == "s", first + (self.agpr_first if arg.kind == "a" else 0), count))


def dwords(value: int | float | str, operand: Operand) -> list[int]:
    """A constant as the dwords that an operand of this type reads."""
    if isinstance(value, float):
        if operand.value in "UIF":
            return list(struct.unpack("<2I", struct.pack("<d", value)))
        if operand.value in "hHgwj":
            return list(struct.unpack("<H", struct.pack("<e", value)))
        return [struct.unpack("<I", struct.pack("<f", value))[0] >> (16 if operand.value in "bE" else 0)]
    assert isinstance(value, int)
    if operand.value == "F" and not -16 <= value <= 64:  # a literal is the high half of a double
        return [0, value & 0xFFFFFFFF]
    # A 64-bit operand sign-extends a negative constant; the assembler writes others as they are.
    return [value & 0xFFFFFFFF] + [value >> 32 & 0xFFFFFFFF] * (operand.width == 2)
