"""Recordings as rocprofv3 7.x writes CSV: `*_kernel_trace.csv`, `*_counter_collection.csv`, `*_kernel_stats.csv`,
`*_domain_stats.csv`, `*_agent_info.csv`; read back by column name, so older versions with other columns are read too.

A number that no device measured is marked: a kernel's name ends in ` [modelled]` or ` [emulated]`, the agent's product name too.
The rows of a counter carry the counter's own mark.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from sparse_mla.record.from_csv import read as read
from sparse_mla.record.schema import Recording, marked

# Columns of the files that are written, each with what is behind it: a column of `dispatches` or `counters`; `=...` is fixed.
_SHARED = "LDS_Block_Size lds Scratch_Size scratch VGPR_Count vgpr Accum_VGPR_Count agpr SGPR_Count sgpr"
_TRACE = f"""
Kind =KERNEL_DISPATCH Agent_Id agent Queue_Id queue Stream_Id stream Thread_Id thread Dispatch_Id dispatch Kernel_Id kernel_id
Kernel_Name kernel Correlation_Id correlation Start_Timestamp start End_Timestamp end {_SHARED} Workgroup_Size_X workgroup_x
Workgroup_Size_Y workgroup_y Workgroup_Size_Z workgroup_z Grid_Size_X grid_x Grid_Size_Y grid_y Grid_Size_Z grid_z
"""
_COUNTERS = f"""
Correlation_Id correlation Dispatch_Id dispatch Agent_Id agent Queue_Id queue Process_Id process Thread_Id thread Grid_Size =grid
Kernel_Id kernel_id Kernel_Name kernel Workgroup_Size =workgroup {_SHARED} Counter_Name name Counter_Value value
Start_Timestamp start End_Timestamp end
"""
_STATS = ("Name", "Calls", "TotalDurationNs", "AverageNs", "Percentage", "MinNs", "MaxNs", "StdDev")
# Of an agent: what the manifest's `device` has, or a fixed value; 0 stands for what only a real device has.
_AGENT = """
Node_Id =0 Logical_Node_Id =0 Agent_Type =GPU Cpu_Cores_Count =0 Simd_Count simds Cpu_Core_Id_Base =0 Simd_Id_Base =0
Max_Waves_Per_Simd =8 Lds_Size_In_Kb lds_kb Gds_Size_In_Kb =0 Num_Gws =0 Wave_Front_Size =64 Num_Xcc xcds Cu_Count cus
Array_Count ses Num_Shader_Banks ses Simd_Arrays_Per_Engine =1 Cu_Per_Simd_Array =0 Simd_Per_Cu =4 Max_Slots_Scratch_Cu =0
Gfx_Target_Version target Vendor_Id =4098 Device_Id =0 Location_Id =0 Domain =0 Drm_Render_Minor =0 Num_Sdma_Engines =0
Num_Sdma_Xgmi_Engines =0 Num_Sdma_Queues_Per_Engine =0 Num_Cp_Queues =0 Max_Engine_Clk_Ccompute =0 Max_Engine_Clk_Fcompute mhz
Sdma_Fw_Version =0 Fw_Version =0 Capability =0 Cu_Per_Engine =0 Max_Waves_Per_Cu =32 Family_Id =0 Workgroup_Max_Size =1024
Grid_Max_Size =4294967295 Local_Mem_Size =0 Hive_Id =0 Gpu_Id =0 Workgroup_Max_Dim_X =1024 Workgroup_Max_Dim_Y =1024
Workgroup_Max_Dim_Z =1024 Grid_Max_Dim_X =4294967295 Grid_Max_Dim_Y =65535 Grid_Max_Dim_Z =65535 Name arch Vendor_Name =AMD
Product_Name product Model_Name =
"""
_LDS_GRANULE = 512


def write(recording: Recording, folder: str | Path, prefix: str = "") -> list[Path]:
    """Writes the files that have rows into `folder`, named `<prefix>_kernel_trace.csv` and so on (default: the kind)."""
    dispatches, kind = recording["dispatches"], recording.kind("dispatches")
    prefix, folder = prefix or kind, Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = {int(d["dispatch"]): d for d in dispatches.to_dict("records")}
    device = dict(recording.manifest.device)
    device["product"] = marked(str(device.get("product", "")), kind)
    device |= {"simds": 4 * int(device.get("cus", 0)), "mhz": round(device.get("mhz", 0))}
    counters = [
        rows[c["dispatch"]] | c | {"kernel": marked(rows[c["dispatch"]]["kernel"], c["kind"])}
        for c in recording["counters"].to_dict("records")
    ]
    files = {
        "kernel_trace": (_TRACE, [d | {"kernel": marked(d["kernel"], kind)} for d in rows.values()]),
        "counter_collection": (_COUNTERS, counters),
    }
    done = []
    for name, (text, content) in files.items():
        header, columns = text.split()[::2], text.split()[1::2]
        done += _write(folder / f"{prefix}_{name}.csv", header, [[_cell(row, column) for column in columns] for row in content])
    total = sum(d["end"] - d["start"] for d in rows.values())
    for name, group in (("kernel_stats", "kernel"), ("domain_stats", "")):
        lines = []
        for label, some in dispatches.groupby(group) if group else [("KERNEL_DISPATCH", dispatches)]:
            t = some.end - some.start
            share, spread = 100 * t.sum() / total if total else 0, t.std() if len(t) > 1 else 0.0
            label = marked(label, kind) if group else label
            lines.append([label, len(t), int(t.sum()), float(t.mean()), float(share), int(t.min()), int(t.max()), float(spread)])
        done += _write(folder / f"{prefix}_{name}.csv", _STATS, sorted(lines, key=lambda line: -line[2]) if len(rows) else [])
    cells = [what[1:] if what.startswith("=") else device.get(what, 0) for what in _AGENT.split()[1::2]]
    return done + _write(folder / f"{prefix}_agent_info.csv", _AGENT.split()[::2], [[_number(cell) for cell in cells]])


def _number(cell: Any) -> Any:
    return int(cell) if isinstance(cell, str) and cell.isdigit() else cell


def _cell(row: dict[str, Any], column: str) -> Any:
    if column == "agent":
        return f"Agent {row.get('agent', 0)}"
    if column in ("=grid", "=workgroup"):
        return math.prod(int(row.get(f"{column[1:]}_{d}", 0)) for d in "xyz")
    if column == "lds":  # of which the profiler counts whole granules
        return -(-int(row.get("lds", 0)) // _LDS_GRANULE) * _LDS_GRANULE
    return column[1:] if column.startswith("=") else row.get(column, 0)


def _write(path: Path, header: Any, lines: list[list[Any]]) -> list[Path]:
    """As the profiler writes: text in quotes, numbers bare; no file where there is no row."""
    if not lines:
        return []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(header)
        for line in lines:
            writer.writerow([_Plain(x) if isinstance(x, float) else x for x in line])
    return [path]


class _Plain(float):
    """A float that prints as the profiler's: six decimals from 1 on, else in scientific notation; exact where that is not."""

    def __str__(self) -> str:
        short = f"{float(self):.6f}" if abs(self) >= 1 else f"{float(self):.8e}"
        return short if float(short) == self else repr(float(self))

    __repr__ = __str__
