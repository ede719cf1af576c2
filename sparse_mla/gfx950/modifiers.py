"""Modifiers as micro-operations around an instruction (isa/micro.py): DPP, SDWA, parts of registers, clamps, immediates."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from sparse_mla.errors import AssemblyError
from sparse_mla.gfx950.assembly import Arg, Instruction, Kernel
from sparse_mla.gfx950.isa import MICRO
from sparse_mla.gfx950.isa.memory import swizzle
from sparse_mla.gfx950.isa.row import Operand, Row
from sparse_mla.gfx950.isa.typed import buffer_format

SGPR_OFFSET, VGPR_BYTES, HARDWARE_SGPRS, TEMPORARIES = 128, 256, 128, 8
_EXEC = 126
VECTOR = 1 << 31  # marks an offset that counts from the first vector register, wherever that will stand
_SDWA_PARTS = {"BYTE_0": 0, "BYTE_1": 1, "BYTE_2": 2, "BYTE_3": 3, "WORD_0": 4, "WORD_1": 5, "DWORD": 6}
_FLAGS = {"offen": 1, "idxen": 2, "sc0": 4, "glc": 4}  # Op.aux of what has flags (engine/access.h)
_OUTPUT_SCALES = {("mul", "2"), ("mul", "4"), ("div", "2")}
HALF_KINDS = "wjhgby"  # parts of a register, chosen by op_sel
_CLAMPED = {"f": "_clamp_f32", "h": "_clamp_f16", "F": "_clamp_f64", "H": "_clamp_pk_f16", "P": "_clamp_f32"}


@dataclass
class Emitted:
    """An operation to be: its row, operand offsets, immediates, static instruction, and the label that it branches to."""

    row: str
    o: list[int]
    pc: int
    imm: int = 0
    aux: int = 0
    label: str | None = None


@dataclass
class Context:
    """One instruction being decoded: what is left of its modifiers, and how many temporaries and sources are taken."""

    ins: Instruction
    pc: int
    modifiers: dict[str, str]
    suffix: str
    temporaries: int = 0
    sources: int = 0
    listed: set[tuple[str, int]] = field(default_factory=set)  # elements of op_sel and its like that belong to an operand
    bytes_at: tuple[int, ...] = ()  # places in op_sel that choose a byte of another operand
    after: list[Emitted] = field(default_factory=list)
    last: list[Emitted] = field(default_factory=list)
    accesses: list[tuple[Operand, bool, int, int]] = field(default_factory=list)  # operand, scalar, first register, how many


class Modifiers:
    """What a decoder keeps, and the modifiers of its instructions."""

    kernel: Kernel
    ops: list[Emitted]
    constants: list[int]
    constant_at: dict[tuple[int, ...], int]
    indexed: int  # which operands s_set_gpr_idx_on makes relative to M0
    agpr_first: int
    temporary: int

    def fail(self, at: Context, why: str) -> AssemblyError:
        where = f"{at.ins.source_line}, assembly line {at.ins.line}"
        return AssemblyError(f"{self.kernel.name}: {why} in `{at.ins.text}` ({where})")

    def constant(self, dwords: list[int]) -> int:
        """Offset of a constant, marked scalar."""
        key = tuple(dwords)
        if key not in self.constant_at:
            self.constant_at[key] = len(self.constants)
            self.constants += dwords
        return SGPR_OFFSET + 4 * (HARDWARE_SGPRS + self.constant_at[key]) | 1

    def through(self, at: Context, micro: str, offset: int, imm: int = 0, aux: int = 0, width: int = 1) -> int:
        """A changed copy of an operand, in the next temporary registers."""
        target = VECTOR | VGPR_BYTES * (self.temporary + at.temporaries)
        at.temporaries += width
        assert at.temporaries < TEMPORARIES
        self.ops.append(Emitted(micro, [target, offset], at.pc, imm, aux))
        return target

    def behind(self, at: Context, operand: Operand, arg: Arg) -> int:
        """How many registers an index may choose from, the named one being the first."""
        if operand.width != 1:
            raise self.fail(at, "an indexed operand has one register")
        return (self.agpr_first if arg.kind == "v" else self.temporary - self.agpr_first) - arg.first

    def dpp(self, at: Context, operand: Operand, arg: Arg, offset: int) -> int:
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
        target, saved = (VECTOR | VGPR_BYTES * (self.temporary + at.temporaries + i * operand.width) for i in (0, 1))
        at.temporaries += operand.width + 1
        imm = enabled - (enabled >> 63 << 64)
        self.ops.append(Emitted("_dpp", [target, offset, saved, lanes], at.pc, imm, operand.width << 1 | zero))
        at.last.append(Emitted("_exec_back", [saved], at.pc))
        return target

    def sdwa_source(self, at: Context, arg: Arg, offset: int) -> int:
        """The selected part of a source, where the encoding has selectors."""
        if at.sources > 2:
            return offset
        part = _SDWA_PARTS.get(at.modifiers.pop(f"src{at.sources - 1}_sel", "DWORD"))
        if part is None:
            raise self.fail(at, "unknown SDWA selector")
        return offset if part == 6 and not arg.sext else self.through(at, "_sdwa_source", offset, part, arg.sext)

    def immediates(self, at: Context, row: Row) -> tuple[int, int]:
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

    def destination(self, at: Context, row: Row, o: list[int]) -> str:
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
        elif first.write and first.value in HALF_KINDS:
            n = sum(operand.read for operand in row.operands) - first.read
            high = listed(at, "op_sel", 2 if first.value == "y" else n, 0)
            if first.value == "y":
                part = high + 2 * listed(at, "op_sel", 3, 0)
            elif first.keep or high:
                part = 5 if high or "mixhi" in name else 4
        if part != 6:
            if first.read:
                raise self.fail(at, "an accumulator written in part is not known")
            target, o[0] = o[0], VECTOR | VGPR_BYTES * (self.temporary + TEMPORARIES - 1)
            at.after.append(Emitted(micro, [target, o[0]], at.pc, part))
        if self.indexed & 8 and first.write and at.ins.args[0].kind in "va":
            if first.read or part != 6:
                raise self.fail(at, "an indexed result must be all of a register, and only written")
            target, o[0] = o[0], VECTOR | VGPR_BYTES * (self.temporary + TEMPORARIES - 1)
            at.after.append(Emitted("_indexed_result", [target, o[0]], at.pc, 0, self.behind(at, first, at.ins.args[0])))
        if "clamp" in at.modifiers and f"{name}_clamp" in MICRO:
            del at.modifiers["clamp"]
            name += "_clamp"
        elif "clamp" in at.modifiers and "clamp" in row.modifiers and first.value in _CLAMPED:
            del at.modifiers["clamp"]
            at.after[:0] = [Emitted(_CLAMPED[first.value], [x], at.pc) for x in o[: 2 if first.value == "P" else 1]]
        if first.value in "fhFP" and "clamp" in row.modifiers:  # MODE.IEEE and denormals, which are always on here, disable these
            at.modifiers = {key: x for key, x in at.modifiers.items() if (key, x) not in _OUTPUT_SCALES}
        if name.startswith("v_cmpx_"):
            at.last.append(Emitted("s_mov_b64", [SGPR_OFFSET + 4 * _EXEC | 1, o[0]], at.pc))
        return name


def listed(at: Context, key: str, n: int, default: int) -> int:
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
