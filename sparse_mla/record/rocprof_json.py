"""Recordings from the JSON that rocprofv3 writes, `*_results.json`: dispatches, counters, calls, copies, samples.

A record names its kind, operation, kernel and counter by number; the texts are in other lists of the same process. So the file
is gone through twice, texts first, and records are taken one by one: it may be large. Shapes: rocprofiler-sdk's writer, and a
file of a real MI350X, which has no records of dispatches, counters or samples.
"""

from __future__ import annotations

import reprlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sparse_mla.errors import RecordingError
from sparse_mla.record.agents import choose
from sparse_mla.record.inputs import at, fields, json_items, places
from sparse_mla.record.schema import Manifest, Recording, Skips, bare_names, one_kind
from sparse_mla.record.tabular import Rows, number

ROOT = "rocprofiler-sdk-tool"
_TEXTS = ("metadata", "strings", "agents", "counters", "kernel_symbols")
_COUNTED = "callback_records/counter_collection"
_CALLS = ("hip_api", "hsa_api", "marker_api", "rccl_api", "rocdecode_api", "rocjpeg_api", "memory_copy", "memory_allocation")
_TABLES = dict.fromkeys((*_CALLS, "scratch_memory"), "spans") | {"kernel_dispatch": "dispatches"}
_TABLES |= dict.fromkeys(("pc_sample_host_trap", "pc_sample_stochastic"), "samples")
_LISTS = (*_TEXTS[3:], "code_objects", "host_functions", _COUNTED, *(f"buffer_records/{name}" for name in _TABLES))
# Columns and where records have them.
_CALL = "start=start_timestamp end=end_timestamp thread=thread_id stream=stream_id.handle correlation=correlation_id.internal "
_INFO = "dispatch=dispatch_id kernel_id=kernel_id lds=group_segment_size scratch=private_segment_size agent=agent_id.handle "
_INFO += "queue=queue_id.handle " + " ".join(f"{what}_{x}={what}_size.{x}" for what in ("grid", "workgroup") for x in "xyz")
_PLACES = {
    "dispatches": places(_CALL), "info": places(_INFO),
    "symbol": places("kernel=formatted_kernel_name vgpr=arch_vgpr_count agpr=accum_vgpr_count sgpr=sgpr_count"),
    "spans": places(_CALL + "agent=dst_agent_id.handle,agent_id.handle source=src_agent_id.handle bytes=bytes,allocation_size"),
    "samples": places("time=timestamp dispatch=dispatch_id waves=wave_cnt correlation=corr_id.internal issued=wave_issued "
                      "lanes=exec_mask category=inst_type reason=snapshot.stall_reason"),
}  # fmt: skip


def _items(path: Path) -> Iterator[tuple[int, str, int, Any]]:
    """(process, list or key, number in the list, item) of all that the file has."""
    for place, item in json_items(path, *(f"{ROOT}/{many}{name}" for many in ("", "*/") for name in _LISTS)):
        if place[:1] != (ROOT,):
            raise RecordingError(f"{path}: {'/'.join(map(str, place)) or 'the whole file'} is not expected; {ROOT} is")
        if item == [] and isinstance(place[-1], str):
            continue
        process, rest = (place[1], place[2:]) if len(place) > 1 and isinstance(place[1], int) else (0, place[1:])
        names = "/".join(x for x in rest if isinstance(x, str))
        yield int(process), names, next((x for x in rest if isinstance(x, int)), 0), item


class _Process:
    """The texts of one process, and the rows that its records become with them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.texts: dict[str, Any] = {}
        self.numbered: dict[str, dict[Any, Any]] = {"kernel_symbols": {}, "counters": {}, "agents": {}, "messages": {}}

    def text(self, name: str, item: Any) -> None:
        if name == "kernel_symbols" and type(at(item, "kernel_id")) is int:
            self.numbered[name][item["kernel_id"]] = item
        elif name == "counters" and type(at(item, "id", "handle")) is int:
            self.numbered[name][item["id"]["handle"]] = str(at(item, "name"))
        else:
            self.texts[name] = item
        lists = {"agents": (at(item), "id", "handle"), "messages": (at(item, "marker_api"), "key")}
        for numbered, (found, *key) in lists.items() if name in ("agents", "strings") else ():
            if isinstance(found, list):
                self.numbered[numbered] |= {n: one for one in found if type(n := at(one, *key)) is int}

    def known(self, what: str, key: Any) -> Any:
        return self.numbered[what].get(key) if type(key) is int else None

    def row(self, table: str, item: Any, info: Any, where: str) -> dict[str, Any]:
        """The row of a table that a record becomes."""
        record = item if table != "samples" else at(item, "record")
        row = fields(_PLACES[table], record)
        if table == "dispatches":
            row |= fields(_PLACES["info"], info)
            if (symbol := self.known("kernel_symbols", row["kernel_id"])) is None:
                raise self.wrong(where, "kernel_id", row["kernel_id"], "one of kernel_symbols")
            row |= fields(_PLACES["symbol"], symbol)
        elif table == "spans":
            kinds = at(self.texts.get("strings"), "buffer_records", at(record, "kind"))
            row |= {"category": at(kinds, "kind"), "name": at(kinds, "operations", at(record, "operation"))}
            if where.startswith("buffer_records/marker") and (said := self.known("messages", row["correlation"])):
                row["name"] = at(said, "value")
        else:
            texts, i, lanes = self.texts.get("strings"), at(item, "inst_index"), row["lanes"]
            row |= {"text": at(texts, "pc_sample_instructions", i) or "", "where": at(texts, "pc_sample_comments", i) or ""}
            row["lanes"] = lanes.bit_count() if type(lanes) is int and 0 <= lanes < 2**64 else None
            row["issued"] = int(row["issued"]) if isinstance(row["issued"], bool) else row["issued"]
            return row | {name: None if row[name] is None else str(row[name]) for name in ("category", "reason")}
        agents = {name: at(self.known("agents", row[name]), "logical_node_id") for name in ("agent", "source") if name in row}
        return row | agents | {"process": at(self.texts.get("metadata"), "pid")}

    def wrong(self, where: str, what: str, value: Any, wanted: str) -> RecordingError:
        return RecordingError(f"{self.path}, {where}: {what} is {reprlib.repr(value)}; it is {wanted}")


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
    launches: dict[int, dict[str, Any]] = {}
    counters: dict[tuple[int, str], float] = {}
    seen: set[int] = set()
    for process, name, i, item in _items(path):
        one, where = processes[process], f"{name} {i}"
        if name == _COUNTED:
            seen.add(process)
            data = at(item, "dispatch_data")
            row = one.row("dispatches", data, at(data, "dispatch_info"), where)
            row |= {"start": row["start"] or 0, "end": row["end"] or 0, "thread": at(item, "thread_id")}
            if type(row["dispatch"]) is not int:
                raise one.wrong(where, "dispatch_id", row["dispatch"], "a number")
            launches.setdefault(row["dispatch"], row)
            records = at(item, "records")
            for record in records if isinstance(records, list) else ():
                handle, value = at(record, "counter_id", "handle"), at(record, "value")
                if (counter := one.known("counters", handle)) is None:
                    raise one.wrong(where, "counter_id", handle, "one of counters")
                try:
                    counters[row["dispatch"], counter] = counters.get((row["dispatch"], counter), 0.0) + number(value)
                except (ValueError, TypeError, OverflowError):
                    raise one.wrong(where, "value", value, "a number") from None
        elif table := _TABLES.get(name.removeprefix("buffer_records/")):
            seen |= {process} if table != "spans" else set()
            rows[table].add(where, one.row(table, item, at(item, "dispatch_info"), where))
        elif item and name.partition("/")[0] in ("callback_records", "buffer_records"):
            skips.add(path, f"{name:.60}: no table has it")
    if len(seen) > 1:
        raise RecordingError(f"{path} has dispatches of {len(seen)} processes; let each write its own file (--output-file %pid%)")
    for dispatch, row in launches.items() if not rows["dispatches"].count else ():
        rows["dispatches"].add(f"dispatch {dispatch}", row)
    tables, kind = {name: x.frame() for name, x in rows.items() if x.count}, "measured"
    if "dispatches" in tables:
        frame = tables["dispatches"]
        if frame.dispatch.duplicated().any():
            raise RecordingError(f"{path} has dispatch {frame.dispatch[frame.dispatch.duplicated()].iloc[0]} more than once")
        kernels, kinds = bare_names(frame.kernel)
        tables["dispatches"], kind = frame.assign(kernel=kernels), one_kind(kinds, path)
    if counters:
        found = pd.DataFrame([(d, name, value, kind) for (d, name), value in counters.items()])
        tables["counters"] = found.set_axis(["dispatch", "name", "value", "kind"], axis=1)
    first = processes[min(processes, default=0)]
    agents = first.texts.get("agents")
    known = [a for a in agents if isinstance(a, dict)] if isinstance(agents, list) else []
    device = choose(known, tables.get("dispatches"), str(path), skips)
    command = at(first.texts.get("metadata"), "command")
    said = " ".join(map(str, command)) if isinstance(command, list) else ""
    return Recording(Manifest(dict.fromkeys(tables, kind), device, "rocprofv3", command=said), tables, tuple(skips))
