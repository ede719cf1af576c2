"""CSV files of profilers, read by the names of their columns: one table of kinds says what a file is and where its columns go.

Names are compared without case, blanks and underscores, since tools and versions differ in these. A file is read in pieces, a
column of numbers at a time; what is wrong is looked for row by row only then.
"""

from __future__ import annotations

import csv
import math
import re
import reprlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparse_mla.errors import RecordingError
from sparse_mla.record.inputs import LINE, text
from sparse_mla.record.schema import TABLES, Skips

# kind; columns that a file of it has, or with `!` has not; table that its rows are of. The first that fits is taken.
_KINDS = """
counters; Dispatch_Id Counter_Name Counter_Value; counters
counters; ID Kernel_Name Metric_Name Metric_Value; counters
kernel trace; Kind Dispatch_Id Kernel_Name Start_Timestamp End_Timestamp; dispatches
launches with counters; Dispatch_Id Kernel_Name !Kind; dispatches
launches with counters; Index KernelName; dispatches
launches with counters; ID Process_ID Kernel_Name; dispatches
API trace; Domain Function Start_Timestamp End_Timestamp; spans
copies; Kind Direction Start_Timestamp End_Timestamp; spans
allocations; Kind Operation Start_Timestamp End_Timestamp; spans
statistics; Name Calls TotalDurationNs; summaries
samples; Sample_Timestamp Exec_Mask Dispatch_Id Instruction; samples
instructions; Vaddr Instruction Hitcount Latency Stall Idle; instructions
agents; Node_Id Agent_Type Name; device
system; workload_name gpu_arch; device
roofline; device HBMBw; summaries
"""
# table: column of ours = names that tools give it. `-`: known, and without a place; `.`: the same in every row, or of no use.
_NAMES = """
dispatches counters: dispatch=Dispatch_Id,Index,ID kernel=Kernel_Name start=Start_Timestamp,BeginNs end=End_Timestamp,EndNs
  agent=Agent_Id,GPU_ID,Device queue=Queue_Id stream=Stream_Id,Stream process=Process_Id,PID thread=Thread_Id,TID
  kernel_id=Kernel_Id correlation=Correlation_Id grid_items=Grid_Size,grd group_items=Workgroup_Size,wgr,Block_Size
  lds=LDS_Block_Size,Group_Segment_Size,LDS_Per_Workgroup,lds scratch=Scratch_Size,Private_Segment_Size,Scratch_Per_Workitem,scr
  vgpr=VGPR_Count,Arch_VGPR agpr=Accum_VGPR_Count,Accum_VGPR sgpr=SGPR_Count,SGPR workgroup_x=Workgroup_Size_X
  workgroup_y=Workgroup_Size_Y workgroup_z=Workgroup_Size_Z grid_x=Grid_Size_X grid_y=Grid_Size_Y grid_z=Grid_Size_Z arch=CC
  name=Counter_Name,Metric_Name value=Counter_Value,Metric_Value unit=Metric_Unit
  .=Guid,Kind,Wave_Size -=XCC_Index,sig,obj,queue-index,DispatchNs,CompleteNs,DurationNs,Process_Name,Host_Name,Context
  -=Section_Name,Rule_Name,Rule_Type,Rule_Description,Estimated_Speedup_Type,Estimated_Speedup
spans: category=Domain,Kind name=Function,Direction,Operation start=Start_Timestamp end=End_Timestamp process=Process_Id
  thread=Thread_Id correlation=Correlation_Id stream=Stream_Id queue=Queue_Id agent=Agent_Id,Destination_Agent_Id
  source=Source_Agent_Id bytes=Allocation_Size .=Guid -=Address,Alloc_Flags
samples: time=Sample_Timestamp lanes=Exec_Mask dispatch=Dispatch_Id text=Instruction where=Instruction_Comment
  correlation=Correlation_Id issued=Wave_Issued_Instruction category=Instruction_Type reason=Stall_Reason waves=Wave_Count
instructions: codeobj=CodeObj vaddr=Vaddr text=Instruction hit=Hitcount latency=Latency stall=Stall idle=Idle source=Source
  -=ServiceType issued=Issued stalled=Stalled
"""
COUNTER = ("name", "value", "unit")  # columns of a file of counters that are the counter's, not the launch's
LAUNCHES = "launches with counters"
_CELLS = 400_000  # that are text at a time
_SEPARATED = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")
_NOTHING = {"", "nan", "n/a", "no data"}


def plain(name: str) -> str:
    """A column's name without what tools and versions write differently."""
    return re.sub(r"[\W_]", "", name).lower()


@dataclass(frozen=True)
class Kind:
    """One kind of CSV file. `needs`: columns, as the first tool that wrote them spells them."""

    name: str
    needs: tuple[str, ...]
    table: str

    @property
    def names(self) -> dict[str, str]:
        """Column of ours by plain name of a tool's."""
        return _VOCABULARY.get(self.table, {})

    def lacks(self, header: list[str]) -> list[str]:
        """What it needs and `header` has not, or the other way round."""
        there = {plain(name) for name in header}
        return [name for name in self.needs if name.startswith("!") == (plain(name) in there)]


def _vocabulary() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for block in re.split(r"\n(?=\S)", _NAMES.strip()):
        tables, _, pairs = block.partition(":")
        names = {plain(name): ours for pair in pairs.split() for ours, all_ in [pair.split("=")] for name in all_.split(",")}
        found |= dict.fromkeys(tables.split(), names)
    return found


_VOCABULARY = _vocabulary()
KINDS = [Kind(name, tuple(needs.split()), table) for name, needs, table in (x.split("; ") for x in _KINDS.strip().splitlines())]


def whole(value: Any) -> int:
    """A number of a file as an integer of 64 bits. Raises ValueError for what is none, or has lost digits in a spreadsheet."""
    if isinstance(value, bool) or not isinstance(value, int):
        if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit():
            value = int(value)
        else:
            number = float(value.replace("_", "?") if isinstance(value, str) else value)
            if not number.is_integer() or abs(number) >= 2**53:
                raise ValueError(value)
            value = int(number)
    if not -(2**63) <= value < 2**63:
        raise ValueError(value)
    return int(value)


def number(value: Any) -> float:
    """A number of a file, thousands separated or not. Raises ValueError for what is none or is infinite."""
    if isinstance(value, str) and _SEPARATED.fullmatch(value):
        value = value.replace(",", "")
    if isinstance(value, bool) or not math.isfinite(found := float(value.replace("_", "?") if isinstance(value, str) else value)):
        raise ValueError(value)
    return found


def _agent(value: str) -> int:
    """A plain number before ROCm 7; a call or the freeing of memory may have none."""
    return whole(re.sub(r"^(Agent|GPU|CPU) ", "", value)) if value else -1


def _or_none(value: str) -> int:
    return whole(value) if value else -1


def _lanes(value: str) -> int:
    """How many of 64 bits are set."""
    if not (value.isascii() and value.isdigit()) or int(value) >= 2**64:
        raise ValueError(value)
    return int(value).bit_count()


def _triple(value: str) -> tuple[int, int, int]:
    x, y, z = re.fullmatch(r"\((\d{1,10}), ?(\d{1,10}), ?(\d{1,10})\)", value).groups()  # type: ignore[union-attr]
    return int(x), int(y), int(z)


def _time(value: str) -> int:
    """A time in ns. 0 where a spreadsheet has cut its digits: 8.1097E+14, say."""
    return 0 if re.fullmatch(r"\d\.\d+[eE]\+\d+", value) and whole(value) else whole(value)


def _average(value: str) -> int:
    """A time that may be the mean of several passes."""
    return round(number(value)) if re.fullmatch(r"\d+\.\d+", value) else _time(value)


def _counter(value: str) -> float:
    return math.nan if value.lower() in _NOTHING else number(value)


def _parser(column: str, kind: Kind, first: str) -> Callable[[str], Any]:
    """How a cell of a column of ours becomes a value; text stays as it is."""
    if column in ("agent", "source") and kind.table != "instructions":
        return _agent
    if column in ("grid_items", "group_items") and first.startswith("("):
        return _triple
    if column in ("start", "end"):
        return _average if kind.name == LAUNCHES else _time
    if column == "lanes":
        return _lanes
    known = {c.name: c.dtype for c in (*TABLES["dispatches"].columns, *TABLES[kind.table].columns)}
    return {"int": _or_none if kind.table == "spans" else whole, "float": number}.get(known.get(column, "text"), str)


# What does a whole column at once, for cells as they mostly are; what it refuses is gone through one by one.
_FAST: dict[Callable[[str], Any], type] = {whole: int, _time: int, _average: int, _or_none: int, number: float, _counter: float}


def _lines(path: Path, skips: Skips) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file with the number of their last line, header first. What a tool says before it is left out."""
    with text(path) as file:

        def short() -> Iterator[str]:
            while line := file.readline(LINE):
                if len(line) == LINE:
                    raise RecordingError(f"{path}: a line has more than {LINE:,} characters")
                yield line

        reader, header = csv.reader(short()), False
        try:
            for row in reader:
                if row and row[0].startswith("==") and not (header and len(row) > 1):
                    skips.add(path, "what the tool says between its rows", reader.line_num)
                elif row:
                    header = True
                    yield reader.line_num, row
        except csv.Error as problem:
            raise RecordingError(f"{path}, line {reader.line_num}: is not CSV: {problem}") from None


def header(path: Path) -> list[str]:
    """The names of the columns of a CSV file; none where it is empty."""
    return next((row for _, row in _lines(path, Skips())), [])


def kind_of(names: list[str]) -> tuple[Kind | None, str]:
    """What a file with these columns is. Where it is nothing: None, and what the nearest kind has and these have not."""
    for kind in KINDS:
        if not kind.lacks(names):
            return kind, ""
    near = min(KINDS, key=lambda kind: len(kind.lacks(names)) / len(kind.needs))
    lost = near.lacks(names)
    return None, f"lacks column {' or '.join(lost)} of {near.name}" if 2 * len(lost) <= len(near.needs) else ""


class Rows:
    """Rows of one table, from a format that has them one by one. What may be unknown is None."""

    def __init__(self, table: str, path: Path, names: Mapping[str, str] | None = None) -> None:
        """`names`: what errors call a column of ours."""
        self.table, self.path, self.count, self.names = table, path, 0, names or {}
        self.wanted = [(c.name, c.dtype, c.optional) for c in TABLES[table].columns]
        self.values: dict[str, Any] = {name: [] if t == "text" else array("qd"[t == "float"]) for name, t, _ in self.wanted}
        self.partly: dict[str, int] = dict.fromkeys(self.values, 0)
        self.texts: dict[str, str] = {}  # each distinct text once

    def add(self, where: object, row: Mapping[str, Any]) -> None:
        """Raises RecordingError, naming file, `where` and column, for a value that is missing or is not of its dtype."""
        for name, dtype, optional in self.wanted:
            value = row.get(name)
            try:
                if value is None and optional:
                    self.partly[name] += 1
                    value = "" if dtype == "text" else -1
                elif dtype == "text":
                    if not isinstance(value, str):
                        raise TypeError
                elif type(value) is not int or not -(2**63) <= value < 2**63:
                    value = number(value) if dtype == "float" else whole(value)
            except (ValueError, TypeError, ArithmeticError):
                what = {"text": "text", "int": "a whole number", "float": "a number"}[dtype]
                name = self.names.get(name, name)
                raise RecordingError(f"{self.path}, {where}: {name} is {reprlib.repr(value)}; it is {what}") from None
            self.values[name].append(self.texts.setdefault(value, value) if isinstance(value, str) else value)
        self.count += 1

    def frame(self) -> pd.DataFrame:
        """The rows; without the columns that no row has, and but for `spans` without those that some lack."""
        some = self.count if self.table == "spans" else 1
        kept = {name: x for name, x in self.values.items() if self.count == 0 or self.partly[name] < some}
        arrays = {name: x if isinstance(x, list) else np.frombuffer(x, x.typecode) for name, x in kept.items()}
        return pd.DataFrame(
            {name: pd.Series(x, dtype=object) if isinstance(x, list) else x for name, x in arrays.items()}, copy=False
        )


class Frame:
    """One file: `kind`, and its columns as arrays or lists of equal length. `extra`: columns that no vocabulary has."""

    def __init__(self, path: Path, kind: Kind, columns: dict[str, Any], extra: dict[str, Any], units: dict[str, str]) -> None:
        self.path, self.kind, self.columns, self.extra, self.units = path, kind, columns, extra, units
        self.rows = len(next(iter((columns or extra).values()), ()))

    @property
    def launches(self) -> pd.DataFrame:
        """Columns dispatch and kernel of a file that has them."""
        return pd.DataFrame({name: self.columns[name] for name in ("dispatch", "kernel")}, copy=False)


def read(path: Path, skips: Skips) -> Frame:
    """A CSV file of any kind. Raises RecordingError, naming file, line and column, for what cannot be read."""
    rows = _lines(path, skips)
    _, names = next(rows, (0, []))
    kind, near = kind_of(names)
    if kind is None:
        raise RecordingError(f"{path} {near or 'has columns of no known kind: ' + ', '.join(names)[:80]}")
    if len(set(names)) < len(names):
        raise RecordingError(f"{path} has column {Counter(names).most_common(1)[0][0]} more than once")
    return _Reading(path, kind, names, skips).all(rows)


class _Reading:
    """The state of `read`: what became of the columns so far."""

    def __init__(self, path: Path, kind: Kind, names: list[str], skips: Skips) -> None:
        self.path, self.kind, self.names, self.skips = path, kind, names, skips
        self.places: dict[str, int] = {}
        self.others: dict[str, int] = {}
        unused = []
        for i, name in enumerate(names):
            known = kind.names.get(plain(name))
            if known in COUNTER and kind.table == "dispatches":
                known = None
            repeated = kind.names.get(plain(re.sub(r"_\d+$", "", name)))
            if known and known not in "-." and known not in self.places:
                self.places[known] = i
            elif not known and not repeated and (not kind.names or kind.name == LAUNCHES):
                self.others[name] = i
            elif known != ".":
                unused.append(name)
        if unused:
            more = f" and {len(unused) - 8} more" if len(unused) > 8 else ""
            skips.add(path, f"columns without a place: {', '.join(unused[:8])}{more}")
        self.parsers: dict[str, Callable[[str], Any]] = {}
        # Arrays of the standard library grow in place; joining pieces at the end would need everything twice.
        self.columns: dict[str, Any] = {name: [] for name in (*self.places, *self.others)}
        self.units: dict[str, str] = {}
        self.texts: dict[str, str] = {}  # each distinct text once

    def all(self, rows: Iterator[tuple[int, list[str]]]) -> Frame:
        size = max(1, _CELLS // len(self.names))
        numbers: list[int] = []
        cells: list[list[str]] = []
        first = True
        for line, row in rows:
            if len(row) != len(self.names):
                raise RecordingError(f"{self.path}, line {line}: {len(self.names)} columns are named, {len(row)} are there")
            if first:
                first = False
                if "dispatch" in self.places and not row[self.places["dispatch"]] and self.others:
                    self.units = dict(zip(self.names, row, strict=True))  # as Nsight Compute's raw page has them
                    continue
            numbers.append(line)
            cells.append(row)
            if len(cells) == size:
                self.piece(numbers, cells)
                numbers, cells = [], []
        if cells:
            self.piece(numbers, cells)
        for name, column in self.columns.items():
            if name not in self.parsers and self.parser(name, "") is not str:
                self.columns[name] = np.zeros(0, np.int64)  # there are no rows
            if isinstance(column, array):
                flat = np.frombuffer(column, column.typecode)
                self.columns[name] = flat.reshape(-1, 3) if self.parsers[name] is _triple else flat
        ours, extra = (
            {name: self.columns[name] for name in names if self.parsers.get(name) is not _unread}
            for names in (self.places, self.others)
        )
        return Frame(self.path, self.kind, ours, extra, self.units)

    def piece(self, numbers: list[int], cells: list[list[str]]) -> None:
        columns = list(zip(*cells, strict=True))
        if "unit" in self.places:
            columns, numbers = self.numeric(columns, numbers)
        for name, i in (*self.places.items(), *list(self.others.items())):
            values = columns[i]
            if name not in self.parsers:
                self.parsers[name] = self.parser(name, values[0] if values else "")
            if self.parsers[name] is _unread:
                continue
            found = self.values(name, i, values, numbers)
            if isinstance(found, list):
                self.columns[name] += found
            else:
                self.columns[name] = self.columns[name] or array(found.dtype.char)
                self.columns[name].frombytes(found.tobytes())

    def parser(self, name: str, first: str) -> Callable[[str], Any]:
        if name in self.places:
            return _parser(name, self.kind, first)
        if not self.kind.names:
            return str
        try:
            _counter(first)
        except ValueError:
            self.skips.add(self.path, f"column {name:.60} has no numbers")
            return _unread
        return _counter

    def numeric(self, columns: list[Any], numbers: list[int]) -> tuple[list[Any], list[int]]:
        """Without the rows of Nsight Compute that are advice, and those whose value is a word."""
        keep = []
        for i, (name, value) in enumerate(zip(columns[self.places["name"]], columns[self.places["value"]], strict=True)):
            if not name:
                self.skips.add(self.path, "a rule's advice, no metric", numbers[i])
            elif value.lower() in _NOTHING or value[0] not in "-.0123456789":
                self.skips.add(self.path, "a metric without a number", numbers[i])
            else:
                keep.append(i)
        return [tuple(column[i] for i in keep) for column in columns], [numbers[i] for i in keep]

    def values(self, name: str, i: int, values: tuple[str, ...], numbers: list[int]) -> Any:
        parse = self.parsers[name]
        if parse is str:
            return [self.texts.setdefault(value, value) for value in values]
        dtype = np.int64 if _FAST.get(parse, int) is int else np.float64
        if (fast := _FAST.get(parse)) and not set("_ \t\n").intersection("".join(values)):
            with suppress(ValueError, OverflowError):
                found = np.array(list(map(fast, values)), dtype)
                if dtype is np.int64 or np.isfinite(found).all():
                    return found
        out = []
        for line, value in zip(numbers, values, strict=True):
            try:
                out.append(parse(value))
            except (ValueError, OverflowError, AttributeError):
                wanted = "three sizes" if parse is _triple else "a number"
                where = f"{self.path}, line {line}, column {self.names[i]}"
                raise RecordingError(f"{where}: {value!r:.60} is not {wanted}") from None
            if parse in (_time, _average) and not value.isdigit():
                why = "is a mean of passes, rounded to ns" if out[-1] else "has lost digits in a spreadsheet: 0 stands for it"
                self.skips.add(self.path, f"column {self.names[i]} {why}", line)
        return np.array(out, dtype)


def _unread(value: str) -> Any:
    """Stands for a column that is left out."""
