"""A recording as a folder: `manifest.json` and, for each table with rows, `<table>.npz`. No pickle.

In a table's file every column is an array of its name. A text column is three: `name` has a number for each row, and
`name#bytes` with `name#ends` hold the distinct texts, UTF-8, one behind the other. Equal recordings give equal bytes.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparse_mla.errors import RecordingError
from sparse_mla.files import folder as profiles
from sparse_mla.record.inputs import read_json
from sparse_mla.record.schema import TABLES, Manifest, Recording, Skipped, Table

_SKIPPED = {"file": str, "reason": str, "rows": int, "first": int}
LIMIT = 1 << 30  # bytes of one table when unpacked; a small file may claim to hold more than any machine has


def write(recording: Recording, folder: str | Path) -> list[Path]:
    """`save`, as the other formats are written: gives the files."""
    return sorted(save(recording, folder).glob("*.*"))


def save(recording: Recording, folder: str | Path) -> Path:
    """Writes the recording into `folder`, which is made; files of an older recording there are replaced."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.json"
    manifest.unlink(missing_ok=True)  # written last: a folder with a manifest is complete
    rows = {}
    for name, frame in recording.tables.items():
        path = folder / f"{name}.npz"
        path.unlink(missing_ok=True)
        if rows_here := len(frame):
            rows[name] = rows_here
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
                for column, values in _arrays(TABLES[name], frame).items():
                    np.lib.format.write_array(data := BytesIO(), values, allow_pickle=False)
                    file.writestr(zipfile.ZipInfo(f"{column}.npy"), data.getvalue(), zipfile.ZIP_DEFLATED)  # no date in it
    skipped = {"skipped": [asdict(one) for one in recording.skipped]} if recording.skipped else {}
    manifest.write_text(json.dumps(recording.manifest.as_dict() | {"tables": rows} | skipped, indent=1, sort_keys=True) + "\n")
    return folder


def load(folder: str | Path) -> Recording:
    """Reads what `save` wrote. Raises RecordingError, naming file and column, for what is missing or damaged."""
    folder = Path(folder)
    path = folder / "manifest.json"
    data = read_json(path)
    manifest = Manifest.from_dict(data, str(path))
    rows = data.get("tables")
    if not isinstance(rows, dict) or set(rows) - set(TABLES):
        raise RecordingError(f"{path}: tables is not a list of known tables with their rows")
    skipped = []
    for one in data.get("skipped", ()):
        if not isinstance(one, dict) or {name: type(x) for name, x in one.items()} != _SKIPPED:
            raise RecordingError(f"{path}: skipped has {one!r:.60}; it has {', '.join(_SKIPPED)}")
        skipped.append(Skipped(**one))
    tables = {}
    for name, count in rows.items():
        file = folder / f"{name}.npz"
        tables[name] = frame = _read(TABLES[name], file)
        if len(frame) != count:
            raise RecordingError(f"{file} has {len(frame)} rows; the manifest says {count}")
    return Recording(manifest, tables, tuple(skipped))


def kept(kernel: str, case: str, device: str = "mi355x") -> Recording:
    """A recording of the repository, emulated and modelled: profiles/emulated/<device>/<kernel>/<case>. Raises RecordingError,
    listing those that there are."""
    root = profiles("profiles") / "emulated"
    path = root / device / kernel / case
    if not (path / "manifest.json").is_file():
        there = ", ".join(str(found.parent.relative_to(root)) for found in sorted(root.rglob("manifest.json")))
        raise RecordingError(f"no recording {path.relative_to(root)} is kept; there are: {there or 'none'}")
    return load(path)


def table(path: str | Path) -> pd.DataFrame:
    """A CSV table of the repository, by its path below profiles/. Raises RecordingError, naming it, where it is not one."""
    try:
        return pd.read_csv(profiles("profiles") / path, comment="#")
    except (ValueError, OSError) as problem:  # pandas' own errors are ValueErrors
        raise RecordingError(f"{path} is not a table: {problem}") from None


def _arrays(of: Table, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for column in of.columns:
        if column.name not in frame:
            continue
        if column.dtype != "text":
            arrays[column.name] = frame[column.name].to_numpy()
            continue
        codes, values = pd.factorize(frame[column.name])
        encoded = [value.encode() for value in values]
        arrays[column.name] = codes.astype(np.int32)
        arrays[f"{column.name}#bytes"] = np.frombuffer(b"".join(encoded), np.uint8)
        arrays[f"{column.name}#ends"] = np.cumsum([len(x) for x in encoded], dtype=np.int64)
    return arrays


def _read(of: Table, path: Path) -> pd.DataFrame:
    try:
        with zipfile.ZipFile(path) as file:
            if (size := sum(info.file_size for info in file.infolist())) > LIMIT:
                raise RecordingError(f"{path} unpacks to {size:,} bytes; a table has at most {LIMIT:,}")
            names = [name.removesuffix(".npy") for name in file.namelist()]
            arrays = {name: np.lib.format.read_array(BytesIO(file.read(f"{name}.npy")), allow_pickle=False) for name in names}
    except FileNotFoundError:
        raise RecordingError(f"{path} is missing; the manifest has its table") from None
    except RecordingError:
        raise
    except Exception as problem:  # zipfile and NumPy raise a dozen kinds for files that are damaged, none of them their own
        raise RecordingError(f"{path} cannot be read: {problem}") from None
    columns = {}
    for name, values in arrays.items():
        if values.ndim != 1:
            raise RecordingError(f"{path}: column {name} has {values.ndim} dimensions; it has one")
        if not name.endswith(("#bytes", "#ends")):
            columns[name] = _texts(name, arrays, path) if f"{name}#bytes" in arrays else values
    if len({len(values) for values in columns.values()}) > 1:
        raise RecordingError(f"{path}: its columns differ in length")
    return of.frame(columns, str(path))


def _texts(name: str, arrays: dict[str, np.ndarray], path: Path) -> Any:
    try:
        blob, ends, codes = arrays[f"{name}#bytes"].tobytes(), arrays[f"{name}#ends"], arrays[name]
        starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        values = np.array([blob[a:b].decode() for a, b in zip(starts, ends, strict=True)] or [""], dtype=object)
        if codes.min(initial=0) < 0:
            raise IndexError("a negative number of a text")
        return values[codes]
    except (KeyError, IndexError, TypeError, UnicodeDecodeError) as problem:
        raise RecordingError(f"{path}: column {name} is damaged: {problem}") from None
