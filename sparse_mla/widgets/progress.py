"""What a learner has answered, predicted and solved: one JSON file in the user's data folder. Nothing leaves the machine.

Without anybody there (`headless`) nothing is stored: it lasts as long as the process. SPARSE_MLA_PROGRESS names another file.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sparse_mla.errors import InputError
from sparse_mla.widgets.headless import headless

VARIABLE = "SPARSE_MLA_PROGRESS"
FORMAT = 1
Entry = dict[str, Any]
_here: dict[str, Entry] = {}  # of a session without anybody there


def progress_file() -> Path:
    """Where progress is kept: $SPARSE_MLA_PROGRESS, or sparse-mla/progress.json in the XDG data folder."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(os.environ.get(VARIABLE) or Path(data) / "sparse-mla/progress.json")


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def load() -> tuple[dict[str, Entry], str]:
    """All entries by exercise, and what is wrong with the file ("" for nothing). The file is not touched."""
    path = progress_file()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        entries = data["exercises"]
        if data["format"] != FORMAT or not all(isinstance(entry, dict) for entry in entries.values()):
            raise ValueError(f"its format is not {FORMAT}")
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        return {}, f"{path} cannot be read as progress ({type(problem).__name__}: {problem})"
    return entries, ""


def entry(name: str) -> Entry:
    """What is known of an exercise: `tries`, `solved`, `prediction`, `predicted`, `revealed`; times are UTC."""
    return (_here if headless() else load()[0]).get(name, {})


def update(name: str, change: Callable[[Entry], Entry]) -> str:
    """Replaces an exercise's entry by `change(entry)`. Gives "", or a sentence: the file was damaged, or cannot be written.

    A damaged file is kept under another name. The new one replaces the old in one step, and two sessions do not lose each
    other's entries.
    """
    if headless():
        _here[name] = change(_here.get(name, {}))
        return ""
    path = progress_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries, problem = load()
            if problem:
                aside = path.with_suffix(f".damaged-{now().replace(':', '')}-{os.getpid()}")
                os.replace(path, aside)
                problem += f"; it is kept as {aside}, and a new one is begun"
            text = json.dumps({"format": FORMAT, "exercises": entries | {name: change(entries.get(name, {}))}}, indent=1)
            with tempfile.TemporaryDirectory(dir=path.parent) as new, open(Path(new) / "new", "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
        return problem
    except TypeError as odd:
        raise InputError(f"{name}: {odd}; an answer is a number, a word, or a list or dictionary of them") from None
    except OSError as problem:
        return f"progress is not stored: {problem}"
