"""Recordings as rocprofv3 7.x writes CSV: `*_kernel_trace.csv`, `*_counter_collection.csv`, `*_kernel_stats.csv`,
`*_domain_stats.csv`, `*_agent_info.csv`; read back by column name, so older versions with other columns are read too.

A number that no device measured is marked: a kernel's name ends in ` [modelled]` or ` [emulated]`, the agent's product name too.
The rows of a counter carry the counter's own mark.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sparse_mla.errors import RecordingError
from sparse_mla.record.schema import KINDS, Manifest, Recording

# Columns of the files and the column of `dispatches` or `counters` behind each; `=...` is fixed. Where several names are given,
# the first is written and the others, which older versions use, are read.
_SHARED = """
LDS_Block_Size,Group_Segment_Size     lds
Scratch_Size,Private_Segment_Size     scratch
VGPR_Count                            vgpr
Accum_VGPR_Count                      agpr
SGPR_Count                            sgpr
"""
_TRACE = f"""
Kind                                  =KERNEL_DISPATCH
Agent_Id                              agent
Queue_Id                              queue
Stream_Id                             stream
Thread_Id                             thread
Dispatch_Id                           dispatch
Kernel_Id                             kernel_id
Kernel_Name                           kernel
Correlation_Id                        correlation
Start_Timestamp                       start
End_Timestamp                         end
{_SHARED.strip()}
Workgroup_Size_X                      workgroup_x
Workgroup_Size_Y                      workgroup_y
Workgroup_Size_Z                      workgroup_z
Grid_Size_X                           grid_x
Grid_Size_Y                           grid_y
Grid_Size_Z                           grid_z
"""
_COUNTERS = f"""
Correlation_Id                        correlation
Dispatch_Id                           dispatch
Agent_Id                              agent
Queue_Id                              queue
Process_Id                            process
Thread_Id                             thread
Grid_Size                             =grid
Kernel_Id                             kernel_id
Kernel_Name                           kernel
Workgroup_Size                        =workgroup
{_SHARED.strip()}
Counter_Name                          name
Counter_Value                         value
Start_Timestamp                       start
End_Timestamp                         end
"""
_STATS = ("Name", "Calls", "TotalDurationNs", "AverageNs", "Percentage", "MinNs", "MaxNs", "StdDev")
# The columns of an agent that are written, with what the manifest's `device` has for them, or a fixed value. 0 stands for what
# only a real device has.
_AGENT_TEXT = """
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
_AGENT = _AGENT_TEXT.split()
_LDS_GRANULE = 512
_NEEDED = ("dispatch", "kernel", "name", "value")
_MARK = re.compile(rf" \[({'|'.join(KINDS)})\]$")


def marked(name: str, kind: str) -> str:
    """`name` with the mark of its kind, which a measured one does not need."""
    return name if kind == "measured" else f"{name} [{kind}]"


def unmarked(name: str) -> tuple[str, str]:
    """A name without its mark, and its kind."""
    m = _MARK.search(name)
    return (name[: m.start()], m[1]) if m else (name, "measured")


def _columns(text: str) -> list[tuple[list[str], str]]:
    return [(names.split(","), column) for names, column in (line.split() for line in text.strip().splitlines())]


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
        columns = _columns(text)
        lines = [[_cell(row, column) for _, column in columns] for row in content]
        done += _write(folder / f"{prefix}_{name}.csv", [names[0] for names, _ in columns], lines)
    total = sum(d["end"] - d["start"] for d in rows.values())
    for name, group in (("kernel_stats", "kernel"), ("domain_stats", "")):
        lines = []
        for label, some in dispatches.groupby(group) if group else [("KERNEL_DISPATCH", dispatches)]:
            t = some.end - some.start
            share, spread = 100 * t.sum() / total if total else 0, t.std() if len(t) > 1 else 0.0
            label = marked(label, kind) if group else label
            lines.append([label, len(t), int(t.sum()), float(t.mean()), float(share), int(t.min()), int(t.max()), float(spread)])
        done += _write(folder / f"{prefix}_{name}.csv", _STATS, sorted(lines, key=lambda line: -line[2]) if len(rows) else [])
    cells = [what[1:] if what.startswith("=") else device.get(what, 0) for what in _AGENT[1::2]]
    return done + _write(folder / f"{prefix}_agent_info.csv", _AGENT[::2], [[_number(cell) for cell in cells]])


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


def read(folder: str | Path) -> Recording:
    """The dispatches, counters and the first GPU of every rocprofv3 CSV file below `folder`: one run, in any number of passes.

    Raises RecordingError, naming file, row and column, for what cannot be read, for a folder without such files, and for files
    that are not of one run: the same dispatch twice, or under two names.
    """
    folder = Path(folder)
    traces, counts = sorted(folder.rglob("*kernel_trace.csv")), sorted(folder.rglob("*counter_collection.csv"))
    if not traces and not counts:
        raise RecordingError(f"{folder} has no *_kernel_trace.csv and no *_counter_collection.csv")
    dispatches: dict[int, dict[str, Any]] = {}
    counters: list[dict[str, Any]] = []
    kinds: set[str] = set()
    seen: dict[Any, Path] = {}

    def once(key: Any, path: Path, what: str) -> None:
        if seen.setdefault(key, path) != path:
            raise RecordingError(f"{path} and {seen[key]} both have {what}; read the runs one by one")

    for path in traces:
        for row in _rows(path, _TRACE):
            if "start" not in row or "end" not in row:
                raise RecordingError(f"{path} lacks column Start_Timestamp or End_Timestamp")
            row["kernel"], kind = unmarked(row["kernel"])
            once(row["dispatch"], path, f"dispatch {row['dispatch']}")
            dispatches[row["dispatch"]] = row
            kinds.add(kind)
    for path in counts:
        for row in _rows(path, _COUNTERS):
            row = {"start": 0, "end": 0} | row  # the first versions wrote counters without times
            row["kernel"], row["kind"] = unmarked(row["kernel"])
            once((row["dispatch"], row["name"]), path, f"{row['name']} of dispatch {row['dispatch']}")
            if (known := dispatches.get(row["dispatch"])) and known["kernel"] != row["kernel"]:
                names = f"{row['kernel']:.60}, before {known['kernel']:.60}"
                raise RecordingError(f"{path}: dispatch {row['dispatch']} is {names}; read the runs one by one")
            counters.append({key: row.pop(key) for key in ("name", "value", "kind")} | {"dispatch": row["dispatch"]})
            if not traces:
                kinds.add(counters[-1]["kind"])
            if not traces or row["dispatch"] in dispatches:  # what the trace does not know: the process
                dispatches[row["dispatch"]] = row | dispatches.get(row["dispatch"], {})
    device = next((d for path in sorted(folder.rglob("*agent_info*.csv")) for d in _agents(path)), {})
    if len(kinds - {"emulated"}) > 1:
        raise RecordingError(f"{folder}: kernels of several kinds: {', '.join(sorted(kinds))}; read their folders one by one")
    kind = max(kinds, default="measured", key=lambda k: k != "emulated")
    frame = pd.DataFrame(list(dispatches.values())).dropna(axis="columns")
    tables = {"dispatches": _integers(frame), "counters": pd.DataFrame(counters) if counters else None}
    kinds_of = {"dispatches": kind, "counters": kind}
    return Recording(Manifest(kinds_of, device, tool="rocprofv3"), {k: v for k, v in tables.items() if v is not None})


def _integers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({name: "int64" for name in frame if frame[name].dtype.kind == "f"})


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with their line numbers."""
    try:
        with path.open(newline="", encoding="utf-8", errors="strict") as file:
            reader = csv.DictReader(file)
            for row in reader:
                if None in row or None in row.values():
                    raise RecordingError(f"{path}, line {reader.line_num}: {len(reader.fieldnames or ())} columns are named")
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as problem:
        raise RecordingError(f"{path} is not CSV: {problem}") from None


def _rows(path: Path, text: str) -> Iterator[dict[str, Any]]:
    known: list[tuple[str, str]] = []
    for number, line in _lines(path):
        if not known:
            there = [(next((name for name in names if name in line), ""), column) for names, column in _columns(text)]
            known = [(name, column) for name, column in there if name and not column.startswith("=")]
            if lost := [names[0] for names, c in _columns(text) if c in _NEEDED and c not in {column for _, column in known}]:
                raise RecordingError(f"{path} lacks column {lost[0]}")
        row: dict[str, Any] = {}
        for name, column in known:
            try:
                row[column] = _value(column, line[name])
            except (ValueError, OverflowError):
                raise RecordingError(f"{path}, line {number}, column {name}: {line[name]!r:.60} is not a number") from None
        yield row


def _value(column: str, text: str) -> Any:
    if column in ("kernel", "name"):
        return text
    if column == "value":
        return float(text)
    if column == "agent":  # a plain number before ROCm 7
        text = text.removeprefix("Agent ").removeprefix("GPU ")
    if text.isascii() and text.removeprefix("-").isdigit():
        if not -(2**63) <= (number := int(text)) < 2**63:
            raise OverflowError(text)
        return number
    value = float(text)
    if not value.is_integer() or abs(value) >= 2**53:  # a spreadsheet's rounding: too coarse for a time
        raise ValueError(text)
    return int(value)


def _agents(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in _lines(path):
        if line.get("Agent_Type") != "GPU":
            continue
        device: dict[str, Any] = {}
        for name, what in zip(_AGENT[::2], _AGENT[1::2], strict=True):
            if not what.startswith("=") and what != "simds" and (text := line.get(name)):
                try:
                    device[what] = text if what in ("arch", "product") else float(text) if what == "mhz" else int(text)
                except ValueError:
                    raise RecordingError(f"{path}, line {number}, column {name}: {text!r:.60} is not a number") from None
        device["product"] = unmarked(device.get("product", ""))[0]
        yield device
