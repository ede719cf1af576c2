"""The profiles that the project keeps: recordings and tables below profiles/, what is in them, and whether they are whole.

`sparse-mla profiles list`, `show`, `verify`; `renew` makes the emulated recordings again, all of KEPT.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sparse_mla.errors import InputError, RecordingError, SparseMlaError
from sparse_mla.files import folder
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import CATALOGUE
from sparse_mla.record import store, suspects
from sparse_mla.record.formats import open_profile
from sparse_mla.record.from_emulator import record
from sparse_mla.record.schema import KINDS, Recording

LIMIT = 20_000_000  # bytes of all of them together
MORE = ("pro-swa-h16", "pro-csa-h128", "pro-csa-mtp3-h16", "pro-hca-h16", "flash-csa-h8", "flash-csa-mtp6-h16")
KEPT = tuple((kernel, "pro-csa-h16") for kernel in CATALOGUE) + tuple((k, case) for k in ("base", "product") for case in MORE)
KEPT += tuple((suspect, "pro-csa-h16") for suspect in suspects.CHANGES)


def entries() -> list[dict[str, Any]]:
    """One row for each recording and table: path (below profiles/), kind, holds, bytes. Raises RecordingError for damage."""
    tools = _of_tools()
    return [row for path in _files() if (row := _entry(path, tools))]


def _files() -> list[Path]:
    return sorted(path for path in folder("profiles").rglob("*") if path.is_file())


def _entry(path: Path, tools: dict[Path, dict[str, Any]]) -> dict[str, Any] | None:
    """The row of `entries` for a file; None for one that is a part of something, or lists others. Raises RecordingError, or
    ValueError for what is not TOML, where it is not as it should be."""
    if path in tools:
        opened = open_profile(path)
        if not (len(opened["dispatches"]) or len(opened["summaries"])):
            raise RecordingError("it has no launches and no sums of them")
        said, holds = tools[path]["kind"], f"{tools[path]['tool']}: {len(opened['dispatches'])} launches"
    elif path.name == "manifest.json":
        if (one := _recording(path.parent)) is None:
            if lost := [name for name in json.loads(path.read_text()) if not (path.parent / name).is_file()]:
                raise RecordingError(f"it names {lost[0]}, which is not there")
            return None
        us = (one["dispatches"].end.max() - one["dispatches"].start.min()) / 1000
        said, holds = one.kind("dispatches"), f"{one.manifest.kernel} on {one.manifest.case.get('name', '?')}: {us:.1f} us"
        path = path.parent
    elif path.suffix == ".csv":
        (said, about), rows = described(path), store.table(path)
        if rows.empty:
            raise RecordingError("it has no rows")
        sourced = ("source" in rows and rows.source.notna().all()) or "Source: " in path.read_text()
        if "published" in said and not sourced:
            raise RecordingError("it is published; each row has its source, in a column or in the head of the table")
        holds = f"{len(rows)} rows: {about:.90}"
    else:
        if path.suffix == ".toml":
            tomllib.loads(path.read_text())
        if path.suffix == ".npz" and not (path.parent / "manifest.json").is_file():
            raise RecordingError("it is in no recording: a manifest.json is missing beside it")
        return None
    size = sum(x.stat().st_size for x in ([path] if path.is_file() else path.iterdir()))
    return {"path": _name(path), "kind": said, "holds": holds, "bytes": size}


def _name(path: Path) -> str:
    return str(path.relative_to(folder("profiles")))


def _recording(path: Path) -> Recording | None:
    """The recording that a folder with a manifest holds; None where the manifest is that of files."""
    return store.load(path) if "format" in json.loads((path / "manifest.json").read_text()) else None


def _of_tools() -> dict[Path, dict[str, Any]]:
    """Files as other tools wrote them, which `open_profile` reads, and what the manifest above them says: kind, tool, device."""
    manifests = {path.parent: json.loads(path.read_text()) for path in folder("profiles").rglob("manifest.json")}
    of_files = {place: given for place, given in manifests.items() if "format" not in given}
    return {place / name: about for place, given in of_files.items() for name, about in given.items() if "tool" in about}


def described(path: Path) -> tuple[str, str]:
    """The kinds of a table's numbers and what they are: from its column `kind` and the comments at its head, or from the manifest
    beside it. Raises RecordingError where none says the kind."""
    head = [line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# ")]
    beside, rows = path.parent / "manifest.json", store.table(path)
    given = json.loads(beside.read_text()).get(path.name, {}) if beside.is_file() else {}
    said = [line.split()[1].rstrip(".,;") for line in head if line.startswith("kind: ")] or [given.get("kind", "")]
    kinds = set(rows.kind) if "kind" in rows else set(said)
    if not kinds <= set(KINDS):
        raise RecordingError(
            f"{path} does not say its kind ({', '.join(KINDS)}): in a column, a line `# kind: ...` or {beside.name}"
        )
    return ", ".join(sorted(kinds)), head[0] if head else f"{given.get('device')}, {given.get('date')}"


def show(name: str) -> str:
    """A recording or table in words. Raises InputError for one that there is not."""
    path = folder("profiles") / name
    if path in _of_tools():
        return str(open_profile(path))
    if (path / "manifest.json").is_file():
        m = (one := store.load(path)).manifest
        about = m.device | m.case | m.result | {"command": m.command, "commit": m.commit, "date": m.date}
        return "\n".join([str(one), *(f"  {key}: {value}" for key, value in about.items())])
    if path.suffix != ".csv" or not path.is_file():
        raise InputError(f"there is no profile {name!r}; `sparse-mla profiles list` lists them")
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    return "\n".join([*head, pd.read_csv(path, comment="#", dtype=str, keep_default_na=False).to_string(index=False)])


def verify() -> Iterator[str]:
    """What is wrong below profiles/, in sentences: every file is read."""
    root, size, tools = folder("profiles"), 0, _of_tools()
    for path in _files():
        size += path.stat().st_size
        try:
            _entry(path, tools)
        except (SparseMlaError, ValueError) as problem:
            yield f"{_name(path)}: {problem}"
    there = {row.parent for row in (root / "emulated").rglob("manifest.json")}
    for kernel, case in KEPT:
        if root / "emulated/mi355x" / kernel / case not in there:
            yield f"emulated/mi355x/{kernel}/{case} is missing: `sparse-mla profiles renew` makes it"
    if size > LIMIT:
        yield f"the profiles take {size:,} bytes; {LIMIT:,} are allowed"


def renew() -> Iterator[Path]:
    """Makes every recording of KEPT again, and removes others that were emulated."""
    root = folder("profiles") / "emulated/mi355x"
    for old in sorted(root.rglob("manifest.json")):
        if (str(old.parents[1].relative_to(root)), old.parent.name) not in KEPT:
            shutil.rmtree(old.parent)
    for kernel, case in KEPT:
        if kernel in suspects.CHANGES:
            made = suspects.record_suspect(kernel, Case.named(case), command="sparse-mla profiles renew")
        else:
            command = f"sparse-mla record {kernel} --case {case} --out profiles/emulated/mi355x/{kernel}/{case}"
            made = record(kernel, Case.named(case), command=command)
        yield store.save(made, root / kernel / case)
