"""A folder of made things: each is made once, by whichever process comes first, and appears whole or not at all.

An entry is named by the hash of everything that determines it, so it never goes stale, and deleting any of it is safe. It is
made in a private folder beside its place and moved there in one step; a process that dies leaves only that private folder,
which nobody looks at.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sparse_mla.errors import ToolchainError

PATIENCE_SECONDS = 1.0


def cache_root() -> Path:
    """The user's cache folder: $XDG_CACHE_HOME/sparse-mla, or ~/.cache/sparse-mla."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparse-mla"


def cached(
    kind: str, key: str, make: Callable[[Path], object], suffix: str, *, what: str | None = None, root: Path | None = None
) -> Path:
    """The path of entry `key` among entries of `kind`, made now by `make(path)` if it is not there yet.

    `make` writes the file (or folder) `path`, and may use `path.parent` as scratch space. `what` names it in the progress line
    that appears on stderr when making takes over a second. Processes that want the same entry wait for the first to make it.
    """
    place = (root or cache_root()) / kind
    entry = place / (hashlib.sha256(key.encode()).hexdigest()[:32] + suffix)
    if entry.exists():
        return entry
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
    if not os.access(place, os.W_OK):
        raise ToolchainError(f"cannot write to {place}: set XDG_CACHE_HOME to a folder that you can write to")
    with _progress(what or kind), _lock(entry.with_suffix(".lock")):
        if not entry.exists():
            with TemporaryDirectory(prefix=".making-", dir=place) as scratch:
                made = Path(scratch) / f"entry{suffix}"
                make(made)
                os.replace(made, entry)
    return entry


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Held by one process at a time; the system releases it when that process ends, however it ends."""
    with path.open("w") as file:
        # On a file system without locks each makes the entry, and the last to finish puts the same bytes in its place.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _progress(what: str) -> Iterator[None]:
    start = time.monotonic()
    told = threading.Event()

    def tell() -> None:
        told.set()
        print(f"compiling {what} (once) ...", end="", file=sys.stderr, flush=True)

    timer = threading.Timer(PATIENCE_SECONDS, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if told.is_set():
            print(f" {time.monotonic() - start:.0f} s", file=sys.stderr)
