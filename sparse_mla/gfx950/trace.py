"""Execution traces: which basic blocks each wave entered, and which cache lines and LDS phases its accesses took.

`launch` of a Code that was decoded with trace=True gives one (Launched.trace); the timing model replays it. engine/trace.c
records, by what `describe_access` says of each instruction's row. LDS_PATTERNS is the one description of how LDS serves one.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sparse_mla.gfx950.assembly import Instruction
from sparse_mla.gfx950.isa.memory import Shape, shape
from sparse_mla.gfx950.isa.row import Row
from sparse_mla.gfx950.memory import Memory
from sparse_mla.gfx950.native import STRUCTS

ACCESS, _PATTERN = np.dtype(STRUCTS["TraceAccess"]), np.dtype(STRUCTS["LdsPattern"])
SPACES = ("none", "lds", "crossbar", "global", "flat", "buffer", "scratch", "scalar", "scalar_buffer")
KINDS = ("load", "store", "atomic", "load_to_lds", "smem")
CACHE_BITS = {"sc0": 1, "sc1": 2, "nt": 4, "glc": 1}
LIMIT_BYTES = 1 << 30
LINE_BYTES, SCALAR_LINE_BYTES = 128, 64  # what line numbers count
_BANKS = 64

# Instruction class: banks, and the phase of each lane. In one phase each bank gives one dword, to every lane that wants it; a
# second dword of the same bank costs a further phase.
# Sources for gfx950: measured on an MI355X for read_b128, read_b64, read_b96 and write_b64 (HipKittens' phase tables, all pairs
# of lanes); by inference from those: the rest. A transposed read counts as a plain one of its width. gfx942: b64 as measured
# there, the rest by inference from its 32 banks. Atomics are served as writes, equal addresses one by one (inference).
_QUAD = [lane % 32 // 4 for lane in range(64)]
_POPCOUNT = [2 * (lane // 32) + _QUAD[lane].bit_count() % 2 for lane in range(64)]
_PAIRED = [4 * (lane // 32) + {0: 0, 5: 0, 1: 1, 4: 1, 2: 2, 7: 2, 3: 3, 6: 3}[_QUAD[lane]] for lane in range(64)]


def _consecutive(lanes: int) -> list[int]:
    return [lane // lanes for lane in range(64)]


_WRITES = {"write32": (32, _consecutive(32)), "write64": (32, _consecutive(16)), "write96": (32, _consecutive(8)),
           "write128": (32, _consecutive(8))}  # fmt: skip
LDS_PATTERNS: dict[str, dict[str, tuple[int, list[int]]]] = {
    "gfx950": {"read32": (64, _consecutive(64)), "read64": (64, _consecutive(32)), "read96": (32, _PAIRED),
               "read128": (64, _POPCOUNT)} | _WRITES,
    "gfx942": {"read32": (32, _consecutive(32)), "read64": (32, _POPCOUNT), "read96": (32, _PAIRED), "read128": (32, _PAIRED)}
    | _WRITES,
}  # fmt: skip
for _patterns in LDS_PATTERNS.values():
    _patterns |= {"atomic32": _patterns["write32"], "atomic64": _patterns["write64"]}


def patterns(arch: str) -> np.ndarray:
    """LDS_PATTERNS of a processor as the engine takes them."""
    rows = LDS_PATTERNS[arch].items()
    return np.array([(banks, 1 + max(phase), name.startswith("atomic"), 0, phase) for name, (banks, phase) in rows], _PATTERN)


def describe_access(row: Row, ins: Instruction, slot: dict[str, int], arch: str) -> np.ndarray:
    """ACCESS of an instruction; space 0 where it is none. `slot`: operand names to their places in the operation."""
    access = np.zeros((), ACCESS)
    if row.unit not in ("LDS", "VMEM", "SMEM"):
        return access
    touched = shape(row)
    if touched is None and row.unit == "SMEM":  # a clock
        return access
    of = touched or Shape(4)
    access["addresses"], access["unit"], access["bytes"], access["dwords"] = of.addresses, of.unit, of.bytes, of.dwords
    access["cache"] = sum({bit for key, bit in CACHE_BITS.items() if key in ins.modifiers})
    access["address_slot"] = slot.get("v", 0)
    access["base_slot"] = slot.get("s", 255)
    if row.unit == "LDS":
        access["space"] = SPACES.index("lds" if touched else "crossbar")  # or addresses that follow from M0
        kind = "atomic" if row.latency == "lds_atomic" else row.latency.removeprefix("lds_").replace("permute", "read")
        access["kind"] = KINDS.index({"read": "load", "write": "store"}.get(kind, kind))
        access["pattern"] = _pattern(arch, kind, int(access["bytes"]))
        return access
    space = row.mnemonic.removeprefix("t").split("_")[0]
    access["space"] = SPACES.index(("scalar_buffer" if "buffer" in row.mnemonic else "scalar") if row.unit == "SMEM" else space)
    straight = "_lds_" in row.mnemonic or "lds" in ins.modifiers
    access["kind"] = KINDS.index("smem" if row.unit == "SMEM" else "load_to_lds" if straight else row.latency)
    access["pattern"] = _pattern(arch, {"load": "read", "store": "write"}.get(row.latency, "atomic"), int(access["bytes"]))
    return access


def _pattern(arch: str, kind: str, size: int) -> int:
    widths = (32, 64) if kind == "atomic" else (32, 64, 96, 128)
    bits = next((x for x in widths if 8 * size <= x), widths[-1])
    return list(LDS_PATTERNS[arch]).index(f"{kind}{bits}")


@dataclass(frozen=True)
class Trace:
    """What one launch executed. `streams` uint32: of each wave in turn, the number of each basic block entered, and behind it a
    record for each access of that block: lines | phases << 8 | extra << 16 | (lanes - 1 & 255) << 24, then the line numbers, of
    128 bytes (64 for scalar loads) from `base` on, by the first lane that touches them. accesses.accesses reads all records.
    `offsets` uint64 [workgroups, waves + 1] into it. Workgroups count in x, then y, then z."""

    streams: np.ndarray = field(repr=False)
    offsets: np.ndarray = field(repr=False)
    blocks: Sequence[tuple[int, int]] = field(repr=False)  # first and one past last static instruction
    accesses: np.ndarray = field(repr=False)  # ACCESS of each static instruction
    base: int  # the emulated address of line 0
    # [static instruction, 64 banks], where asked for: dwords beyond the first that a bank gives in one phase
    bank_conflicts: np.ndarray | None = field(default=None, repr=False)
    buffers: tuple[tuple[str, int, int], ...] = field(default=(), repr=False)  # name, emulated address, bytes


class Recorder:
    """The memory into which a launch is traced; one Tracer for each host thread."""

    def __init__(self, accesses: np.ndarray, arch: str, memory: Memory, n_waves: int, hosts: int, banks: bool) -> None:
        # Only what is written to becomes real memory.
        self.accesses, self.patterns, self.words = accesses, patterns(arch), np.empty(LIMIT_BYTES // 4, np.uint32)
        self.pool = STRUCTS["TracePool"](self.words.ctypes.data, 0, len(self.words))
        self.base = min((base for base, *_ in memory.ranges), default=0) & -LINE_BYTES
        self.buffers = tuple((name, base, size) for base, size, _, name in memory.ranges)
        self.conflicts = np.zeros((hosts, len(accesses), _BANKS), np.uint64) if banks else None
        on_lds = int(accesses["cached"].max(initial=0)) + 2
        self._cached = np.zeros((hosts, on_lds * n_waves * c.sizeof(STRUCTS["LdsCached"])), np.uint8)
        self.native = [
            STRUCTS["Tracer"](
                accesses.ctypes.data,
                self.patterns.ctypes.data,
                c.addressof(self.pool),
                None if self.conflicts is None else self.conflicts[i].ctypes.data,
                self._cached[i].ctypes.data,
                self.base,
            )
            for i in range(hosts)
        ]

    def trace(self, gather: object, workgroups: int, n_waves: int, blocks: Sequence[tuple[int, int]]) -> Trace:
        """Everything recorded, in the order of workgroups and waves. `gather`: the engine's trace_gather."""
        at = np.zeros(workgroups * n_waves + 1, np.uint64)
        gather(self.words.ctypes.data, self.pool.next, n_waves, at.ctypes.data, None)  # type: ignore[operator]
        at = np.cumsum(at, dtype=np.uint64)
        streams = np.empty(int(at[-1]), np.uint32)
        offsets = np.stack(
            [at[wave : wave + workgroups * n_waves - n_waves + 1 : n_waves] for wave in range(n_waves + 1)], axis=1
        )
        moving = at.copy()
        gather(self.words.ctypes.data, self.pool.next, n_waves, moving.ctypes.data, streams.ctypes.data)  # type: ignore[operator]
        conflicts = None if self.conflicts is None else self.conflicts.sum(axis=0)
        return Trace(streams, offsets, blocks, self.accesses, self.base, conflicts, self.buffers)
