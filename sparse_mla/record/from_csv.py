"""Recordings from CSV files: rocprofv3 of 6.3 to 7.x, rocprof-compute, rocprof 1 and 2, Nsight Compute. `tabular` says which
columns go where; here files become one recording, and what does not fit together is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparse_mla.errors import RecordingError
from sparse_mla.record.agents import SYSINFO, choose, device
from sparse_mla.record.schema import Manifest, Recording, Skips, bare_names, joined, nth_launches, one_kind, unmarked
from sparse_mla.record.tabular import COUNTER, LAUNCHES, Frame, header, kind_of, number
from sparse_mla.record.tabular import read as read_file

_NS = {"ns": 1, "nsecond": 1, "us": 1e3, "usecond": 1e3, "ms": 1e6, "msecond": 1e6, "s": 1e9, "second": 1e9}
_DURATIONS = ("gpu__time_duration.sum", "Duration")  # metrics of Nsight Compute
_PRODUCTS = {"grid_items": "grid_x", "group_items": "workgroup_x"}  # what a column is the product of
_LEVEL = "SQ_ACCUM_PREV_HIRES"  # means something else in each pass of rocprof-compute


def read(path: str | Path) -> Recording:
    """One CSV file, or all below a folder: one run, in any number of passes. Times from 0 where a tool has only durations.

    Raises RecordingError, naming file, row and column, for what cannot be read, for a folder without such files, and for files
    that are not of one run: the same dispatch twice, or under two names.
    """
    path, skips = Path(path), Skips()
    files = [path]
    if path.is_dir():
        files = []
        for file in sorted(path.rglob("*.csv")):
            kind, near = kind_of(header(file))
            files += [file] if kind or near else []
            if not kind and not near:
                skips.add(file, "a file of no known kind")
        if not files:
            raise RecordingError(f"{path} has no CSV files of a known kind: no *_kernel_trace.csv, *_counter_collection.csv, ...")
    return recording([read_file(file, skips) for file in files], path, skips)


def recording(frames: Sequence[Frame], path: Path, skips: Skips) -> Recording:
    """The files of one run as a recording."""
    of = {name: [f for f in frames if f.kind.table == name and f.rows] for name in {f.kind.table for f in frames}}
    kinds: set[str] = set()
    counters = [c for frame in of.get("counters", []) + of.get("dispatches", []) if len(c := _counters(frame, skips))]
    launches = _launches(of.get("dispatches", []), of.get("counters", []), kinds)
    for frame in of.get("summaries", []) + of.get("instructions", []):
        first = frame.columns.get("text") or next(iter(frame.extra.values()))
        kinds |= {*bare_names(first)[1]} - {"measured"}
    kind = one_kind(kinds, path)
    tables: dict[str, Any] = {"dispatches": launches} if len(launches) else {}
    if counters:
        tables["counters"] = _once(counters, skips)
        _durations(tables)
    for name, one in (("spans", None), ("samples", None), ("summaries", _summary), ("instructions", _listing)):
        if frames_of := of.get(name):  # spans and samples are as their tables have them
            parts = [one(frame, skips) if one else pd.DataFrame(frame.columns, copy=False) for frame in frames_of]
            tables[name] = joined(parts, -1 if name == "spans" else None)
    arch: dict[str, Any] = {}
    for frame in of.get("device", []):
        rows = [dict(zip(map(str.lower, frame.extra), row, strict=True)) for row in zip(*frame.extra.values(), strict=True)]
        system = frame.kind.name == "system"
        found = device(rows[0], SYSINFO, str(frame.path)) if system else choose(rows, launches, str(frame.path), skips)
        arch = arch or found
    for frame in frames:
        if "arch" in frame.columns and frame.rows and not arch:  # Nsight Compute says the compute capability
            arch = {"arch": f"sm_{frame.columns['arch'][0].replace('.', '')}"}
    tool = "Nsight Compute" if str(arch.get("arch", "")).startswith("sm_") else "rocprofv3"
    return Recording(Manifest(dict.fromkeys(tables, kind), arch, tool), tables, tuple(skips))


def _sizes(columns: dict[str, Any]) -> dict[str, Any]:
    """Sizes that a tool gives as `(x, y, z)`: the grid's in workgroups."""
    grid, group = columns.get("grid_items"), columns.get("group_items")
    if grid is None or group is None or grid.ndim == group.ndim == 1:
        return columns
    if grid.ndim != 2 or group.ndim != 2:
        raise RecordingError("grid and block are not given alike")
    rest = {name: x for name, x in columns.items() if name not in ("grid_items", "group_items")}
    rest |= {f"workgroup_{x}": group[:, i] for i, x in enumerate("xyz")}
    return rest | {f"grid_{x}": grid[:, i] * group[:, i] for i, x in enumerate("xyz")}


def _launches(traces: list[Frame], counted: list[Frame], kinds: set[str]) -> pd.DataFrame:
    """The table of dispatches: those of traces, with what only counters know of them; without traces, those of counters."""
    traces, counted = ([frame for frame in some if "kernel" in frame.columns] for some in (traces, counted))
    named = [*traces, *counted]
    parts = [_launch_columns(frame, kinds if frame in traces or not traces else set()) for frame in named]
    if not parts:
        return pd.DataFrame()
    names = pd.concat([part[["dispatch", "kernel"]].assign(file=i) for i, part in enumerate(parts)], ignore_index=True)
    if len(twice := names.dispatch[names.file < len(traces)]) and (again := twice.duplicated(keep=False)).any():
        number = twice[again].iloc[0]
        files = [named[i].path for i in names.file[(names.dispatch == number) & (names.file < len(traces))]]
        both = f"{files[1]} and {files[0]} both have" if files[0] != files[1] else f"{files[0]} has twice"
        raise RecordingError(f"{both} dispatch {number}; read the runs one by one")
    names = names.drop_duplicates(["dispatch", "kernel"])
    if len(other := names[names.dispatch.duplicated()]):
        row = other.iloc[0]
        before = names.kernel[names.dispatch == row.dispatch].iloc[0]
        said = f"dispatch {row.dispatch} is {row.kernel:.60}, before {before:.60}; read the runs one by one"
        raise RecordingError(f"{named[row.file].path}: {said}")
    if not traces:
        parts = [part if part.dispatch.is_unique else part.drop_duplicates("dispatch") for part in parts]
        main = parts[0] if len(parts) == 1 else joined(parts).drop_duplicates("dispatch", ignore_index=True)
    else:
        main = joined(parts[: len(traces)])
        for part in parts[len(traces) :]:
            more = [c for c in part if c not in main and _PRODUCTS.get(c) not in set(main)]
            if more and main.dispatch.isin(part.dispatch).all():
                main = main.merge(part[["dispatch", *more]].drop_duplicates("dispatch"), on="dispatch", how="left")
    return main if {"start", "end"} <= set(main) else main.assign(start=0, end=0)


def _launch_columns(frame: Frame, kinds: set[str]) -> pd.DataFrame:
    columns = {name: x for name, x in frame.columns.items() if name not in (*COUNTER, "arch")}
    kernel, kind = bare_names(frame.columns["kernel"])
    kinds |= {*kind}
    try:
        return pd.DataFrame(_sizes(columns) | {"kernel": kernel}, copy=False)
    except ValueError as problem:
        raise RecordingError(f"{frame.path}: {problem}") from None


def _counters(frame: Frame, skips: Skips) -> pd.DataFrame:
    """The counters of a file: a row each, or a column each."""
    ours = frame.columns
    kind = bare_names(ours["kernel"])[1] if "kernel" in ours else "measured"
    if "name" in ours:
        used = {name: x for name, x in ours.items() if name in ("dispatch", *COUNTER)}
        columns = {name: pd.Series(x, dtype=object) if isinstance(x, list) else x for name, x in used.items()}
        return pd.DataFrame(columns | {"kind": kind}, copy=False).assign(file=str(frame.path))
    if not frame.extra:
        return pd.DataFrame()
    values, names = np.stack(list(frame.extra.values())), np.array(list(frame.extra), object)  # [counters, launches]
    there = ~np.isnan(values)
    if lost := int((~there).sum()):
        skips.add(frame.path, "counters without a value", int(np.argmin(there.all(0))) + 2, lost)
    one, launch = np.nonzero(there)
    columns = {"dispatch": ours["dispatch"][launch], "name": names[one], "value": values[there], "kind": "measured"}
    columns |= {"kind": kind.to_numpy()[launch]} if isinstance(kind, pd.Series) else {}
    columns |= {"unit": np.array([frame.units[name] for name in names], object)[one]} if frame.units else {}
    return pd.DataFrame(columns).assign(file=str(frame.path))


def _once(counters: list[pd.DataFrame], skips: Skips) -> pd.DataFrame:
    """All of them. Nsight Compute repeats a metric in several sections; elsewhere a second value is of another run."""
    whole = joined(counters)
    again = whole.duplicated(["dispatch", "name"])
    if again.any():
        row = whole[again].iloc[0]
        first = whole[(whole.dispatch == row.dispatch) & (whole["name"] == row["name"])].iloc[0]
        if "unit" not in whole:
            files = f"{row.file} and {first.file} both have" if row.file != first.file else f"{row.file} has twice"
            raise RecordingError(f"{files} {row['name']} of dispatch {row.dispatch}; read the runs one by one")
        skips.add(row.file, "a metric that another section has too", rows=int(again.sum()))
        whole = whole[~again]
    return whole.drop(columns="file")


def _durations(tables: dict[str, Any]) -> None:
    """Begin 0 and end of dispatches whose time is a metric."""
    found, launches = tables["counters"], tables.get("dispatches")
    if launches is None or "unit" not in found or launches["end"].any():
        return
    times = found[found["name"].isin(_DURATIONS) & found.unit.isin(_NS)].drop_duplicates("dispatch")
    ns = (times.value * times.unit.map(_NS)).round().astype(np.int64)
    ends = launches.dispatch.map(dict(zip(times.dispatch, ns, strict=True))).fillna(0).astype(np.int64)
    tables["dispatches"] = launches.assign(end=ends)


def _summary(frame: Frame, skips: Skips) -> pd.DataFrame:
    """Each number of a row, under the name of its column."""
    (label, names), *figures = frame.extra.items()
    rows = []
    for i, name in enumerate(names):
        for metric, cells in figures:
            try:
                rows.append((unmarked(name)[0], metric, number(cells[i])))
            except ValueError:
                skips.add(frame.path, f"column {metric:.60} of {label:.60} without a number", i + 2)
    return pd.DataFrame(rows, columns=["name", "metric", "value"])


def _listing(frame: Frame, skips: Skips) -> pd.DataFrame:
    """The listing beside a thread trace: a line that begins with `; ` names the kernel of those behind it."""
    columns = pd.DataFrame(frame.columns)
    heads = columns.text.str.startswith("; ")
    kernel = columns.text.where(heads).str[2:].ffill().fillna("").map(lambda name: unmarked(name)[0])
    sources = columns.get("source", pd.Series("", index=columns.index)).map(place)
    dispatch = re.search(r"_dispatch_(\d{1,9})", frame.path.name)
    rows = columns.drop(columns="source", errors="ignore").assign(kernel=kernel, dispatch=int(dispatch[1]) if dispatch else 1)
    rows = rows.assign(file=sources.str[0], line=sources.str[1], inlined_at=sources.str[2], pc=np.cumsum(~heads) - 1)
    return rows[~heads]


def place(source: str) -> tuple[str, int, str]:
    """(file, line, where it was inlined) of `path:line -> path:line ...`, as thread traces have it. Raises ValueError."""
    first, _, others = source.partition(" -> ")
    file, _, line = first.rpartition(":")
    return file, int(line or 0), others


def read_workload(folder: str | Path) -> Recording:
    """A workload folder of rocprof-compute: the counters of all its passes, its device, its roofline.

    Passes run the program anew, so that the n-th launch of a kernel in one is the n-th in another. `pmc_perf.csv` has the passes
    merged; files of single passes are read where it is missing. Raises RecordingError as `read` does.
    """
    path, skips = Path(folder), Skips()
    merged = path / "pmc_perf.csv"
    passes = [merged] if merged.is_file() else sorted(path.glob("pmc_perf_*.csv"))
    if not passes:
        raise RecordingError(f"{path} has no pmc_perf.csv and no pmc_perf_*.csv")
    main = read_file(passes[0], skips)
    if main.kind.table not in ("dispatches", "counters") or "kernel" not in main.columns:
        raise RecordingError(f"{main.path} is {main.kind.name}; a pass of rocprof-compute has launches with counters")
    launches = {launch: number for number, launch in nth_launches(main.launches).items()}
    frames, counted = [main], set(main.extra) | set(main.columns.get("name", ()))
    others = [*passes[1:], *sorted(path.glob("SQ_*.csv")), *path.glob("timestamps.csv")]
    for file in others:
        frame = read_file(file, skips)
        if frame.kind.name != LAUNCHES:
            skips.add(file, f"a file of {frame.kind.name}")
            continue
        numbers = np.array([launches.get(launch, -1) for launch in nth_launches(frame.launches).values()], np.int64)
        if len(numbers) != frame.rows:
            raise RecordingError(f"{file} has a dispatch more than once")
        if (lost := numbers < 0).any():
            skips.add(file, "launches that the first pass has not", int(np.argmax(lost)) + 2, int(lost.sum()))
        extra = {f"{name} of {file.stem}" if name == _LEVEL else name: x[~lost] for name, x in frame.extra.items()}
        if again := extra.keys() & counted:
            skips.add(file, f"{len(again)} counters that an earlier pass has too")
        extra = {name: x for name, x in extra.items() if name not in counted}
        counted |= set(extra)
        times: dict[str, Any] = {
            name: frame.columns[name] for name in ("start", "end") if name in frame.columns and not lost.any()
        }
        if times.keys() - main.columns.keys() and len(numbers) == main.rows:
            main.columns.update(times)
        frames.append(Frame(file, frame.kind, {"dispatch": numbers[~lost]}, extra, {}))
    about = {}
    for file in (path / "sysinfo.csv", path / "roofline.csv"):
        if file.is_file():
            frames.append(read_file(file, skips))
            if frames[-1].kind.name == "system" and frames[-1].rows:
                about = {name: cells[0] for name, cells in frames[-1].extra.items()}
    known = {frame.path for frame in frames}
    for file in sorted(x for x in path.rglob("*") if x.is_file() and x not in known):
        skips.add(file, "a file that repeats others, or says how they were made")
    found = recording(frames, path, skips)
    versions = {"rocm": about["rocm_version"]} if about.get("rocm_version") else {}
    said = {"command": about.get("command", ""), "date": about.get("timestamp", "")}
    return replace(found, manifest=replace(found.manifest, tool="rocprof-compute", versions=versions, **said))
