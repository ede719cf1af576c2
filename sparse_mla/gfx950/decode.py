"""A kernel's instructions to threaded code: an array of `Op` (engine/engine.h) with operand offsets into a wave.

Modifiers become micro-operations around the instruction (isa/micro.py), waits and nops vanish, and every basic block
starts with one operation that counts it. What is not understood is an AssemblyError, never a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from sparse_mla.errors import AssemblyError
from sparse_mla.gfx950.assembly import Instruction, Kernel
from sparse_mla.gfx950.generate import all_rows, slots
from sparse_mla.gfx950.hazards import Step, implicit, step
from sparse_mla.gfx950.isa import ALIASES, ARCHES, ENCODINGS, MICRO, REFUSED, ROWS
from sparse_mla.gfx950.isa.matrix import controls
from sparse_mla.gfx950.isa.row import Operand, Row
from sparse_mla.gfx950.modifiers import HARDWARE_SGPRS, SGPR_OFFSET, TEMPORARIES, VECTOR, VGPR_BYTES, Context, Emitted
from sparse_mla.gfx950.native import STRUCTS
from sparse_mla.gfx950.operands import Operands, dwords
from sparse_mla.gfx950.sanitize import CHECK, Checks, describe, operation, wait_states, watch_result
from sparse_mla.gfx950.trace import ACCESS, describe_access

OP = np.dtype(STRUCTS["Op"])
HANDLER_INDEX = {row.mnemonic: i for i, row in enumerate(all_rows())}
_HINTS = {"sc0", "sc1", "nt", "glc"}  # cache hints: no functional effect here
_ENDS_BLOCK = ("BRANCH", "BARRIER")
_HALVES = ("op_sel", "op_sel_hi", "neg_lo", "neg_hi")
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


def row_of(mnemonic: str, arch: str = "gfx950") -> tuple[Row, str] | None:
    """The row of a written mnemonic and its encoding suffix ("" where none)."""
    for suffix in ("", *ENCODINGS):
        name = mnemonic.removesuffix(suffix)
        name = ALIASES.get(name, name)
        if mnemonic.endswith(suffix) and name in ROWS:
            return ARCHES[arch].instead.get(name, ROWS[name]), suffix
    return None


class _Decoder(Operands):
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
        self.ops: list[Emitted] = []
        self.constants: list[int] = []
        self.constant_at: dict[tuple[int, ...], int] = {}
        used = kernel.registers
        self.agpr_first = max(used["v"], min_vgprs)
        self.temporary = self.agpr_first + max(used["a"], min_agprs)

    def instruction(self, pc: int, ins: Instruction) -> None:
        """Emits the operations of one instruction."""
        found = row_of(ins.mnemonic, self.kernel.arch)
        at = Context(ins, pc, dict(ins.modifiers), found[1] if found else "")
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

    def matrix(self, at: Context, row: Row) -> None:
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
            o[3] = self.constant(dwords(c.value, Operand("c", "F", True, False)))
        for slot, (keep, add) in known.lanes.items():
            registers = [o[slot] + VGPR_BYTES * i for i in range(row.operands[slot].width)]
            o[slot], *_ = [self.through(at, "_mfma_lanes", x, keep, add) for x in registers]
        self.emit(at, row, o, known.imm, known.aux)

    def emit(self, at: Context, row: Row, o: list[int], imm: int, aux: int, label: str | None = None, name: str = "") -> None:
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
        self.ops.append(Emitted(name, o, pc, imm, aux, label))
        self.ops += at.after + at.last
        if self.checks is not None and self.checks[pc]["results"]:
            self.ops.append(Emitted("_check_result", o, pc))

    def check(self, at: Context, row: Row, pc: int, slot: dict[str, int]) -> None:
        """The sanitizer's operation before an instruction."""
        if self.checks is not None:
            accesses = [*at.accesses, *implicit(row, at.ins)]
            self.checks[pc] = describe(row, at.ins, accesses, slot)
            if self.nan_units and row.unit in self.nan_units:
                watch_result(self.checks[pc], row)
            self.steps.append(step(row, at.ins, at.suffix, accesses))
            self.ops.append(Emitted("_check", [], pc))

    def trace(self, at: Context, row: Row, slot: dict[str, int]) -> None:
        """The operation before an access that records it, where the launch is to be traced."""
        if self.traced is None or not (access := describe_access(row, at.ins, slot, self.kernel.arch))["space"]:
            return
        access["cached"] = self.lds_addresses
        self.lds_addresses += int(access["addresses"]) if row.unit == "LDS" else 1
        self.traced[at.pc] = access
        self.ops.append(Emitted("_trace", [], at.pc))

    def operands(self, at: Context, row: Row) -> tuple[list[int], str | None]:
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
                self.ops.append(Emitted("_block", [], pc, number[pc], blocks[number[pc]][1] - pc))
                if self.traced is not None:
                    self.ops.append(Emitted("_trace_block", [], pc, number[pc]))
            if self.debug:
                self.ops.append(Emitted("_stop", [], pc))
            self.instruction(pc, ins)
        self.ops.append(Emitted("_past_end", [], max(0, len(instructions) - 1)))
        vgpr_offset = -(-(SGPR_OFFSET + 4 * (HARDWARE_SGPRS + len(self.constants))) // VGPR_BYTES) * VGPR_BYTES
        ops = np.zeros(len(self.ops), OP)
        checks = None if self.checks is None else wait_states(self.checks, self.kernel, self.steps, self.temporary)
        for i, op in enumerate(self.ops):
            if op.row == "_check":
                assert checks is not None
                row, masks, imm, aux = operation(checks.table[op.pc], self.temporary)
                ops[i] = (HANDLER_INDEX[row], 0, masks + [0] * (8 - len(masks)), imm, op.pc, aux)
                continue
            o = [(x & ~VECTOR) + vgpr_offset if x & VECTOR else x for x in op.o]
            target = 0 if op.label is None else first_op[labels[op.label]]
            ops[i] = (HANDLER_INDEX[op.row], target, o + [0] * (8 - len(o)), op.imm, op.pc, op.aux)
        n_vgprs = self.temporary + TEMPORARIES
        constants = np.array(self.constants, np.uint32)
        return Code(self.kernel, ops, constants, blocks, vgpr_offset, n_vgprs, self.agpr_first, checks, self.traced)


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
