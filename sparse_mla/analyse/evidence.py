"""A recording as evidence: what differs from a healthy one, what a device's tools would have written of it, who was busy."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from sparse_mla.analyse.compare import compare_counters
from sparse_mla.analyse.instructions import instructions
from sparse_mla.errors import InputError
from sparse_mla.record import att, rocprof_csv
from sparse_mla.record.counters import Chip, derive
from sparse_mla.record.formats import open_profile
from sparse_mla.record.schema import CAUSES, Recording

TOOLS = {"counters": rocprof_csv.write, "thread trace": att.write}


def by_mnemonic(recording: Recording, n: int = 6) -> pd.DataFrame:
    """The `n` mnemonics with most time. Columns: mnemonic, share of the waves' time, main (largest cause), executed."""
    frame = instructions(recording)
    sums = frame.groupby("mnemonic")[[*CAUSES, "hit"]].sum()
    time = sums[[*CAUSES]].sum(axis=1)
    made = pd.DataFrame({"share": time / time.sum(), "main": sums[[*CAUSES]].idxmax(axis=1), "executed": sums.hit})
    return made.nlargest(n, "share").reset_index()


def moved_counters(before: Recording, after: Recording, by: float = 1.3, n: int = 10) -> pd.DataFrame:
    """The `n` counters that changed most, by more than a factor of `by`. Columns: name, before, after, ratio, kind."""
    frame = compare_counters(before, after)
    far = frame[["before", "after"]].max(axis=1) > by * frame[["before", "after"]].min(axis=1)
    return frame[far].rename(columns={"kind_after": "kind"})[["name", "before", "after", "ratio", "kind"]].head(n)


def matrix_busy(recording: Recording) -> pd.DataFrame:
    """How busy the matrix pipes were, in per cent of the time of a launch, of the whole device and of the compute units that had
    a wave. Columns: dispatch, units (how many of these), device, busy_units. Raises InputError without the counters or waves."""
    known = derive(recording)
    device = known[known.metric == "MFMA utilisation"].set_index("dispatch").value
    if recording["waves"].empty or device.empty:
        raise InputError("this recording has no waves, or not the counters SQ_VALU_MFMA_BUSY_CYCLES and GRBM_GUI_ACTIVE")
    place = [name for name in ("xcd", "se", "cu") if name in recording["waves"]]
    units = recording["waves"].groupby("dispatch")[place].apply(lambda some: len(some.drop_duplicates()))
    busy = device * Chip.of(recording).cus / units
    return pd.DataFrame({"units": units, "device": device, "busy_units": busy}).reset_index()


def lds_load(recording: Recording) -> pd.DataFrame:
    """What the counters of LDS say, a row a launch. Columns: dispatch; busy, in per cent of the time of compute units that have
    waves; conflicts, in per cent of busy; wait_lds and wait_any, in per cent of the waves' time: for LDS to take an instruction,
    and for data or others; conflict_cycles, of LDS; waited_cycles, of waves at LDS. Raises InputError without the counters."""
    table = recording["counters"].pivot_table(index="dispatch", columns="name", values="value")
    needed = {
        f"SQ_{x}" for x in ("LDS_IDX_ACTIVE", "LDS_BANK_CONFLICT", "BUSY_CU_CYCLES", "WAVE_CYCLES", "WAIT_INST_LDS", "WAIT_ANY")
    }
    if missing := needed - {*table}:
        raise InputError(
            f"this recording lacks the counters {', '.join(sorted(missing))}; capture's steps lds and waves bring them"
        )
    found = {
        "busy": 100 * table.SQ_LDS_IDX_ACTIVE / (4 * table.SQ_BUSY_CU_CYCLES),
        "conflicts": 100 * table.SQ_LDS_BANK_CONFLICT / table.SQ_LDS_IDX_ACTIVE.where(table.SQ_LDS_IDX_ACTIVE > 0),
        "wait_lds": 100 * table.SQ_WAIT_INST_LDS / table.SQ_WAVE_CYCLES,
        "wait_any": 100 * table.SQ_WAIT_ANY / table.SQ_WAVE_CYCLES,
        "conflict_cycles": table.SQ_LDS_BANK_CONFLICT,
        "waited_cycles": 4 * table.SQ_WAIT_INST_LDS,
    }
    return pd.DataFrame(found).reset_index()


def as_tool(recording: Recording, tool: str) -> Recording:
    """What is left of it if rocprofv3 writes it, as `counters` (CSV files) or as a `thread trace`, and it is read again."""
    if tool not in TOOLS:
        raise InputError(f"tool is {tool!r}; it may be {', '.join(TOOLS)}")
    with TemporaryDirectory() as folder:
        TOOLS[tool](recording, Path(folder))
        return open_profile(folder)
