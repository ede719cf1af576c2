"""Progress survives damage, other sessions and a full disk, stays on the machine, and says what happened."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sparse_mla import cli
from sparse_mla.errors import InputError
from sparse_mla.widgets import progress
from sparse_mla.widgets.course import exercises
from sparse_mla.widgets.headless import VARIABLE


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, "0")
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "kept/progress.json"))
    return tmp_path / "kept/progress.json"


def solve(name: str, at: str = "2026-01-02T03:04:05+00:00") -> str:
    return progress.update(name, lambda entry: entry | {"solved": at, "tries": entry.get("tries", 0) + 1})


def test_the_file_is_under_the_data_folder_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert progress.progress_file() == tmp_path / "sparse-mla/progress.json"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert progress.progress_file() == tmp_path / ".local/share/sparse-mla/progress.json"


def test_sessions_do_not_lose_each_others_entries(file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(solve, [f"00.{n}" for n in range(20)] * 2)) == {""}
    entries = json.loads(file.read_text())["exercises"]
    assert {name: entry["tries"] for name, entry in entries.items()} == {f"00.{n}": 2 for n in range(20)}


@pytest.mark.parametrize(
    "damage", ["", "{", "[1]", '{"format": 9, "exercises": {}}', '{"format": 1, "exercises": {"a": 3}}', "\0"]
)
def test_a_damaged_file_is_kept_aside_and_named(file: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    file.parent.mkdir()
    file.write_text(damage)
    assert cli.main(["progress"]) == 0
    assert "cannot be read as progress" in capsys.readouterr().out
    assert file.read_text() == damage  # reading changes nothing
    said = solve("00.a")
    (aside,) = file.parent.glob("*damaged*")
    assert str(aside) in said
    assert aside.read_text() == damage
    assert set(progress.load()[0]) == {"00.a"}


def test_an_interrupted_write_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solve("00.a")
    before = file.read_text()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "not stored" in solve("00.b")
    assert file.read_text() == before
    assert [path.name for path in file.parent.iterdir() if path.suffix not in (".json", ".lock")] == []


def test_a_folder_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv(progress.VARIABLE, "/dev/null/progress.json")
    assert "not stored" in solve("00.a")


def test_what_json_cannot_hold_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match="a number, a word"):
        progress.update("00.a", lambda entry: {"prediction": object()})
    assert not file.exists()


def test_the_table_counts_by_notebook(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solve("00.kinds")
    progress.update("00.relative_l2", lambda entry: {"tries": 4})
    assert cli.main(["progress", "--json"]) == 0
    first: dict[str, Any] = json.loads(capsys.readouterr().out)[0]
    assert first["notebook"] == "00_start_here"
    assert (first["exercises"], first["tried"], first["solved"]) == (len(exercises("00")), 2, 1)
    assert first["last solved"].startswith("2026-01-02")
    assert cli.main(["progress"]) == 0
    assert str(file) in capsys.readouterr().out
