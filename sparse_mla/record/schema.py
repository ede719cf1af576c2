"""What a recording is: a manifest and tables. The text below describes every column once; checking, storing, reading and
writing follow it.

A column marked `?` may be absent, which means that it is not known. CAUSES stands for one column a cause. Cycles are shader
clocks, in a dispatch's own clock base.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sparse_mla.errors import RecordingError
from sparse_mla.gfx950.timing.model import CAUSES as CAUSES

FORMAT = 1
REASONS = 1000  # that a report tells apart
SHOWN = 20  # launches that a recording in words names
KINDS = ("measured", "emulated", "modelled", "published")
# What a thread trace calls an instruction, by its number there. A matrix instruction is VALU; JUMP is a taken branch, NEXT one
# that was not; IMMED are s_nop, s_waitcnt and s_barrier; MESSAGE is s_endpgm.
CATEGORIES = ("NONE", "SMEM", "SALU", "VMEM", "FLAT", "LDS", "VALU", "JUMP", "NEXT", "IMMED", "CONTEXT", "MESSAGE", "BVH")

_TABLES = """
dispatches: one kernel launch
  dispatch       int    -       number of the launch
  kernel         text   -       name of the kernel, without a mark of its kind
  start          int    ns      begin, on one clock for the whole recording
  end            int    ns      end, same clock
  grid_x         int?   items   size of the grid in work-items
  grid_y         int?   items
  grid_z         int?   items
  workgroup_x    int?   items   size of a workgroup
  workgroup_y    int?   items
  workgroup_z    int?   items
  grid_items     int?   items   all of the grid, of a workgroup: where only the products are known
  group_items    int?   items
  lds            int?   bytes   of a workgroup, as the launch asked
  scratch        int?   bytes   of a work-item
  vgpr           int?   -       architectural vector registers of a lane
  agpr           int?   -       accumulation registers of a lane
  sgpr           int?   -       scalar registers of a wave
  begin_cycle    int?   cycles  begin and end, from the begin of the first launch
  end_cycle      int?   cycles
  low            float? ns      shortest and longest duration that the constants of the model allow
  high           float? ns
  agent          int?   -       numbers that the profiler gives to device, queue, ...
  queue          int?   -
  stream         int?   -
  process        int?   -
  thread         int?   -
  correlation    int?   -
  kernel_id      int?   -

counters: one counter of one dispatch, summed over its instances
  dispatch       int    -       the launch
  name           text   -       as rocprofv3 names it; `counters.COUNTERS` says what it means
  value          float  -       in the counter's own unit
  kind           text   -       measured, emulated (counted exactly), modelled
  unit           text?  -       where the tool says it

instructions: one static instruction of one dispatch, over the traced waves
  dispatch       int    -
  kernel         text   -
  pc             int    -       its number in the listing of the kernel, from 0
  text           text   -       gfx950 assembly
  file           text   -       innermost source file, empty where unknown
  line           int    -       line of that file, 0 where unknown
  inlined_at     text?  -       where it was inlined, outermost last
  codeobj        int?   -       code object, and address in it
  vaddr          int?   bytes
  hit            int    -       times executed by traced waves
  latency        int    cycles  stall and issue
  stall          int    cycles  from the moment it could have been next to its issue
  idle           int    cycles  in front of it when the wave had nothing to issue
  executed       int?   -       times executed by all waves of the launch
  issued         int?   -       samples of the program counter that found it issued, and not
  stalled        int?   -
  CAUSES         int?   cycles  time of all waves by cause; together latency + idle of all waves

waves: one wave
  dispatch       int    -
  wave           int    -       its number in the dispatch
  xcd            int?   -       die
  se             int    -       shader engine, counted through all dies
  cu             int    -
  simd           int    -
  slot           int    -
  id             int    -       how many waves had this slot before
  begin          int    cycles
  end            int    cycles
  workgroup      int?   -       its workgroup, and its number there
  part           int?   -
  CAUSES         int?   cycles  its time by cause

events: one executed instruction of a traced wave, in order
  dispatch       int    -
  wave           int    -       number in `waves`
  time           int    cycles  when it was next; it issued at time + stall
  category       int    -       place in CATEGORIES
  stall          int    cycles
  duration       int    cycles  stall and issue
  pc             int    -       number in `instructions`
  cause          text?  -       what it mostly waited for, one of CAUSES

occupancy: a wave began or ended, on all compute units
  dispatch       int    -
  se             int    -
  time           int    cycles
  cu             int    -
  simd           int    -
  slot           int    -
  start          int    -       1: began; 0: ended
  kernel         text   -

memory: what one static instruction asked of LDS or memory, all waves
  dispatch       int    -
  pc             int    -
  space          text   -       lds, crossbar (LDS without its banks), global, flat, buffer, scratch, scalar, scalar_buffer
  kind           text   -       load, store, atomic, load_to_lds, smem
  accesses       int    -       executed wave instructions
  lanes          int    -       active lanes, summed
  bytes          int    bytes   asked for by active lanes
  lines          int    -       lines touched, summed over accesses: of 128 bytes, of 64 by scalar loads
  distinct       int    -       lines of these that differ
  phases         int    -       passes over the LDS banks, conflicts included
  conflicts      int    -       passes of these that conflicts added

clocks: shader clock and host clock at the same moment
  dispatch       int    -
  se             int    -
  cycle          int    cycles
  time           int    ns

sources: texts that instructions come from
  path           text   -
  text           text   -

spans: what else took time: calls of an API, copies, operators, a user's ranges
  category       text   -       as the tool calls it: HIP_RUNTIME_API_EXT, MEMORY_COPY, cpu_op, ...
  name           text   -
  start          int    ns      on the clock of `dispatches`
  end            int    ns
  process        int?   -       numbers; -1 where this one has none
  thread         int?   -
  correlation    int?   -       that of the launch or copy that it caused
  agent          int?   -       device that it was on, or to which it copied
  source         int?   -       device from which it copied
  stream         int?   -
  queue          int?   -
  bytes          int?   bytes   copied or allocated

samples: the program counter of a wave at one moment
  time           int    ns
  dispatch       int    -
  text           text   -       the instruction, and where in the sources
  where          text   -
  lanes          int    -       active ones
  correlation    int?   -
  issued         int?   -       1: it was issued then
  category       text?  -       as the tool calls them: kind of instruction, why it was not issued
  reason         text?  -
  waves          int?   -       on its SIMD then

series: a value over the time of one dispatch, of one compute unit
  dispatch       int    -
  se             int    -
  cu             int    -
  time           int    cycles
  name           text   -
  value          int    -       since the row before

summaries: what a tool summed up: one figure of one name
  name           text   -       kernel, function or device
  path           text?  -       what it was called from, outermost first, with " / " between
  metric         text   -       as the tool calls it
  value          float  -
"""
_DTYPES = {"int": np.dtype(np.int64), "float": np.dtype(np.float64), "text": np.dtype(object)}


@dataclass(frozen=True)
class Column:
    """One column: dtype `int` (int64), `float` (float64) or `text`; `unit` "-" for plain numbers."""

    name: str
    dtype: str
    unit: str
    optional: bool
    about: str

    def array(self, values: Any, where: str) -> Any:
        """`values` in this column's dtype. Raises RecordingError, naming `where`, for what does not fit."""
        if self.dtype == "text":
            if isinstance(values, pd.Series):  # whose own iteration is many times slower
                values = values.to_numpy(dtype=object)
            if not all(isinstance(value, str) for value in values):
                bad = next(i for i, value in enumerate(values) if not isinstance(value, str))
                raise RecordingError(f"{where}: row {bad} of column {self.name} is not text")
            if bad_text := next((x for x in set(values) if not x.isascii() and _SURROGATE.search(x)), None):
                raise RecordingError(f"{where}: column {self.name} has {bad_text!r:.60}, which is half a character")
            whole = isinstance(values, np.ndarray) and values.dtype == object
            return values if whole else pd.Series(list(values), dtype=object).to_numpy()
        found = np.asarray(values)
        if found.size == 0:
            return np.zeros(0, _DTYPES[self.dtype])
        allowed = "biu" if self.dtype == "int" else "biuf"
        if found.dtype.kind not in allowed:
            raise RecordingError(f"{where}: column {self.name} is {found.dtype}; it holds {self.dtype}")
        return found.astype(_DTYPES[self.dtype], copy=False)


@dataclass(frozen=True)
class Table:
    """One table of a recording."""

    name: str
    about: str
    columns: tuple[Column, ...]

    def frame(self, data: Any = None, where: str = "") -> pd.DataFrame:
        """`data` (a frame, or anything a frame is made from) with this table's columns, in order and dtype; None: no rows.

        Raises RecordingError that names `where` and the column: one that is missing, unknown, or of another dtype.
        """
        where = where or f"table {self.name}"
        given = pd.DataFrame({column.name: [] for column in self.columns if not column.optional} if data is None else data)
        if unknown := [str(name) for name in given if name not in {column.name for column in self.columns}]:
            raise RecordingError(f"{where} has a column {unknown[0]}; it may have {', '.join(c.name for c in self.columns)}")
        if missing := [c.name for c in self.columns if not c.optional and c.name not in given]:
            raise RecordingError(f"{where} lacks column {missing[0]}")
        # Not copied: a trace of a gigabyte would be there twice. Nothing writes into a recording's frames.
        return pd.DataFrame({c.name: c.array(given[c.name], where) for c in self.columns if c.name in given}, copy=False)


def _parse(text: str) -> dict[str, Table]:
    tables = {}
    for block in text.strip().split("\n\n"):
        head, *lines = block.splitlines()
        name, about = head.split(": ", 1)
        columns = []
        for line in lines:
            column, dtype, unit, *rest = line.split(None, 3)
            for each in CAUSES if column == "CAUSES" else (column,):
                columns.append(Column(each, dtype.rstrip("?"), unit, dtype.endswith("?"), "".join(rest)))
        tables[name] = Table(name, about, tuple(columns))
    return tables


TABLES = _parse(_TABLES)


@dataclass(frozen=True)
class Manifest:
    """Where a recording comes from. `kinds` says how the numbers of a table came to be, by its name, and of a column that
    differs, by `table.column`. `device` and `result` are small flat dicts of plain values (as JSON has them)."""

    kinds: dict[str, str]
    device: dict[str, Any] = field(default_factory=dict)
    tool: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    commit: str = ""
    date: str = ""
    kernel: str = ""
    case: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Manifest:
        """The opposite. Raises RecordingError, naming `where`, for what is not a manifest of a format known here."""
        if not isinstance(data, dict) or not isinstance(data.get("format"), int):
            raise RecordingError(f"{where} is not the manifest of a recording: it has no format number")
        if data["format"] != FORMAT:
            raise RecordingError(f"{where} has format {data['format']}; this version reads {FORMAT}. Record it again")
        types = {"str": str, "int": int}
        for f in fields(cls):
            wanted = types.get(str(f.type), dict)
            if not isinstance(data.get(f.name), wanted):
                raise RecordingError(f"{where}: {f.name} is {data.get(f.name)!r:.60}; it is a {wanted.__name__}")
        manifest = cls(**{f.name: data[f.name] for f in fields(cls)})
        manifest.check(where)
        return manifest

    def check(self, where: str) -> None:
        """Raises RecordingError, naming `where`, for a kind or the table of one that there is not."""
        for place, kind in self.kinds.items():
            if place.split(".")[0] not in TABLES or kind not in KINDS:
                raise RecordingError(f"{where}: kinds has {place}: {kind!r}; a kind of a table is one of {', '.join(KINDS)}")


_SURROGATE = re.compile("[\ud800-\udfff]")


def shown(text: str, most: int = 2000) -> str:
    """A text of somebody's file for people: nothing in it steers a terminal, and it ends."""
    text = text if len(text) <= most else f"{text[: most - 3]}..."
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@dataclass(frozen=True)
class Skipped:
    """Rows of a file that no table has, and why. `first`: the first of them, as errors count; 0 for a whole file or column."""

    file: str
    reason: str
    rows: int
    first: int = 0

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'s' * (self.rows != 1)}, the first {self.first}: " if self.first else ""
        return shown(f"{self.file}: {rows}{self.reason}")


class Skips:
    """Collects them while a reader reads: one for each file and reason."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], list[int]] = {}

    def add(self, path: object, reason: str, first: int = 0, rows: int = 1) -> None:
        key = (str(path), reason)
        if key not in self.found and len(self.found) >= REASONS:  # made of names that a hostile file may vary without end
            key = (str(path), "other reasons")
        self.found.setdefault(key, [0, first])[0] += rows

    def __iter__(self) -> Iterator[Skipped]:
        return (Skipped(file, reason, *numbers) for (file, reason), numbers in self.found.items())


@dataclass(frozen=True, eq=False)
class Recording:
    """A run as written down: `recording["events"]` is a frame with the columns of TABLES. Tables left out are empty.
    `skipped` says which rows of the files it was read from are not in it."""

    manifest: Manifest
    tables: Mapping[str, pd.DataFrame] = field(repr=False)
    skipped: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        if unknown := set(self.tables) - set(TABLES):
            raise RecordingError(f"no table {min(unknown)!r} in a recording; there are {', '.join(TABLES)}")
        self.manifest.check("manifest")
        object.__setattr__(self, "tables", {name: table.frame(self.tables.get(name)) for name, table in TABLES.items()})
        if lost := [name for name in self.tables if len(self.tables[name]) and name not in self.manifest.kinds]:
            raise RecordingError(f"manifest: kinds does not say how the numbers of {lost[0]} came to be: {', '.join(KINDS)}")

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in TABLES:
            raise RecordingError(f"no table {name!r} in a recording; there are {', '.join(TABLES)}")
        return self.tables[name]

    def kind(self, table: str, column: str = "") -> str:
        """How the numbers of a table, or of one of its columns, came to be: one of KINDS."""
        return self.manifest.kinds.get(f"{table}.{column}", self.manifest.kinds.get(table, "measured"))

    @cached_property
    def traced(self) -> pd.DataFrame:
        """The waves that have events."""
        keys = ["dispatch", "wave"]
        return self["waves"].merge(self["events"][keys].drop_duplicates(), on=keys)

    def __str__(self) -> str:
        m, dispatches = self.manifest, self["dispatches"]
        device = m.device.get("product", m.device.get("name", "an unknown device"))
        head = [f"{shown(m.kernel or 'recording', 100)} on {shown(str(device), 100)}"]
        head += [
            f"  {shown(row.kernel, 100)}: {(row.end - row.start) / 1000:.2f} us ({self.kind('dispatches')})"
            for row in dispatches.head(SHOWN).itertuples()
        ]
        head += [f"  ... and {len(dispatches) - SHOWN:,} more launches"] if len(dispatches) > SHOWN else []
        kinds = {name: self.kind(name) for name in self.tables} | {"counters": ", ".join(sorted(set(self["counters"].kind)))}
        rows = [f"  {len(f):9,} {name} ({kinds[name]})" for name, f in self.tables.items() if len(f)]
        return "\n".join([*head, *rows, *(f"  left out: {one}" for one in self.skipped[:SHOWN])])

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


_MARK = re.compile(rf" \[({'|'.join(KINDS)})\]$")


def marked(name: str, kind: str) -> str:
    """`name` with the mark of its kind, which a measured one does not need."""
    return name if kind == "measured" else f"{name} [{kind}]"


def unmarked(name: str) -> tuple[str, str]:
    """A name without its mark, and its kind."""
    m = _MARK.search(name)
    return (name[: m.start()], m[1]) if m else (name, "measured")


def bare_names(names: Iterable[str]) -> tuple[pd.Series, pd.Series]:
    """Names without their marks, and the kinds that these say; each distinct name is looked at once."""
    column = pd.Series(names, dtype=object)
    found = {name: unmarked(name) for name in column.unique()}
    bare, kinds = (column.map({name: both[i] for name, both in found.items()}) for i in (0, 1))
    return bare, kinds


def one_kind(kinds: Iterable[str], where: object) -> str:
    """The kind of all kernels of a recording; rows that only count may be emulated beside modelled ones. Raises RecordingError,
    naming `where`, for several."""
    found = {*kinds}
    if len(found) > 1 and found != {"emulated", "modelled"}:
        raise RecordingError(f"{where}: kernels of several kinds: {', '.join(sorted(found))}; read their files one by one")
    return max(found, default="measured")  # "modelled" before "emulated"


_DECORATION = re.compile(r"( ?\(.*\))?( \[clone .*\])?(\.kd)?$")  # what tools and versions add to a kernel's name


def nth_launches(dispatches: pd.DataFrame) -> dict[int, tuple[str, int]]:
    """What each launch is in any run of a program: its kernel's bare name, and how many launches of that name were before it."""
    seen: Counter[str] = Counter()
    found: dict[int, tuple[str, int]] = {}
    for number, kernel in zip(dispatches.dispatch.tolist(), dispatches.kernel, strict=True):
        if number not in found:
            bare = _DECORATION.sub("", kernel, count=1)
            found[number] = bare, seen[bare]
            seen[bare] += 1
    return found


def joined(parts: list[pd.DataFrame], missing: int | None = None) -> pd.DataFrame:
    """All rows; a column that some parts lack is filled with `missing`, or left out where that is None."""
    if len(parts) == 1:
        return parts[0]
    shared = [
        c for c in dict.fromkeys(c for part in parts for c in part) if missing is not None or all(c in part for part in parts)
    ]
    return pd.concat([part.reindex(columns=shared, fill_value=missing) for part in parts], ignore_index=True)
