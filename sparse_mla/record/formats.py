"""What profiles there are, how each is recognised and what reads it: one table, for `open_profile`, its errors and the docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from sparse_mla.errors import RecordingError
from sparse_mla.record.att import HEADS
from sparse_mla.record.inputs import json_items, text
from sparse_mla.record.schema import Recording, Skipped, shown
from sparse_mla.record.tabular import header, kind_of

# name; what it is; marks: files of a folder, or a key of JSON, or the first bytes; reader. Folders go first.
_FORMATS = """
native; folder; manifest.json; store.load
thread trace; folder; filenames.json, code.json, ui_output*/filenames.json, ui_output*/code.json; att.read
rocprof-compute; folder; pmc_perf.csv, pmc_perf_*.csv; from_csv.read_workload
rocpd; SQLite; SQLite format 3; rocpd.read
rocprofv3 JSON; JSON; rocprofiler-sdk-tool; rocprof_json.read
Chrome trace; JSON; traceEvents; kineto.read
Proton; JSON; frame; proton.read
CSV; CSV; columns of a known kind; from_csv.read
"""
_SUFFIXES = (".csv", ".db", ".json", ".gz", ".rocpd")  # of the files that are looked at in a folder of no format of its own
TRACE = "thread trace"
_BESIDE = ("rocprofv3 JSON", "instructions", "agents")  # what lies beside a thread trace and is no second recording
MOST = 20_000  # files of a folder


@dataclass(frozen=True)
class Format:
    """One format of profiles. `kind`: folder, SQLite, JSON or CSV; `marks`: what one has and the others have not."""

    name: str
    kind: str
    marks: tuple[str, ...]
    reader: str

    def read(self, path: Path) -> Recording:
        """Raises RecordingError for what is not as this format has it."""
        module, function = self.reader.split(".")
        found: Recording = getattr(import_module(f"sparse_mla.record.{module}"), function)(path)
        return found


FORMATS = [
    Format(name, kind, tuple(marks.split(", ")), reader)
    for name, kind, marks, reader in (line.split("; ") for line in _FORMATS.strip().splitlines())
]
KNOWN = ", ".join(f"{f.name} ({f.kind}: {', '.join(f.marks)})" for f in FORMATS)


def open_profile(path: str | Path) -> Recording:
    """The recording in a file or folder, of whatever profiler wrote it: `sparse_mla.record.formats.FORMATS`.

    `recording.skipped` says what the tables have no place for. Raises RecordingError, naming file, row and what was expected, for
    what is no profile, for damage, and for a folder in which several recordings lie.
    """
    return find(path)[1]


def find(path: str | Path) -> tuple[Format, Recording]:
    """The format too."""
    path = Path(path)
    try:
        one, place, others = _folder(path) if path.is_dir() else (_file(path), path, [])
        recording = one.read(place)
        more = tuple(Skipped(str(x), "a file of no known format", 1) for x in others)
        return one, replace(recording, skipped=(*recording.skipped, *more))
    except RecordingError as problem:
        said = str(problem) if str(path) in str(problem) else f"{path}: {problem}"
        raise RecordingError(shown(said)) from None
    except RecursionError:
        raise RecordingError(f"{path}: values are nested too deeply") from None
    except OSError as problem:
        raise RecordingError(f"{path} cannot be read: {problem}") from None


def _file(path: Path) -> Format:
    """The format of a file. Raises RecordingError where it has none."""
    if not path.is_file():
        raise RecordingError(f"{path} is neither a file nor a folder")
    with path.open("rb") as raw:
        head = raw.read(64)
    by = {f.name: f for f in FORMATS}
    if head.startswith(b"SQLite format 3"):
        return by["rocpd"]
    if head.startswith(b"PK\3\4"):
        raise RecordingError(f"{path} is a zip archive; unpack it, and open the folder")
    with text(path) as file:
        first = file.read(4096).lstrip()[:1]
    if first in ("{", "["):
        for key in _keys(path):
            if found := next((f for f in FORMATS if f.kind == "JSON" and key in f.marks), None):
                return found
        inside = f"; it belongs to the folder {path.parent}" if any((path.parent / name).is_file() for name in HEADS) else ""
        raise RecordingError(f"{path} is JSON of no known format{inside}. Known are {KNOWN}")
    kind, near = kind_of(header(path))
    if kind or near:
        return by["CSV"]
    raise RecordingError(f"{path} is no profile of a known format. Known are {KNOWN}")


def _keys(path: Path) -> Iterator[str]:
    """The keys of a JSON object, or of the objects of a list, as they come."""
    for place, value in json_items(path, "traceEvents", *(f"rocprofiler-sdk-tool/{x}agents" for x in ("", "*/"))):
        if place and isinstance(place[0], str):
            yield place[0]
        elif isinstance(value, dict):
            yield from value


def _folder(path: Path) -> tuple[Format, Path, list[Path]]:
    """The format of a folder, what to read (it, or its only file), and files that are no profiles. Raises RecordingError where
    that is not clear."""
    own = [f for f in FORMATS if f.kind == "folder" and any(True for mark in f.marks for _ in path.glob(mark))]
    if len(own) > 1:
        raise RecordingError(f"{path} is {' and '.join(f.name for f in own)} at once; open what is in it")
    if own and (own[0].name != TRACE or any((path / name).is_file() for name in HEADS)):
        return own[0], path, []
    files: dict[str, list[Path]] = {}
    others, problems = [], []
    for i, file in enumerate(sorted(x for x in path.rglob("*") if x.suffix in _SUFFIXES and x.is_file())):
        if i == MOST:
            raise RecordingError(f"{path} has more than {MOST:,} files; open one of the folders in it")
        if own and file.parent.name.startswith("ui_output"):
            continue
        try:
            found = _file(file)
        except RecordingError as problem:
            others.append(file)
            problems.append(str(problem))
            continue
        kind = kind_of(header(file))[0] if found.name == "CSV" else None
        if not own or (kind.name if kind else found.name) not in _BESIDE:
            files.setdefault(found.name, []).append(file)
    candidates = [*own, *(f for f in FORMATS if f.name in files)]
    if not candidates:
        raise RecordingError(problems[0] if problems else f"{path} has no profile of a known format. Known are {KNOWN}")
    first, whole = candidates[0], candidates[0].name in (TRACE, "CSV")
    if len(candidates) > 1 or (not whole and len(files[first.name]) > 1):
        said = [f"{f.name} ({', '.join(x.name for x in files.get(f.name, [path])[:3])})" for f in candidates]
        raise RecordingError(f"{path} has more than one recording: {'; '.join(said)}. Open one of them")
    return first, path if whole else files[first.name][0], [x for x in others if x.suffix != ".csv"]
