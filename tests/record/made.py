"""A small recording made by hand: two launches, three waves, a listing with a branch. Every number here was chosen, not computed,
except those that follow from others by the identities of a thread trace, which are stated here a second time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sparse_mla.record.schema import CAUSES, Manifest, Recording

DEVICE = {
    "name": "mi355x", "product": "AMD Instinct MI355X", "arch": "gfx950", "target": 90500, "xcds": 8, "cus": 256, "ses": 32,
    "mhz": 2400, "lds_kb": 160,
}  # fmt: skip
KERNELS = {1: "decode_partial", 2: "decode_reduce"}
# text, source, pc's category when executed
LISTING = [
    ("s_load_dwordx2 s[4:5], s[0:1], 0x0", "fused.hip:10", "", 1),
    ("v_lshlrev_b32_e32 v0, 2, v0", "base_tile.h:20", "fused.hip:12", 6),
    ("s_waitcnt lgkmcnt(0)", "fused.hip:11", "", 9),
    ("global_load_dword v1, v0, s[4:5]", "base_tile.h:21", "fused.hip:12 -> fused.hip:30", 4),
    ("s_waitcnt vmcnt(0)", "base_tile.h:22", "", 9),
    ("v_mfma_f32_16x16x32_bf16 v[4:7], v[0:3], v[0:3], 0", "base_tile.h:23", "", 6),
    ("s_cbranch_scc1 .LBB0_1", "", "", 7),
    ("s_endpgm", "", "", 11),
    ("s_nop 0", "", "", 9),
]
# (dispatch, wave) -> [time, stall, duration, pc, cause]; the begin and the end of the wave
RUNS = {
    (1, 0): (100, 1000, [
        (124, 0, 4, 0, "issue"), (132, 4, 8, 1, "arbitration"), (140, 200, 200, 2, "memory"), (340, 0, 4, 3, "issue"),
        (348, 400, 400, 4, "bandwidth"), (748, 0, 4, 5, "issue"), (752, 8, 12, 6, "dependency"), (772, 0, 228, 7, "launch"),
    ]),
    (1, 1): (104, 900, [
        (128, 0, 4, 0, "issue"), (136, 0, 4, 1, "issue"), (140, 216, 216, 2, "memory"), (356, 8, 12, 3, "arbitration"),
        (368, 380, 380, 4, "memory"), (752, 12, 16, 5, "mfma"), (772, 0, 4, 6, "issue"), (776, 0, 124, 7, "launch"),
    ]),
    (2, 0): (1200, 1300, [(1216, 0, 4, 0, "issue"), (1240, 4, 8, 1, "lds"), (1248, 0, 52, 7, "launch")]),
}  # fmt: skip


def same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """True where two frames of one table have equal columns and rows, in order; NaN equals NaN."""
    return list(a) == list(b) and len(a) == len(b) and a.reset_index(drop=True).equals(b.reset_index(drop=True))


def made(**manifest: Any) -> Recording:
    """The recording; `manifest` changes fields of its manifest."""
    events, waves, instructions = [], [], []
    for (dispatch, wave), (begin, end, run) in RUNS.items():
        by_cause = dict.fromkeys(CAUSES, 0)
        for time, stall, duration, pc, cause in run:
            events.append((dispatch, wave, time, LISTING[pc][3], stall, duration, pc, cause))
            by_cause[cause] += duration
        place: dict[str, Any] = {"xcd": wave, "se": 5 * wave, "cu": 1, "simd": 2 * wave, "slot": 0, "id": 0}
        waves.append(
            {"dispatch": dispatch, "wave": wave, **place, "begin": begin, "end": end, "workgroup": wave, "part": 0} | by_cause
        )
    # A wave that was not traced, second in its slot.
    waves.append(
        {"dispatch": 1, "wave": 2, "xcd": 0, "se": 0, "cu": 3, "simd": 0, "slot": 0, "id": 1,
         "begin": 96, "end": 880, "workgroup": 2, "part": 0}
        | dict.fromkeys(CAUSES, 0)
    )  # fmt: skip
    waves.sort(key=lambda w: (w["dispatch"], w["wave"]))
    for dispatch, kernel in KERNELS.items():
        for pc, (text, source, inlined, _) in enumerate(LISTING):
            file, line = source.split(":") if source else ("", 0)
            row: dict[str, Any] = {"dispatch": dispatch, "kernel": kernel, "pc": pc, "text": text, "file": file}
            row |= {
                "line": int(line),
                "inlined_at": inlined,
                "codeobj": 1,
                "vaddr": 4096 + 8 * pc,
                "hit": 0,
                "latency": 0,
                "stall": 0,
                "idle": 0,
            }
            row |= {"executed": 10 * pc} | dict.fromkeys(CAUSES, 7 + pc)
            instructions.append(row)
    for (dispatch, _), (begin, _, run) in RUNS.items():
        free = begin
        for time, stall, duration, pc, _ in run:
            row = instructions[(dispatch - 1) * len(LISTING) + pc]
            row["hit"] += 1
            row["latency"] += duration
            row["stall"] += stall
            row["idle"] += max(0, time - free)
            free = max(free, time + duration)
    occupancy = [
        {"dispatch": w["dispatch"], "se": w["se"], "time": w[at], "cu": w["cu"], "simd": w["simd"],
         "slot": w["slot"], "start": start, "kernel": KERNELS[w["dispatch"]]}
        for w in waves for at, start in (("begin", 1), ("end", 0))
    ]  # fmt: skip
    occupancy.sort(key=lambda row: (row["dispatch"], row["se"], row["time"]))
    numbers = {"agent": 0, "queue": 1, "stream": 0, "process": 77, "thread": 78, "correlation": [1, 2], "kernel_id": [1, 2]}
    dispatches = {
        "dispatch": [1, 2], "kernel": list(KERNELS.values()), "start": [600, 1500], "end": [977, 1542],
        "grid_x": 512, "grid_y": 1, "grid_z": [4, 1],
        "workgroup_x": 256, "workgroup_y": 1, "workgroup_z": 1, "lds": [82176, 0], "scratch": 0,
        "vgpr": [128, 32], "agpr": [4, 0], "sgpr": 64, "begin_cycle": [96, 1200], "end_cycle": [1000, 1300],
        "low": [350.5, 40.0], "high": [420.25, 45.0],
        **numbers,
    }  # fmt: skip
    counters = [
        (1, "SQ_WAVES", 24.0, "emulated"), (1, "SQ_INSTS_MFMA", 1024.0, "emulated"), (1, "GRBM_GUI_ACTIVE", 8000.5, "modelled"),
        (1, "SQ_VALU_MFMA_BUSY_CYCLES", 16384.0, "modelled"), (2, "SQ_WAVES", 8.0, "emulated"),
        (2, "SQ_INSTS_MFMA", 0.0, "emulated"),
    ]  # fmt: skip
    memory = {"accesses": 2, "lanes": 128, "lines": 4, "distinct": 3, "phases": 0, "conflicts": 0}
    tables: dict[str, Any] = {
        "dispatches": pd.DataFrame(dispatches),
        "counters": pd.DataFrame(counters, columns=["dispatch", "name", "value", "kind"]),
        "instructions": pd.DataFrame(instructions),
        "waves": pd.DataFrame(waves),
        "events": pd.DataFrame(events, columns=["dispatch", "wave", "time", "category", "stall", "duration", "pc", "cause"]),
        "occupancy": pd.DataFrame(occupancy),
        "memory": pd.DataFrame({"dispatch": 1, "pc": [3], "space": "global", "kind": "load", "bytes": 512} | memory),
        "clocks": pd.DataFrame({"dispatch": [1, 1, 2, 2], "se": 0, "cycle": [0, 2400, 0, 2400], "time": [560, 1560, 1000, 2000]}),
        "sources": pd.DataFrame({"path": ["base_tile.h", "fused.hip"], "text": ["// ü \x00\n" * 3, "int main;\n"]}),
    }
    kinds = dict.fromkeys(tables, "modelled") | {"memory": "emulated", "sources": "emulated", "instructions.hit": "emulated"}
    fields: dict[str, Any] = {"kinds": kinds, "device": DEVICE, "kernel": "base", "tool": "sparse-mla 0"}
    return Recording(Manifest(**(fields | {"result": {"microseconds": 0.54}} | manifest)), tables)
