"""Judges the issue rules by thread traces of real devices: `python -m sparse_mla.gfx950.timing FOLDER...` prints it.

A folder is a `ui_output_*` of rocprofv3's thread trace (ATT), or holds some. All waves of a traced CU are replayed together in
their recorded order through the rules that simulate: each next issue time is predicted from what was recorded before it. How
long a wave waits for memory, for a barrier and for its first fetch is taken from the recording, and not counted as predicted.
"""

from __future__ import annotations

import ctypes as c
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparse_mla.errors import AssemblyError, InputError
from sparse_mla.gfx950.assembly import Instruction, parse_instruction
from sparse_mla.gfx950.timing.classes import K_BARRIER, K_NOP, K_WAIT, KINDS, NONE, describe
from sparse_mla.gfx950.timing.device import Device, device
from sparse_mla.gfx950.timing.native import STRUCTS, constants, library

_EVENT, _PREDICTED = np.dtype(STRUCTS["Recorded"]), np.dtype(STRUCTS["Predicted"])
TAKEN, _IMMEDIATE = 7, 9  # ATT's categories of a taken branch, and of s_nop, s_waitcnt and s_barrier


Wave = dict[str, Any]  # `wave` of a wave file


@dataclass(frozen=True)
class Recording:
    """One dispatch: its instructions by LineNumber, and its waves' records as numpy, by (shader engine, CU)."""

    name: str
    instructions: dict[int, Instruction]
    addresses: dict[int, int]
    cus: dict[tuple[str, int], list[Wave]] = field(repr=False)


def read(folder: Path) -> Recording:
    """One `ui_output` folder. Raises InputError where it has no code or no waves."""
    try:
        rows = json.loads((folder / "code.json").read_text(), strict=False)["code"] or []
    except (OSError, ValueError, KeyError) as bad:
        raise InputError(f"{folder}: no readable code.json ({bad})") from None
    instructions = {int(row[2]): _instruction(str(row[0])) for row in rows if not str(row[0]).startswith(";")}
    addresses = {int(row[2]): int(row[5]) for row in rows}
    cus: dict[tuple[str, int], list[Wave]] = {}
    for path in sorted(folder.glob("se*_sm*_sl*_wv*.json")):
        try:
            data = json.loads(path.read_text())
            wave = data["wave"]
        except (OSError, ValueError, KeyError):
            continue
        if wave.get("instructions"):
            cus.setdefault((str(data.get("name")), int(wave["cu"])), []).append(wave)
    if not instructions or not cus:
        raise InputError(f"{folder}: no {'waves' if instructions else 'instructions'} were recorded")
    return Recording(folder.parent.name, instructions, addresses, cus)


def _instruction(text: str) -> Instruction:
    try:
        return parse_instruction(text)
    except (AssemblyError, ValueError, LookupError):
        return Instruction(text.split()[0] if text.split() else "s_nop", (), {}, text, 0, None)


@dataclass(frozen=True)
class Replayed:
    """Predictions beside what was recorded, one element an instruction, all waves of all CUs."""

    recording: Recording
    waves_per_simd: int
    line: np.ndarray
    wave: np.ndarray
    kind: np.ndarray
    recorded: np.ndarray
    predicted: np.ndarray
    cause: np.ndarray
    counted: np.ndarray  # False for the first instruction of a wave and for what a recorded wait decides


def replay(recording: Recording, on: Device | None = None) -> Replayed:
    """Runs a recording through the issue rules of `on` (default: mi355x)."""
    on = on or device()
    lines = sorted(recording.instructions)
    number = {line: i for i, line in enumerate(lines)}
    descs = describe([recording.instructions[line] for line in lines], on)
    descs["address"] = [recording.addresses.get(line, 0) for line in lines]
    k, lib = constants(on), library()
    parts = []
    most = 1
    for waves in recording.cus.values():
        events, first = _events(waves, number, descs)
        most = max(most, _overlap(waves))
        out = np.zeros(len(events), _PREDICTED)
        sizes = {"WaveState": len(waves), "Simd": 4, "Cu": 1}
        state = [np.zeros(c.sizeof(STRUCTS[name]) * n, np.uint8) for name, n in sizes.items()]
        lib.replay(
            c.byref(k), descs.ctypes.data_as(c.c_void_p), events.ctypes.data_as(c.c_void_p), c.c_uint64(len(events)),
            out.ctypes.data_as(c.c_void_p), *(x.ctypes.data_as(c.c_void_p) for x in state),
        )  # fmt: skip
        parts.append((events, out, first))
    events, out, first = (np.concatenate([part[i] for part in parts]) for i in range(3))
    kind = descs["kind"][events["desc"]]
    return Replayed(
        recording, most, np.array(lines)[events["desc"]], events["wave"], kind, events["at"].astype(np.int64),
        out["at"].astype(np.int64), out["cause"], ~first,
    )  # fmt: skip


def _events(waves: list[Wave], number: dict[int, int], descs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Issue events of all waves in order of time, and which are their wave's first."""
    parts, firsts = [], []
    for i, wave in enumerate(waves):
        rows = np.array([row[:5] for row in wave["instructions"] if row[4] in number], np.int64).reshape(-1, 5)
        events = np.zeros(len(rows), _EVENT)
        immediate = rows[:, 1] == _IMMEDIATE
        events["at"] = rows[:, 0] + np.where(immediate, 0, rows[:, 2])
        events["until"] = rows[:, 0] + rows[:, 3]
        events["wave"], events["simd"] = i, int(wave["simd"]) & 3
        events["desc"] = [number[line] for line in rows[:, 4]]
        nops = descs["kind"][events["desc"]] == K_NOP  # a record begins where the last one ended, however long its own is
        events["at"][nops] = events["until"][nops] - descs["next"][events["desc"][nops], NONE]
        events["taken"] = rows[:, 1] == TAKEN
        parts.append(events)
        firsts.append(np.arange(len(rows)) == 0)
    events, first = np.concatenate(parts), np.concatenate(firsts)
    order = np.argsort(events["at"], kind="stable")
    return events[order], first[order]


def _overlap(waves: list[Wave]) -> int:
    """Most waves that one SIMD held at a time."""
    most = 0
    for simd in range(4):
        ends = sorted(
            [(w["begin"], 1) for w in waves if w["simd"] == simd] + [(w["end"], -1) for w in waves if w["simd"] == simd]
        )
        now = 0
        for _, step in ends:
            now += step
            most = max(most, now)
    return most


_WAITS = (K_WAIT, K_BARRIER)


def summary(done: Replayed) -> dict[str, float]:
    """Predicted instructions, share predicted exactly and share within 4 cycles. When a wait or barrier lets go is taken from
    the recording, so they are left out; `with_waits` is the exact share with the moment at which they begin counted too."""
    off = np.abs(done.recorded - done.predicted)
    issued = off[done.counted & ~np.isin(done.kind, _WAITS)]
    every = off[done.counted]
    if not len(issued):
        return {"instructions": 0, "exact": 0.0, "near": 0.0, "with_waits": 0.0}
    exact, near, waits = (float(x.mean()) for x in (issued == 0, issued <= 4, every == 0))
    return {"instructions": len(issued), "exact": exact, "near": near, "with_waits": waits}


def misses(done: Replayed) -> dict[str, int]:
    """How many instructions of each kind were not predicted exactly, most first."""
    wrong = done.counted & (done.recorded != done.predicted) & ~np.isin(done.kind, _WAITS)
    counts = np.bincount(done.kind[wrong], minlength=len(KINDS))
    return {KINDS[i]: int(counts[i]) for i in np.argsort(-counts) if counts[i]}


def folders(paths: Iterable[Path]) -> list[Path]:
    """The `ui_output` folders among and below some folders."""
    found = {file.parent for path in paths for file in path.rglob("code.json") if any(file.parent.glob("se*_sm*_sl*_wv*.json"))}
    return sorted(found)
