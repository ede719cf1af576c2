"""`open_profile` on made files of every format, and on every real one at hand: what it is, what is in it, what is left out."""

# ruff: noqa: E501 - rows of expected values
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sparse_mla
from sparse_mla import cli
from sparse_mla.errors import RecordingError
from sparse_mla.files import PACKAGE
from sparse_mla.plot.limits import utilisation_figure
from sparse_mla.record import att, chrome, formats, inputs, rocpd, rocprof_csv, store, tabular
from sparse_mla.record.schema import CAUSES, Manifest, Recording, Skipped
from tests.record import foreign, samples
from tests.record.foreign import KERNEL, REDUCE
from tests.record.made import DEVICE, made, same

LAUNCH = {"dispatch": 1, "kernel": KERNEL, "start": 600, "end": 977, "lds": 82176, "vgpr": 128, "agpr": 4, "sgpr": 64, "agent": 2}
# format: rows of each table, the first dispatch, device, reasons why something was left out.
EXPECTED: dict[str, tuple[dict[str, int], dict[str, Any], dict[str, Any], list[str]]] = {
    "rocprofv3 JSON": (
        {"dispatches": 2, "counters": 2, "spans": 2, "samples": 1},
        LAUNCH | {"grid_x": 512, "grid_z": 1, "workgroup_x": 256, "queue": 1, "stream": 3, "process": 77, "correlation": 1},
        {"arch": "gfx950", "product": "AMD Instinct MI355X", "cus": 256, "lds_kb": 160}, ["1 agents that are not the GPU"]),
    "Chrome trace": (
        {"dispatches": 2, "spans": 4},
        {"kernel": KERNEL, "start": 1751410836000010377, "end": 1751410836000087378, "grid_x": 512, "workgroup_x": 256, "vgpr": 96,
         "lds": 4096, "stream": 3, "correlation": 1}, {"product": "NVIDIA H100", "arch": "sm_90", "cus": 132},
        ["argument warps per SM of kernels", "names of processes and threads", "arrows", "keys without a place: cuda_runtime_version"]),
    "Proton": ({"summaries": 6}, {}, {"arch": "sm_90", "cus": 132, "mhz": 1980}, ["metric device_type: a text"]),
    "CSV, Nsight Compute, details": (
        {"dispatches": 1, "counters": 2}, {"kernel": KERNEL, "start": 0, "end": 78500, "grid_x": 512, "workgroup_x": 256, "stream": 7},
        {"arch": "sm_90"}, ["what the tool says", "columns without a place", "a rule's advice", "without a number", "another section has"]),
    "CSV, Nsight Compute, raw": (
        {"dispatches": 1, "counters": 2}, {"kernel": KERNEL, "end": 78500, "grid_x": 512}, {"arch": "sm_90"},
        ["columns without a place", "column launch__cache has no numbers"]),
    "CSV, rocprof 1": (
        {"dispatches": 1, "counters": 1},
        LAUNCH | {"dispatch": 0, "kernel": f"{KERNEL} [clone .kd]", "lds": 82432, "grid_items": 512, "group_items": 256}, {},
        ["columns without a place: queue-index, sig, obj, DispatchNs, CompleteNs"]),
    "CSV, calls and copies": (
        {"spans": 3, "samples": 1, "summaries": 3}, {}, {}, ["columns without a place: Address"]),
    "rocprof-compute": (
        {"dispatches": 2, "counters": 5, "summaries": 2}, LAUNCH | {"dispatch": 0, "end": 978, "grid_items": 512},
        {"arch": "gfx950", "product": "MI350", "cus": 256, "xcds": 8, "mhz": None},
        ["columns without a place: Kernel_ID_1", "Start_Timestamp is a mean", "End_Timestamp is a mean", "launches that the first pass has not",
         "1 counters that an earlier", "a file that repeats", "counters without a value"]),
    "rocprof-compute, long": ({"dispatches": 1, "counters": 3}, {"kernel": KERNEL, "start": 600, "end": 977, "agent": 2}, {}, []),
}  # fmt: skip
EXPECTED["Chrome trace, gzip"] = EXPECTED["Chrome trace"]


@pytest.mark.parametrize("name", foreign.FILES)
def test_each_format_is_recognised_and_read(name: str, tmp_path: Path) -> None:
    rows, first, device, reasons = EXPECTED[name]
    place = foreign.write(name, tmp_path)
    found, recording = formats.find(place)
    assert found.name == name.partition(",")[0]
    assert {table: len(frame) for table, frame in recording.tables.items() if len(frame)} == rows
    if first:
        row = recording["dispatches"].iloc[0].to_dict()
        assert {column: row[column] for column in first} == first
    assert {key: recording.manifest.device.get(key) for key in device} == device
    assert [one.reason for one in recording.skipped if not any(words in one.reason for words in reasons)] == []
    assert len(recording.skipped) == len(reasons)
    assert sparse_mla.open_profile(tmp_path)["dispatches"].equals(recording["dispatches"])  # the folder it lies in
    back = store.load(store.save(recording, tmp_path / "kept"))
    assert (back.skipped, back.manifest) == (recording.skipped, recording.manifest)


def test_values_of_instances_are_summed_and_texts_are_found_by_number(tmp_path: Path) -> None:
    recording = sparse_mla.open_profile(foreign.write("rocprofv3 JSON", tmp_path))
    assert recording["counters"][["name", "value"]].to_numpy().tolist() == [["SQ_WAVES", 24.0], ["GRBM_GUI_ACTIVE", 8000.5]]
    spans = recording["spans"].set_index("category")
    assert spans.loc["MARKER_CORE_API", "name"] == "<b>prefill</b>"
    assert spans.loc["MEMORY_COPY", ["name", "bytes", "agent", "source"]].tolist() == ["HOST_TO_DEVICE", 4096, 2, 0]
    sample = recording["samples"].iloc[0].to_dict()
    assert (sample["text"], sample["lanes"], sample["issued"], sample["reason"]) == ("s_waitcnt vmcnt(0)", 64, 0, "WAITCNT")


@pytest.mark.parametrize("block", [1, 2, 7])
def test_json_is_the_same_wherever_its_blocks_end(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_BLOCK", block)
    data = {"traceEvents": [123, 45, {"c": [678]}], "a": [12345, -1.5e-3, 'x\\" ü\n', [], {"b": None}], "d": {}, "e": True}
    (path := tmp_path / "x.json").write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")
    found = list(inputs.json_items(path, "traceEvents"))
    items = [(("traceEvents", i), item) for i, item in enumerate([123, 45, {"c": [678]}])]
    assert found == [*items, (("a",), data["a"]), (("d",), {}), (("e",), True)]
    assert inputs.read_json(path) == data


def test_summed_metrics_keep_what_called_them_and_samples_their_lanes(tmp_path: Path) -> None:
    rows = sparse_mla.open_profile(foreign.write("Proton", tmp_path / "a"))["summaries"]
    assert rows[rows.metric == "time (ns)"][["name", "path", "value"]].to_numpy().tolist() == [
        ["ROOT", "", 0.0], [KERNEL, "ROOT / decode", 231.0]
    ]  # fmt: skip
    sample = sparse_mla.open_profile(foreign.write("CSV, calls and copies", tmp_path / "b"))["samples"].iloc[0]
    assert (sample.lanes, sample["where"], sample.waves) == (64, "base_tile.h:22", 3)


def test_a_launch_is_found_by_its_correlation_and_times_keep_their_nanoseconds(tmp_path: Path) -> None:
    recording = sparse_mla.open_profile(foreign.write("Chrome trace", tmp_path))
    call = recording["spans"].query("name == 'cudaLaunchKernel'").iloc[0]
    kernel = recording["dispatches"].set_index("correlation").loc[call.correlation]
    assert (kernel.kernel, kernel.start - call.end) == (KERNEL, 10377 - 5623)
    assert recording["dispatches"].kernel.tolist() == [KERNEL, REDUCE]


def test_passes_of_rocprof_compute_meet_by_the_nth_launch_of_a_kernel(tmp_path: Path) -> None:
    counters = sparse_mla.open_profile(foreign.write("rocprof-compute", tmp_path))["counters"]
    level = counters[counters["name"].str.startswith("SQ_ACCUM")]
    assert level[["dispatch", "name", "value"]].to_numpy().tolist() == [
        [0, "SQ_ACCUM_PREV_HIRES of SQ_INST_LEVEL_LDS", 100.0], [1, "SQ_ACCUM_PREV_HIRES of SQ_INST_LEVEL_LDS", 200.0],
    ]  # fmt: skip


WRITERS: dict[str, Any] = {"native": store, "thread trace": att, "CSV": rocprof_csv, "rocpd": rocpd, "Chrome trace": chrome}


def held(name: str) -> dict[str, pd.DataFrame]:
    """What a format has a place for, of `made()`."""
    whole = dict(made().tables)
    launches = whole["dispatches"]
    if name == "thread trace":
        whole |= {"waves": made().traced.drop(columns=[*CAUSES]), "events": whole["events"].drop(columns="cause")}
        whole["instructions"] = whole["instructions"].drop(columns=["executed", *CAUSES])
        del whole["counters"], whole["memory"]
        return whole | {"dispatches": launches[["dispatch", "kernel", "start", "end", "begin_cycle", "end_cycle"]]}
    if name == "CSV":  # 82,176 bytes of LDS are 161 times 512
        launches = launches.drop(columns=["begin_cycle", "end_cycle", "low", "high"]).assign(lds=[82432, 0])
    if name == "Chrome trace":
        launches = launches[["dispatch", "kernel", "start", "end", "queue"]]
        return {"dispatches": launches}
    return whole if name == "native" else {"dispatches": launches, "counters": whole["counters"]}


@pytest.mark.parametrize("name", WRITERS)
def test_what_we_write_is_opened_and_reads_back_equal(name: str, tmp_path: Path) -> None:
    WRITERS[name].write(made(), tmp_path)
    found, back = formats.find(tmp_path)
    assert found.name == name
    assert back.kind("dispatches") == "modelled"
    expected = held(name)
    for table, frame in back.tables.items():
        by = [c for c in ("dispatch", "se", "wave", "time") if c in frame]
        if table not in ("summaries", "spans"):  # CSV's statistics, and a timeline's waves
            both = frame, expected.get(table, frame[:0])
            assert same(*(x.sort_values(by, kind="stable") if by else x for x in both)), table
    if name in ("native", "thread trace", "rocpd"):
        assert back.manifest == made().manifest
    if name == "CSV":
        assert back.manifest.device == {key: x for key, x in DEVICE.items() if key != "name"}


def test_the_listing_beside_a_thread_trace_is_opened_alone(tmp_path: Path) -> None:
    att.write(made(), tmp_path)
    listing = sparse_mla.open_profile(next(tmp_path.glob("stats_*_1.csv")))
    expected = made()["instructions"].query("dispatch == 1")[list(listing["instructions"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(listing["instructions"], expected)
    assert listing.kind("instructions") == "modelled"


def test_counters_over_time_and_missing_files_of_a_thread_trace(tmp_path: Path) -> None:
    (folder, _) = att.write(made(), tmp_path)
    head = json.loads((folder / "filenames.json").read_text()) | {"counter_names": ["A", "B", "C", "D", "E"]}
    del head["sparse_mla"]
    (folder / "filenames.json").write_text(json.dumps(head))
    (folder / "se0_perfcounter.json").write_text(json.dumps({"data": [[100, 1, 2, 3, 4, 7, 0], [104, 9, 0, 0, 0, 7, 1]]}))
    (folder / "se5_sm2_sl0_wv0.json").unlink()
    (folder / "other_simd_se0_0.json").write_text("{}")
    recording = att.read(folder)
    series = recording["series"].set_index(["time", "name"]).value.to_dict()
    assert (series[100, "A"], series[100, "D"], series[104, "E"], series[104, "counter 5"]) == (1, 4, 9, 0)
    assert [one.reason[:20] for one in recording.skipped] == ["a wave whose file is", "records of other SIM"]
    for name in ("filenames.json", "code.json"):  # a folder may lack either: waves are then found by their names
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        assert len(sparse_mla.open_profile(folder)["events"]) == 8
        (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    "files, words",
    [
        ({}, "has no profile of a known format. Known are native (folder: manifest.json)"),
        ({"x.txt": b"pmc: SQ_WAVES"}, "x.txt is no profile of a known format"),
        ({"x.json": b'{"jobs": []}'}, "x.json is JSON of no known format"),
        ({"x.json": b"{"}, "x.json is not JSON: "),
        ({"x.npz": b"PK\x03\x04"}, "x.npz is a zip archive; unpack it"),
        ({"a_kernel_trace.csv": b"Kind,Dispatch_Id,Kernel_Name,Start_Timestamp\n"}, "lacks column End_Timestamp of kernel trace"),
        ({"a_kernel_trace.csv": b"Dispatch_Id,Kernel_Name,Dispatch_Id\n"}, "has column Dispatch_Id more than once"),
        ({"a.csv": b"Dispatch_Id,Kernel_Name\n1,a\n1,a\n"}, "a.csv has twice dispatch 1; read the runs one by one"),
        ({"a.csv": b"Dispatch_Id,Counter_Name,Counter_Value\n1,a,2\n1,a,3\n"}, "a.csv has twice a of dispatch 1"),
        ({"a.json": b'{"traceEvents": []}', "b.json": b'{"traceEvents": []}'}, "more than one recording: Chrome trace (a.json, b.json)"),
        ({"a.json": b'{"traceEvents": []}', "b.csv": b"Dispatch_Id,Kernel_Name\n"}, "more than one recording: Chrome trace (a.json); CSV"),
        ({"manifest.json": b"{}", "code.json": b"{}"}, "is native and thread trace at once"),
        ({"a.json": b'{"traceEvents": [{"ph": "X", "ts": 1e400, "dur": 1}]}'}, "event 0: ts is Decimal('1E+400'); it is a number"),
        ({"a.json": b'{"traceEvents": [{"ph": "?"}]}'}, "event 0: ph is '?'; an event has X, i or one of"),
        ({"a.json": b'{"rocprofiler-sdk-tool": [{"buffer_records": {"kernel_dispatch": [{"dispatch_info": {"kernel_id": 4}}]}}]}'},
         "buffer_records/kernel_dispatch 0: kernel_id is 4; it is one of kernel_symbols"),
        ({"a.json": b'[{"frame": {}}]'}, "below the root: {'frame': {}} is no node: it has no frame with a name"),
        ({"a.json": b'{"traceEvents": [{"ph": "X", "ts": 1, "dur": 1, "cat": "kernel", "name": "\\ud800"}]}'}, "half a character"),
        ({"a.json": b'{"traceEvents": ' + b"[" * 100_000}, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused_with_file_and_place(files: dict[str, bytes], words: str, tmp_path: Path) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(RecordingError) as caught:
        sparse_mla.open_profile(tmp_path if len(files) != 1 or words[0] != "x" else tmp_path / next(iter(files)))
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_names_are_escaped_where_they_are_shown() -> None:
    name = "<script>alert(1)</script>\x1b[2J $\\frac{"
    tables = {"dispatches": made()["dispatches"].assign(kernel=name)}
    recording = Recording(Manifest({"dispatches": "measured"}), tables, (Skipped("a\x1b", "<i>", 1),))
    assert "&lt;script&gt;" in recording._repr_html_()
    assert "&lt;i&gt;" in recording._repr_html_()
    assert "\x1b" not in str(recording)
    row = {"dispatch": 1, "kernel": name, "metric": "MFMA", "value": 50.0, "unit": "%", "kind": "measured", "formula": "x"}
    row["kernel"] = name.replace("\x1b", "")
    page = utilisation_figure(pd.DataFrame([row]), title=name, source="x")._repr_html_()  # mathtext would refuse the name
    assert "<script>" not in page


def test_the_command_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign.write("CSV, calls and copies", tmp_path)
    assert cli.main(["open", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["format"], said["tables"], len(said["skipped"])) == ("CSV", {"spans": 3, "samples": 1, "summaries": 3}, 1)
    assert cli.main(["open", str(path)]) == 0
    text = capsys.readouterr().out
    assert "3 spans (modelled)" in text  # a name in its statistics says so
    assert "left out: " in text
    assert cli.main(["open", str(tmp_path / "gone")]) == 2
    assert "gone is neither a file nor a folder" in capsys.readouterr().err


def test_the_docs_name_every_format_and_kind_of_csv() -> None:
    page = (PACKAGE.parent / "docs/recordings.md").read_text()
    for one in formats.FORMATS:
        assert f"| {one.name} |" in page, one.name
    assert all(f"`{' '.join(kind.needs)}`" in page for kind in tabular.KINDS)


MEASURE = """
import resource, sys
from sparse_mla.record.formats import open_profile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = open_profile(sys.argv[1])
print(len(found["dispatches"]), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("form", ["csv", "json"])
def test_memory_grows_by_less_than_twice_what_is_read(form: str, tmp_path: Path) -> None:
    """500 MB of kernel trace took 762 MiB in all; these are 20 and 10 MB, beside 100 MiB of libraries that are not counted."""
    path, count = tmp_path / f"x_kernel_trace.{form}", 0
    with path.open("w") as file:
        if form == "csv":
            file.write("Kind,Agent_Id,Queue_Id,Thread_Id,Dispatch_Id,Kernel_Id,Kernel_Name,Correlation_Id,Start_Timestamp,End_Timestamp,"
                       "VGPR_Count,Grid_Size_X,Grid_Size_Y,Grid_Size_Z\n")  # fmt: skip
        else:
            file.write('{"traceEvents": [{"ph": "M"}')
        while file.tell() < (20_000_000 if form == "csv" else 10_000_000):
            count, start = count + 1, 1_055_015_439_953_054 + 2000 * count
            row = f'KERNEL_DISPATCH,"Agent 4",1,78,{count},{count % 40},"{KERNEL} {count % 40}",{count},{start},{start + 1500},128,131072,1,4\n'
            event = f',\n{{"ph": "X", "cat": "kernel", "name": "{KERNEL} {count % 40}", "ts": {start // 1000}.125, "dur": 1.5, "tid": 7,'
            file.write(
                row
                if form == "csv"
                else f'{event} "args": {{"device": 2, "correlation": {count}, "grid": [1,2,3], "block": [64,1,1]}}}}'
            )
        file.write("" if form == "csv" else "]}")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    rows, more = map(int, done.stdout.split())
    assert rows == count
    assert more < 2 * path.stat().st_size + (40 << 20)


@samples.needed
def test_every_real_file_is_opened_or_is_no_profile() -> None:
    """Of the folder of samples: inputs, notes and third-party summaries are refused, parts of folders are opened with these."""
    refused, said = [], ""
    for path in sorted(x for x in samples.ROOT.rglob("*") if x.is_file() and "att" not in x.relative_to(samples.ROOT).parts):
        try:
            recording = sparse_mla.open_profile(path)
        except RecordingError as problem:
            said += "x" * ("known format" not in str(problem))
            refused.append(path)
        else:
            assert recording.manifest.device or any(map(len, recording.tables.values())), path
    assert not said
    assert {x.suffix for x in refused} <= {".json", ".md", ".yaml", ".yml", ".txt"}
    assert {x.relative_to(samples.ROOT).parts[0] for x in refused} == {
        "SOURCES.md",
        "inputs",
        "rocprof-compute",
        "rocprofv3-json",
    }
    for folder in [*samples.ATT, *(samples.ROOT / "rocprof-compute").iterdir(), samples.ROOT / "att/viewer_pcsampling_gfx9"]:
        assert len(sparse_mla.open_profile(folder)["dispatches"]) > 0
    counts = [len(sparse_mla.open_profile(x)["dispatches"]) for x in sorted((samples.ROOT / "torch-kineto").iterdir())]
    assert counts == [60, 12]
    events = json.loads(gzip.decompress((samples.ROOT / "torch-kineto/mi300x_bert_small.json.gz").read_bytes()))["traceEvents"]
    recording = sparse_mla.open_profile(samples.ROOT / "torch-kineto/mi300x_bert_small.json.gz")
    left = sum(one.rows for one in recording.skipped if one.first and "argument" not in one.reason)
    assert len(recording["dispatches"]) + len(recording["spans"]) + left == len(events), "every event is somewhere"
