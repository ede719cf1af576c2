"""Recordings from Chrome traces: what torch.profiler (Kineto) exports, plain or gzip, and what `chrome` writes of ours.

Kernels become dispatches in the order of the file; calls, operators, copies and a user's ranges become spans, whose
`correlation` is that of the kernel they launched. Times are microseconds, taken as decimals: a float has too few digits for them.
"""

from __future__ import annotations

import reprlib
from decimal import Decimal
from pathlib import Path
from typing import Any

from sparse_mla.errors import RecordingError
from sparse_mla.record.inputs import at, json_items
from sparse_mla.record.schema import KINDS, Manifest, Recording, Skips, one_kind, unmarked
from sparse_mla.record.tabular import Rows

# Phases of events that are no rows, and why.
_PHASES = {
    "M": "names of processes and threads", "s": "arrows: `correlation` says the same", "t": "arrows: `correlation` says the same",
    "f": "arrows: `correlation` says the same", "b": "begins and ends of what overlaps", "e": "begins and ends of what overlaps",
    "C": "values over time", "B": "begins and ends in two events", "E": "begins and ends in two events",
}  # fmt: skip
# Column of `dispatches` or `spans`, and the argument that is it.
_ARGS = {"agent": "device", "stream": "stream", "correlation": "correlation"}
_KERNEL = {"lds": "shared memory", "vgpr": "registers per thread"}
_OTHER = ("grid", "block", "kind", "bytes")


def _ns(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not -(2**53) < value < 2**53:
        raise RecordingError(f"{where} is {reprlib.repr(value)}; it is a number of microseconds")
    return round(value * 1000)


def read(path: str | Path) -> Recording:
    """The kernels and spans of a trace. Raises RecordingError, naming file, event and argument, for what cannot be read."""
    path, skips = Path(path), Skips()
    kernels, spans = Rows("dispatches", path), Rows("spans", path)
    kinds: set[str] = set()
    about: dict[str, Any] = {}
    for place, event in json_items(path, "traceEvents", exact=True):
        if len(place) < 2 or place[0] != "traceEvents":
            about["/".join(map(str, place))] = event
            continue
        i = place[-1]
        where = f"{path}, event {i}"
        phase = at(event, "ph")
        if phase in ("X", "i", "I"):
            start, lasts = event.get("ts"), event.get("dur", None if phase == "X" else 0)
            row: dict[str, Any] = {"start": _ns(start, f"{where}: ts")}
            row["end"] = row["start"] + _ns(lasts, f"{where}: dur")
            args = event.get("args")
            row |= {ours: at(args, theirs) for ours, theirs in _ARGS.items()}
            if event.get("cat") == "kernel":
                _kernel(event, args, row, kernels, kinds, f"event {i}", skips)
            else:
                numbers = {"process": event.get("pid"), "thread": event.get("tid")}
                row |= {name: x for name, x in numbers.items() if type(x) is int}  # a track of the profiler's own has a name
                row |= {"category": event.get("cat", ""), "name": event.get("name"), "bytes": at(args, "bytes")}
                if type(row["agent"]) is not int:
                    row["agent"] = None
                spans.add(f"event {i}", row)
                if isinstance(args, dict) and not args.keys() <= {*_ARGS.values(), *_OTHER}:
                    skips.add(path, "arguments of spans", int(i))
        elif isinstance(phase, str) and phase in _PHASES:
            skips.add(path, _PHASES[phase], int(i))
        else:
            raise RecordingError(f"{where}: ph is {reprlib.repr(phase)}; an event has X, i or one of {', '.join(_PHASES)}")
    return _recording(path, kernels, spans, kinds, about, skips)


def _kernel(event: Any, args: Any, row: dict[str, Any], kernels: Rows, kinds: set[str], where: str, skips: Skips) -> None:
    """Adds the row of a kernel; its grid is in workgroups."""
    name = event.get("name")
    row |= {"dispatch": kernels.count + 1, "kernel": unmarked(name)[0] if isinstance(name, str) else name}
    kinds.add(unmarked(name)[1] if isinstance(name, str) else "measured")
    row |= {ours: at(args, theirs) for ours, theirs in _KERNEL.items()}
    row["queue"] = event.get("tid")
    for i, x in enumerate("xyz"):
        grid, block = at(args, "grid", i), at(args, "block", i)
        if type(grid) is int and type(block) is int:
            row |= {f"workgroup_{x}": block, f"grid_{x}": grid * block}
    kernels.add(where, row)
    for other in args if isinstance(args, dict) else ():
        if other not in (*_ARGS.values(), *_KERNEL.values(), *_OTHER):
            skips.add(kernels.path, f"argument {other:.40} of kernels", kernels.count)


def _recording(path: Path, kernels: Rows, spans: Rows, kinds: set[str], about: dict[str, Any], skips: Skips) -> Recording:
    kind = one_kind(kinds, path) if kinds else str(at(about.get("otherData"), "kinds", "dispatches") or "measured")
    if kind not in KINDS:
        raise RecordingError(f"{path}: otherData says {kind!r:.40}; a kind is one of {', '.join(KINDS)}")
    tables = {name: rows.frame() for name, rows in (("dispatches", kernels), ("spans", spans)) if rows.count}
    one, ours = at(about.get("deviceProperties"), 0), at(about.get("otherData"), "device")
    device = {name: x for name, x in (("product", at(one, "name")), ("cus", at(one, "numSms"))) if isinstance(x, str | int)}
    if at(one, "warpSize") == 32:  # NVIDIA's; AMD's numbers do not tell gfx942 from gfx950
        device["arch"] = f"sm_{at(one, 'computeMajor')}{at(one, 'computeMinor')}"
    if isinstance(ours, dict):
        device = {name: x for name, x in ours.items() if isinstance(x, str | int)}
    used = {"traceEvents", "deviceProperties", "otherData", "displayTimeUnit", "schemaVersion"}
    if unused := sorted(about.keys() - used):
        skips.add(path, f"keys without a place: {', '.join(unused)[:200]}")
    versions = {name: str(x) for name, x in about.items() if name.endswith("_version") and isinstance(x, str | int)}
    tool = "torch.profiler" if one is not None else str(at(about.get("otherData"), "tool") or "Chrome trace")
    return Recording(Manifest(dict.fromkeys(tables, kind), device, tool, versions), tables, tuple(skips))
