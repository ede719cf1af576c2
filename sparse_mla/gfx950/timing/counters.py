"""Counters of a timed launch under rocprof's names: counts are exact, what passed in cycles is modelled.

Meanings and units: counter_defs.yaml of the ROCm profiler SDK. Sums over all instances, as rocprofv3
writes them. SQ_WAVE_CYCLES, SQ_WAIT_*, SQ_ACTIVE_INST_* and SQ_BUSY_CU_CYCLES are in units of 4 cycles.
"""

from __future__ import annotations

import numpy as np

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
_UNITS = ("VALU", "SALU", "SMEM", "LDS", "VMEM", "BRANCH")


def counters(one: Launched, counted: np.ndarray, start: int, end: int, device: Device) -> dict[str, int]:
    """Every counter that the model has, by name."""
    out = {name: int(x) // unit for (name, unit), x in zip(COUNTERS.items(), counted, strict=True)}
    duration, xcds = end - start, device.cycles("xcds")
    out["GRBM_GUI_ACTIVE"] = duration * xcds
    out["SQ_BUSY_CYCLES"] = duration * xcds * device.cycles("ses")
    return out | instruction_counts(one)


def instruction_counts(one: Launched) -> dict[str, int]:
    """SQ_INSTS_*: executed wave instructions by class, exact."""
    executed = one.counts.sum(axis=0)
    out = dict.fromkeys(["SQ_INSTS", *(f"SQ_INSTS_{name}" for name in (*_UNITS, "MFMA", "VMEM_RD", "VMEM_WR", "FLAT"))], 0)
    for ins, n in zip(one.kernel.instructions, executed.tolist(), strict=True):
        found = row_of(ins.mnemonic, one.kernel.arch)
        out["SQ_INSTS"] += n
        if found is None:
            continue
        row = found[0]
        name = {
            "VALU": "VALU",
            "MFMA": "VALU",
            "SALU": "SALU",
            "SMEM": "SMEM",
            "LDS": "LDS",
            "VMEM": "VMEM",
            "BRANCH": "BRANCH",
        }.get(row.unit)
        if name and not ins.mnemonic.startswith("s_endpgm"):  # which real recordings count as a message
            out[f"SQ_INSTS_{name}"] += n
        if row.unit == "MFMA":
            out["SQ_INSTS_MFMA"] += n
        elif row.unit == "VMEM":
            out["SQ_INSTS_VMEM_RD" if row.latency == "load" else "SQ_INSTS_VMEM_WR"] += n
            if row.mnemonic.startswith(("flat_", "global_", "scratch_")):
                out["SQ_INSTS_FLAT"] += n
    return out
