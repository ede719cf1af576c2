import csv
from pathlib import Path

import pandas as pd
import pytest

from sparse_mla.errors import RecordingError
from sparse_mla.record import rocprof_csv
from sparse_mla.record.counters import derive
from sparse_mla.record.schema import Manifest, Recording
from tests.record import samples
from tests.record.made import DEVICE, made

# The header lines that rocprofv3 of ROCm 7 writes.
TRACE = (
    "Kind,Agent_Id,Queue_Id,Stream_Id,Thread_Id,Dispatch_Id,Kernel_Id,Kernel_Name,Correlation_Id,Start_Timestamp,End_Timestamp,"
    "LDS_Block_Size,Scratch_Size,VGPR_Count,Accum_VGPR_Count,SGPR_Count,Workgroup_Size_X,Workgroup_Size_Y,Workgroup_Size_Z,"
    "Grid_Size_X,Grid_Size_Y,Grid_Size_Z"
)
COUNTERS = (
    "Correlation_Id,Dispatch_Id,Agent_Id,Queue_Id,Process_Id,Thread_Id,Grid_Size,Kernel_Id,Kernel_Name,Workgroup_Size,"
    "LDS_Block_Size,Scratch_Size,VGPR_Count,Accum_VGPR_Count,SGPR_Count,Counter_Name,Counter_Value,Start_Timestamp,End_Timestamp"
)


def test_the_bytes_are_those_of_the_profiler(tmp_path: Path) -> None:
    files = rocprof_csv.write(made(), tmp_path, "run")
    assert [f.name.removeprefix("run_").removesuffix(".csv") for f in files] == [
        "kernel_trace", "counter_collection", "kernel_stats", "domain_stats", "agent_info",
    ]  # fmt: skip
    head, first, _ = (tmp_path / "run_kernel_trace.csv").read_text().splitlines()
    assert head == ",".join(f'"{name}"' for name in TRACE.split(","))
    assert first == (
        '"KERNEL_DISPATCH","Agent 0",1,0,78,1,1,"decode_partial [modelled]",1,600,977,82432,0,128,4,64,256,1,1,512,1,4'
    )
    head, *rows = (tmp_path / "run_counter_collection.csv").read_text().splitlines()
    assert head == ",".join(f'"{name}"' for name in COUNTERS.split(","))
    assert rows[0] == (
        '1,1,"Agent 0",1,77,78,2048,1,"decode_partial [emulated]",256,82432,0,128,4,64,"SQ_WAVES",24.000000,600,977'
    )
    assert ',"decode_partial [modelled]",' in rows[2]
    assert ",8000.500000," in rows[2]
    assert ',"SQ_INSTS_MFMA",0.00000000e+00,' in rows[5]
    head, total = (tmp_path / "run_domain_stats.csv").read_text().splitlines()
    assert head == '"Name","Calls","TotalDurationNs","AverageNs","Percentage","MinNs","MaxNs","StdDev"'
    assert total == '"KERNEL_DISPATCH",2,419,209.500000,100.000000,42,377,236.88077169749343'
    with (tmp_path / "run_agent_info.csv").open() as file:
        (agent,) = csv.DictReader(file)
    assert (agent["Name"], agent["Product_Name"]) == ("gfx950", "AMD Instinct MI355X [modelled]")
    assert (agent["Simd_Count"], agent["Gfx_Target_Version"], len(agent)) == ("1024", "90500", 53)


def test_a_measured_recording_carries_no_mark_and_any_text_survives(tmp_path: Path) -> None:
    kinds = {"dispatches": "measured", "counters": "measured"}
    name = 'void f<int, "a">(float*)::{lambda()#1}\n[x]'
    tables = {"dispatches": made()["dispatches"].assign(kernel=name), "counters": made()["counters"].assign(kind="measured")}
    rocprof_csv.write(Recording(Manifest(kinds, DEVICE), tables), tmp_path)
    back = rocprof_csv.read(tmp_path)
    assert set(back["dispatches"].kernel) == {name}
    assert back.kind("dispatches") == back.kind("counters") == "measured"


def test_counters_alone_make_dispatches(tmp_path: Path) -> None:
    rocprof_csv.write(made(), tmp_path)
    (tmp_path / "modelled_kernel_trace.csv").unlink()
    back = rocprof_csv.read(tmp_path)["dispatches"]
    assert list(back.end - back.start) == [377, 42]
    assert "grid_x" not in back  # the file has only the product


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('"End_Timestamp"', '"Finished"', "_kernel_trace.csv lacks column End_Timestamp of kernel trace"),
        ('"Dispatch_Id"', '"Id"', "_kernel_trace.csv lacks column Dispatch_Id"),
        (",977,", ",8.1097E+14,", "cut"),
        (",977,", ",8.1097E+16,", "_kernel_trace.csv, line 2, column End_Timestamp: '8.1097E+16' is not a number"),
        (",977,", f",{2**63},", f"line 2, column End_Timestamp: '{2**63}' is not a number"),
        (",977,", ",977.5,", "line 2, column End_Timestamp: '977.5' is not a number"),
        (",977,", ",,", "line 2, column End_Timestamp: '' is not a number"),
        (",977,", ",", "line 2: 22 columns are named"),
        ("decode_partial", "\ud800", "_kernel_trace.csv is not UTF-8 text: byte 0xed"),
        ("decode_reduce [modelled]", "decode_reduce", "kernels of several kinds: measured, modelled"),
    ],
)
def test_a_wrong_file_is_named_with_line_and_column(tmp_path: Path, old: str, new: str, words: str) -> None:
    rocprof_csv.write(made(), tmp_path)
    path = tmp_path / "modelled_kernel_trace.csv"
    text = path.read_text()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode(errors="surrogatepass"))
    if words == "cut":  # by a spreadsheet: no time is better than one that is off by seconds
        recording = rocprof_csv.read(tmp_path)
        assert recording["dispatches"].end[0] == 0
        (said,) = recording.skipped
        assert str(said) == f"{path}: 1 row, the first 2: column End_Timestamp has lost digits in a spreadsheet: 0 stands for it"
        return
    with pytest.raises(RecordingError, match=words.replace("+", r"\+")):
        rocprof_csv.read(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="has no CSV files of a known kind"):
        rocprof_csv.read(tmp_path)


def test_passes_of_one_run_are_joined_and_two_runs_are_not(tmp_path: Path) -> None:
    recording = made()
    for i, name in enumerate(("SQ_WAVES", "SQ_INSTS_MFMA")):
        some = recording["counters"].query(f"name == '{name}'")
        one_pass = {"dispatches": recording["dispatches"], "counters": some}
        rocprof_csv.write(Recording(recording.manifest, one_pass), tmp_path / f"pass_{i}")
        if i:
            (tmp_path / "pass_1/modelled_kernel_trace.csv").unlink()
    assert len(rocprof_csv.read(tmp_path)["counters"]) == 4
    other = recording["dispatches"].assign(kernel=["decode_partial", "another"])
    rocprof_csv.write(Recording(recording.manifest, one_pass | {"dispatches": other}), tmp_path / "pass_1")
    with pytest.raises(RecordingError, match=r"pass_1/.*kernel_trace.csv and .*pass_0/.* both have dispatch 1; read"):
        rocprof_csv.read(tmp_path)
    (tmp_path / "pass_1/modelled_kernel_trace.csv").unlink()
    with pytest.raises(RecordingError, match="dispatch 2 is another, before decode_reduce; read the runs one by one"):
        rocprof_csv.read(tmp_path)


# AMD's documentation has files of several runs beside each other.
REAL = ["gfx950_rocm72", "gfx950_rmsnorm", "hipkittens_lds/ds_write_b64", "hipkittens_lds/ds_read_b128"]
REAL += [f"sdk_docs_rocm{v}/{kind}.csv" for v in (63, 70) for kind in ("kernel_trace", "counter_collection")]


@samples.needed
@pytest.mark.parametrize("place", REAL)
def test_real_files_are_read(place: str, tmp_path: Path) -> None:
    path = samples.ROOT / "rocprofv3-csv" / place
    if path.is_file():
        (tmp_path / path.name).write_bytes(path.read_bytes())
        path = tmp_path
    recording = rocprof_csv.read(path)
    assert recording.kind("dispatches") == "measured"
    counters = [pd.read_csv(file) for file in path.glob("*counter_collection.csv")]
    assert len(recording["counters"]) == sum(map(len, counters))
    if counters:
        assert recording["counters"].value.sum() == sum(f.Counter_Value.sum() for f in counters)
    traces = [pd.read_csv(file) for file in path.glob("*kernel_trace.csv")] or counters
    assert list(recording["dispatches"].dispatch) == list(dict.fromkeys(x for f in traces for x in f.Dispatch_Id))
    if place == "gfx950_rocm72":
        device = recording.manifest.device
        assert (device["arch"], device["xcds"], device["cus"], device["lds_kb"]) == ("gfx950", 8, 256, 160)
        assert recording["dispatches"].grid_x[0] == 524288


@samples.needed
def test_stats_written_for_real_dispatches_are_the_profilers(tmp_path: Path) -> None:
    real = samples.ROOT / "rocprofv3-csv/gfx950_rocm72"
    rocprof_csv.write(rocprof_csv.read(real), tmp_path, "discover")
    for name in ("kernel_trace", "kernel_stats", "domain_stats"):
        ours, theirs = (pd.read_csv(folder / f"discover_{name}.csv") for folder in (tmp_path, real))
        by = "Dispatch_Id" if name == "kernel_trace" else "Name"
        ours, theirs = (f.sort_values(by).reset_index(drop=True) for f in (ours, theirs))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=5e-3, check_dtype=False)  # it rounds shares


@samples.needed
def test_lds_conflicts_of_a_real_run_give_their_metrics() -> None:
    recording = rocprof_csv.read(samples.ROOT / "rocprofv3-csv/hipkittens_lds/ds_read_b128")
    counters = recording["counters"].groupby("name").value.sum()
    assert counters.to_dict()["SQ_INSTS_LDS"] > 0
    assert derive(recording).empty  # neither of its two counters alone gives a metric
