"""Recordings for a timeline viewer (Perfetto, chrome://tracing): kernels by queue, workgroups and waves by compute unit, and in
traced waves every instruction with what it waited for. Only written: a viewer's format keeps no more than what it shows.

Times are microseconds. Kernels, processes and `otherData` say how the times came to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparse_mla.errors import InputError
from sparse_mla.record.schema import CATEGORIES, CAUSES, Recording, marked

Event = dict[str, Any]


def microseconds(recording: Recording, dispatch: dict[str, Any], se: Any, cycles: Any) -> Any:
    """When a dispatch's `cycles` of shader engines `se` were, on the recording's clock, in microseconds.

    By the dispatch's own begin and end where its cycles are known, else by its clocks. Raises InputError where there are neither.
    """
    cycles = np.asarray(cycles, np.float64)
    if "begin_cycle" in dispatch and dispatch["end_cycle"] > dispatch["begin_cycle"]:
        rate = (dispatch["end"] - dispatch["start"]) / (dispatch["end_cycle"] - dispatch["begin_cycle"])
        return (dispatch["start"] + (cycles - dispatch["begin_cycle"]) * rate) / 1000
    clocks = recording["clocks"].query(f"dispatch == {dispatch['dispatch']}").groupby("se")
    ends = clocks[["cycle", "time"]].agg(["first", "last"])
    if missing := set(np.unique(se)) - set(ends.index):
        raise InputError(f"dispatch {dispatch['dispatch']} has no clock of shader engine {min(missing)}: its cycles have no time")
    at = ends.loc[np.asarray(se)].to_numpy(np.float64)
    return (at[:, 2] + (cycles - at[:, 0]) * (at[:, 3] - at[:, 2]) / (at[:, 1] - at[:, 0])) / 1000


def write(recording: Recording, folder: str | Path, prefix: str = "") -> list[Path]:
    """Writes `<prefix>_trace.json` into `folder` (default: the kind of the dispatches)."""
    kind = recording.kind("dispatches")
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / f"{prefix or kind}_trace.json"
    manifest = {key: value for key, value in recording.manifest.as_dict().items() if value}
    with path.open("w", encoding="utf-8") as file:  # an event a line, since there may be millions
        file.write('{"displayTimeUnit":"ns","otherData":' + json.dumps(manifest, sort_keys=True) + ',"traceEvents":[\n')
        for i, event in enumerate(_events(recording, kind)):
            file.write((",\n" if i else "") + json.dumps(event, separators=(",", ":")))
        file.write("\n]}\n")
    return [path]


def _named(what: str, name: str, pid: int, tid: int | None = None) -> Event:
    return {"ph": "M", "name": f"{what}_name", "pid": pid, "args": {"name": name}} | ({} if tid is None else {"tid": tid})


def _span(category: str, name: str, at: Event, begin: float, lasts: float, args: Event) -> Event:
    return {"ph": "X", "cat": category, "name": name, **at, "ts": begin, "dur": lasts, "args": args}


def _events(recording: Recording, kind: str) -> Iterator[Event]:
    dispatches = recording["dispatches"].to_dict("records")
    yield _named("process", f"kernels ({kind})", 0)
    for queue in {d.get("queue", 0) for d in dispatches}:
        yield _named("thread", f"queue {queue}", 0, queue)
    for d in dispatches:
        args = {key: d[key] for key in ("dispatch", "low", "high", "lds", "vgpr", "agpr") if key in d} | {"kind": kind}
        at = {"pid": 0, "tid": d.get("queue", 0)}
        yield _span("kernel", marked(d["kernel"], kind), at, d["start"] / 1000, (d["end"] - d["start"]) / 1000, args)
    waves = recording["waves"]
    places = waves.assign(xcd=waves.get("xcd", -1))[["xcd", "se", "cu"]].drop_duplicates().sort_values(["xcd", "se", "cu"])
    pids = {(se, cu): pid for pid, (se, cu) in enumerate(zip(places.se, places.cu, strict=True), 1)}
    for (se, cu), pid in pids.items():
        yield _named("process", f"SE {se} CU {cu} ({kind})", pid)
    for (se, cu, simd, slot), _ in waves.groupby(["se", "cu", "simd", "slot"]):
        yield _named("thread", f"SIMD {simd} slot {slot}", pids[se, cu], 16 * simd + slot)
    for d in dispatches:
        mine = waves[waves.dispatch == d["dispatch"]]
        if len(mine):
            yield from _waves(recording, d, mine, pids)


def _waves(recording: Recording, d: dict[str, Any], waves: pd.DataFrame, pids: dict[tuple[int, int], int]) -> Iterator[Event]:
    spans = {name: microseconds(recording, d, waves.se, waves[name]) for name in ("begin", "end")}
    waves = waves.assign(ts=spans["begin"], te=spans["end"])
    if "workgroup" in waves:
        for (group, se, cu), frame in waves.groupby(["workgroup", "se", "cu"]):
            both = {"cat": "workgroup", "id": f"{d['dispatch']}.{group}", "name": f"workgroup {group}"}
            for phase, at in (("b", frame.ts.min()), ("e", frame.te.max())):
                yield both | {"ph": phase, "ts": float(at), "pid": pids[se, cu], "tid": 0}
    where = {}
    for w in waves.to_dict("records"):
        where[w["wave"]] = {"pid": pids[w["se"], w["cu"]], "tid": 16 * w["simd"] + w["slot"]}
        args = {key: w[key] for key in ("workgroup", "part", *CAUSES) if key in w} | {"cycles": w["end"] - w["begin"]}
        yield _span("wave", f"{d['kernel']} wave {w['wave']}", where[w["wave"]], w["ts"], w["te"] - w["ts"], args)
    events = recording["events"][recording["events"].dispatch == d["dispatch"]]
    if events.empty:
        return
    se = events.wave.map(waves.set_index("wave").se)
    begin, end = (microseconds(recording, d, se, cycles) for cycles in (events.time, events.time + events.duration))
    listing = recording["instructions"][recording["instructions"].dispatch == d["dispatch"]].set_index("pc")
    lines = {r.Index: (r.text, f"{r.file}:{r.line}" if r.file else "") for r in listing.itertuples()}
    for e, ts, te in zip(events.to_dict("records"), begin.tolist(), end.tolist(), strict=True):
        text, source = lines.get(e["pc"], ("", ""))
        category = CATEGORIES[e["category"]] if 0 <= e["category"] < len(CATEGORIES) else ""
        args = {"text": text, "source": source, "stall": e["stall"], "unit": category}
        yield _span(e.get("cause", "instruction"), text.split(" ")[0] or category, where[e["wave"]], ts, te - ts, args)
