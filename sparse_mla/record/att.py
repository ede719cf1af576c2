"""Recordings as rocprofv3's thread trace writes them for a viewer: one folder `ui_output_agent_<agent>_dispatch_<n>` a dispatch,
and beside it the table of instructions, `stats_ui_output_....csv`.

    filenames.json                    which waves there are; ours holds the manifest too, under a key of its own
    code.json                         the listing, with hits and cycles over the traced waves
    se<S>_sm<SIMD>_sl<slot>_wv<n>.json one wave: its instructions, what state it was in when, what each wait waited for
    occupancy.json wstates<i>.json    begin and end of every wave; how many traced waves were in state i when
    realtime.json                     shader clocks and the host's clock at the same moment
    snapshots.json source_<i>_<file>  source files

Kernels that no device ran are marked in the listing and in occupancy.json. The format has no place for counters, for causes, and
for waves that were not traced except in occupancy.json.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparse_mla.errors import RecordingError
from sparse_mla.record.from_csv import place
from sparse_mla.record.inputs import read_json
from sparse_mla.record.schema import TABLES, Manifest, Recording, Skips, marked, unmarked
from sparse_mla.record.tabular import whole
from sparse_mla.record.trace import STATES, recount, states, timeline, waits

HEADS = ("filenames.json", "code.json")  # a folder has one of them
VERSION = "3.0.0"
HEADER = "ISA, _, LineNumber, Source, Codeobj, Vaddr, Hit, Latency, Stall, Idle"
TICKS = 100_000_000  # of the host's clock a second
_EVENT = ["time", "category", "stall", "duration", "pc"]


def write(recording: Recording, folder: str | Path) -> list[Path]:
    """Writes a folder and a table of instructions for every dispatch that has a listing; gives the folders."""
    done = []
    for dispatch in recording["dispatches"].to_dict("records"):
        one = {name: f[f.dispatch == dispatch["dispatch"]] if "dispatch" in f else f for name, f in recording.tables.items()}
        if len(one["instructions"]):
            name = f"ui_output_agent_{dispatch.get('agent', 0)}_dispatch_{dispatch['dispatch']}"
            done.append(Path(folder) / name)
            _write_dispatch(recording, dispatch["kernel"], one, done[-1])
    return done


def _write_dispatch(recording: Recording, kernel: str, one: dict[str, pd.DataFrame], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.json"), *folder.glob("source_*")):
        old.unlink()

    def put(name: str, data: Any) -> None:
        (folder / name).write_text(json.dumps(data, separators=(",", ":"), sort_keys=True), encoding="utf-8")

    kind = recording.kind("events")
    rows = _listing(one, kind)
    put("code.json", {"code": rows, "header": HEADER, "version": VERSION})
    with (folder.parent / f"stats_{folder.name}.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        table.writerow(["CodeObj", "Vaddr", "Instruction", "Hitcount", "Latency", "Stall", "Idle", "Source"])
        table.writerows([row[4], row[5], row[0], *row[6:10], row[3]] for row in rows)

    texts = {row[2]: row[0] for row in rows}
    files: dict[str, Any] = {}
    timelines = []
    events = {wave: frame[_EVENT].assign(pc=frame.pc + 1).to_numpy() for wave, frame in one["events"].groupby("wave")}
    for w in one["waves"].to_dict("records"):
        if w["wave"] not in events:
            continue
        did, name = events[w["wave"]].tolist(), f"se{w['se']}_sm{w['simd']}_sl{w['slot']}_wv{w['id']}.json"
        spans = timeline(did, w["begin"], w["end"])
        timelines.append((w["begin"], spans))
        wave = {key: w[key] for key in ("cu", "simd", "slot", "id", "begin", "end")}
        wave |= {"instructions": did, "timeline": spans, "waitcnt": waits(did, texts)}
        ours = {key: w[key] for key in ("wave", "xcd", "workgroup", "part") if key in w} | {"kind": kind}
        whole = {"name": f"SE{w['se']}", "duration": w["end"] - w["begin"], "num_insts": len(did), "num_stitched": len(did)}
        put(name, whole | {"wave": wave, "sparse_mla": ours})
        place = files.setdefault(str(w["se"]), {}).setdefault(str(w["simd"]), {}).setdefault(str(w["slot"]), {})
        if str(w["id"]) in place:
            raise RecordingError(f"{folder}: two traced waves have the name {name}")
        place[str(w["id"])] = [name, w["begin"], w["end"]]
    for state in STATES:
        times, number = states(timelines, state)
        put(f"wstates{state}.json", {"name": f"wstates{state}.json", "state": number, "time": times})

    head = {"global_begin_time": 0, "gfxv": "vega", "gfxip": 9, "version": VERSION, "counter_names": []}
    put("filenames.json", head | {"wave_filenames": files or None, "sparse_mla": recording.manifest.as_dict()})
    occupancy: dict[str, Any] = {"dispatches": {"0": "0 / 0x0", "1": marked(kernel, kind)}, "version": VERSION}
    for se, frame in one["occupancy"].groupby("se"):
        occupancy[str(se)] = frame[["time", "cu", "simd", "slot", "start"]].assign(kernel=1).to_numpy().tolist()
    put("occupancy.json", occupancy)
    clocks: dict[str, Any] = {"metadata": {"descriptor": "[gfx_clock, realtime_clock]", "frequency": TICKS}}
    for se, frame in one["clocks"].groupby("se"):
        clocks[f"SE{se}"] = [[int(c), int(t) * TICKS // 10**9] for c, t in zip(frame.cycle, frame.time, strict=True)]
    put("realtime.json", clocks)
    tree: dict[str, Any] = {}
    for i, (path, text) in enumerate(zip(one["sources"].path, one["sources"].text, strict=True)):
        *parents, last = Path(path).parts
        here = tree
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = f"source_{i}_{last}"
        (folder / here[last]).write_text(text, encoding="utf-8", newline="")
    put("snapshots.json", tree)


def _listing(one: dict[str, pd.DataFrame], kind: str) -> list[list[Any]]:
    """The rows of code.json: a line for each kernel in the listing, and its instructions, with what the traced waves did."""
    did = recount(one["events"], one["waves"]).set_index("pc")
    rows: list[list[Any]] = []
    kernel = None
    for row in one["instructions"].sort_values("pc").to_dict("records"):
        place = [row.get("codeobj", 0), row.get("vaddr", 4 * row["pc"])]
        if row["kernel"] != kernel:
            kernel = row["kernel"]
            rows.append([f"; {marked(kernel, kind)}", 0, row["pc"], "", *place, 0, 0, 0, 0])
        source = f"{row['file']}:{row['line']}" if row["file"] else ""
        source += f" -> {row['inlined_at']}" if row.get("inlined_at") else ""
        cycles = did.loc[row["pc"], ["hit", "latency", "stall", "idle"]].tolist() if row["pc"] in did.index else [0] * 4
        rows.append([row["text"], 0, row["pc"] + 1, source, *place, *cycles])
    return rows


def read(path: str | Path) -> Recording:
    """A ui_output folder, or all of those in a folder, as one recording. Files that a folder lacks are taken as empty.

    Raises RecordingError, naming file and row, for what cannot be read.
    """
    path, skips = Path(path), Skips()
    folders = [path] if any((path / name).is_file() for name in HEADS) else []
    folders = folders or sorted({p.parent for name in HEADS for p in path.rglob(f"ui_output*/{name}")})
    if not folders:
        raise RecordingError(f"{path} has no {' and no '.join(HEADS)}, nor a folder ui_output_* that has one")
    parts: dict[str, list[pd.DataFrame]] = defaultdict(list)
    manifest = None
    for i, folder in enumerate(folders):
        head = _optional(folder / "filenames.json", skips)
        if manifest is None and "sparse_mla" in head:
            manifest = Manifest.from_dict(head["sparse_mla"], f"{folder / 'filenames.json'}: sparse_mla")
        number = re.search(r"_dispatch_(\d+)", folder.name)
        for name, frame in _read_dispatch(folder, head, int(number[1]) if number else i + 1, skips).items():
            parts[name].append(frame)
    tables = {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}
    tables["sources"] = tables["sources"].drop_duplicates("path", ignore_index=True)
    if manifest is None:
        device = {"arch": "gfx9"} | ({"mhz": mhz} if (mhz := _clock(tables["clocks"])) else {})
        manifest = Manifest(dict.fromkeys(TABLES, "measured"), device, tool="rocprofv3 --att")
    return Recording(manifest, tables, tuple(skips))


def _dict(data: Any, path: Path) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise RecordingError(f"{path} holds a {type(data).__name__}; it is an object")
    return data


def _optional(path: Path, skips: Skips) -> dict[str, Any]:
    if path.is_file():
        return _dict(read_json(path), path)
    skips.add(path, "a file that is not there")
    return {}


def _numbers(data: Any, columns: int, where: str) -> Any:
    """A list of rows as int64 [rows, at least `columns`]."""
    try:
        if not isinstance(data, list):
            raise TypeError("not a list")
        found = np.array(data) if data else np.zeros((0, columns), np.int64)
    except (TypeError, ValueError) as problem:
        raise RecordingError(f"{where}: rows of numbers are expected: {problem}") from None
    if found.dtype.kind != "i" or found.ndim != 2 or found.shape[1] < columns:
        raise RecordingError(f"{where}: rows of {columns} whole numbers are expected")
    return found.astype(np.int64)


def _read_dispatch(folder: Path, head: dict[str, Any], dispatch: int, skips: Skips) -> dict[str, pd.DataFrame]:
    instructions = _read_code(folder / "code.json", skips)
    waves, events = [], []
    for i, path in enumerate(_wave_files(head, folder)):
        if not path.is_file():
            skips.add(path, "a wave whose file is not there")
            continue
        data = _dict(read_json(path), path)
        wave, ours = _dict(data.get("wave"), path), data.get("sparse_mla")
        row = ours if isinstance(ours, dict) else {}
        row = {"wave": i} | {key: row[key] for key in ("wave", "xcd", "workgroup", "part") if isinstance(row.get(key), int)}
        se = re.fullmatch(r"SE(\d+)", str(data.get("name")))
        row["se"] = int(se[1]) if se else int(path.name[2:].split("_")[0])
        for key in ("cu", "simd", "slot", "id", "begin", "end"):
            if not isinstance(wave.get(key), int):
                raise RecordingError(f"{path}: {key} of the wave is {wave.get(key)!r:.40}; it is a whole number")
            row[key] = wave[key]
        waves.append(row)
        did = pd.DataFrame(_numbers(wave.get("instructions"), 5, f"{path}: instructions")[:, :5], columns=_EVENT)
        events.append(did.assign(wave=row["wave"], pc=did.pc - 1))
    occupancy = _optional(folder / "occupancy.json", skips)
    kernels = {key: unmarked(str(name))[0] for key, name in _dict(occupancy.get("dispatches", {}), folder).items()}
    seen = []
    for key, rows in occupancy.items():
        if key.isdigit():
            found = _numbers(rows, 6, f"{folder / 'occupancy.json'}: {key}")
            if found.shape[1] > 6:
                skips.add(folder / "occupancy.json", "columns behind the sixth", 1, len(found))
            frame = pd.DataFrame(found[:, :6], columns=["time", "cu", "simd", "slot", "start", "kernel"])
            seen.append(frame.assign(se=int(key), kernel=[kernels.get(str(k), "") for k in found[:, 5]]))
        elif key not in ("dispatches", "version"):
            skips.add(folder / "occupancy.json", f"{key:.40}: no table has it")
    for path in sorted(x for pattern in ("other_simd*.json", "shaderdata*.json") for x in folder.glob(pattern)):
        skips.add(path, "records of other SIMDs, and values that a shader wrote: no table has them")
    tables = {
        "instructions": instructions,
        "waves": pd.DataFrame(waves) if waves else TABLES["waves"].frame(),
        "events": pd.concat(events) if events else TABLES["events"].frame(),
        "occupancy": pd.concat(seen) if seen else TABLES["occupancy"].frame(),
        "clocks": _read_clocks(folder / "realtime.json", skips),
        "series": _read_series(folder, head),
    }
    tables = {name: frame.assign(dispatch=dispatch) for name, frame in tables.items()}
    tables["sources"] = TABLES["sources"].frame(dict(zip(("path", "text"), _read_sources(folder, skips), strict=True)))
    tables["dispatches"] = _dispatch(
        tables, dispatch, next((k for i, k in kernels.items() if i != "0"), ""), "sparse_mla" in head
    )
    return tables


def _dispatch(tables: dict[str, pd.DataFrame], dispatch: int, kernel: str, one_clock: bool) -> pd.DataFrame:
    """One row: begin and end of the dispatch's waves, in ns by the clocks of their shader engine, 0 where there are none. Cycles
    are given where all engines share one clock: those of a device differ by some hundred."""
    spans = tables["occupancy"] if len(tables["occupancy"]) else tables["waves"].melt(["se"], ["begin", "end"], value_name="time")
    row: dict[str, Any] = {
        "dispatch": dispatch,
        "kernel": kernel or next(iter(tables["instructions"].kernel), ""),
        "start": 0,
        "end": 0,
    }
    if len(spans):
        if one_clock:
            row |= {"begin_cycle": int(spans.time.min()), "end_cycle": int(spans.time.max())}
        times = []
        for se, frame in tables["clocks"].groupby("se"):
            cycles, ns = frame.cycle.to_numpy(), frame.time.to_numpy()
            mine = spans.time[spans.se == se].to_numpy()
            if len(mine) and cycles[-1] > cycles[0]:
                times += [
                    int(ns[0]) + round(int(t - cycles[0]) * int(ns[-1] - ns[0]) / int(cycles[-1] - cycles[0])) for t in mine
                ]
        if times:
            row |= {"start": min(times), "end": max(times)}
    return pd.DataFrame([row])


def _clock(clocks: pd.DataFrame) -> float:
    """The shader clock in MHz, mean over the shader engines; 0 where it was not recorded."""
    spans = clocks.groupby(["dispatch", "se"])[["cycle", "time"]].agg(lambda x: x.iloc[-1] - x.iloc[0])
    return round(1000 * spans.cycle.sum() / spans.time.sum(), 1) if spans.time.sum() > 0 else 0.0


def _wave_files(head: dict[str, Any], folder: Path) -> Iterator[Path]:
    where = folder / "filenames.json"
    if not head:
        yield from sorted(folder.glob("se*_sm*_sl*_wv*.json"))
    for simds in _dict(head.get("wave_filenames") or {}, where).values():
        for slots in _dict(simds, where).values():
            for ids in _dict(slots, where).values():
                for entry in _dict(ids, where).values():
                    name = entry[0] if isinstance(entry, list) and entry else None
                    if not isinstance(name, str) or Path(name).name != name:
                        raise RecordingError(f"{where}: {entry!r:.60} does not name a file of this folder")
                    yield folder / name


def _read_code(path: Path, skips: Skips) -> pd.DataFrame:
    data = _optional(path, skips)
    header = data.get("header", HEADER)
    if not isinstance(header, str | list) or not isinstance(data.get("code") or [], list):
        raise RecordingError(f"{path}: header is a text or a list, and code is a list")
    names = [str(x).strip().lower() for x in (header.split(",") if isinstance(header, str) else header)]
    at = {name: names.index(name) for name in map(str.strip, HEADER.lower().split(",")) if name in names}
    samples = {ours: names.index(x) for ours in ("issued", "stalled") for x in (ours, f"pc_{ours}") if x in names}
    if unused := [name for i, name in enumerate(names) if i not in (*at.values(), *samples.values())]:
        skips.add(path, f"columns without a place: {', '.join(unused)[:80]}")
    kernel, rows = "", []
    for i, row in enumerate(data.get("code") or []):
        try:
            text, source = row[at["isa"]], row[at["source"]]
            if text.startswith("; "):
                kernel = unmarked(text[2:])[0]
                continue
            file, line, others = place(source)
            rows.append(
                {"kernel": kernel, "pc": whole(row[at["linenumber"]]) - 1, "text": text}
                | {"file": file, "line": line, "inlined_at": others}
                | {name: whole(row[at[name]]) for name in ("codeobj", "vaddr", "hit", "latency", "stall", "idle")}
                | {name: whole(row[i]) for name, i in samples.items()}
            )  # fmt: skip
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as problem:
            raise RecordingError(f"{path}: row {i} of code is not as its header says: {problem!r}") from None
    return pd.DataFrame(rows) if rows else TABLES["instructions"].frame()


def _read_series(folder: Path, head: dict[str, Any]) -> pd.DataFrame:
    """Counters over time: rows of [time, four values, compute unit, which four of the counters' names]."""
    names, parts = head.get("counter_names"), [TABLES["series"].frame().drop(columns="dispatch")]
    for path in sorted(folder.glob("se*_perfcounter.json")):
        if not (se := re.fullmatch(r"se(\d{1,4})_perfcounter", path.stem)):
            continue
        rows = _numbers(_dict(read_json(path), path).get("data"), 7, f"{path}: data")
        for i in range(4):
            known = [str(names[n]) if isinstance(names, list) and n < len(names) else f"counter {n}" for n in (i, i + 4)]
            if not set(rows[:, 6]) <= {0, 1}:
                raise RecordingError(f"{path}: a bank is not 0 or 1")
            name = np.array(known, object)[rows[:, 6]]
            parts.append(
                pd.DataFrame({"se": int(se[1]), "cu": rows[:, 5], "time": rows[:, 0], "name": name, "value": rows[:, i + 1]})
            )
    return pd.concat(parts)


def _read_clocks(path: Path, skips: Skips) -> pd.DataFrame:
    data = _optional(path, skips)
    ticks = _dict(data.get("metadata", {}), path).get("frequency", TICKS)
    if not isinstance(ticks, int) or ticks <= 0:
        raise RecordingError(f"{path}: frequency is {ticks!r:.40}; it is ticks a second")
    rows = []
    for key, pairs in data.items():
        if m := re.fullmatch(r"SE(\d+)", key):
            rows += [(int(m[1]), int(c), int(t) * 10**9 // ticks) for c, t, *_ in _numbers(pairs, 2, f"{path}: {key}")]
    return pd.DataFrame(rows, columns=["se", "cycle", "time"])


def _read_sources(folder: Path, skips: Skips) -> tuple[list[str], list[str]]:
    """(paths, texts) of the source files that are there."""
    paths, texts = [], []

    def walk(tree: Any, above: Path) -> None:
        for name, below in _dict(tree, folder / "snapshots.json").items():
            if isinstance(below, str) and Path(below).name == below and (folder / below).is_file():
                paths.append(str(above / name))
                texts.append((folder / below).read_bytes().decode(errors="replace"))
            elif isinstance(below, dict):
                walk(below, above / name)
            else:
                skips.add(folder / "snapshots.json", "sources that are not there")

    walk(_optional(folder / "snapshots.json", skips), Path())
    return paths, texts
