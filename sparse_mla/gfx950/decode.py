"""A kernel's instructions to threaded code: an array of `Op` (engine/engine.h) with operand offsets into a wave.

Modifiers become micro-operations around the instruction (isa/micro.py), waits and nops vanish, and every basic block
starts with one operation that counts it. What is not understood is an AssemblyError, never a guess.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from sparse_mla.errors import AssemblyError
from sparse_mla.gfx950.assembly import Arg, Instruction, Kernel
from sparse_mla.gfx950.generate import all_rows, slots
from sparse_mla.gfx950.isa import ENCODINGS, MICRO, ROWS
from sparse_mla.gfx950.isa.row import Operand, Row

OP = np.dtype([("run", "u8"), ("target", "u8"), ("o", "u4", 8), ("imm", "i8"), ("pc", "u4"), ("aux", "u4")])
SGPR_OFFSET, VGPR_BYTES, HARDWARE_SGPRS, TEMPORARIES = 128, 256, 128, 8
HANDLER_INDEX = {row.mnemonic: i for i, row in enumerate(all_rows())}
_SDWA_PARTS = {"BYTE_0": 0, "BYTE_1": 1, "BYTE_2": 2, "BYTE_3": 3, "WORD_0": 4, "WORD_1": 5, "DWORD": 6}
_IGNORED = {"sc0", "sc1", "nt", "glc"}   # cache hints: no functional effect here


@dataclass
class Code:
    """Threaded code of one kernel. `blocks[i]` = (first, one past last) static instruction of counted block i."""

    kernel: Kernel
    ops: np.ndarray
    constants: np.ndarray
    blocks: list[tuple[int, int]]
    vgpr_offset: int
    n_vgprs: int
    agpr_first: int

    @property
    def wave_bytes(self) -> int:
        """Bytes of one wave's state."""
        return self.vgpr_offset + VGPR_BYTES * self.n_vgprs


def row_of(mnemonic: str) -> tuple[Row, str] | None:
    """The row of a written mnemonic and its encoding suffix ("" where none)."""
    if mnemonic in ROWS:
        return ROWS[mnemonic], ""
    for suffix in ENCODINGS:
        if mnemonic.endswith(suffix) and mnemonic.removesuffix(suffix) in ROWS:
            return ROWS[mnemonic.removesuffix(suffix)], suffix
    return None


def bits(value: int | float | str, operand: Operand) -> list[int]:
    """A constant as the dwords that an operand of this type reads."""
    kind = operand.value
    if isinstance(value, float):
        if kind in "FUI":
            return list(struct.unpack("<2I", struct.pack("<d", value)))
        return [struct.unpack("<I", struct.pack("<f", value))[0]]
    assert isinstance(value, int)
    # A 64-bit operand sign-extends an inline constant and zero-extends a literal; the two agree on all but 32-bit negatives.
    high = 0xFFFFFFFF if value < 0 else 0
    return [value & 0xFFFFFFFF] + ([high] if operand.width == 2 else [])


class Decoder:
    """Decodes one kernel; `code()` is the result."""

    def __init__(self, kernel: Kernel, min_vgprs: int, min_agprs: int) -> None:
        self.kernel = kernel
        self.ops: list[tuple[str, list[int], int, int, int, str | None]] = []   # row, slots, imm, aux, pc, label
        self.constants: list[int] = []
        self.at: dict[tuple[int, ...], int] = {}
        used = kernel.registers
        self.agpr_first = max(used["v"], min_vgprs)
        self.temporary = self.agpr_first + max(used["a"], min_agprs)
        self.n_vgprs = self.temporary + TEMPORARIES
        self.leaders = {0} | set(kernel.labels.values())
        for i, instruction in enumerate(kernel.instructions):
            if instruction.mnemonic.startswith(("s_cbranch", "s_branch", "s_barrier", "s_endpgm")):
                self.leaders.add(i + 1)

    def fail(self, instruction: Instruction, why: str) -> AssemblyError:
        return AssemblyError(f"{self.kernel.name}: {why} in `{instruction.text}` ({instruction.source_line}, assembly line {instruction.line})")

    def constant(self, dwords: list[int]) -> int:
        """Offset of a constant, marked scalar."""
        key = tuple(dwords)
        if key not in self.at:
            self.at[key] = len(self.constants)
            self.constants += dwords
        return SGPR_OFFSET + 4 * (HARDWARE_SGPRS + self.at[key]) | 1

    def vector(self, index: int) -> int:
        """Offset of a vector register, counted from the first one and marked by bit 31 until code() knows where that stands."""
        return 1 << 31 | VGPR_BYTES * index

    def emit(self, mnemonic: str, o: list[int], pc: int, imm: int = 0, aux: int = 0, label: str | None = None) -> None:
        self.ops.append((mnemonic, o, imm, aux, pc, label))

    def operand(self, ins: Instruction, operand: Operand, arg: Arg, pc: int) -> int:
        """Offset of one operand; emits micro-operations for its neg and abs."""
        width = operand.width
        if arg.kind in "vas":
            if width and arg.count != width:
                raise self.fail(ins, f"operand {operand.name} takes {width} registers, not {arg.count},")
            if arg.kind == "s":
                if not operand.scalar and operand.value[0] == "x":
                    raise self.fail(ins, f"operand {operand.name} must be a VGPR")
                if arg.first + arg.count > HARDWARE_SGPRS:
                    raise self.fail(ins, f"no scalar register {arg.first}")
                offset = SGPR_OFFSET + 4 * arg.first | 1
            elif operand.scalar:
                raise self.fail(ins, f"operand {operand.name} must be scalar")
            else:
                offset = self.vector(arg.first + (self.agpr_first if arg.kind == "a" else 0))
        elif arg.kind in ("int", "float") and not operand.write:
            offset = self.constant(bits(arg.value, operand))
        else:
            raise self.fail(ins, f"operand {operand.name} cannot be {arg.kind}")
        if arg.neg or arg.abs:
            if operand.value != "f":
                raise self.fail(ins, f"negation or absolute value of a {operand.value} operand is not known")
            offset = self.through(f"_{'neg' * arg.neg}{'abs' * arg.abs}_f32", offset, pc)
        return offset

    def through(self, micro: str, offset: int, pc: int, imm: int = 0, aux: int = 0) -> int:
        """A changed copy of an operand in the next temporary register."""
        target = self.vector(self.temporary + self.used)
        self.used += 1
        assert self.used <= TEMPORARIES
        self.emit(micro, [target, offset], pc, imm, aux)
        return target

    def instruction(self, pc: int, ins: Instruction) -> None:
        found = row_of(ins.mnemonic)
        if found is None:
            raise self.fail(ins, f"unknown instruction {ins.mnemonic}")
        row, suffix = found
        if row.unit == "WAIT":
            return
        self.used = 0
        modifiers = dict(ins.modifiers)
        if suffix == "_dpp":
            raise self.fail(ins, "DPP is not known yet")
        selectors = [_SDWA_PARTS.get(modifiers.pop(key, "DWORD"), -1) for key in ("src0_sel", "src1_sel")] if suffix == "_sdwa" else []
        o: list[int] = []
        label: str | None = None
        args = list(ins.args)
        if row.unit == "SMEM" and len(args) == 3 and args[2].kind == "int":
            modifiers["offset"] = str(args.pop().value)
        optional = [x for x in row.operands if row.unit == "SMEM" and x.name == "b"]
        if len(args) != len(row.operands) and len(args) != len(row.operands) - len(optional):
            raise self.fail(ins, f"{row.mnemonic} takes {len(row.operands)} operands, not {len(args)},")
        n_source = 0
        saddr = next((arg.kind == "s" for x, arg in zip(row.operands, args, strict=False) if x.type == "S"), False)
        for (operand, _), arg in zip(slots(row), args, strict=False):
            if operand.type == "L":
                label = str(arg.value)
                if arg.kind != "label" or label not in self.kernel.labels:
                    raise self.fail(ins, f"no label {label}")
                o.append(0)
            elif operand.type == "S":
                o.append(0 if arg.kind == "off" else self.operand(ins, operand, arg, pc))
            elif operand.type == "A":
                if arg.kind != "v" or arg.count != (1 if saddr else 2):
                    raise self.fail(ins, f"the address must be {'one VGPR' if saddr else 'a VGPR pair'}")
                o.append(self.vector(arg.first))
            elif operand.value == "P":
                o += self.halves(ins, operand, arg, modifiers, n_source)
                n_source += not operand.write
            else:
                offset = self.operand(ins, operand, arg, pc)
                if selectors and not operand.write and not operand.scalar and n_source < 2:
                    part = selectors[n_source]
                    if part < 0:
                        raise self.fail(ins, "unknown SDWA selector")
                    if part != 6 or arg.sext:
                        offset = self.through("_sdwa_source", offset, pc, part, arg.sext)
                n_source += not operand.write
                o.append(offset)
        imm, aux = self.immediates(ins, row, modifiers)
        for key in ("op_sel", "op_sel_hi", "neg_lo", "neg_hi"):
            if any(operand.value == "P" for operand in row.operands):
                modifiers.pop(key, None)
        after = self.destination(ins, row, modifiers, o, suffix, pc)
        for key in modifiers:
            if key not in _IGNORED or key not in row.modifiers:
                raise self.fail(ins, f"modifier {key} is not known")
        self.emit(row.mnemonic, o, pc, imm, aux, label)
        for micro in after:
            self.emit(*micro)

    def halves(self, ins: Instruction, operand: Operand, arg: Arg, modifiers: dict[str, str], n: int) -> list[int]:
        """The two dwords of a packed fp32 operand: op_sel picks the one for the low result, op_sel_hi for the high one."""
        if arg.neg or arg.abs or any("1" in modifiers.get(key, "") for key in ("neg_lo", "neg_hi")):
            raise self.fail(ins, "sign modifiers of a packed instruction are not known yet")
        if arg.kind in ("int", "float"):
            at = self.constant(bits(arg.value, Operand("", "f", True, False)))
            if not operand.write and _selected(modifiers, "op_sel_hi", n, 1):
                raise self.fail(ins, "the high half of a constant is not defined; op_sel_hi must be 0")
            return [at, at]
        if arg.count != 2:
            raise self.fail(ins, f"operand {operand.name} takes a register pair")
        step = 4 if arg.kind == "s" else VGPR_BYTES
        base = SGPR_OFFSET + 4 * arg.first | 1 if arg.kind == "s" else self.vector(arg.first + (self.agpr_first if arg.kind == "a" else 0))
        if operand.write:
            return [base, base + step]
        return [base + step * _selected(modifiers, "op_sel", n, 0), base + step * _selected(modifiers, "op_sel_hi", n, 1)]

    def immediates(self, ins: Instruction, row: Row, modifiers: dict[str, str]) -> tuple[int, int]:
        """The instruction's own numbers: an address offset, two element offsets, a truth table."""
        values = []
        for key in ("offset", "offset0", "bitop3", "offset1"):
            if key in modifiers:
                if key not in row.modifiers:
                    raise self.fail(ins, f"modifier {key} is not known")
                values.append((key, int(modifiers.pop(key), 0)))
        named = dict(values)
        return named.get("offset", named.get("offset0", named.get("bitop3", 0))), named.get("offset1", 0)

    def destination(self, ins: Instruction, row: Row, modifiers: dict[str, str], o: list[int], suffix: str, pc: int) -> list[tuple[str, list[int], int, int, int]]:
        """Micro-operations that finish the result: clamp, and SDWA's placement into part of a register."""
        after = []
        if "clamp" in modifiers and "clamp" in row.modifiers and row.operands[0].value == "f":
            modifiers.pop("clamp")
            after.append(("_clamp_f32", [o[0]], pc, 0, 0))
        if suffix == "_sdwa":
            part = _SDWA_PARTS.get(modifiers.pop("dst_sel", "DWORD"), -1)
            unused = modifiers.pop("dst_unused", "UNUSED_PAD")
            if part != 6:
                if part < 0 or unused not in ("UNUSED_PAD", "UNUSED_PRESERVE"):
                    raise self.fail(ins, f"SDWA destination {unused} is not known")
                target, o[0] = o[0], self.vector(self.temporary + TEMPORARIES - 1)
                after.append(("_sdwa_pad" if unused == "UNUSED_PAD" else "_sdwa_preserve", [target, o[0]], pc, part, 0))
        return after

    def code(self) -> Code:
        instructions = self.kernel.instructions
        starts = sorted(i for i in self.leaders if i < len(instructions))
        blocks = list(zip(starts, [*starts[1:], len(instructions)], strict=True))
        ends = dict(blocks)
        first_op: dict[int, int] = {}
        block = {start: n for n, start in enumerate(starts)}
        for pc, ins in enumerate(instructions):
            if pc in block:
                first_op[pc] = len(self.ops)
                self.emit("_block", [], pc, block[pc], ends[pc] - pc)
            self.instruction(pc, ins)
        vgpr_offset = -(-(SGPR_OFFSET + 4 * (HARDWARE_SGPRS + len(self.constants))) // 256) * 256
        ops = np.zeros(len(self.ops), OP)
        for i, (mnemonic, o, imm, aux, pc, label) in enumerate(self.ops):
            offsets = [(x & 0x7FFFFFFF) + vgpr_offset if x >> 31 else x for x in o]
            target = 0
            if label is not None:
                to = self.kernel.labels[label]
                if to not in first_op:
                    raise self.fail(instructions[pc], "branch past the end")
                target = first_op[to]
            ops[i] = (HANDLER_INDEX[mnemonic], target, offsets + [0] * (8 - len(offsets)), imm, pc, aux)
        return Code(self.kernel, ops, np.array(self.constants, np.uint32), blocks, vgpr_offset, self.n_vgprs, self.agpr_first)


def _selected(modifiers: dict[str, str], key: str, n: int, default: int) -> int:
    text = modifiers.get(key)
    return default if text is None else int(text.strip("[]").split(",")[n])


def decode(kernel: Kernel, *, min_vgprs: int = 1, min_agprs: int = 0) -> Code:
    """Threaded code of a kernel, before the engine's addresses are put in; a wave gets at least this many registers.

    Raises AssemblyError for an instruction, operand or modifier that no row describes, naming it and its source line.
    """
    return Decoder(kernel, min_vgprs, min_agprs).code()
