"""Counters of a timed launch under rocprof's names: counts are exact, what passed in cycles is modelled.

Meanings and units: counter_defs.yaml of the ROCm profiler SDK. Sums over all instances, as rocprofv3
writes them. SQ_WAVE_CYCLES, SQ_WAIT_*, SQ_ACTIVE_INST_* and SQ_BUSY_CU_CYCLES are in units of 4 cycles.
"""

from __future__ import annotations

import re

import numpy as np

from sparse_mla.errors import InputError
from sparse_mla.gfx950.decode import row_of
from sparse_mla.gfx950.machine import Launched
from sparse_mla.gfx950.timing.device import Device

# In the order of engine/chip.c: counter, cycles that one unit of it stands for.
COUNTERS = {
    "SQ_WAVES": 1, "SQ_BUSY_CYCLES": 1, "SQ_BUSY_CU_CYCLES": 4, "SQ_WAVE_CYCLES": 4, "SQ_WAIT_ANY": 4, "SQ_WAIT_INST_ANY": 4,
    "SQ_WAIT_INST_LDS": 4, "SQ_VALU_MFMA_BUSY_CYCLES": 1, "SQ_LDS_IDX_ACTIVE": 1, "SQ_LDS_BANK_CONFLICT": 1,
    "SQ_ACTIVE_INST_ANY": 4, "SQ_ACTIVE_INST_VALU": 4, "SQ_ACTIVE_INST_SCA": 4, "SQ_ACTIVE_INST_LDS": 4,
    "SQ_ACTIVE_INST_VMEM": 4, "SQ_ACTIVE_INST_MISC": 4, "SQ_ACTIVE_INST_VALU2": 1,
}  # fmt: skip
# Which executed instructions a counter counts, as `unit`, `unit/latency` (of their rows in gfx950/isa), some with `:pattern`,
# which the mnemonic matches from its start. SQ_INSTS_SENDMSG has s_endpgm in it, SQ_INSTS_FLAT has global accesses, and neither
# branches nor waits are SALU: so real recordings of a vector copy show. Atomics as writes, f8f6f4 products as F6F4 whatever
# their formats: assumed.
_RULES = """
SQ_INSTS                       *
SQ_INSTS_VALU                  VALU MFMA
SQ_INSTS_MFMA                  MFMA
SQ_INSTS_SALU                  SALU
SQ_INSTS_SMEM                  SMEM
SQ_INSTS_BRANCH                BRANCH:s_(?!endpgm)
SQ_INSTS_SENDMSG               *:s_endpgm|s_sendmsg
SQ_INSTS_VMEM                  VMEM
SQ_INSTS_VMEM_RD               VMEM/load
SQ_INSTS_VMEM_WR               VMEM/store VMEM/atomic
SQ_INSTS_FLAT                  VMEM:(flat|global|scratch)_
SQ_INSTS_LDS                   LDS
SQ_INSTS_LDS_LOAD              LDS/lds_read
SQ_INSTS_LDS_STORE             LDS/lds_write
SQ_INSTS_LDS_ATOMIC            LDS/lds_atomic
SQ_INSTS_VALU_MFMA_{type}      MFMA:{type}
SQ_INSTS_VALU_MFMA_MOPS_{type} MFMA:{type}
"""
# Types of matrix instructions by the end of their mnemonic.
MFMA_TYPES = {"f8f6f4": "F6F4", "bf16": "BF16", "f16": "F16", "xf32": "XF32", "f32": "F32", "f64": "F64", "i8": "I8"}
MFMA_TYPES |= {f"{a}_{b}": "F8" for a in ("fp8", "bf8") for b in ("fp8", "bf8")}
TYPES = tuple(dict.fromkeys(MFMA_TYPES.values()))
RULES = {
    name.replace("{type}", t): rule.replace("{type}", t).split()
    for name, rule in (line.split(None, 1) for line in _RULES.strip().splitlines())
    for t in (TYPES if "{type}" in name else ("",))
}


def counters(one: Launched, counted: np.ndarray, start: int, end: int, device: Device) -> dict[str, int]:
    """Every counter that the model has, by name."""
    out = {name: int(x) // unit for (name, unit), x in zip(COUNTERS.items(), counted, strict=True)}
    duration, xcds = end - start, device.cycles("xcds")
    out["GRBM_GUI_ACTIVE"] = duration * xcds
    out["SQ_BUSY_CYCLES"] = duration * xcds * device.cycles("ses")
    return out | instruction_counts(one)


def instruction_counts(one: Launched) -> dict[str, int]:
    """SQ_INSTS_*: executed wave instructions by class, and the work of matrix instructions; exact sums over all waves."""
    by_mnemonic: dict[str, int] = {}
    for ins, n in zip(one.kernel.instructions, one.counts.sum(axis=0).tolist(), strict=True):
        by_mnemonic[ins.mnemonic] = by_mnemonic.get(ins.mnemonic, 0) + n
    out = dict.fromkeys(RULES, 0)
    for mnemonic, n in by_mnemonic.items():
        if n and (found := row_of(mnemonic, one.kernel.arch)):
            row = found[0]
            for name in out:
                out[name] += n * per_instruction(name, row.mnemonic, row.unit, row.latency)
    return out


def per_instruction(counter: str, mnemonic: str, unit: str, latency: str) -> int:
    """What one executed wave instruction adds to a counter; unit and latency are its row's."""
    for one in RULES[counter]:
        kind, _, pattern = one.partition(":")
        if kind not in ("*", unit, f"{unit}/{latency}"):
            continue
        if unit == "MFMA" and pattern in TYPES:
            name, flop = _matrix(mnemonic)
            if name == pattern:
                return flop // 512 if "MOPS" in counter else 1
        elif re.match(pattern, mnemonic):
            return 1
    return 0


def _matrix(mnemonic: str) -> tuple[str, int]:
    """Type and FLOP of a matrix instruction; a sparse one leaves out half of its products."""
    m = re.fullmatch(r"v_(s?mf)\w+?_(\d+)x(\d+)x(\d+)(?:_(\d+)b)?_(\w+)", mnemonic)
    if not m:
        raise InputError(f"{mnemonic} is no matrix instruction")
    flop = 2 * int(m[2]) * int(m[3]) * int(m[4]) * int(m[5] or 1)
    return MFMA_TYPES[m[6]], flop // (2 if m[1] == "smf" else 1)
