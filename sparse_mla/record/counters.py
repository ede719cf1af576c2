"""Hardware counters and what follows from them: each described once, for emulated and real recordings alike.

Sources: AMD's "MI300 and MI200 series performance counters", "MI350 series performance counters"; the formulae are those of ROCm
Compute Profiler's gfx942 and gfx950 tables. Values are sums over all instances of a counter, as rocprofv3 writes them.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sparse_mla.errors import InputError
from sparse_mla.gfx950.timing.counters import TYPES
from sparse_mla.record.schema import Recording

# name, unit, meaning. A unit of 4 cycles is written "4 cycles". Which executed instructions are counted: gfx950/timing/counters.
_COUNTERS = """
SQ_WAVES                      waves        launched
SQ_INSTS                      instructions issued, of any kind
SQ_INSTS_VALU                 instructions vector, matrix ones included
SQ_INSTS_MFMA                 instructions matrix
SQ_INSTS_SALU                 instructions scalar, neither branches nor waits
SQ_INSTS_SMEM                 instructions scalar memory
SQ_INSTS_BRANCH               instructions branches, taken or not
SQ_INSTS_SENDMSG              instructions messages, end of program included
SQ_INSTS_VMEM                 instructions vector memory, flat included
SQ_INSTS_VMEM_RD              instructions vector memory reads, flat included
SQ_INSTS_VMEM_WR              instructions vector memory writes and atomics, flat included
SQ_INSTS_FLAT                 instructions flat, global and scratch memory
SQ_INSTS_LDS                  instructions LDS
SQ_INSTS_LDS_LOAD             instructions LDS reads
SQ_INSTS_LDS_STORE            instructions LDS writes
SQ_INSTS_LDS_ATOMIC           instructions LDS atomics
SQ_INSTS_VALU_MFMA_{type}     instructions matrix, of this type
SQ_INSTS_VALU_MFMA_MOPS_{type} "512 FLOP" matrix work of this type, as with all lanes active
SQ_BUSY_CYCLES                cycles       a shader engine has waves, summed over them
SQ_BUSY_CU_CYCLES             "4 cycles"   a compute unit has waves, summed over them
SQ_WAVE_CYCLES                "4 cycles"   waves live, summed over them
SQ_VALU_MFMA_BUSY_CYCLES      cycles       matrix pipes busy, summed over SIMDs
SQ_ACTIVE_INST_ANY            "4 cycles"   waves with an instruction at work
SQ_ACTIVE_INST_VALU           "4 cycles"   waves with a vector instruction at work
SQ_ACTIVE_INST_LDS            "4 cycles"   waves with an LDS instruction at work
SQ_ACTIVE_INST_VMEM           "4 cycles"   waves with a vector memory instruction at work
SQ_ACTIVE_INST_FLAT           "4 cycles"   waves with a flat or global instruction at work
SQ_ACTIVE_INST_SCA            "4 cycles"   waves with a scalar instruction at work
SQ_ACTIVE_INST_MISC           "4 cycles"   waves with a branch or message at work
SQ_ACTIVE_INST_VALU2          "4 cycles"   two vector instructions at work in a SIMD (gfx950)
SQ_IFETCH                     requests     of instructions
SQ_THREAD_CYCLES_VALU         cycles       vector instructions, times active lanes
SQ_WAIT_ANY                   "4 cycles"   waves waiting for anything
SQ_WAIT_INST_ANY              "4 cycles"   waves waiting for any instruction to issue
SQ_WAIT_INST_LDS              "4 cycles"   waves waiting for an LDS instruction to issue
SQ_LDS_IDX_ACTIVE             cycles       LDS busy with indexed accesses, summed over compute units
SQ_LDS_BANK_CONFLICT          cycles       of these, due to bank conflicts
GRBM_GUI_ACTIVE               cycles       the device is active, summed over dies
TA_TA_BUSY_sum                cycles       address units busy
TCP_TOTAL_CACHE_ACCESSES_sum  requests     of vector memory to L1
TCP_TCC_READ_REQ_sum          requests     of L1 to L2: reads
TCP_TCC_WRITE_REQ_sum         requests     writes
TCP_TCC_ATOMIC_WITH_RET_REQ_sum    requests atomics that return a value
TCP_TCC_ATOMIC_WITHOUT_RET_REQ_sum requests atomics that do not
TCP_PENDING_STALL_CYCLES_sum  cycles       L1 stalled by data on their way
TCC_REQ_sum                   requests     to L2
TCC_HIT_sum                   requests     of these, hits
TCC_MISS_sum                  requests     of these, misses
TCC_EA0_RDREQ_sum             requests     of L2 to the fabric: reads
TCC_EA0_RDREQ_32B_sum         requests     of these, 32 bytes long
TCC_EA0_RDREQ_64B_sum         requests     of these, 64 bytes long (gfx950)
TCC_EA0_RDREQ_128B_sum        requests     of these, 128 bytes long (gfx950)
TCC_BUBBLE_sum                requests     of these, 128 bytes long (gfx942)
TCC_EA0_WRREQ_sum             requests     writes
TCC_EA0_WRREQ_64B_sum         requests     of these, 64 bytes long
scalar_requests               requests     of scalar loads to their cache (of the model: no device counts these last ones)
scalar_hits                   requests     of these, hits
scalar_misses                 requests     of these, misses
mall_read_bytes               bytes        read from the last cache before HBM
mall_write_bytes              bytes        written to it
hbm_read_bytes                bytes        read from HBM
hbm_write_bytes               bytes        written to HBM
translation_misses            requests     pages that the address translation of a die did not have
"""
# metric; unit; processors, `*` all; formula. X: active cycles of one die; T: duration in ns; XCD, CU, SIMD: dies, compute units
# of the device, SIMDs of one; MHZ: shader clock. Sums over dies are divided by their number: GRBM_GUI_ACTIVE would otherwise
# make a device of 8 dies look eight times less busy.
_METRICS = """
MFMA utilisation; %; *; 100 * SQ_VALU_MFMA_BUSY_CYCLES / (X * CU * SIMD)
MFMA {type}; GFLOP/s; *; 512 * SQ_INSTS_VALU_MFMA_MOPS_{type} / T
MFMA {type} of peak; %; {arch}; 100 * 512 * SQ_INSTS_VALU_MFMA_MOPS_{type} / T / (MHZ * CU * {peak} / 1000)
cycles per MFMA; cycles; *; SQ_VALU_MFMA_BUSY_CYCLES / SQ_INSTS_MFMA
VALU without MFMA; instructions; *; SQ_INSTS_VALU - SQ_INSTS_MFMA
VALU busy; %; *; 100 * SQ_ACTIVE_INST_VALU / (X * CU)
active lanes; lanes; *; SQ_THREAD_CYCLES_VALU / SQ_ACTIVE_INST_VALU
LDS conflict cycles per access; cycles; *; SQ_LDS_BANK_CONFLICT / (SQ_LDS_IDX_ACTIVE - SQ_LDS_BANK_CONFLICT)
LDS utilisation; %; *; 100 * SQ_LDS_IDX_ACTIVE / (X * CU)
LDS bandwidth; GB/s; *; (SQ_LDS_IDX_ACTIVE - SQ_LDS_BANK_CONFLICT) * 4 * 32 / T
occupancy; waves/CU; *; 4 * SQ_WAVE_CYCLES / (X * CU)
waiting for dependencies; % of wave time; *; 100 * SQ_WAIT_ANY / SQ_WAVE_CYCLES
waiting to issue; % of wave time; *; 100 * SQ_WAIT_INST_ANY / SQ_WAVE_CYCLES
issuing; % of wave time; *; 100 * SQ_ACTIVE_INST_ANY / SQ_WAVE_CYCLES
L1 hits; %; *; 100 - 100 * (TCP_TCC_READ_REQ_sum + TCP_TCC_WRITE_REQ_sum + TCP_TCC_ATOMIC_WITH_RET_REQ_sum + TCP_TCC_ATOMIC_WITHOUT_RET_REQ_sum) / TCP_TOTAL_CACHE_ACCESSES_sum
L2 hits; %; *; 100 * TCC_HIT_sum / (TCC_HIT_sum + TCC_MISS_sum)
L2 bandwidth; GB/s; *; 128 * TCC_REQ_sum / T
read from memory; bytes; gfx942; 128 * TCC_BUBBLE_sum + 64 * max(0, TCC_EA0_RDREQ_sum - TCC_BUBBLE_sum - TCC_EA0_RDREQ_32B_sum) + 32 * TCC_EA0_RDREQ_32B_sum
read from memory; bytes; gfx950; 32 * TCC_EA0_RDREQ_32B_sum + 64 * TCC_EA0_RDREQ_64B_sum + 128 * TCC_EA0_RDREQ_128B_sum
written to memory; bytes; *; 64 * TCC_EA0_WRREQ_64B_sum + 32 * (TCC_EA0_WRREQ_sum - TCC_EA0_WRREQ_64B_sum)
"""  # noqa: E501
# FLOP of a compute unit in a clock.
MFMA_PEAKS = {
    "gfx942": {"F16": 2048, "BF16": 2048, "F8": 4096, "I8": 4096, "F32": 256, "F64": 256},
    "gfx950": {"F16": 4096, "BF16": 4096, "F8": 8192, "I8": 8192, "F32": 256, "F64": 128, "F6F4": 16384},
}


@dataclass(frozen=True)
class Counter:
    """One hardware counter."""

    name: str
    unit: str
    about: str


def _parse_counters() -> dict[str, Counter]:
    found = {}
    for line in _COUNTERS.strip().splitlines():
        name, unit, about = re.fullmatch(r'(\S+) +("[^"]+"|\S+) +(.*)', line).groups()  # type: ignore[union-attr]
        for t in TYPES if "{type}" in name else ("",):
            full = name.replace("{type}", t)
            found[full] = Counter(full, unit.strip('"'), about)
    return found


COUNTERS = _parse_counters()


@dataclass(frozen=True)
class Metric:
    """One derived number: `formula` over counters and the names X, T, XCD, CU, SIMD, MHZ (see above)."""

    name: str
    unit: str
    arch: str
    formula: str

    @property
    def names(self) -> set[str]:
        """The counters, and the other names, in the formula."""
        return {node.id for node in ast.walk(ast.parse(self.formula)) if isinstance(node, ast.Name)} - {"max"}

    def value(self, values: Mapping[str, float]) -> float:
        """The formula's value; NaN where it divides by nothing."""
        try:
            return _evaluate(ast.parse(self.formula, mode="eval").body, values)
        except ZeroDivisionError:
            return math.nan


_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


def _evaluate(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return float(values[name])
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.Call(args=args):  # max is the only one
            return max(_evaluate(x, values) for x in args)
    raise AssertionError(ast.dump(node))


def _parse_metrics() -> list[Metric]:
    found = []
    for line in _METRICS.strip().splitlines():
        name, unit, arch, formula = line.split("; ")
        cases: list[dict[str, Any]] = [{}]
        if "{peak}" in formula:
            cases = [{"arch": a, "type": t, "peak": k} for a, peaks in MFMA_PEAKS.items() for t, k in peaks.items()]
        elif "{type}" in formula:
            cases = [{"type": t} for t in TYPES]
        found += [Metric(*(text.format(**case) for text in (name, unit, arch, formula))) for case in cases]
    return found


METRICS = _parse_metrics()


@dataclass(frozen=True)
class Chip:
    """What the formulae need to know of a device."""

    arch: str
    xcds: int
    cus: int  # of the whole device
    mhz: float  # shader clock
    simds: int = 4  # of a compute unit

    @classmethod
    def of(cls, recording: Recording) -> Chip:
        """That of a recording. Raises InputError where its manifest does not say."""
        device = recording.manifest.device
        if missing := [key for key in ("arch", "xcds", "cus", "mhz") if not device.get(key)]:
            raise InputError(f"the recording's device has no {', '.join(missing)}; give chip=Chip(...)")
        return cls(str(device["arch"]), int(device["xcds"]), int(device["cus"]), float(device["mhz"]))


def metrics(counters: Mapping[str, float], chip: Chip, ns: float) -> list[tuple[Metric, float]]:
    """Every metric whose counters are there, with its value, of one dispatch that took `ns` nanoseconds."""
    known = {**counters, "T": ns, "XCD": chip.xcds, "CU": chip.cus, "SIMD": chip.simds, "MHZ": chip.mhz}
    if "GRBM_GUI_ACTIVE" in counters:
        known["X"] = counters["GRBM_GUI_ACTIVE"] / chip.xcds
    return [(m, m.value(known)) for m in METRICS if m.arch in ("*", chip.arch) and m.names <= known.keys()]


def derive(recording: Recording, chip: Chip | None = None) -> pd.DataFrame:
    """Every metric that the recording's counters allow. Columns: dispatch, kernel, metric, unit, value, kind, formula.

    A metric of any modelled counter or duration is modelled, of only counted ones emulated, of only measured ones measured.
    """
    chip, rows = chip or Chip.of(recording), []
    for d in recording["dispatches"].itertuples():
        mine = recording["counters"][recording["counters"].dispatch == d.dispatch]
        counters, kinds = dict(zip(mine.name, mine.value, strict=True)), dict(zip(mine.name, mine.kind, strict=True))
        kinds |= {"T": recording.kind("dispatches"), "X": kinds.get("GRBM_GUI_ACTIVE", "")}
        for m, value in metrics(counters, chip, d.end - d.start):
            used = {kinds[name] for name in m.names if name in kinds}
            kind = next((k for k in ("modelled", "emulated", "published") if k in used), "measured")
            rows.append((d.dispatch, d.kernel, m.name, m.unit, value, kind, m.formula))
    return pd.DataFrame(rows, columns=["dispatch", "kernel", "metric", "unit", "value", "kind", "formula"])
