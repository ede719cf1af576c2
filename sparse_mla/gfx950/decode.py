"""A kernel's instructions to threaded code: an array of `Op` (engine/engine.h) with operand offsets into a wave.

Modifiers become micro-operations around the instruction (isa/micro.py), waits and nops vanish, and every basic block
starts with one operation that counts it. What is not understood is an AssemblyError, never a guess.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from sparse_mla.errors import AssemblyError
from sparse_mla.gfx950.assembly import Arg, Instruction, Kernel
from sparse_mla.gfx950.generate import all_rows, slots
from sparse_mla.gfx950.isa import ALIASES, ARCHES, ENCODINGS, ROWS
from sparse_mla.gfx950.isa.matrix import controls
from sparse_mla.gfx950.isa.memory import swizzle
from sparse_mla.gfx950.isa.row import Operand, Row
from sparse_mla.gfx950.sanitize import CHECK, describe, watch_result

OP = np.dtype([("run", "u8"), ("target", "u8"), ("o", "u4", 8), ("imm", "i8"), ("pc", "u4"), ("aux", "u4")])
SGPR_OFFSET, VGPR_BYTES, HARDWARE_SGPRS, TEMPORARIES = 128, 256, 128, 8
HANDLER_INDEX = {row.mnemonic: i for i, row in enumerate(all_rows())}
_VECTOR = 1 << 31  # marks an offset that counts from the first vector register, wherever that will stand
_SDWA_PARTS = {"BYTE_0": 0, "BYTE_1": 1, "BYTE_2": 2, "BYTE_3": 3, "WORD_0": 4, "WORD_1": 5, "DWORD": 6}
_FLAGS = {"offen": 1, "idxen": 2, "sc0": 4}  # Op.aux of what has flags (engine/access.h)
_HINTS = {"sc0", "sc1", "nt", "glc"}  # cache hints: no functional effect here
_ENDS_BLOCK = ("BRANCH", "BARRIER")


@dataclass
class Code:
    """Threaded code of one kernel. `blocks[i]` = (first, one past last) static instruction of counted block i."""

    kernel: Kernel
    ops: np.ndarray  # OP; `run` is an index of generate.all_rows(), `target` an index of ops
    constants: np.ndarray  # uint32, behind the scalar registers
    blocks: list[tuple[int, int]]
    vgpr_offset: int  # bytes into a wave
    n_vgprs: int  # vector, accumulation and temporary registers
    agpr_first: int  # index of a0 among them
    checks: np.ndarray | None  # sanitize.CHECK for each static instruction, where the launch is to be checked

    @property
    def wave_bytes(self) -> int:
        """Bytes of one wave's state."""
        return self.vgpr_offset + VGPR_BYTES * self.n_vgprs


@dataclass
class _Emitted:
    """An operation to be: its row, operand offsets, immediates, static instruction, and the label that it branches to."""

    row: str
    o: list[int]
    pc: int
    imm: int = 0
    aux: int = 0
    label: str | None = None


@dataclass
class _Context:
    """One instruction being decoded: what is left of its modifiers, and how many temporaries and sources are taken."""

    ins: Instruction
    pc: int
    modifiers: dict[str, str]
    suffix: str
    temporaries: int = 0
    sources: int = 0
    after: list[_Emitted] = field(default_factory=list)
    accesses: list[tuple[Operand, bool, int, int]] = field(default_factory=list)  # operand, scalar, first register, how many


def row_of(mnemonic: str, arch: str = "gfx950") -> tuple[Row, str] | None:
    """The row of a written mnemonic and its encoding suffix ("" where none)."""
    for suffix in ("", *ENCODINGS):
        name = mnemonic.removesuffix(suffix)
        name = ALIASES.get(name, name)
        if mnemonic.endswith(suffix) and name in ROWS:
            return ARCHES[arch].instead.get(name, ROWS[name]), suffix
    return None


def _dwords(value: int | float | str, operand: Operand) -> list[int]:
    """A constant as the dwords that an operand of this type reads."""
    if isinstance(value, float):
        wide = operand.value in "UIF"
        return list(struct.unpack("<2I", struct.pack("<d", value)) if wide else struct.unpack("<I", struct.pack("<f", value)))
    assert isinstance(value, int)
    # A 64-bit operand sign-extends a negative constant; the assembler writes others as they are.
    return [value & 0xFFFFFFFF] + [value >> 32 & 0xFFFFFFFF] * (operand.width == 2)


class _Decoder:
    def __init__(self, kernel: Kernel, min_vgprs: int, min_agprs: int, nan_units: frozenset[str] | None, debug: bool) -> None:
        self.kernel, self.debug = kernel, debug
        if kernel.arch not in ARCHES:
            raise AssemblyError(f"{kernel.name} is for {kernel.arch}: the emulator executes {' and '.join(ARCHES)}")
        self.nan_units = nan_units
        self.checks = None if nan_units is None else np.zeros(len(kernel.instructions), CHECK)
        self.ops: list[_Emitted] = []
        self.constants: list[int] = []
        self.constant_at: dict[tuple[int, ...], int] = {}
        used = kernel.registers
        self.agpr_first = max(used["v"], min_vgprs)
        self.temporary = self.agpr_first + max(used["a"], min_agprs)

    def fail(self, at: _Context, why: str) -> AssemblyError:
        where = f"{at.ins.source_line}, assembly line {at.ins.line}"
        return AssemblyError(f"{self.kernel.name}: {why} in `{at.ins.text}` ({where})")

    # ---- operands ----------------------------------------------------------------------------------------------

    def constant(self, dwords: list[int]) -> int:
        """Offset of a constant, marked scalar."""
        key = tuple(dwords)
        if key not in self.constant_at:
            self.constant_at[key] = len(self.constants)
            self.constants += dwords
        return SGPR_OFFSET + 4 * (HARDWARE_SGPRS + self.constant_at[key]) | 1

    def register(self, at: _Context, arg: Arg) -> int:
        """Offset of a register, scalar ones marked."""
        if arg.kind == "s":
            if arg.first + arg.count > HARDWARE_SGPRS:
                raise self.fail(at, f"there is no scalar register {arg.first}")
            return SGPR_OFFSET + 4 * arg.first | 1
        return _VECTOR | VGPR_BYTES * (arg.first + (self.agpr_first if arg.kind == "a" else 0))

    def through(self, at: _Context, micro: str, offset: int, imm: int = 0, aux: int = 0) -> int:
        """A changed copy of an operand, in the next temporary register."""
        target = _VECTOR | VGPR_BYTES * (self.temporary + at.temporaries)
        at.temporaries += 1
        assert at.temporaries < TEMPORARIES
        self.ops.append(_Emitted(micro, [target, offset], at.pc, imm, aux))
        return target

    def operand(self, at: _Context, operand: Operand, arg: Arg) -> list[int]:
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
            offset = self.constant(_dwords(arg.value, operand))
        else:
            raise self.fail(at, f"operand {operand.name} cannot be {arg.kind}")
        if operand.read and not operand.write and not operand.scalar:
            offset = self.halves(at, offset) if operand.value in "qp" else self.sdwa_source(at, arg, offset)
        if arg.neg or arg.abs:
            if operand.value != "f":
                raise self.fail(at, f"negation or absolute value of a {operand.value} operand is not known")
            offset = self.through(at, f"_{'neg' * arg.neg}{'abs' * arg.abs}_f32", offset)
        return [offset]

    def sdwa_source(self, at: _Context, arg: Arg, offset: int) -> int:
        """The selected part of a source, where the encoding has selectors."""
        at.sources += 1
        if at.suffix != "_sdwa" or at.sources > 2:
            if arg.sext:
                raise self.fail(at, "sext() belongs to SDWA")
            return offset
        part = _SDWA_PARTS.get(at.modifiers.pop(f"src{at.sources - 1}_sel", "DWORD"))
        if part is None:
            raise self.fail(at, "unknown SDWA selector")
        return offset if part == 6 and not arg.sext else self.through(at, "_sdwa_source", offset, part, arg.sext)

    def halves(self, at: _Context, offset: int) -> int:
        """The 16-bit halves of a packed source, picked by op_sel for the low result and by op_sel_hi for the high one."""
        low, high = self.op_sel(at)
        return offset if (low, high) == (0, 1) else self.through(at, "_pick_halves", offset, low, high)

    def op_sel(self, at: _Context) -> tuple[int, int]:
        """Which half of the next source the low and the high result take."""
        at.sources += 1
        return _listed(at.modifiers, "op_sel", at.sources - 1, 0), _listed(at.modifiers, "op_sel_hi", at.sources - 1, 1)

    def pair(self, at: _Context, operand: Operand, arg: Arg) -> list[int]:
        """The two dwords of a packed fp32 operand: op_sel picks the one for the low result, op_sel_hi for the high one."""
        low, high = (0, 1) if operand.write else self.op_sel(at)
        if arg.neg or arg.abs:
            raise self.fail(at, "sign modifiers of a packed instruction are not known")
        if arg.kind in ("int", "float") and not operand.write:
            if low or high:
                raise self.fail(at, "a constant has no high half: op_sel and op_sel_hi must be 0 for it")
            return [self.constant(_dwords(arg.value, Operand("", "f", True, False)))] * 2
        if arg.kind not in "vas" or arg.count != 2:
            raise self.fail(at, f"operand {operand.name} takes a register pair")
        base, step = self.register(at, arg), 4 if arg.kind == "s" else VGPR_BYTES
        for half in sorted({low, high}):
            self.note(at, operand, arg, arg.first + half, 1)
        return [base + step * low, base + step * high]

    # ---- instructions ------------------------------------------------------------------------------------------

    def instruction(self, pc: int, ins: Instruction) -> None:
        """Emits the operations of one instruction."""
        found = row_of(ins.mnemonic, self.kernel.arch)
        at = _Context(ins, pc, dict(ins.modifiers), found[1] if found else "")
        if found is None:
            raise self.fail(at, f"unknown instruction {ins.mnemonic}")
        row, suffix = found
        if ARCHES[self.kernel.arch].lacks.fullmatch(row.mnemonic):
            raise self.fail(at, f"{self.kernel.arch} has no {row.mnemonic}")
        if row.unit == "MFMA":
            self.matrix(at, row)
            return
        if row.unit == "WAIT":
            self.check(at, row, pc, {})
            return
        if suffix == "_dpp":
            raise self.fail(at, "DPP is not known")
        o, label = self.operands(at, row)
        imm, aux = self.immediates(at, row)
        self.destination(at, row, o)
        self.emit(at, row, o, imm, aux, label)

    def matrix(self, at: _Context, row: Row) -> None:
        """A matrix instruction; before it, copies of A and B with other lanes' values, where its modifiers ask for those."""
        try:
            known = controls(row, at.modifiers)
        except ValueError as bad:
            raise self.fail(at, str(bad)) from None
        row = known.row
        o, _ = self.operands(at, row)
        d, c = at.ins.args[0], at.ins.args[3]
        if row.operands[3].name == "c" and c.kind in "va":
            if d.kind != c.kind:
                raise self.fail(at, "C and D must be in the same register file")
            if 0 < abs(d.first - c.first) < d.count and d.count > 4:
                raise self.fail(at, "C must be D's registers or none of them")
        if "_f64_" in row.mnemonic and c.kind in ("int", "float"):
            o[3] = self.constant(_dwords(c.value, Operand("c", "F", True, False)))
        for slot, (keep, add) in known.lanes.items():
            registers = [o[slot] + VGPR_BYTES * i for i in range(row.operands[slot].width)]
            o[slot], *_ = [self.through(at, "_mfma_lanes", x, keep, add) for x in registers]
        self.emit(at, row, o, known.imm, known.aux)

    def emit(self, at: _Context, row: Row, o: list[int], imm: int, aux: int, label: str | None = None) -> None:
        """The instruction's own operation, once nothing is left of its modifiers."""
        pc = at.pc
        if any(operand.value in "Pqp" for operand in row.operands):
            at.modifiers = {key: x for key, x in at.modifiers.items() if key not in ("op_sel", "op_sel_hi")}
        for key in at.modifiers:
            if key not in _HINTS or key not in row.modifiers:
                raise self.fail(at, f"modifier {key} is not known")
        self.check(at, row, pc, {operand.name: slot for operand, slot in slots(row)})
        self.ops.append(_Emitted(row.mnemonic, o, pc, imm, aux, label))
        self.ops += at.after
        if self.checks is not None and self.checks[pc]["results"]:
            self.ops.append(_Emitted("_check_result", o, pc))

    def note(self, at: _Context, operand: Operand, arg: Arg, first: int, count: int) -> None:
        """Remembers registers that the instruction touches, for the sanitizer."""
        at.accesses.append((operand, arg.kind == "s", first + (self.agpr_first if arg.kind == "a" else 0), count))

    def check(self, at: _Context, row: Row, pc: int, slot: dict[str, int]) -> None:
        """The sanitizer's operation before an instruction."""
        if self.checks is not None:
            self.checks[pc] = describe(row, at.ins, at.suffix, at.accesses, slot)
            if self.nan_units and row.unit in self.nan_units:
                watch_result(self.checks[pc], row)
            self.ops.append(_Emitted("_check", [], pc))

    def operands(self, at: _Context, row: Row) -> tuple[list[int], str | None]:
        """Operand slots in the order of the text, and the branch target."""
        args, label = list(at.ins.args), None
        if row.unit == "SMEM" and len(args) == 3 and args[2].kind == "int":  # the offset is a number or an SGPR
            at.modifiers["offset"] = str(args.pop().value)
        todo, o = slots(row), []
        if todo and todo[0][0].optional and ("lds" in at.modifiers if "lds" in row.modifiers else "sc0" not in at.modifiers):
            todo, o = todo[1:], [0]
            at.modifiers.pop("lds", None)
        required = len(todo) - (row.unit == "SMEM")
        if not required <= len(args) <= len(todo):
            raise self.fail(at, f"{row.mnemonic} takes {required} operands, not {len(args)},")
        based = any(x.type == "S" and arg.kind == "s" for (x, _), arg in zip(todo, args, strict=False))
        registers = {"A": 1 if based else 2, "B": ("offen" in at.modifiers) + ("idxen" in at.modifiers), "C": 1}
        for (operand, slot), arg in zip(todo, args, strict=False):
            assert len(o) == slot
            if operand.type == "L":
                label = str(arg.value)
                if self.kernel.labels.get(label, len(self.kernel.instructions)) >= len(self.kernel.instructions):
                    raise self.fail(at, f"no label {label} with an instruction behind it")
                o.append(0)
            elif arg.kind == "off" and (operand.type in "STC" or (operand.type == "B" and not registers["B"])):
                o.append(0)
            elif operand.type in registers:
                if arg.kind != "v" or arg.count != registers[operand.type]:
                    raise self.fail(at, f"the address must be {('off', 'one VGPR', 'a VGPR pair')[registers[operand.type]]}")
                o.append(self.register(at, arg))
                self.note(at, operand, arg, arg.first, arg.count)
            else:
                o += self.operand(at, operand, arg)
        return o, label

    def immediates(self, at: _Context, row: Row) -> tuple[int, int]:
        """The instruction's own numbers: an address offset, two element offsets, a truth table."""
        values = {"imm": 0, "aux": 0}
        for key, slot in (("offset", "imm"), ("offset0", "imm"), ("bitop3", "imm"), ("offset1", "aux")):
            if key in at.modifiers and key in row.modifiers:
                text = at.modifiers.pop(key)
                try:
                    values[slot] = swizzle(text) if text.startswith("swizzle") else int(text, 0)
                except (KeyError, ValueError, IndexError):
                    raise self.fail(at, f"{key}:{text} is not known") from None
        if "offen" in row.modifiers:
            values["aux"] = sum(flag for key, flag in _FLAGS.items() if key in at.modifiers)
            at.modifiers = {key: x for key, x in at.modifiers.items() if key not in ("offen", "idxen")}
        return values["imm"], values["aux"]

    def destination(self, at: _Context, row: Row, o: list[int]) -> None:
        """What finishes the result: clamp, and SDWA's placement into part of a register."""
        if at.suffix == "_sdwa":
            part = _SDWA_PARTS.get(at.modifiers.pop("dst_sel", "DWORD"))
            unused = at.modifiers.pop("dst_unused", "UNUSED_PAD")
            micro = {"UNUSED_PAD": "_sdwa_pad", "UNUSED_PRESERVE": "_sdwa_preserve"}.get(unused)
            if part is None or micro is None:
                raise self.fail(at, f"SDWA destination {unused} is not known")
            if part != 6:
                target, o[0] = o[0], _VECTOR | VGPR_BYTES * (self.temporary + TEMPORARIES - 1)
                at.after.append(_Emitted(micro, [target, o[0]], at.pc, part))
        if "clamp" in at.modifiers and "clamp" in row.modifiers and row.operands[0].value == "f":
            del at.modifiers["clamp"]
            at.after.insert(0, _Emitted("_clamp_f32", [o[0]], at.pc))

    def code(self) -> Code:
        """Everything, laid out."""
        instructions, labels = self.kernel.instructions, self.kernel.labels
        leaders = {0, *labels.values()}
        for i, ins in enumerate(instructions):
            if (found := row_of(ins.mnemonic, self.kernel.arch)) and found[0].unit in _ENDS_BLOCK:
                leaders.add(i + 1)
        starts = sorted(i for i in leaders if i < len(instructions))
        blocks = list(zip(starts, [*starts[1:], len(instructions)], strict=True))
        number = {start: n for n, start in enumerate(starts)}
        first_op: dict[int, int] = {}
        for pc, ins in enumerate(instructions):
            if pc in number:
                first_op[pc] = len(self.ops)
                self.ops.append(_Emitted("_block", [], pc, number[pc], blocks[number[pc]][1] - pc))
            if self.debug:
                self.ops.append(_Emitted("_stop", [], pc))
            self.instruction(pc, ins)
        self.ops.append(_Emitted("_past_end", [], max(0, len(instructions) - 1)))
        vgpr_offset = -(-(SGPR_OFFSET + 4 * (HARDWARE_SGPRS + len(self.constants))) // VGPR_BYTES) * VGPR_BYTES
        ops = np.zeros(len(self.ops), OP)
        for i, op in enumerate(self.ops):
            o = [(x & ~_VECTOR) + vgpr_offset if x & _VECTOR else x for x in op.o]
            target = 0 if op.label is None else first_op[labels[op.label]]
            ops[i] = (HANDLER_INDEX[op.row], target, o + [0] * (8 - len(o)), op.imm, op.pc, op.aux)
        n_vgprs = self.temporary + TEMPORARIES
        constants = np.array(self.constants, np.uint32)
        return Code(self.kernel, ops, constants, blocks, vgpr_offset, n_vgprs, self.agpr_first, self.checks)


def _listed(modifiers: dict[str, str], key: str, n: int, default: int) -> int:
    """Element n of a modifier such as `op_sel:[0,1]`."""
    return int(modifiers[key].strip("[]").split(",")[n]) if key in modifiers else default


def decode(
    kernel: Kernel, *, min_vgprs: int = 1, min_agprs: int = 0, sanitize: frozenset[str] | None = None, debug: bool = False
) -> Code:
    """Threaded code of a kernel, before the engine's addresses are put in; a wave gets at least this many registers.

    `sanitize`: have the sanitizer check every instruction, and report a NaN or infinity born in these units (VALU, MFMA).
    `debug`: have every instruction preceded by a place where debug.Debugger can stop.

    Raises AssemblyError for an instruction, operand or modifier that no row describes, naming it and its source line.
    """
    return _Decoder(kernel, min_vgprs, min_agprs, sanitize, debug).code()
