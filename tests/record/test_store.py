import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparse_mla.errors import RecordingError
from sparse_mla.record.schema import TABLES, Manifest, Recording
from sparse_mla.record.store import load, save
from tests.record.made import made


def test_equal_recordings_give_equal_bytes(tmp_path: Path) -> None:
    save(load(save(made(), tmp_path / "a")), tmp_path / "b")
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


MEASURED = dict.fromkeys(TABLES, "measured")


@pytest.mark.parametrize(
    "tables, kinds, words",
    [
        ({"event": None}, {}, "no table 'event' in a recording; there are dispatches"),
        ({"clocks": {"dispatch": [1], "se": [0], "cycle": [1.5], "time": [0]}}, MEASURED, "column cycle is float64"),
        ({"clocks": {"dispatch": [1], "se": ["0"], "cycle": [1], "time": [0]}}, MEASURED, "column se is"),
        ({"sources": {"path": ["a", "b"], "text": ["x", 3]}}, MEASURED, "row 1 of column text is not text"),
        ({"sources": {"path": ["a"], "text": ["x"], "size": [1]}}, MEASURED, "has a column size; it may have path"),
        ({"sources": {"path": ["a"], "text": ["x"]}}, {}, "kinds does not say how the numbers of sources"),
        ({}, {"events": "guessed"}, "events: 'guessed'; a kind of a table is one of measured"),
    ],
)
def test_a_wrong_table_is_refused_by_name(tables: dict[str, object], kinds: dict[str, str], words: str) -> None:
    frames = {name: pd.DataFrame(data) if isinstance(data, dict) else pd.DataFrame() for name, data in tables.items()}
    with pytest.raises(RecordingError, match=words):
        Recording(Manifest(kinds), frames)


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("time", "pc"):
            file.writestr(f"{name}.npy", bytes(600_000))


# What is done to manifest.json (its text), or to the table of events (its file, or its arrays); what the error says.
DAMAGE: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "no manifest": ("manifest.json", lambda path: path.unlink(), "manifest.json is missing"),
    "not JSON": ("manifest.json", lambda path: path.write_text("{"), "manifest.json is not JSON"),
    "newer format": ("manifest", lambda data: data | {"format": 99}, "manifest.json has format 99; this version reads 1"),
    "wrong field": ("manifest", lambda data: data | {"device": "mi355x"}, "manifest.json: device is 'mi355x'; it is a dict"),
    "table gone": ("events.npz", lambda path: path.unlink(), "events.npz is missing"),
    "cut short": ("events.npz", lambda path: path.write_bytes(path.read_bytes()[:700]), "events.npz cannot be read"),
    "bomb": ("events.npz", _bomb, "events.npz unpacks to 1,200,000 bytes; a table has at most 1,000,000"),
    "rows gone": ("events", lambda x: {k: v if "#" in k else v[:-1] for k, v in x.items()},
                  "events.npz has 18 rows; the manifest says 19"),
    "uneven": ("events", lambda x: x | {"pc": x["pc"][:-1]}, "events.npz: its columns differ in length"),
    "floats": ("events", lambda x: x | {"time": x["time"] * 0.5}, "events.npz: column time is float64; it holds int"),
    "texts": ("events", lambda x: x | {"cause": x["cause"] + 40}, "events.npz: column cause is damaged"),
    "flat": ("events", lambda x: x | {"time": x["time"][None]}, "events.npz: column time has 2 dimensions"),
    "pickle": ("events", lambda x: x | {"time": np.array([print] * 19, dtype=object)},
               "events.npz cannot be read: Object arrays cannot be loaded"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_named_with_file_and_column(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparse_mla.record.store.LIMIT", 1_000_000)
    save(made(), tmp_path)
    part, change, words = DAMAGE[what]
    manifest, events = tmp_path / "manifest.json", tmp_path / "events.npz"
    if part == "manifest":
        manifest.write_text(json.dumps(change(json.loads(manifest.read_text()))))
    elif part == "events":
        np.savez(events, **change(dict(np.load(events))))
    else:
        change(tmp_path / part)
    with pytest.raises(RecordingError) as caught:
        load(tmp_path)
    assert words in str(caught.value)


def test_a_recording_says_how_its_numbers_came_to_be() -> None:
    recording = made()
    assert (recording.kind("instructions", "hit"), recording.kind("instructions", "latency")) == ("emulated", "modelled")
    assert "decode_partial: 0.38 us (modelled)" in str(recording)
    assert list(recording.traced.wave) == [0, 1, 0]
