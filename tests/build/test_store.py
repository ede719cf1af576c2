"""The cache of made things: whole or absent, once, whatever happens to the processes that make them."""

from __future__ import annotations

import fcntl
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparse_mla.build import store
from sparse_mla.build.store import cached
from sparse_mla.errors import ToolchainError

# Makes entry "k" slowly, notes that it did in the file `made`, and prints what it read back.
MAKER = """
import sys, time
from pathlib import Path
from sparse_mla.build.store import cached

root, seconds = Path(sys.argv[1]), float(sys.argv[2])

def make(path):
    with open(root / "made", "a") as log:
        log.write("x")
    with path.open("w") as out:
        out.write("first half ")
        out.flush()
        time.sleep(seconds)
        out.write("second half")

print(cached("kind", "k", make, ".txt", what="a thing", root=root).read_text())
"""
WHOLE = "first half second half"


def start(root: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that makes the entry."""
    return subprocess.Popen([sys.executable, "-c", MAKER, str(root), str(seconds)], stdout=subprocess.PIPE, text=True)


def wait_until_it_makes(root: Path) -> None:
    deadline = time.monotonic() + 30
    while not (root / "made").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    outputs = [process.communicate(timeout=60)[0].strip() for process in [start(tmp_path, 0.5), start(tmp_path, 0.5)]]
    assert outputs == [WHOLE, WHOLE]
    assert (tmp_path / "made").read_text() == "x"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    other = start(tmp_path, 0.5)
    wait_until_it_makes(tmp_path)
    entry = cached("kind", "k", lambda path: path.write_text(WHOLE), ".txt", root=tmp_path)  # both make it and one wins
    assert entry.read_text() == WHOLE == other.communicate(timeout=60)[0].strip()


def test_a_killed_maker_leaves_nothing_that_counts(tmp_path: Path) -> None:
    victim = start(tmp_path, 60)
    wait_until_it_makes(tmp_path)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert [path.suffix for path in (tmp_path / "kind").iterdir() if path.is_file()] == [".lock"]
    assert start(tmp_path, 0).communicate(timeout=60)[0].strip() == WHOLE


def test_a_failed_make_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise ValueError("the disk is on fire")

    with pytest.raises(ValueError, match="on fire"):
        cached("kind", "k", fail, ".txt", root=tmp_path)
    assert [path.suffix for path in (tmp_path / "kind").iterdir()] == [".lock"]


def test_kind_key_and_suffix_tell_entries_apart(tmp_path: Path) -> None:
    names = [("kind", "k", ".a"), ("kind", "l", ".a"), ("kind", "k", ".b"), ("other", "k", ".a")]
    assert len({cached(kind, key, Path.touch, suffix, root=tmp_path) for kind, key, suffix in names}) == 4


def test_progress_shows_only_when_it_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "PATIENCE_SECONDS", 0.05)

    def slowly(path: Path) -> None:
        time.sleep(0.5)
        path.touch()

    def said(key: str, make: object) -> str:
        cached("kind", key, make, ".txt", what="fused.hip", root=tmp_path)  # type: ignore[arg-type]
        return capsys.readouterr().err

    assert said("quick", Path.touch) == ""
    assert re.fullmatch(r"compiling fused\.hip \(once\) \.\.\. \d+ s\n", said("slow", slowly))
    assert said("slow", slowly) == ""


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(ToolchainError, match=r"cannot write to .*taken.*XDG_CACHE_HOME"):
        cached("kind", "k", Path.touch, ".txt", root=tmp_path / "taken")


def test_root_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for xdg, root in ((str(tmp_path), tmp_path), ("", tmp_path / "home/.cache")):
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
        assert store.cache_root() == root / "sparse-mla"
