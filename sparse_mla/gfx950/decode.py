"""A kernel's instructions to threaded code: an array of `Op` (engine/engine.h) with operand offsets into a wave.

Modifiers become micro-operations around the instruction (isa/micro.py), waits and nops vanish, and every basic block
starts with one operation that counts it. What is not understood is an AssemblyError, never a guess.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sparse_mla.errors import AssemblyError
from sparse_mla.gfx950.assembly import Arg, Instruction, Kernel
from sparse_mla.gfx950.generate import all_rows, slots
from sparse_mla.gfx950.hazards import Step, step
from sparse_mla.gfx950.isa import ALIASES, ARCHES, ENCODINGS, MICRO, REFUSED, ROWS
from sparse_mla.gfx950.isa.matrix import controls
from sparse_mla.gfx950.isa.memory import swizzle
from sparse_mla.gfx950.isa.row import Operand, Row
from sparse_mla.gfx950.isa.typed import buffer_format
from sparse_mla.gfx950.sanitize import CHECK, Checks, describe, operation, wait_states, watch_result
from sparse_mla.gfx950.trace import ACCESS, describe_access

OP = np.dtype([("run", "u8"), ("target", "u8"), ("o", "u4", 8), ("imm", "i8"), ("pc", "u4"), ("aux", "u4")])
SGPR_OFFSET, VGPR_BYTES, HARDWARE_SGPRS, TEMPORARIES = 128, 256, 128, 8
HANDLER_INDEX = {row.mnemonic: i for i, row in enumerate(all_rows())}
_VECTOR = 1 << 31  # marks an offset that counts from the first vector register, wherever that will stand
_SDWA_PARTS = {"BYTE_0": 0, "BYTE_1": 1, "BYTE_2": 2, "BYTE_3": 3, "WORD_0": 4, "WORD_1": 5, "DWORD": 6}
_FLAGS = {"offen": 1, "idxen": 2, "sc0": 4, "glc": 4}  # Op.aux of what has flags (engine/access.h)
_HINTS = {"sc0", "sc1", "nt", "glc"}  # cache hints: no functional effect here
_ENDS_BLOCK = ("BRANCH", "BARRIER")
_SIGN_BITS = {"f": (0, 31), "X": (0, 31), "h": (0, 15), "b": (0, 15), "g": (0, 15), "F": (1, 31)}  # dword and bit
_OUTPUT_SCALES = {("mul", "2"), ("mul", "4"), ("div", "2")}
_EXEC, _CONDITIONS = 126, 112  # scalar registers; those from 112 belong to trap handlers, so no kernel names them
_HALVES = ("op_sel", "op_sel_hi", "neg_lo", "neg_hi")
_HALF_KINDS = "wjhgby"  # parts of a register, chosen by op_sel
_CLAMPED = {"f": "_clamp_f32", "h": "_clamp_f16", "F": "_clamp_f64", "H": "_clamp_pk_f16", "P": "_clamp_f32"}
_FLOAT_MODE = {"float_round_mode_32": 0, "float_round_mode_16_64": 0, "float_denorm_mode_32": 3, "float_denorm_mode_16_64": 3,
               "dx10_clamp": 1, "fp16_overflow": 0}  # fmt: skip


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
    checks: Checks | None  # where the launch is to be checked
    accesses: np.ndarray | None = None  # trace.ACCESS of each, where the launch is to be traced

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
    listed: set[tuple[str, int]] = field(default_factory=set)  # elements of op_sel and its like that belong to an operand
    bytes_at: tuple[int, ...] = ()  # places in op_sel that choose a byte of another operand
    after: list[_Emitted] = field(default_factory=list)
    last: list[_Emitted] = field(default_factory=list)
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


class _Decoder:
    def __init__(
        self, kernel: Kernel, min_vgprs: int, min_agprs: int, nan_units: frozenset[str] | None, debug: bool, trace: bool
    ) -> None:
        self.kernel, self.debug = kernel, debug
        if kernel.arch not in ARCHES:
            raise AssemblyError(f"{kernel.name} is for {kernel.arch}: the emulator executes {' and '.join(ARCHES)}")
        self.indexed = 0  # which operands s_set_gpr_idx_on makes relative to M0
        self.nan_units = nan_units
        self.checks = None if nan_units is None else np.zeros(len(kernel.instructions), CHECK)
        self.traced = np.zeros(len(kernel.instructions), ACCESS) if trace else None
        self.lds_addresses = 0  # of the traced instructions so far
        self.steps: list[Step] = []  # what wait states are about, where the launch is to be checked
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

    def through(self, at: _Context, micro: str, offset: int, imm: int = 0, aux: int = 0, width: int = 1) -> int:
        """A changed copy of an operand, in the next temporary registers."""
        target = _VECTOR | VGPR_BYTES * (self.temporary + at.temporaries)
        at.temporaries += width
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
        elif arg.kind == "condition" and not operand.write and operand.value[0] not in "xcqpPHE":
            slot = SGPR_OFFSET + 4 * (_CONDITIONS + 2 * int(arg.value)) | 1
            self.ops.append(_Emitted("_condition", [slot], at.pc, int(arg.value)))
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

    def source(self, at: _Context, operand: Operand, arg: Arg, offset: int) -> int:
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
            low, high = (_listed(at, key, n, value) for key, value in (("op_sel", 0), ("op_sel_hi", 1)))
            signs = sum(_listed(at, f"neg_{half}", n, 0) << bit for half, bit in (("lo", 15), ("hi", 31)))
            if signs and kind in "qp":
                raise self.fail(at, "signs belong to packed floats")
            return offset if (low, high, signs) == (0, 1, 0) else self.through(at, "_pick_halves", offset, low | high << 1, signs)
        selected = _listed(at, "op_sel", n, 0)
        if kind == "X":
            half = _listed(at, "op_sel_hi", n, 0)
            if half and arg.kind == "float":
                offset = self.constant(_dwords(arg.value, Operand("", "h", True, False)))
            return self.through(at, "_half_to_f32", offset, 16 * selected) if half else offset
        if kind == "y":  # a byte
            selected += 2 * _listed(at, "op_sel", n + 1, 0)
            return self.through(at, "_sdwa_source", offset, selected) if selected else offset
        if n in at.bytes_at or not selected:
            return offset
        if kind not in _HALF_KINDS:
            raise self.fail(at, f"operand {operand.name} has no halves to select from")
        return self.through(at, "_sdwa_source", offset, 5)

    def behind(self, at: _Context, operand: Operand, arg: Arg) -> int:
        """How many registers an index may choose from, the named one being the first."""
        if operand.width != 1:
            raise self.fail(at, "an indexed operand has one register")
        return (self.agpr_first if arg.kind == "v" else self.temporary - self.agpr_first) - arg.first

    def dpp(self, at: _Context, operand: Operand, arg: Arg, offset: int) -> int:
        """A source that comes from another lane. Lanes that get nothing are switched off until the instruction is done."""
        if arg.kind != "v":
            raise self.fail(at, "the first source of DPP must be a vector register")
        table = dpp_lanes(at.modifiers)
        if table is None:
            raise self.fail(at, "exactly one known lane pattern of DPP is needed")
        rows, banks = (int(at.modifiers.pop(key, "0xf"), 0) for key in ("row_mask", "bank_mask"))
        enabled = sum(1 << lane for lane in range(64) if rows >> lane // 16 & 1 and banks >> lane // 4 % 4 & 1)
        zero = at.modifiers.pop("bound_ctrl", None) is not None
        lanes = self.constant(list(struct.unpack("<16I", bytes(table))))
        target, saved = (_VECTOR | VGPR_BYTES * (self.temporary + at.temporaries + i * operand.width) for i in (0, 1))
        at.temporaries += operand.width + 1
        imm = enabled - (enabled >> 63 << 64)
        self.ops.append(_Emitted("_dpp", [target, offset, saved, lanes], at.pc, imm, operand.width << 1 | zero))
        at.last.append(_Emitted("_exec_back", [saved], at.pc))
        return target

    def sdwa_source(self, at: _Context, arg: Arg, offset: int) -> int:
        """The selected part of a source, where the encoding has selectors."""
        if at.sources > 2:
            return offset
        part = _SDWA_PARTS.get(at.modifiers.pop(f"src{at.sources - 1}_sel", "DWORD"))
        if part is None:
            raise self.fail(at, "unknown SDWA selector")
        return offset if part == 6 and not arg.sext else self.through(at, "_sdwa_source", offset, part, arg.sext)

    def pair(self, at: _Context, operand: Operand, arg: Arg) -> list[int]:
        """The two dwords of a packed fp32 operand: op_sel picks the one for the low result, op_sel_hi for the high one."""
        low, high, signs = 0, 1, (0, 0)
        if not operand.write:
            n = at.sources
            at.sources += 1
            low, high = _listed(at, "op_sel", n, 0), _listed(at, "op_sel_hi", n, 1)
            signs = _listed(at, "neg_lo", n, 0), _listed(at, "neg_hi", n, 0)
        if arg.neg or arg.abs:
            raise self.fail(at, "a packed instruction takes its signs as neg_lo and neg_hi")
        if arg.kind in ("int", "float") and not operand.write:
            if low or high:
                raise self.fail(at, "a constant has no high half: op_sel and op_sel_hi must be 0 for it")
            constant = self.constant(_dwords(arg.value, Operand("", "f", True, False)))
            return [self.through(at, "_sign_32", constant, 0, 1 << 31) if sign else constant for sign in signs]
        if arg.kind not in "vas" or arg.count != 2:
            raise self.fail(at, f"operand {operand.name} takes a register pair")
        base, step = self.register(at, arg), 4 if arg.kind == "s" else VGPR_BYTES
        for half in sorted({low, high}):
            self.note(at, operand, arg, arg.first + half, 1)
        places = base + step * low, base + step * high
        return [self.through(at, "_sign_32", x, 0, 1 << 31) if sign else x for x, sign in zip(places, signs, strict=True)]

    # ---- instructions ------------------------------------------------------------------------------------------

    def instruction(self, pc: int, ins: Instruction) -> None:
        """Emits the operations of one instruction."""
        found = row_of(ins.mnemonic, self.kernel.arch)
        at = _Context(ins, pc, dict(ins.modifiers), found[1] if found else "")
        if found is None:
            reason = next((x for names, x in REFUSED.items() if re.fullmatch(names, ins.mnemonic)), "")
            raise self.fail(at, f"{ins.mnemonic} is not modelled: {reason}" if reason else f"unknown instruction {ins.mnemonic}")
        row = found[0]
        if ARCHES[self.kernel.arch].lacks.fullmatch(row.mnemonic):
            raise self.fail(at, f"{self.kernel.arch} has no {row.mnemonic}")
        if row.unit == "MFMA":
            self.matrix(at, row)
            return
        if row.mnemonic.startswith("s_set_gpr_idx_") and not row.mnemonic.endswith("idx_idx"):  # until the block's end
            self.indexed = int(ins.args[-1].value) if ins.args else 0
        if row.unit == "WAIT":
            self.check(at, row, pc, {})
            return
        at.bytes_at = tuple(i for x in row.operands if x.value == "y" for i in ((2, 3) if x.write else (0, 1)))
        o, label = self.operands(at, row)
        imm, aux = self.immediates(at, row)
        name = self.destination(at, row, o)
        self.emit(at, row, o, imm, aux, label, name)

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

    def emit(self, at: _Context, row: Row, o: list[int], imm: int, aux: int, label: str | None = None, name: str = "") -> None:
        """The instruction's own operation, once nothing is left of its modifiers."""
        pc = at.pc
        if any(operand.value[0] in "PqpHEXwjhgby" for operand in row.operands):
            for key in ("op_sel", "neg_lo", "neg_hi"):
                for n, x in enumerate(at.modifiers.get(key, "").strip("[]").split(",")):
                    if x.strip() == "1" and (key, n) not in at.listed:
                        raise self.fail(at, f"element {n} of {key} belongs to no operand that it could change,")
            at.modifiers = {key: x for key, x in at.modifiers.items() if key not in _HALVES}
        for key in at.modifiers:
            if key not in _HINTS or key not in row.modifiers:
                raise self.fail(at, f"modifier {key} is not known")
        slot = {operand.name: slot for operand, slot in slots(row)}
        self.check(at, row, pc, slot)
        self.trace(at, row, slot)
        name, last = name or row.mnemonic, self.ops[-1]
        if last.row == "_sdwa_source" and last.o[0] == o[-1] and not last.aux and f"{name}_part" in MICRO:
            self.ops.pop()  # one operation for both
            name, o, imm = f"{name}_part", [*o[:-1], last.o[1]], last.imm
        self.ops.append(_Emitted(name, o, pc, imm, aux, label))
        self.ops += at.after + at.last
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
            self.steps.append(step(row, at.ins, at.suffix, at.accesses))
            self.ops.append(_Emitted("_check", [], pc))

    def trace(self, at: _Context, row: Row, slot: dict[str, int]) -> None:
        """The operation before an access that records it, where the launch is to be traced."""
        if self.traced is None or not (access := describe_access(row, at.ins, slot, self.kernel.arch))["space"]:
            return
        access["cached"] = self.lds_addresses
        self.lds_addresses += int(access["addresses"]) if row.unit == "LDS" else 1
        self.traced[at.pc] = access
        self.ops.append(_Emitted("_trace", [], at.pc))

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
        if row.modifiers & {"offen", "glc"}:
            values["aux"] = sum(flag for key, flag in _FLAGS.items() if key in at.modifiers)
            at.modifiers = {key: x for key, x in at.modifiers.items() if key not in ("offen", "idxen")}
        if "format" in row.modifiers:
            try:
                values["aux"] |= buffer_format(at.modifiers.pop("format", "1")) << 8
            except (KeyError, ValueError):
                raise self.fail(at, "there is no such format") from None
        return values["imm"], values["aux"]

    def destination(self, at: _Context, row: Row, o: list[int]) -> str:
        """What finishes the result: clamp, then its placement into part of a register. Returns the row to execute."""
        name, first = row.mnemonic, row.operands[0] if row.operands else None
        if first is None:
            return name
        part, micro = 6, "_sdwa_preserve"
        if at.suffix == "_sdwa":
            chosen = _SDWA_PARTS.get(at.modifiers.pop("dst_sel", "DWORD"))
            unused = at.modifiers.pop("dst_unused", "UNUSED_PAD")
            micro = unused.replace("UNUSED", "_sdwa").lower()
            if chosen is None or micro not in MICRO:
                raise self.fail(at, f"SDWA destination {unused} is not known")
            part = chosen
        elif first.write and first.value in _HALF_KINDS:
            n = sum(operand.read for operand in row.operands) - first.read
            high = _listed(at, "op_sel", 2 if first.value == "y" else n, 0)
            if first.value == "y":
                part = high + 2 * _listed(at, "op_sel", 3, 0)
            elif first.keep or high:
                part = 5 if high or "mixhi" in name else 4
        if part != 6:
            if first.read:
                raise self.fail(at, "an accumulator written in part is not known")
            target, o[0] = o[0], _VECTOR | VGPR_BYTES * (self.temporary + TEMPORARIES - 1)
            at.after.append(_Emitted(micro, [target, o[0]], at.pc, part))
        if self.indexed & 8 and first.write and at.ins.args[0].kind in "va":
            if first.read or part != 6:
                raise self.fail(at, "an indexed result must be all of a register, and only written")
            target, o[0] = o[0], _VECTOR | VGPR_BYTES * (self.temporary + TEMPORARIES - 1)
            at.after.append(_Emitted("_indexed_result", [target, o[0]], at.pc, 0, self.behind(at, first, at.ins.args[0])))
        if "clamp" in at.modifiers and f"{name}_clamp" in MICRO:
            del at.modifiers["clamp"]
            name += "_clamp"
        elif "clamp" in at.modifiers and "clamp" in row.modifiers and first.value in _CLAMPED:
            del at.modifiers["clamp"]
            at.after[:0] = [_Emitted(_CLAMPED[first.value], [x], at.pc) for x in o[: 2 if first.value == "P" else 1]]
        if first.value in "fhFP" and "clamp" in row.modifiers:  # MODE.IEEE and denormals, which are always on here, disable these
            at.modifiers = {key: x for key, x in at.modifiers.items() if (key, x) not in _OUTPUT_SCALES}
        if name.startswith("v_cmpx_"):
            at.last.append(_Emitted("s_mov_b64", [SGPR_OFFSET + 4 * _EXEC | 1, o[0]], at.pc))
        return name

    def code(self) -> Code:
        """Everything, laid out."""
        instructions, labels = self.kernel.instructions, self.kernel.labels
        for key, value in _FLOAT_MODE.items():
            if self.kernel.descriptor.get(key, value) != value:
                raise AssemblyError(f"{self.kernel.name}: .amdhsa_{key} must be {value}: other float modes are not modelled")
        # Most labels only serve debug information: blocks begin at those that instructions name, and at functions.
        named = {arg.value for ins in instructions for arg in ins.args if arg.kind == "label"}
        leaders = {0, *(at for label, at in labels.items() if label in named or label[0] != ".")}
        for i, ins in enumerate(instructions):
            if (found := row_of(ins.mnemonic, self.kernel.arch)) and found[0].unit in _ENDS_BLOCK:
                leaders.add(i + 1)
        starts = sorted(i for i in leaders if i < len(instructions))
        blocks = list(zip(starts, [*starts[1:], len(instructions)], strict=True))
        number = {start: n for n, start in enumerate(starts)}
        first_op: dict[int, int] = {}
        for pc, ins in enumerate(instructions):
            if pc in number:
                if self.indexed:
                    raise AssemblyError(f"{self.kernel.name}: register indexing goes on past a basic block before `{ins.text}`")
                first_op[pc] = len(self.ops)
                self.ops.append(_Emitted("_block", [], pc, number[pc], blocks[number[pc]][1] - pc))
                if self.traced is not None:
                    self.ops.append(_Emitted("_trace_block", [], pc, number[pc]))
            if self.debug:
                self.ops.append(_Emitted("_stop", [], pc))
            self.instruction(pc, ins)
        self.ops.append(_Emitted("_past_end", [], max(0, len(instructions) - 1)))
        vgpr_offset = -(-(SGPR_OFFSET + 4 * (HARDWARE_SGPRS + len(self.constants))) // VGPR_BYTES) * VGPR_BYTES
        ops = np.zeros(len(self.ops), OP)
        checks = None if self.checks is None else wait_states(self.checks, self.kernel, self.steps, self.temporary)
        for i, op in enumerate(self.ops):
            if op.row == "_check":
                assert checks is not None
                row, masks, imm, aux = operation(checks.table[op.pc], self.temporary)
                ops[i] = (HANDLER_INDEX[row], 0, masks + [0] * (8 - len(masks)), imm, op.pc, aux)
                continue
            o = [(x & ~_VECTOR) + vgpr_offset if x & _VECTOR else x for x in op.o]
            target = 0 if op.label is None else first_op[labels[op.label]]
            ops[i] = (HANDLER_INDEX[op.row], target, o + [0] * (8 - len(o)), op.imm, op.pc, op.aux)
        n_vgprs = self.temporary + TEMPORARIES
        constants = np.array(self.constants, np.uint32)
        return Code(self.kernel, ops, constants, blocks, vgpr_offset, n_vgprs, self.agpr_first, checks, self.traced)


def _listed(at: _Context, key: str, n: int, default: int) -> int:
    """Element n of a modifier such as `op_sel:[0,1]`, which thereby belongs to an operand."""
    at.listed.add((key, n))
    listed = at.modifiers.get(key, "[]").strip("[]").split(",")
    return int(listed[n]) if n < len(listed) and listed[n] else default


_DPP: dict[str, Callable[[int, int], int]] = {  # lane -> the lane it reads; outside its row (or wave) for none
    "row_shl": lambda lane, n: lane + n if lane % 16 + n < 16 else 255,
    "row_shr": lambda lane, n: lane - n if lane % 16 >= n else 255,
    "row_ror": lambda lane, n: lane & 48 | lane - n & 15,
    "row_newbcast": lambda lane, n: lane & 48 | n,
    "row_share": lambda lane, n: lane & 48 | n,
    "wave_shl": lambda lane, n: lane + 1 if lane < 63 else 255,
    "wave_shr": lambda lane, n: lane - 1 if lane else 255,
    "wave_rol": lambda lane, n: lane + 1 & 63,
    "wave_ror": lambda lane, n: lane - 1 & 63,
    "row_mirror": lambda lane, n: lane ^ 15,
    "row_half_mirror": lambda lane, n: lane ^ 7,
    "row_bcast": lambda lane, n: 255 if lane < n + 1 else (lane & 48) - 1 if n == 15 else 31,
}


def dpp_lanes(modifiers: dict[str, str]) -> list[int] | None:
    """Which lane each of 64 lanes reads, 255 for none; takes the pattern out of `modifiers`. None where there is not one."""
    names = [name for name in ("quad_perm", *_DPP) if name in modifiers]
    if len(names) != 1:
        return None
    text = modifiers.pop(names[0])
    if names[0] == "quad_perm":
        quad = [int(x) for x in text.strip("[]").split(",")]
        return [lane & 60 | quad[lane & 3] for lane in range(64)]
    return [_DPP[names[0]](lane, int(text or "0", 0)) for lane in range(64)]


def decode(
    kernel: Kernel,
    *,
    min_vgprs: int = 1,
    min_agprs: int = 0,
    sanitize: frozenset[str] | None = None,
    debug: bool = False,
    trace: bool = False,
) -> Code:
    """Threaded code of a kernel, before the engine's addresses are put in; a wave gets at least this many registers.

    `sanitize`: have the sanitizer check every instruction, and report a NaN or infinity born in these units (VALU, MFMA).
    `debug`: have every instruction preceded by a place where debug.Debugger can stop. `trace`: have launches traced (trace.py).

    Raises AssemblyError for an instruction, operand or modifier that no row describes, naming it and its source line.
    """
    return _Decoder(kernel, min_vgprs, min_agprs, sanitize, debug, trace).code()
