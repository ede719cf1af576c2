import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sparse_mla.errors import RecordingError
from sparse_mla.record.schema import TABLES, Manifest, Recording, same
from sparse_mla.record.store import load, save
from tests.record.made import made


def test_what_is_saved_reads_back_equal_and_equal_recordings_give_equal_bytes(tmp_path: Path) -> None:
    recording = made()
    back = load(save(recording, tmp_path / "a"))
    assert back.manifest == recording.manifest
    for name in TABLES:
        assert same(back[name], recording[name]), name
    save(back, tmp_path / "b")
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / x).iterdir()} for x in "ab")
    assert first == second
    assert {"manifest.json", "events.npz", "sources.npz"} <= set(first)


def test_a_shorter_recording_leaves_nothing_of_the_longer_one_before_it(tmp_path: Path) -> None:
    save(made(), tmp_path)
    save(Recording(Manifest({"events": "modelled"}), {"events": made()["events"]}), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"manifest.json", "events.npz"}
    assert len(load(tmp_path)["events"]) == len(made()["events"])


def test_columns_that_are_not_known_are_absent_and_required_ones_are_not(tmp_path: Path) -> None:
    events = made()["events"].drop(columns="cause")
    back = load(save(Recording(Manifest({"events": "measured"}), {"events": events}), tmp_path))
    assert "cause" not in back["events"]
    with pytest.raises(RecordingError, match="table events lacks column stall"):
        Recording(Manifest({"events": "measured"}), {"events": events.drop(columns="stall")})


@pytest.mark.parametrize(
    "tables, kinds, words",
    [
        ({"event": None}, {}, "no table 'event' in a recording; there are dispatches"),
        (
            {"clocks": {"dispatch": [1], "se": [0], "cycle": [1.5], "time": [0]}},
            {"clocks": "measured"},
            "column cycle is float64",
        ),
        ({"clocks": {"dispatch": [1], "se": ["0"], "cycle": [1], "time": [0]}}, {"clocks": "measured"}, "column se is"),
        ({"sources": {"path": ["a", "b"], "text": ["x", 3]}}, {"sources": "measured"}, "row 1 of column text is not text"),
        (
            {"sources": {"path": ["a"], "text": ["x"], "size": [1]}},
            {"sources": "measured"},
            "has a column size; it may have path",
        ),
        ({"sources": {"path": ["a"], "text": ["x"]}}, {}, "kinds does not say how the numbers of sources"),
        ({}, {"events": "guessed"}, "events: 'guessed'; a kind of a table is one of measured"),
    ],
)
def test_a_wrong_table_is_refused_by_name(tables: dict[str, object], kinds: dict[str, str], words: str) -> None:
    frames = {name: pd.DataFrame(data) if isinstance(data, dict) else pd.DataFrame() for name, data in tables.items()}
    with pytest.raises(RecordingError, match=words):
        Recording(Manifest(kinds), frames)


def _spoil(folder: Path, what: str) -> str:
    """Damages a saved recording in the way called `what`; gives what the error must say."""
    manifest, events = folder / "manifest.json", folder / "events.npz"
    data = json.loads(manifest.read_text())
    arrays = dict(np.load(events))
    match what:
        case "no manifest":
            manifest.unlink()
            return "manifest.json is missing"
        case "not JSON":
            manifest.write_text("{")
            return "manifest.json is not JSON"
        case "newer format":
            manifest.write_text(json.dumps(data | {"format": 99}))
            return "manifest.json has format 99; this version reads 1"
        case "wrong field":
            manifest.write_text(json.dumps(data | {"device": "mi355x"}))
            return "manifest.json: device is 'mi355x'; it is a dict"
        case "table gone":
            events.unlink()
            return "events.npz is missing"
        case "cut short":
            events.write_bytes(events.read_bytes()[:700])
            return "events.npz cannot be read"
        case "rows gone":
            np.savez(events, **{k: v if "#" in k else v[:-1] for k, v in arrays.items()})
            return "events.npz has 18 rows; the manifest says 19"
        case "uneven":
            np.savez(events, **(arrays | {"pc": arrays["pc"][:-1]}))
            return "events.npz: its columns differ in length"
        case "floats":
            np.savez(events, **(arrays | {"time": arrays["time"] * 0.5}))
            return "events.npz: column time is float64; it holds int"
        case "texts":
            np.savez(events, **(arrays | {"cause": arrays["cause"] + 40}))
            return "events.npz: column cause is damaged"
        case "flat":
            np.savez(events, **(arrays | {"time": arrays["time"][None]}))
            return "events.npz: column time has 2 dimensions"
        case "pickle":
            np.savez(events, **(arrays | {"time": np.array([print] * 19, dtype=object)}))
            return "events.npz cannot be read: Object arrays cannot be loaded"
    with zipfile.ZipFile(events, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("time", "pc"):
            file.writestr(f"{name}.npy", bytes(600_000))
    return "events.npz unpacks to 1,200,000 bytes; a table has at most 1,000,000"


DAMAGE = "no manifest,not JSON,newer format,wrong field,table gone,cut short,rows gone,uneven,floats,texts,flat,pickle,bomb"


@pytest.mark.parametrize("what", DAMAGE.split(","))
def test_damage_is_named_with_file_and_column(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparse_mla.record.store.LIMIT", 1_000_000)
    save(made(), tmp_path)
    words = _spoil(tmp_path, what)
    with pytest.raises(RecordingError) as caught:
        load(tmp_path)
    assert words in str(caught.value)


def test_a_recording_says_how_its_numbers_came_to_be() -> None:
    recording = made()
    assert (recording.kind("instructions", "hit"), recording.kind("instructions", "latency")) == ("emulated", "modelled")
    assert "decode_partial: 0.38 us (modelled)" in str(recording)
    assert list(recording.traced.wave) == [0, 1, 0]
