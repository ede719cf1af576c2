"""The sanitizer: what an MI355X would hide or crash on, found while the machine code runs.

`describe` says what an instruction reads, writes and waits for, from its row; engine/sanitize.c checks every executed
instruction against it. `Findings` are what it reports. What it does not see: docs/emulator.md.
"""

from __future__ import annotations

import ctypes as c
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sparse_mla.gfx950.assembly import Instruction, Kernel
from sparse_mla.gfx950.hazards import HARDWARE, SCALAR, Access, Step, find, slots
from sparse_mla.gfx950.isa.memory import Shape, shape
from sparse_mla.gfx950.isa.row import Row
from sparse_mla.gfx950.memory import Memory
from sparse_mla.gfx950.native import STRUCTS

VM_MOST, LGKM_MOST = 63, 15  # what the counters' bits can count, so that no more is ever in flight
MAX_FINDINGS, NO_PC, SEVERAL = 256, 0xFFFFFFFF, 0xFFFFFFFF
CHECK, NEED, FINDING = (np.dtype(STRUCTS[name]) for name in ("Check", "Need", "Finding"))
LDS_BYTES = 25  # of races.c's shadow of a dword of LDS, without what it keeps by wave
WATCHED_BYTES = 1 << 28  # larger buffers are not watched for races between workgroups
MAX_TOUCHES, MAX_EVENTS, MAX_LINKS = 1 << 24, 1 << 16, 1 << 20  # beyond them no more races are looked for

_COUNTERS = {"VMEM": 1, "LDS": 2, "SMEM": 3}
# They may write LDS by ways that the shadow does not follow: in a kernel that has one, no LDS byte counts as unwritten.
_WRITES_LDS_UNSEEN = ("global_load_lds", "scratch_load_lds", "ds_append", "ds_consume", "ds_write_addtid")
_NAMED = {"s106": "vcc", "s107": "vcc", "s124": "m0", "s125": "mode", "s126": "exec", "s127": "exec"}
_COPIES = {"v_mov_b32", "v_mov_b64", "v_accvgpr_read_b32", "v_accvgpr_write_b32", "v_accvgpr_mov_b32"}
_FENCES = {"buffer_wbl2": 3, "buffer_inv": 4}
_SPACES = {"global": 1, "ds": 2, "flat": 3, "scratch": 4, "buffer": 5}

# kind | what is wrong | the usual cause; in the order of engine/sanitize.h
_TABLE = """
unwritten-vgpr | reads {register}, which {lanes} never wrote | a variable used before it is set, or set in another branch only
unwritten-sgpr | reads {register}, which nothing wrote | a kernel argument or mask that was never loaded
unwritten-lds | reads LDS byte {address}, which nobody wrote | a tile wider than what was staged, or a missing first store
unwritten-scratch | reads byte {address} of its private memory, which {lanes} never wrote | a local array used before it is filled
vmcnt | uses {register} while the load at {other} is in flight; s_waitcnt vmcnt({need}) covers it | waits placed by hand
lgkmcnt | uses {register} while {other} is in flight; s_waitcnt lgkmcnt({need}) covers it | waits placed by hand
wait-states | uses {register} {have} wait states after it was written or read; {need} are required | a missing s_nop
misaligned | accesses byte {address:#x}, which is not a multiple of {need} | a row pitch or offset that breaks the alignment
lds-race | touches LDS byte {address} between the same two barriers as wave {other_wave} at {other} | a missing __syncthreads
lds-in-flight | touches LDS byte {address}, but wave {other_wave} did not wait for {other} | no s_waitcnt before s_barrier
global-race | touches {where}, as {group} does at {other} in the same launch | no release (fence) and acquire between them
divergent-barrier | waits at a barrier with {lanes} switched off | __syncthreads inside a branch that not all threads take
barrier-mismatch | waits at this barrier while wave {other_wave} waits at {other} | __syncthreads in both sides of a branch
born-nan | makes a NaN or infinity in {lanes} out of finite operands | overflow, 0/0, inf - inf or a wrong scale
"""
KINDS: dict[str, tuple[str, str]] = {
    kind: (what, cause) for kind, what, cause in (line.split(" | ") for line in _TABLE.strip().splitlines())
}
_NAMES = tuple(KINDS)


@dataclass(frozen=True)
class Checks:
    """What the engine checks of a kernel: CHECK for each static instruction, and its wait states (NEED, resources recorded)."""

    table: np.ndarray
    needs: np.ndarray
    records: np.ndarray
    n_resources: int


@dataclass(frozen=True)
class Finding:
    """One fault: its kind (a key of KINDS), where it was first seen, and the other instruction where two are involved."""

    kind: str
    what: str
    cause: str
    kernel: str
    instruction: Instruction = field(repr=False)
    workgroup: tuple[int, ...]
    wave: int
    lanes: int  # mask
    other: Instruction | None = field(default=None, repr=False)

    def __str__(self) -> str:
        where = f"{self.instruction.source_line}  `{self.instruction.text}`  workgroup {self.workgroup} wave {self.wave}"
        return f"{self.kind}: {self.kernel} {self.what}\n  {where}\n  usual cause: {self.cause}"


def describe(row: Row, ins: Instruction, accesses: Sequence[Access], slot: dict[str, int]) -> np.ndarray:
    """What an instruction does, for the engine."""
    check = np.zeros((), CHECK)
    matrix = row.unit == "MFMA"
    for i, (operand, scalar, first, count) in enumerate(accesses):
        role = 3 * (row.mnemonic in _COPIES) or 4 * (row.unit == "VALU" and operand.value in "UI")
        if row.mnemonic in ("v_readlane_b32", "v_readfirstlane_b32"):
            role = 5
        if matrix and not operand.write:
            role = 2 if operand.name == "c" else 1
        reads = operand.read and row.mnemonic != "v_writelane_b32"  # it leaves the other lanes as they are
        check["access"][i] = (first, count, scalar, reads | operand.write << 1, role)
    check["n"], check["slots"], check["matrix"] = len(accesses), slots(ins), matrix
    check["counter"] = 4 if row.mnemonic.startswith("flat_") else _COUNTERS.get(row.unit, 0)
    check["special"] = {"WAIT": 1, "BARRIER": 2}.get(row.unit, 0)
    if row.unit == "WAIT":
        counts = dict(re.findall(r"(vmcnt|lgkmcnt)\((\d+)\)", ins.text))
        check["vm"], check["lgkm"] = int(counts.get("vmcnt", VM_MOST)), int(counts.get("lgkmcnt", LGKM_MOST))
    modifiers = dict(ins.modifiers)
    if row.mnemonic in _FENCES and "sc1" in ins.text.split():  # without it they do not reach the other compute units
        check["special"], check["counter"] = _FENCES[row.mnemonic], row.mnemonic == "buffer_wbl2"
    check["open_lds"] = row.mnemonic.startswith(_WRITES_LDS_UNSEEN) or "lds" in modifiers
    space = _SPACES.get(row.mnemonic.split("_")[0], 0) if row.unit in ("VMEM", "LDS") else 0
    touched = shape(row) if space else None
    if touched and not check["open_lds"] and "format" not in row.mnemonic:
        _memory(check, row, touched, slot, modifiers)
        check["space"] = space
    return check


def wait_states(table: np.ndarray, kernel: Kernel, steps: Sequence[Step], n_vectors: int) -> Checks:
    """A kernel's checks, with the pairs of instructions among them that may come too close."""
    needs, records = find(kernel, steps)
    resources = {x: i for i, x in enumerate(sorted({x for of in records.values() for x in of}))}
    listed: list[tuple[int, int, int, int]] = []
    recorded: list[int] = []
    for pc, wanted in sorted(needs.items()):
        table[pc]["needs"], table[pc]["n_needs"] = len(listed), len(wanted)
        for resource, producer, wait in sorted(wanted):
            number = 125 if resource >= HARDWARE else resource % 1000
            scalar = resource >= HARDWARE or resource // 1000 == SCALAR // 1000
            listed.append((resources[resource], wait, producer, number + n_vectors * scalar))
    for pc, those in sorted(records.items()):
        table[pc]["records"], table[pc]["n_records"] = len(recorded), len(those)
        recorded += [resources[x] for x in sorted(those)]
    return Checks(table, np.array(listed, NEED), np.array(recorded, np.uint16), len(resources))


def operation(check: np.ndarray, n_vectors: int) -> tuple[str, list[int], int, int]:
    """The micro-operation of a check: its row, operands, imm and aux. Most are of registers only (engine's CHECK_REGISTERS)."""
    words: dict[int, int] = {}
    for first, count, file, _, _ in check["access"][: check["n"]].tolist():
        for number in range(first + n_vectors * file, first + n_vectors * file + count):
            words[number // 64] = words.get(number // 64, 0) | 1 << number % 64
    if len(words) > 4 or any(check[x] for x in ("counter", "space", "special", "results", "n_needs", "n_records")):
        return "_check_all", [], 0, 0
    masks = [half for mask in words.values() for half in (mask & 0xFFFFFFFF, mask >> 32)]
    return "_check", masks, sum(word << 8 * i for i, word in enumerate(words)), int(check["slots"])


def watch_result(check: np.ndarray, row: Row) -> None:
    """Has a NaN or infinity in the result reported, if that is fp32 made of fp32 or of 16-bit matrices."""
    kinds = [operand.value for operand in row.operands for _ in range(2 if operand.value == "P" else 1)]
    if row.unit == "MFMA" and (m := re.match(r"v_mfma_f32_.*_(bf16|f16)", row.mnemonic)):
        check["results"], check["half_exponent"] = row.operands[0].width, 0x7F80 if m[1] == "bf16" else 0x7C00
    elif kinds and row.operands[0].write and not set(kinds) - {"f", "P"}:
        check["results"] = 2 if kinds[0] == "P" else 1
        check["source"], check["source_end"] = 0 if row.operands[0].read else check["results"], len(kinds)


def _memory(check: np.ndarray, row: Row, touched: Shape, slot: dict[str, int], modifiers: dict[str, str]) -> None:
    """The memory side of a row."""
    does, vector = row.latency.removeprefix("lds_"), row.unit == "VMEM"
    check["bytes"], check["addresses"], check["unit"] = touched.bytes, touched.addresses, touched.unit
    if does == "atomic":
        check["writes"], check["atomic"] = 2, 1 + ("sc0" in modifiers if vector else row.operands[0].write)
    else:
        check["writes"] = does in ("store", "write")
        check["atomic"] = (vector and "sc1" in modifiers) * (1 if check["writes"] else 2)
    size = touched.bytes
    check["align"] = min(size, 4) if vector or size & (size - 1) else size
    check["address_slot"], check["saddr_slot"] = slot["v"], slot.get("s", 0)


class Shadow:
    """What one sanitized launch knows of its registers, LDS and buffers; all its workgroups run on one host thread."""

    def __init__(self, checks: Checks, n_vectors: int, n_waves: int, lds_bytes: int, scratch_bytes: int, memory: Memory) -> None:
        def room(struct: str, n: int) -> np.ndarray:
            return np.zeros(c.sizeof(STRUCTS[struct]) * n, np.uint8)

        n_registers, lds = n_vectors + 128, (lds_bytes // 4 + 4) & ~3
        watched = [np.zeros(4 * (size // 4 + 1) if size <= WATCHED_BYTES else 0, np.uint32) for _, size, *_ in memory.ranges]
        self.findings = np.zeros(MAX_FINDINGS, FINDING)
        registers, waves = room("RegisterShadow", n_registers * n_waves), room("WaveShadow", n_waves)
        lds_shadow = np.zeros((LDS_BYTES + 4 * n_waves) * lds, np.uint8)
        scratch = np.zeros(64 * scratch_bytes * n_waves, np.uint8)
        buffers = np.array([(x.ctypes.data if len(x) else 0, len(x) // 4) for x in watched], np.uint64)
        seen = np.zeros(len(checks.table) * len(KINDS), np.uint8)
        last = room("Record", checks.n_resources * n_waves)
        limits = {"Touch": MAX_TOUCHES, "Event": MAX_EVENTS, "Link": MAX_LINKS}
        races = [room(name, n) for name, n in limits.items()]  # pages that are never used cost nothing
        parts = [checks.table, registers, waves, lds_shadow, scratch, buffers, seen, self.findings]
        parts += [checks.needs, checks.records, last, *races]
        self._kept = (*parts, *watched)
        open_lds = bool(checks.table["open_lds"].any())
        counts = (n_registers, n_vectors, open_lds, checks.n_resources, *limits.values())
        self.native = STRUCTS["Sanitizer"](*(x.ctypes.data for x in parts), *counts)
        self.n_vectors, self.memory = n_vectors, memory

    def report(self, kernel: Kernel, agpr_first: int, grid: tuple[int, int, int]) -> tuple[Finding, ...]:
        """What was found, in the order of finding."""
        return tuple(self._finding(f, kernel, agpr_first, grid) for f in self.findings[: self.native.n_findings])

    def _finding(self, f: np.void, kernel: Kernel, agpr_first: int, grid: tuple[int, int, int]) -> Finding:
        kind = _NAMES[f["kind"]]
        template, cause = KINDS[kind]
        number, group, lanes = int(f["what"]), int(f["other_group"]), int(f["lanes"])
        register = f"s{number - self.n_vectors}" if number >= self.n_vectors else f"v{number}"
        if agpr_first <= number < self.n_vectors:
            register = f"a{number - agpr_first}"
        register = _NAMED.get(register, register)
        other = None if f["other_pc"] == NO_PC else kernel.instructions[f["other_pc"]]
        x, y = (group - 1) % grid[0], (group - 1) // grid[0]
        what = template.format(
            register=register,
            lanes=_lanes(lanes),
            address=int(f["address"]),
            need=int(f["need"]),
            have=int(f["have"]),
            other=f"{other.source_line} `{other.text}`" if other else "",
            other_wave=int(f["other_wave"]),
            group="other workgroups" if group == SEVERAL else f"workgroup {(x, y % grid[1], y // grid[1])}",
            where=self.memory.describe(int(f["address"])),
        )
        where = tuple(int(n) for n in f["workgroup"])
        return Finding(kind, what, cause, kernel.name, kernel.instructions[f["pc"]], where, int(f["wave"]), lanes, other)


def _lanes(mask: int) -> str:
    lanes = [lane for lane in range(64) if mask >> lane & 1]
    if len(lanes) == 64:
        return "all lanes"
    shown = ", ".join(map(str, lanes[:4])) + (", ..." if len(lanes) > 4 else "")
    return f"lane{'s' * (len(lanes) > 1)} {shown}"
