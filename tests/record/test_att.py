import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparse_mla.errors import RecordingError
from sparse_mla.record import att, trace
from sparse_mla.record.schema import Recording
from tests.record import samples
from tests.record.made import LISTING, RUNS, made

FOLDERS = [f"ui_output_agent_0_dispatch_{n}" for n in (1, 2)]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def identities(folder: Path) -> int:
    """Checks, in plain loops, what holds in every folder that the real tool wrote; gives the number of instructions executed."""
    code = {row[2]: row for row in read_json(folder / "code.json")["code"]}
    found = {line: [0, 0, 0, 0] for line in code}
    names = read_json(folder / "filenames.json")["wave_filenames"]
    timelines, count = [], 0
    for simds in names.values():
        for slots in simds.values():
            for ids in slots.values():
                for name, begin, end in ids.values():
                    data = read_json(folder / name)
                    wave, free = data["wave"], begin
                    assert (wave["begin"], wave["end"], data["duration"]) == (begin, end, end - begin)
                    assert data["num_insts"] == data["num_stitched"] == len(wave["instructions"])
                    for time, _, stall, duration, line in wave["instructions"]:
                        for i, value in enumerate((1, duration, stall, max(0, time - free))):
                            found[line][i] += value
                        free = max(free, time + duration)
                        count += 1
                    assert sum(duration for _, duration in wave["timeline"]) - (end - begin) in (0, 4)
                    timelines.append((begin, wave["timeline"]))
    assert {line: row[6:10] for line, row in code.items()} == found
    for state in (1, 2, 3, 4):
        change: dict[int, int] = {}
        for time, spans in timelines:
            for which, duration in spans:
                if which == state:
                    change[time] = change.get(time, 0) + 1
                    change[time + duration] = change.get(time + duration, 0) - 1
                time += duration
        number, numbers = 0, []
        for time in sorted(change):
            number += change[time]
            numbers.append(number)
        data = read_json(folder / f"wstates{state}.json")
        assert (data["time"], data["state"]) == (sorted(change), numbers)
    return count


def test_what_is_written_has_the_identities_of_a_trace(tmp_path: Path) -> None:
    folders = att.write(made(), tmp_path)
    assert [folder.name for folder in folders] == FOLDERS
    assert [identities(folder) for folder in folders] == [16, 3]
    assert list(att.read(folders[1])["dispatches"].dispatch) == [2]
    assert {p.name for p in folders[0].iterdir()} == {
        "code.json", "filenames.json", "occupancy.json", "realtime.json", "snapshots.json",
        *(f"wstates{i}.json" for i in (1, 2, 3, 4)), "se0_sm0_sl0_wv0.json", "se5_sm2_sl0_wv0.json",
        "source_0_base_tile.h", "source_1_fused.hip",
    }  # fmt: skip
    code = read_json(folders[0] / "code.json")
    assert code["code"][0] == ["; decode_partial [modelled]", 0, 0, "", 1, 4096, 0, 0, 0, 0]
    assert code["code"][4][:6] == [LISTING[3][0], 0, 4, "base_tile.h:21 -> fused.hip:12 -> fused.hip:30", 1, 4120]
    wave = read_json(folders[0] / "se0_sm0_sl0_wv0.json")["wave"]
    assert wave["instructions"] == [[t, LISTING[pc][3], s, d, pc + 1] for t, s, d, pc, _ in RUNS[1, 0][2]]
    # 24 cycles in front; a load and a shift that stalls 4; a wait; a load; a wait; a product; a branch that stalls 8; the end.
    assert wave["timeline"] == [[1, 24], [2, 8], [4, 4], [2, 4], [3, 200], [2, 8], [3, 400], [2, 4], [4, 8], [2, 12], [3, 228]]
    assert wave["waitcnt"] == [[3, [[1, 0]]], [5, [[4, 0]]]]
    assert read_json(folders[0] / "occupancy.json")["dispatches"] == {"0": "0 / 0x0", "1": "decode_partial [modelled]"}
    stats = pd.read_csv(tmp_path / f"stats_{FOLDERS[0]}.csv")
    assert list(stats) == ["CodeObj", "Vaddr", "Instruction", "Hitcount", "Latency", "Stall", "Idle", "Source"]
    assert stats.loc[3].tolist()[3:7] == [2, 416, 416, 0]


def test_idle_ends_with_the_last_of_what_overlaps() -> None:
    waves = pd.DataFrame({"dispatch": 1, "wave": [0, 1], "begin": [0, 90]})
    events = [(0, 4, 0, 20, 0), (0, 8, 0, 4, 1), (0, 16, 0, 4, 2), (0, 40, 4, 8, 2), (1, 100, 0, 4, 0)]
    frame = pd.DataFrame(events, columns=["wave", "time", "stall", "duration", "pc"]).assign(dispatch=1)
    found = trace.recount(frame, waves).drop(columns="dispatch")
    assert found.to_numpy().tolist() == [[0, 2, 24, 0, 4 + 10], [1, 1, 4, 0, 0], [2, 2, 12, 4, 16]]


def test_a_waves_states_follow_from_its_instructions() -> None:
    wait, valu, end = 9, 6, 11
    events = [[8, valu, 4, 8], [20, wait, 12, 12], [32, wait, 8, 8], [40, valu, 0, 12], [44, valu, 8, 12], [60, end, 4, 40]]
    # Idle, stall, issue and gap, two waits, issues of which one overlaps the next's stall, a gap, the end, nothing.
    assert trace.timeline(events, 0, 104) == [[1, 8], [4, 4], [2, 8], [3, 12], [3, 8], [2, 20], [3, 40], [1, 4]]


def test_a_recording_written_twice_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    (folder, _) = att.write(made(), tmp_path)
    recording = made()
    fewer = Recording(recording.manifest, {**recording.tables, "events": recording["events"].query("wave == 0")})
    att.write(fewer, tmp_path)
    assert not (folder / "se5_sm2_sl0_wv0.json").exists()
    assert identities(folder) == 8


def test_a_folder_may_lack_all_but_its_names_and_its_listing(tmp_path: Path) -> None:
    (folder, _) = att.write(made(), tmp_path)
    for name in ("occupancy", "realtime", "snapshots", *(f"wstates{i}" for i in (1, 2, 3, 4))):
        (folder / f"{name}.json").unlink()
    back = att.read(folder)
    assert len(back["events"]) == 16 and back["sources"].empty  # noqa: PT018
    assert back["dispatches"].to_dict("records") == [
        {"dispatch": 1, "kernel": "decode_partial", "start": 0, "end": 0, "begin_cycle": 100, "end_cycle": 1000}
    ]


def spoil(folder: Path, name: str, change: Any) -> None:
    data = read_json(folder / name)
    change(data)
    (folder / name).write_text(json.dumps(data))


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("code.json", lambda d: d["code"][2].__setitem__(7, "x"), "code.json: row 2 of code is not as its header says"),
        ("code.json", lambda d: d["code"][2].__delitem__(slice(5, None)), "code.json: row 2 of code is not as its header says"),
        ("code.json", lambda d: d.update(header="Text"), "code.json: row 0 of code"),
        ("filenames.json", lambda d: d["wave_filenames"]["0"]["0"]["0"].update({"0": ["../x", 0]}),
         "'../x', 0] does not name a file"),
        ("filenames.json", lambda d: d["wave_filenames"].update({"0": []}), "filenames.json holds a list; it is an object"),
        ("filenames.json", lambda d: d["sparse_mla"].update(format=2), "filenames.json: sparse_mla has format 2"),
        ("se0_sm0_sl0_wv0.json", lambda d: d["wave"]["instructions"][3].pop(), "wv0.json: instructions: rows of"),
        ("se0_sm0_sl0_wv0.json", lambda d: d["wave"]["instructions"][3].__setitem__(0, 1.5),
         "wv0.json: instructions: rows of 5 whole"),
        ("se0_sm0_sl0_wv0.json", lambda d: d["wave"].update(begin=None), "wv0.json: begin of the wave is None"),
        ("occupancy.json", lambda d: d.update({"0": [[1, 2]]}), "occupancy.json: 0: rows of 6 whole numbers"),
        ("realtime.json", lambda d: d["metadata"].update(frequency=0), "realtime.json: frequency is 0"),
    ],
)  # fmt: skip
def test_damage_is_named_with_file_and_row(tmp_path: Path, name: str, change: Any, words: str) -> None:
    (folder, _) = att.write(made(), tmp_path)
    spoil(folder, name, change)
    with pytest.raises(RecordingError) as caught:
        att.read(folder)
    assert words in str(caught.value)


def test_a_source_outside_the_folder_is_not_read(tmp_path: Path) -> None:
    (folder, _) = att.write(made(), tmp_path)
    (tmp_path / "secret").write_text("x")
    spoil(folder, "snapshots.json", lambda d: d.update({"base_tile.h": "../secret"}))
    assert list(att.read(folder)["sources"].path) == ["fused.hip"]


@samples.needed
@pytest.mark.parametrize("folder", samples.ATT, ids=lambda p: p.parent.name)
def test_real_folders_are_read_and_written_back(folder: Path, tmp_path: Path) -> None:
    executed = identities(folder)
    recording = att.read(folder)
    assert len(recording["events"]) == executed
    assert recording.kind("events") == "measured"
    (dispatch,) = recording["dispatches"].to_dict("records")
    assert 2000 < recording.manifest.device["mhz"] < 2300
    longest = (recording["waves"].end - recording["waves"].begin).max() * 1000 / recording.manifest.device["mhz"]
    assert longest <= dispatch["end"] - dispatch["start"] + 1
    assert "begin_cycle" not in dispatch  # the shader engines' clocks differ
    att.write(recording, tmp_path)
    (back,) = tmp_path.glob("ui_output*")
    assert identities(back) == executed
    ours, theirs = (read_json(x / "code.json")["code"] for x in (back, folder))
    assert ours == theirs
    agree = cycles = 0
    for name in read_names(folder):
        ours, theirs = (read_json(x / name)["wave"] for x in (back, folder))
        states = [np.repeat(*np.transpose(wave["timeline"]))[: wave["end"] - wave["begin"]] for wave in (ours, theirs)]
        agree, cycles = agree + (states[0] == states[1]).sum(), cycles + len(states[0])
        assert {k: v for k, v in ours.items() if k != "timeline"} == {k: v for k, v in theirs.items() if k != "timeline"}
    assert agree / cycles > 0.989
    assert read_json(back / "realtime.json") == read_json(folder / "realtime.json")


def read_names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob("se*_sm*.json"))


@samples.needed
def test_a_real_folder_of_samples_has_a_listing_and_no_waves() -> None:
    recording = att.read(samples.ROOT / "att/viewer_pcsampling_gfx9")
    assert len(recording["instructions"]) == 1634
    assert recording["events"].empty
