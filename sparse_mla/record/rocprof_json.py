"""Recordings from the JSON that rocprofv3 writes, `*_results.json`: dispatches, counters, calls, copies, samples.

A record names its kind, operation, kernel and counter by number; the texts are in other lists of the same process. So the file
is gone through twice, texts first, and records are taken one by one: it may be large. Shapes: rocprofiler-sdk's writer, and a
file of a real MI350X, which has no records of dispatches, counters or samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sparse_mla.errors import RecordingError
from sparse_mla.record.agents import choose
from sparse_mla.record.inputs import json_items
from sparse_mla.record.schema import Manifest, Recording, Skips, unmarked
from sparse_mla.record.tabular import Rows, number

ROOT = "rocprofiler-sdk-tool"
_TEXTS = ("metadata", "strings", "agents", "counters", "kernel_symbols")
_COUNTED = "callback_records/counter_collection"
_LISTS = (*_TEXTS[3:], "code_objects", "host_functions", _COUNTED)
_CALLS = ("hip_api", "hsa_api", "marker_api", "rccl_api", "rocdecode_api", "rocjpeg_api", "memory_copy", "memory_allocation")
_SAMPLES = ("pc_sample_host_trap", "pc_sample_stochastic")
_RECORDS = ("kernel_dispatch", *_CALLS, "scratch_memory", *_SAMPLES)
_STREAMED = [f"{ROOT}/{many}{name}" for many in ("", "*/") for name in (*_LISTS, *(f"buffer_records/{x}" for x in _RECORDS))]


def _items(path: Path) -> Iterator[tuple[int, str, int, Any]]:
    """(process, list or key, number in the list, item) of all that the file has."""
    for place, item in json_items(path, *_STREAMED):
        if place[:1] != (ROOT,):
            raise RecordingError(f"{path}: {'/'.join(map(str, place)) or 'the whole file'} is not expected; {ROOT} is")
        if item == [] and isinstance(place[-1], str):
            continue
        process, rest = (place[1], place[2:]) if len(place) > 1 and isinstance(place[1], int) else (0, place[1:])
        names = "/".join(x for x in rest if isinstance(x, str))
        yield int(process), names, next((x for x in rest if isinstance(x, int)), 0), item


def at(data: Any, *path: str | int) -> Any:
    """A value inside objects and lists, or None where there is none."""
    for key in path:
        if isinstance(key, str) and isinstance(data, Mapping):
            data = data.get(key)
        elif type(key) is int and isinstance(data, list) and 0 <= key < len(data):
            data = data[key]
        else:
            return None
    return data


def _by(items: Any, key: str, *value: str) -> dict[int, Any]:
    """What a list of objects says, by the number that each has."""
    return {at(x, key): at(x, *value) for x in items or () if type(at(x, key)) is int} if isinstance(items, list) else {}


class _Process:
    """The texts of one process, and what they make of its records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.texts: dict[str, Any] = {}
        self.symbols: dict[int, Any] = {}
        self.counters: dict[int, str] = {}

    def text(self, name: str, item: Any) -> None:
        if name == "kernel_symbols" and type(at(item, "kernel_id")) is int:
            self.symbols[item["kernel_id"]] = item
        elif name == "counters" and type(at(item, "id", "handle")) is int:
            self.counters[item["id"]["handle"]] = str(at(item, "name"))
        else:
            self.texts[name] = item

    @property
    def agents(self) -> list[dict[str, Any]]:
        found = self.texts.get("agents")
        return [agent for agent in found if isinstance(agent, dict)] if isinstance(found, list) else []

    def agent(self, handle: Any) -> Any:
        return next((at(a, "logical_node_id") for a in self.agents if at(a, "id", "handle") == handle), None)

    def launch(self, record: Any, info: Any, where: str) -> dict[str, Any]:
        """The row of a dispatch."""
        kernel = at(info, "kernel_id")
        symbol = self.symbols.get(kernel) if type(kernel) is int else None
        if symbol is None:
            raise RecordingError(f"{self.path}, {where}: kernel_id is {kernel!r:.40}; it is one of kernel_symbols")
        row = {"dispatch": at(info, "dispatch_id"), "kernel": at(symbol, "formatted_kernel_name"), "kernel_id": kernel}
        row |= {"lds": at(info, "group_segment_size"), "scratch": at(info, "private_segment_size")}
        row |= {
            f"{ours}_{x}": at(info, theirs, x)
            for ours, theirs in (("grid", "grid_size"), ("workgroup", "workgroup_size"))
            for x in "xyz"
        }
        row |= {"vgpr": at(symbol, "arch_vgpr_count"), "agpr": at(symbol, "accum_vgpr_count"), "sgpr": at(symbol, "sgpr_count")}
        row |= {"agent": self.agent(at(info, "agent_id", "handle")), "queue": at(info, "queue_id", "handle")}
        row |= {"start": at(record, "start_timestamp"), "end": at(record, "end_timestamp"), "thread": at(record, "thread_id")}
        return row | self.common(record)

    def common(self, record: Any) -> dict[str, Any]:
        stream, correlation = at(record, "stream_id", "handle"), at(record, "correlation_id", "internal")
        return {"stream": stream, "correlation": correlation, "process": at(self.texts.get("metadata"), "pid")}

    def span(self, record: Any, messages: dict[int, Any]) -> dict[str, Any]:
        """The row of a call, copy or allocation."""
        kinds = at(self.texts.get("strings"), "buffer_records", at(record, "kind"))
        row = {"category": at(kinds, "kind"), "name": at(kinds, "operations", at(record, "operation"))} | self.common(record)
        if type(row["correlation"]) is int and row["correlation"] in messages:
            row["name"] = messages[row["correlation"]]
        row |= {"start": at(record, "start_timestamp"), "end": at(record, "end_timestamp"), "thread": at(record, "thread_id")}
        agent = at(record, "dst_agent_id", "handle") or at(record, "agent_id", "handle")
        row |= {"agent": self.agent(agent), "source": self.agent(at(record, "src_agent_id", "handle"))}
        size = at(record, "bytes")
        return row | {"bytes": at(record, "allocation_size") if size is None else size}

    def sample(self, item: Any) -> dict[str, Any]:
        """The row of a sample of the program counter."""
        record, index, strings = at(item, "record"), at(item, "inst_index"), self.texts.get("strings")
        lanes = at(record, "exec_mask")
        row = {"time": at(record, "timestamp"), "dispatch": at(record, "dispatch_id"), "waves": at(record, "wave_cnt")}
        row |= {
            "text": at(strings, "pc_sample_instructions", index) or "",
            "where": at(strings, "pc_sample_comments", index) or "",
        }
        row |= {"lanes": lanes.bit_count() if type(lanes) is int and 0 <= lanes < 2**64 else None}
        row |= {"correlation": at(record, "corr_id", "internal"), "issued": at(record, "wave_issued")}
        row["issued"] = int(row["issued"]) if isinstance(row["issued"], bool) else row["issued"]
        words = {"category": at(record, "inst_type"), "reason": at(record, "snapshot", "stall_reason")}
        return row | {name: None if x is None else str(x) for name, x in words.items()}


def read(path: str | Path) -> Recording:
    """One process' dispatches, counters (summed over instances), spans and samples.

    Raises RecordingError, naming file, list and item, for what cannot be read, and for dispatches of several processes.
    """
    path, skips = Path(path), Skips()
    processes: dict[int, _Process] = defaultdict(lambda: _Process(path))
    for process, name, _, item in _items(path):
        if name in _TEXTS:
            processes[process].text(name, item)
    rows = {name: Rows(name, path) for name in ("dispatches", "spans", "samples")}
    launches: dict[Any, dict[str, Any]] = {}
    counters: dict[tuple[int, str], float] = {}
    seen: set[int] = set()
    for process, name, i, item in _items(path):
        one, where = processes[process], f"{name} {i}"
        last = name.rpartition("/")[2]
        if name == _COUNTED:
            seen.add(process)
            data = at(item, "dispatch_data")
            info = at(data, "dispatch_info")
            row = {"start": 0, "end": 0} | {k: x for k, x in one.launch(data, info, where).items() if x is not None}
            row |= {"thread": at(item, "thread_id")}
            dispatch = row.get("dispatch")
            if type(dispatch) is not int:
                raise RecordingError(f"{path}, {where}: dispatch_id is {dispatch!r:.40}; it is a number")
            launches.setdefault(dispatch, row)
            records = at(item, "records")
            for record in records if isinstance(records, list) else ():
                handle, value = at(record, "counter_id", "handle"), at(record, "value")
                if type(handle) is not int or handle not in one.counters:
                    raise RecordingError(f"{path}, {where}: counter_id is {handle!r:.40}; it is one of counters")
                try:
                    counters[dispatch, one.counters[handle]] = counters.get((dispatch, one.counters[handle]), 0.0) + number(value)
                except (ValueError, TypeError, OverflowError):
                    raise RecordingError(f"{path}, {where}: value is {value!r:.40}; it is a number") from None
        elif last == "kernel_dispatch":
            seen.add(process)
            row = one.launch(item, at(item, "dispatch_info"), where)
            rows["dispatches"].add(where, row)
        elif last in _SAMPLES:
            seen.add(process)
            rows["samples"].add(where, one.sample(item))
        elif last in _RECORDS:
            messages = _by(at(one.texts.get("strings"), "marker_api"), "key", "value") if last == "marker_api" else {}
            rows["spans"].add(where, one.span(item, messages))
    if len(seen) > 1:
        raise RecordingError(f"{path} has dispatches of {len(seen)} processes; let each write its own file (--output-file %pid%)")
    return _recording(path, processes, rows, launches, counters, skips)


def _recording(
    path: Path,
    processes: Mapping[int, _Process],
    rows: dict[str, Rows],
    launches: dict[Any, dict[str, Any]],
    counters: dict[tuple[int, str], float],
    skips: Skips,
) -> Recording:
    if not rows["dispatches"].count:
        for dispatch, row in launches.items():
            rows["dispatches"].add(f"dispatch {dispatch}", row)
    tables = {name: one.frame() for name, one in rows.items() if one.count}
    kind = "measured"
    if "dispatches" in tables:
        frame = tables["dispatches"]
        if frame.dispatch.duplicated().any():
            raise RecordingError(f"{path} has dispatch {frame.dispatch[frame.dispatch.duplicated()].iloc[0]} more than once")
        names = {name: unmarked(name) for name in frame.kernel.unique()}
        tables["dispatches"] = frame.assign(kernel=frame.kernel.map({name: x for name, (x, _) in names.items()}))
        kind = next(iter(names.values()))[1]
    if counters:
        found = pd.DataFrame([(d, name, value, kind) for (d, name), value in counters.items()])
        tables["counters"] = found.set_axis(["dispatch", "name", "value", "kind"], axis=1)
    one = processes[min(processes)] if processes else _Process(path)
    used = int(tables["dispatches"].agent.iloc[0]) if "dispatches" in tables and "agent" in tables["dispatches"] else None
    device = choose(one.agents, used, str(path), skips)
    command = at(one.texts.get("metadata"), "command")
    said = " ".join(str(x) for x in command) if isinstance(command, list) else ""
    return Recording(Manifest(dict.fromkeys(tables, kind), device, "rocprofv3", command=said), tables, tuple(skips))
