"""Recordings as the SQLite database that rocprofv3 writes since ROCm 7 (rocpd, schema 3): dispatches and counters.

Every table has the database's guid in its name, and views without it select from them; queries go through the views. Numbers that
no device measured are marked in the names that tools show (kernel, product) and in the JSON of `extdata`; `rocpd_metadata` has
the manifest of the recording. The format has no place for waves and instructions.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from sparse_mla.errors import RecordingError
from sparse_mla.record.agents import ROCPROF, choose
from sparse_mla.record.counters import COUNTERS
from sparse_mla.record.schema import TABLES, Manifest, Recording, Skips, bare_names, joined, marked, one_kind
from sparse_mla.record.tabular import Rows

# Tables and their columns behind `id` and `guid`: integers, `$` text, `%` real. All but the first three end in `extdata`.
_TABLES = """
metadata             tag$ value$
string               string$
info_node            hash machine_id$ system_name$ hostname$ release$ version$ hardware_name$ domain_name$
info_process         nid ppid pid init fini start end command$ environment$
info_thread          nid ppid pid tid name$ start end
info_agent           nid pid type$ absolute_index logical_index type_index uuid name$ model_name$ vendor_name$ product_name$ user_name$
info_queue           nid pid name$
info_stream          nid pid name$
info_pmc             nid pid agent_id target_arch$ event_code instance_id name$ symbol$ description$ long_description$ component$ \
units$ value_type$ block$ expression$ is_constant is_derived
info_code_object     nid pid agent_id uri$ load_base load_size load_delta storage_type$
info_kernel_symbol   nid pid code_object_id kernel_name$ display_name$ kernel_object kernarg_segment_size \
kernarg_segment_alignment group_segment_size private_segment_size sgpr_count arch_vgpr_count accum_vgpr_count
track                nid pid tid name_id
event                category_id stack_id parent_stack_id correlation_id call_stack$ line_info$
arg                  event_id position type$ name$ value$
pmc_event            event_id pmc_id value%
region               nid pid tid start end name_id event_id
sample               track_id timestamp event_id
kernel_dispatch      nid pid tid agent_id kernel_id dispatch_id queue_id stream_id start end private_segment_size group_segment_size \
workgroup_size_x workgroup_size_y workgroup_size_z grid_size_x grid_size_y grid_size_z region_name_id event_id
memory_copy          nid pid tid start end name_id dst_agent_id dst_address src_agent_id src_address size queue_id stream_id \
region_name_id event_id
memory_allocate      nid pid tid agent_id type$ level$ start end address size queue_id stream_id event_id
"""  # noqa: E501
# Views: what they are made of, as `letter table key` where rows join by id (`key`: a column of a letter before; behind `:`, the
# column that it equals instead), then their columns, `name=expression` or `name=-` for what is never there, then grouping.
_VIEWS = """
kernels: K kernel_dispatch; A info_agent K.agent_id; E event K.event_id; C string E.category_id; R string K.region_name_id; \
S info_kernel_symbol K.kernel_id; M info_stream K.stream_id; Q info_queue K.queue_id; P info_process K.pid; T info_thread K.tid
  id=K.id guid=K.guid tid=T.tid category=C.string region=R.string name=S.display_name nid=K.nid pid=P.pid
  agent_abs_index=A.absolute_index agent_log_index=A.logical_index agent_type_index=A.type_index agent_type=A.type
  code_object_id=S.code_object_id kernel_id=K.kernel_id dispatch_id=K.dispatch_id stream_id=K.stream_id queue_id=K.queue_id
  queue=Q.name stream=M.name start=K.start end=K."end" duration=K."end"-K.start grid_x=K.grid_size_x grid_y=K.grid_size_y
  grid_z=K.grid_size_z workgroup_x=K.workgroup_size_x workgroup_y=K.workgroup_size_y workgroup_z=K.workgroup_size_z
  lds_size=K.group_segment_size scratch_size=K.private_segment_size vgpr_count=S.arch_vgpr_count
  accum_vgpr_count=S.accum_vgpr_count sgpr_count=S.sgpr_count static_lds_size=S.group_segment_size
  static_scratch_size=S.private_segment_size stack_id=E.stack_id parent_stack_id=E.parent_stack_id corr_id=E.correlation_id

counters_collection: V pmc_event; N info_pmc V.pmc_id; E event V.event_id; C string E.category_id; \
K kernel_dispatch E.id:event_id; A info_agent K.agent_id; R string K.region_name_id; S info_kernel_symbol K.kernel_id; \
P info_process K.pid; T info_thread K.tid
  id=MIN(V.id) guid=V.guid dispatch_id=K.dispatch_id kernel_id=K.kernel_id event_id=E.id correlation_id=E.correlation_id
  stack_id=E.stack_id parent_stack_id=E.parent_stack_id pid=P.pid tid=T.tid agent_id=K.agent_id agent_abs_index=A.absolute_index
  agent_log_index=A.logical_index agent_type_index=A.type_index agent_type=A.type queue_id=K.queue_id grid_size_x=K.grid_size_x
  grid_size_y=K.grid_size_y grid_size_z=K.grid_size_z grid_size=K.grid_size_x*K.grid_size_y*K.grid_size_z
  kernel_name=S.display_name kernel_region=R.string workgroup_size_x=K.workgroup_size_x workgroup_size_y=K.workgroup_size_y
  workgroup_size_z=K.workgroup_size_z workgroup_size=K.workgroup_size_x*K.workgroup_size_y*K.workgroup_size_z
  lds_block_size=K.group_segment_size scratch_size=K.private_segment_size vgpr_count=S.arch_vgpr_count
  accum_vgpr_count=S.accum_vgpr_count sgpr_count=S.sgpr_count counter_name=N.name counter_symbol=N.symbol component=N.component
  description=N.description block=N.block expression=N.expression value_type=N.value_type counter_id=N.id value=SUM(V.value)
  start=K.start end=K."end" is_constant=N.is_constant is_derived=N.is_derived duration=K."end"-K.start category=C.string nid=K.nid
  extdata=E.extdata code_object_id=S.code_object_id
  GROUP BY V.guid,K.dispatch_id,N.name,K.agent_id

pmc_info: N info_pmc; A info_agent N.agent_id; P info_process N.pid
  id=N.id guid=N.guid nid=N.nid pid=P.pid agent_abs_index=A.absolute_index is_constant=N.is_constant is_derived=N.is_derived
  name=N.name description=N.description block=N.block expression=N.expression

pmc_events: V pmc_event; N info_pmc V.pmc_id; E event V.event_id; C string E.category_id; K kernel_dispatch E.id:event_id; \
S info_kernel_symbol K.kernel_id; P info_process K.pid
  id=V.id guid=V.guid pmc_id=V.pmc_id event_id=E.id category=C.string name=S.display_name nid=K.nid pid=P.pid
  dispatch_id=K.dispatch_id start=K.start end=K."end" duration=K."end"-K.start counter_name=N.name counter_value=V.value

code_objects: O info_code_object; A info_agent O.agent_id; P info_process O.pid
  id=O.id guid=O.guid nid=O.nid pid=P.pid agent_abs_index=A.absolute_index uri=O.uri load_base=O.load_base load_size=O.load_size
  load_delta=O.load_delta storage_type_str=O.storage_type code_object_size=- storage_type=- memory_base=- memory_size=-

kernel_symbols: S info_kernel_symbol; P info_process S.pid
  id=S.id guid=S.guid nid=S.nid pid=P.pid code_object_id=S.code_object_id kernel_name=S.kernel_name display_name=S.display_name
  kernel_object=S.kernel_object kernarg_segment_size=S.kernarg_segment_size kernarg_segment_alignment=S.kernarg_segment_alignment
  group_segment_size=S.group_segment_size private_segment_size=S.private_segment_size sgpr_count=S.sgpr_count
  arch_vgpr_count=S.arch_vgpr_count accum_vgpr_count=S.accum_vgpr_count kernel_symbol_size=- kernel_id=S.id
  kernel_code_entry_byte_offset=- formatted_kernel_name=S.display_name demangled_kernel_name=S.display_name
  truncated_kernel_name=S.display_name kernel_address=-

processes: P info_process; D info_node P.nid
  nid=D.id machine_id=D.machine_id system_name=D.system_name hostname=D.hostname system_release=D.release system_version=D.version
  guid=P.guid ppid=P.ppid pid=P.pid init=P.init start=P.start end=P."end" fini=P.fini command=P.command

threads: T info_thread; P info_process T.pid; D info_node T.nid
  nid=D.id machine_id=D.machine_id system_name=D.system_name hostname=D.hostname system_release=D.release system_version=D.version
  guid=P.guid ppid=P.ppid pid=P.pid tid=T.tid start=T.start end=T."end" name=T.name

top_kernels: K kernel_dispatch; S info_kernel_symbol K.kernel_id
  name=S.display_name total_calls=COUNT(*) total_duration=SUM(K."end"-K.start)/1000.0
  average=SUM(K."end"-K.start)/1000.0/COUNT(*) percentage=100.0*SUM(K."end"-K.start)/(SUM(SUM(K."end"-K.start))OVER())
  GROUP BY S.display_name ORDER BY 3 DESC

top: K top_kernels
  name=K.name total_calls=K.total_calls total_duration=K.total_duration average=K.average percentage=K.percentage

busy: K kernel_dispatch; A info_agent K.agent_id
  agent_id=K.agent_id type=A.type GpuTime=SUM(K."end"-K.start) WallTime=MAX(K."end")-MIN(K.start)
  Busy=SUM(K."end"-K.start)*1.0/(MAX(K."end")-MIN(K.start))
  GROUP BY K.agent_id

regions: R region
  id=- guid=- category=- name=- nid=- pid=- tid=- start=- end=- duration=- event_id=- stack_id=- parent_stack_id=- corr_id=-
  extdata=- call_stack=- line_info=-

memory_copies: R memory_copy
  id=- guid=- category=- nid=- pid=- tid=- start=- end=- duration=- name=- region_name=- stream_id=- queue_id=- stream_name=-
  queue_name=- size=- dst_device=- dst_agent_abs_index=- dst_agent_log_index=- dst_agent_type_index=- dst_agent_type=-
  dst_address=- src_device=- src_agent_abs_index=- src_agent_log_index=- src_agent_type_index=- src_agent_type=- src_address=-
  stack_id=- parent_stack_id=- corr_id=-

memory_allocations: R memory_allocate
  id=- guid=- category=- nid=- pid=- tid=- start=- end=- duration=- type=- level=- agent_name=- agent_abs_index=-
  agent_log_index=- agent_type_index=- agent_type=- address=- size=- queue_id=- queue_name=- stream_id=- stream_name=- stack_id=-
  parent_stack_id=- corr_id=-
"""
# Columns of `dispatches` and of the view `kernels`.
_DISPATCH_TEXT = """
dispatch=dispatch_id kernel=name start=start end=end grid_x=grid_x grid_y=grid_y grid_z=grid_z workgroup_x=workgroup_x
workgroup_y=workgroup_y workgroup_z=workgroup_z lds=lds_size scratch=scratch_size vgpr=vgpr_count agpr=accum_vgpr_count
sgpr=sgpr_count agent=agent_log_index queue=queue_id stream=stream_id process=pid thread=tid correlation=stack_id
kernel_id=kernel_id
"""
_DISPATCH = dict(pair.split("=") for pair in _DISPATCH_TEXT.split())
_COUNTER = {"dispatch": "dispatch_id", "name": "counter_name", "value": "value", "kind": "kind"}
# Views of what is neither: columns of `spans` and theirs. Copies and allocations have more.
_CALL = {"category": "category", "name": "name", "start": "start", "end": "end", "process": "pid", "thread": "tid"}
_CALL |= {"correlation": "stack_id"}
_PLACED = _CALL | {"stream": "stream_id", "queue": "queue_id", "bytes": "size"}
_SPANS = {
    "regions": _CALL,
    "memory_copies": _PLACED | {"agent": "dst_agent_log_index", "source": "src_agent_log_index"},
    "memory_allocations": _PLACED | {"name": "type", "agent": "agent_log_index"},
}
NUMBERS = {ours: theirs for ours, theirs in ROCPROF.items() if ours not in ("arch", "product")}  # in an agent's `extdata`
_EXTRA = ("begin_cycle", "end_cycle", "low", "high")  # columns that go into a dispatch's `extdata`
_STEPS = 1_000_000  # of SQLite's machine between looks at whether a query of a foreign file goes on for too long
_LOOKS = 100  # and one more for every _BYTES of the file
_BYTES = 100_000


def _schema(guid: str) -> Iterator[str]:
    """The statements that make all tables and views of a database."""
    suffix = guid.replace("-", "_")
    types = {"$": "TEXT", "%": "REAL"}
    for line in _TABLES.strip().splitlines():
        name, *columns = line.split()
        declared = [f'"{c.rstrip("$%")}" {types.get(c[-1], "INTEGER")}' for c in columns]
        if name != "metadata":
            declared.insert(0, f"guid TEXT NOT NULL DEFAULT '{guid}'")
        if name not in ("metadata", "string", "info_node"):
            declared.append("extdata TEXT NOT NULL DEFAULT '{}'")
        yield f"CREATE TABLE rocpd_{name}_{suffix} (id INTEGER PRIMARY KEY, {', '.join(declared)})"
        yield f"CREATE VIEW rocpd_{name} AS SELECT * FROM rocpd_{name}_{suffix}"
    for block in _VIEWS.strip().split("\n\n"):
        head, *rest = block.splitlines()
        name, parts = head.split(": ")
        group = rest.pop() if "GROUP BY" in rest[-1] else ""
        (first, table), *joins = (part.split() for part in parts.split("; "))
        source = f"{table if table == 'top_kernels' else 'rocpd_' + table} {first}"
        for letter, other, key in joins:
            there, _, here = key.partition(":")
            source += f" JOIN rocpd_{other} {letter} ON {letter}.{here or 'id'} = {there} AND {letter}.guid = {there[0]}.guid"
        pairs = [pair.split("=", 1) for pair in " ".join(rest).split()]
        selected = ", ".join(f'{"NULL" if what == "-" else what} AS "{column}"' for column, what in pairs)
        yield f"CREATE VIEW {name} AS SELECT {selected} FROM {source} {'WHERE 0' if pairs[0][1] == '-' else group}"


def write(recording: Recording, folder: str | Path, prefix: str = "") -> list[Path]:
    """Writes `<prefix>_results.db` into `folder` (default: the kind of the dispatches). Equal recordings give equal rows."""
    kind, device = recording.kind("dispatches"), recording.manifest.device
    manifest = json.dumps(recording.manifest.as_dict(), sort_keys=True)
    guid = str(uuid.uuid5(uuid.NAMESPACE_OID, manifest))
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / f"{prefix or kind}_results.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db, db:
        for statement in _schema(guid):
            db.execute(statement)

        def put(table: str, **row: Any) -> None:
            marks = ", ".join("?" * len(row))
            names = ", ".join(f'"{name}"' for name in row)
            db.execute(f"INSERT INTO rocpd_{table}_{guid.replace('-', '_')} ({names}) VALUES ({marks})", list(row.values()))

        about = {"schema_version": "3", "uuid": f"_{guid.replace('-', '_')}", "guid": guid, "sparse_mla": manifest}
        for tag, value in about.items():
            put("metadata", tag=tag, value=value)
        for i, text in enumerate(("KERNEL_DISPATCH", "")):
            put("string", id=i + 1, string=text)
        put("info_node", id=1, hash=0, machine_id="none", system_name=recording.manifest.tool, hostname=kind)
        made: set[tuple[str, int]] = set()
        numbers = {name: i + 1 for i, name in enumerate(recording["counters"].name.unique())}
        counters = {n: frame.to_dict("records") for n, frame in recording["counters"].groupby("dispatch")}

        def once(table: str, number: int, **row: Any) -> int:
            if (table, number) not in made:
                made.add((table, number))
                put(table, id=number, **row)
            return number

        for d in recording["dispatches"].to_dict("records"):
            pid, symbol = d.get("process", 0), d.get("kernel_id", d["dispatch"])
            once("info_process", pid, nid=1, pid=pid, command=recording.manifest.command, environment="{}")
            tid = once("info_thread", d.get("thread", 0), nid=1, pid=pid, tid=d.get("thread", 0))
            agent = once(
                "info_agent", d.get("agent", 0), nid=1, pid=pid, type="GPU", absolute_index=d.get("agent", 0),
                logical_index=d.get("agent", 0), type_index=0, name=device.get("arch", ""), vendor_name="AMD",
                product_name=marked(str(device.get("product", "")), kind),
                extdata=json.dumps({theirs: device[ours] for ours, theirs in NUMBERS.items() if ours in device} | {"kind": kind}),
            )  # fmt: skip
            queue = once("info_queue", d.get("queue", 0), nid=1, pid=pid, name=f"Queue {d.get('queue', 0)}")
            stream = once("info_stream", d.get("stream", 0), nid=1, pid=pid, name=f"Stream {d.get('stream', 0)}")
            once("info_code_object", 1, nid=1, pid=pid, agent_id=agent, uri=kind, storage_type="MEMORY")
            once(
                "info_kernel_symbol", symbol, nid=1, pid=pid, code_object_id=1, kernel_name=f"{d['kernel']}.kd",
                display_name=marked(d["kernel"], kind), group_segment_size=d.get("lds"), private_segment_size=d.get("scratch"),
                sgpr_count=d.get("sgpr"), arch_vgpr_count=d.get("vgpr"), accum_vgpr_count=d.get("agpr"),
                extdata=json.dumps({"kind": kind}),
            )  # fmt: skip
            event = {"category_id": 1, "stack_id": d.get("correlation", 0), "correlation_id": 0}
            put("event", id=d["dispatch"], **event, call_stack="{}", line_info="{}")
            sizes = {f"{w}_size_{x}": d.get(f"{w}_{x}", 0) for w in ("workgroup", "grid") for x in "xyz"}
            put(
                "kernel_dispatch", id=d["dispatch"], nid=1, pid=pid, tid=tid, agent_id=agent, kernel_id=symbol,
                dispatch_id=d["dispatch"], queue_id=queue, stream_id=stream, start=d["start"], end=d["end"],
                private_segment_size=d.get("scratch"),
                group_segment_size=d.get("lds"), **sizes, region_name_id=2, event_id=d["dispatch"],
                extdata=json.dumps({"kind": kind} | {name: d[name] for name in _EXTRA if name in d}),
            )  # fmt: skip
            for c in counters.get(d["dispatch"], ()):
                known = COUNTERS.get(c["name"])
                number = numbers[c["name"]]
                once(
                    "info_pmc", number, nid=1, pid=pid, agent_id=agent, target_arch="GPU", name=c["name"], symbol=c["name"],
                    description=known.about if known else "", units=known.unit if known else "", value_type="ABS",
                    block=c["name"].split("_")[0], is_constant=0, is_derived=0, extdata=json.dumps({"kind": c["kind"]}),
                )  # fmt: skip
                put("pmc_event", event_id=d["dispatch"], pmc_id=number, value=c["value"], extdata=json.dumps({"kind": c["kind"]}))
    return [path]


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A database that nothing can change and whose queries end. What SQLite finds wrong becomes a RecordingError."""
    if not path.is_file():
        raise RecordingError(f"{path} is not a file")
    looks, allowed = 0, _LOOKS + path.stat().st_size // _BYTES

    def look() -> bool:
        nonlocal looks
        looks += 1
        return looks > allowed

    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA trusted_schema = OFF")
            db.set_progress_handler(look, _STEPS)
            yield db
    except (sqlite3.Error, UnicodeDecodeError) as problem:
        raise RecordingError(f"{path}: {problem}; a rocpd database of schema 3 is expected") from None


def read(path: str | Path) -> Recording:
    """The dispatches, counters and other spans of one process. `path`: a database, or a folder with exactly one.

    Raises RecordingError, naming file, view, row and column, for what cannot be read.
    """
    path, skips = Path(path), Skips()
    if path.is_dir():
        found = sorted(path.rglob("*.db"))
        if len(found) != 1:
            raise RecordingError(f"{path} has {len(found)} files *.db; name one")
        path = found[0]
    with _opened(path) as db:
        about = {row["tag"]: row["value"] for row in db.execute("SELECT tag, value FROM rocpd_metadata")}
        if not str(about.get("schema_version", "")).startswith("3"):
            raise RecordingError(f"{path}: schema_version is {about.get('schema_version')!r}; this version reads 3")
        kernels = db.execute("SELECT * FROM kernels ORDER BY start, dispatch_id")
        if "guid" in {column[0] for column in kernels.description}:
            (guids,) = db.execute("SELECT COUNT(DISTINCT guid) FROM kernels").fetchone()
            if guids > 1:
                raise RecordingError(f"{path}: kernels has {guids} processes; read their files one by one")
        dispatches = _rows(kernels, "dispatches", _DISPATCH, path, "kernels")
        (rows,) = db.execute("SELECT COUNT(*) FROM rocpd_kernel_dispatch").fetchone()
        if rows != len(dispatches):
            left = "dispatches that the view kernels leaves out: a name or an agent of theirs is missing"
            skips.add(path, left, 1, rows - len(dispatches))
        given = db.execute("SELECT dispatch_id, extdata FROM rocpd_kernel_dispatch WHERE extdata <> '{}'")
        extra = {row["dispatch_id"]: _json(row["extdata"], path) for row in given}
        given = db.execute("SELECT name, extdata FROM rocpd_info_pmc")
        kinds = {row["name"]: _json(row["extdata"], path).get("kind", "measured") for row in given}
        asked = "SELECT dispatch_id, counter_name, value, 'measured' AS kind FROM counters_collection WHERE value IS NOT NULL "
        asked += "ORDER BY dispatch_id, id"
        counters = _rows(db.execute(asked), "counters", _COUNTER, path, "counters_collection")
        given = db.execute(
            "SELECT extdata, name, product_name, type, logical_index AS logical_node_id FROM rocpd_info_agent ORDER BY id"
        )
        agents = [_json(row["extdata"], path) | dict(row) for row in given]
        views = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}
        spans = [
            _rows(db.execute(f"SELECT * FROM {view} ORDER BY start"), "spans", columns, path, view)
            for view, columns in _SPANS.items()
            if view in views
        ]
    dispatches["kernel"], found = bare_names(dispatches["kernel"])
    kind = one_kind(found, path)
    for column in _EXTRA:
        values = [extra.get(d, {}).get(column) for d in dispatches["dispatch"]] if extra else []
        if values and all(isinstance(x, int | float) for x in values):
            dispatches[column] = values
    counters["kind"] = counters["name"].map(kinds).fillna(counters["kind"])
    tables = {"dispatches": dispatches, "counters": counters, "spans": joined(spans, -1) if spans else None}
    tables = {name: frame for name, frame in tables.items() if frame is not None and len(frame)}
    device = choose(agents, dispatches, str(path), skips)
    manifest = Manifest(dict.fromkeys(tables, "measured") | {"dispatches": kind, "counters": kind}, device, tool="rocprofv3")
    if "sparse_mla" in about:
        manifest = Manifest.from_dict(_json(about["sparse_mla"], path), f"{path}: sparse_mla")
    return Recording(manifest, tables, tuple(skips))


def _rows(cursor: sqlite3.Cursor, table: str, columns: dict[str, str], path: Path, view: str) -> pd.DataFrame:
    """The rows of a query as `table`. `columns`: column of ours and of theirs."""
    there = {column[0]: i for i, column in enumerate(cursor.description)}
    rows = Rows(table, path, columns)
    if missing := [columns[c.name] for c in TABLES[table].columns if not c.optional and columns[c.name] not in there]:
        raise RecordingError(f"{path}: view {view} lacks column {missing[0]}")
    places = {ours: there[theirs] for ours, theirs in columns.items() if theirs in there}
    for i, row in enumerate(cursor, 1):
        rows.add(f"view {view}, row {i}", {ours: row[place] for ours, place in places.items()})
    return rows.frame()


def _json(text: Any, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(text or "{}")
    except (TypeError, ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise RecordingError(f"{path}: {text!r:.60} is not a JSON object")
    return data
