import json
from pathlib import Path
from typing import Any

import pytest

from sparse_mla.errors import InputError
from sparse_mla.record import att, chrome
from sparse_mla.record.schema import Recording
from tests.record import samples
from tests.record.made import LISTING, RUNS, made


def written(recording: Recording, folder: Path) -> list[dict[str, Any]]:
    (path,) = chrome.write(recording, folder)
    data = json.loads(path.read_text())
    assert set(data) == {"displayTimeUnit", "otherData", "traceEvents"}
    events: list[dict[str, Any]] = data["traceEvents"]
    for event in events:
        assert event["ph"] in "MXbe"
        if event["ph"] == "X":
            assert event["dur"] >= 0
            assert {"name", "cat", "ts", "pid", "tid"} <= set(event)
    return events


def test_kernels_workgroups_waves_and_instructions_are_where_the_recording_has_them(tmp_path: Path) -> None:
    events = written(made(), tmp_path)
    kernels = [(e["name"], e["ts"], e["dur"], e["tid"]) for e in events if e.get("cat") == "kernel"]
    assert kernels == [("decode_partial [modelled]", 0.6, 0.377, 1), ("decode_reduce [modelled]", 1.5, 0.042, 1)]
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert list(names.values()) == ["kernels (modelled)", "SE 0 CU 1 (modelled)", "SE 0 CU 3 (modelled)", "SE 5 CU 1 (modelled)"]
    waves = {e["name"]: e for e in events if e.get("cat") == "wave"}
    # 904 cycles of the launch are its 377 ns; wave 0 lives from the 4th cycle to the last.
    first = waves["decode_partial wave 0"]
    assert (names[first["pid"]], first["tid"]) == ("SE 0 CU 1 (modelled)", 0)
    assert (first["ts"], first["dur"]) == (pytest.approx(0.6 + 0.377 * 4 / 904), pytest.approx(0.377 * 900 / 904))
    assert first["args"]["memory"] == 200
    assert waves["decode_partial wave 1"]["tid"] == 16 * 2
    assert [(e["ph"], e["name"]) for e in events if e.get("cat") == "workgroup" and e["id"] == "1.2"] == [
        ("b", "workgroup 2"), ("e", "workgroup 2")
    ]  # fmt: skip
    inside = [e for e in events if e.get("pid") == first["pid"] and "text" in e.get("args", {})]
    run = RUNS[1, 0][2] + RUNS[2, 0][2]  # the second kernel's wave is on the same compute unit
    assert [(e["args"]["text"], e["cat"], e["args"]["stall"]) for e in inside] == [
        (LISTING[pc][0], c, s) for _, s, _, pc, c in run
    ]
    assert [e["args"]["unit"] for e in inside[:4]] == ["SMEM", "VALU", "IMMED", "FLAT"]
    assert inside[1]["args"]["source"] == "base_tile.h:20"
    assert all(first["ts"] <= e["ts"] and e["ts"] + e["dur"] <= first["ts"] + first["dur"] + 1e-9 for e in inside[:8])


def test_cycles_without_a_clock_are_refused(tmp_path: Path) -> None:
    recording = made()
    tables = {k: v for k, v in recording.tables.items() if k != "clocks"}
    tables["dispatches"] = tables["dispatches"].drop(columns=["begin_cycle", "end_cycle"])
    with pytest.raises(InputError, match="dispatch 1 has no clock of shader engine 0: its cycles have no time"):
        chrome.write(Recording(recording.manifest, tables), tmp_path)


@samples.needed
def test_a_real_trace_lies_inside_its_kernel(tmp_path: Path) -> None:
    recording = att.read(samples.ROOT / "att/rmsnorm_gfx950")
    events = written(recording, tmp_path)
    (kernel,) = (e for e in events if e.get("cat") == "kernel")
    assert kernel["name"] == "rmsnorm_kernel_0"
    inside = [e for e in events if e["ph"] == "X" and e is not kernel]
    assert len(inside) == len(recording["waves"]) + len(recording["events"])
    for e in inside:
        assert kernel["ts"] - 0.002 <= e["ts"] <= e["ts"] + e["dur"] <= kernel["ts"] + kernel["dur"] + 0.002
