"""Recordings of what the emulator executed and the timing model timed: `record(kernel, case)`.

Counts (executions, lanes, lines, LDS passes) are `emulated`: exact, from executing the machine code. Times are `modelled`.
"""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

import sparse_mla
from sparse_mla.build.toolchain import find_toolchain
from sparse_mla.execute.timing import time_kernel
from sparse_mla.files import PACKAGE, folder, source_file
from sparse_mla.gfx950.accesses import summary
from sparse_mla.gfx950.assembly import Kernel
from sparse_mla.gfx950.timing import CAUSES, Device, Timed, Timing
from sparse_mla.gfx950.timing.classes import describe
from sparse_mla.gfx950.timing.counters import RULES
from sparse_mla.kernels.case import Case, span
from sparse_mla.kernels.catalogue import Partials
from sparse_mla.record.schema import Manifest, Recording
from sparse_mla.record.trace import recount

_KINDS = dict.fromkeys(("dispatches", "counters", "instructions", "waves", "events", "occupancy", "clocks"), "modelled")
_KINDS |= dict.fromkeys(("memory", "sources", "instructions.hit", "instructions.executed"), "emulated")
_TICK = 10  # ns of the host clock that thread traces carry


def record(
    kernel: str,
    case: Case,
    *,
    split_k: int | Literal["auto"] = "auto",
    partials: Partials = "fp32",
    device: str | Device = "mi355x",
    command: str = "",
) -> Recording:
    """Decodes `case` with a kernel of the catalogue on the emulator, times it as on `device`, and writes down both.

    `command`: what was typed, for the manifest. Raises InputError for a kernel, split, shape or device that is not supported.
    """
    timed = time_kernel(kernel, case, split_k=split_k, partials=partials, device=device)
    result = {"split_k": timed.split_k, "partials": partials}
    return from_timing(timed.timing, kernel=kernel, case=shape_of(case), result=result, command=command)


def shape_of(case: Case) -> dict[str, Any]:
    """A case as manifests have it."""
    lens = {"main": span(case.main), "extra": span(case.extra_lens)}
    return {"name": case.name, "heads": case.heads, "rows": case.rows, **lens, "seed": case.seed}


def from_timing(timing: Timing, *, kernel: str, case: dict[str, Any], result: dict[str, Any], command: str = "") -> Recording:
    """The recording of timed launches. `case`, `result`: plain values for the manifest, to which the times are added."""
    result = result | {"microseconds": timing.microseconds, "low": timing.low, "high": timing.high, "cycles": timing.cycles}
    result |= {f"share of {cause}": round(share, 6) for cause, share in timing.split.items()}
    ours = sparse_mla.__version__
    versions = {
        "sparse_mla": ours,
        "compiler": find_toolchain().version,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    manifest = Manifest(
        _KINDS, _device(timing.device), f"sparse-mla {ours}", versions, command=command, commit=commit(), date=now(),
        kernel=kernel, case=case, result=result,
    )  # fmt: skip
    parts = [_launch(one, i + 1, timing.device) for i, one in enumerate(timing.kernels)]
    tables = {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}
    if len(parts) == 1:  # of several, the model gives the band of all together
        tables["dispatches"] = tables["dispatches"].assign(low=1000 * timing.low, high=1000 * timing.high)
    files = sorted(set(tables["instructions"].file) - {""})
    texts = {file: source_file(file).read_text(encoding="utf-8") for file in files if _ours(file)}
    tables["sources"] = pd.DataFrame({"path": list(texts), "text": list(texts.values())})
    return Recording(manifest, tables)


def _ours(file: str) -> bool:
    path = source_file(file).resolve()
    return path.is_file() and any(path.is_relative_to(base.resolve()) for base in (folder("csrc"), PACKAGE))


def _device(device: Device) -> dict[str, Any]:
    of, arch = device.cycles, device.arch
    target = 10000 * int(arch[3:-2]) + 100 * int(arch[-2]) + int(arch[-1], 16)
    xcds, ses = of("xcds"), of("ses")
    sizes = {"xcds": xcds, "cus": xcds * ses * of("cus"), "ses": xcds * ses, "lds_kb": of("lds_bytes") // 1024}
    return {"product": device.name, "arch": arch, "target": target, "mhz": device.value("clock") / 1e6} | sizes


def commit() -> str:
    """The commit of the checkout that this package runs from; "" for an installed one."""
    root = Path(sparse_mla.__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    asked = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def now() -> str:
    """Now, or what SOURCE_DATE_EPOCH says, so that a recording can be made again with the same bytes."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    return (datetime.fromtimestamp(int(fixed), UTC) if fixed else datetime.now(UTC)).isoformat(timespec="seconds")


def _launch(one: Timed, dispatch: int, device: Device) -> dict[str, pd.DataFrame]:
    """The tables of one launch."""
    launched, ns = one.launched, 1e9 / device.value("clock")
    kernel, ends = launched.kernel, {"start": round(one.start * ns), "end": round(one.end * ns)}
    of = kernel.descriptor
    vgprs, first_agpr = of.get("next_free_vgpr", 0), of.get("accum_offset", 512)
    items = {f"grid_{x}": g * b for x, g, b in zip("xyz", launched.grid, launched.block, strict=True)}
    items |= {f"workgroup_{x}": b for x, b in zip("xyz", launched.block, strict=True)}
    row = {"dispatch": dispatch, "kernel": kernel.name, **ends, **items, "lds": launched.lds_bytes}
    row |= {"scratch": of.get("private_segment_fixed_size", 0), "sgpr": of.get("next_free_sgpr", 0)}
    row |= {"vgpr": min(vgprs, first_agpr), "agpr": max(0, vgprs - first_agpr)}
    row |= {"begin_cycle": one.start, "end_cycle": one.end, "agent": 0, "queue": 0, "stream": 0, "process": 0, "thread": 0}
    row |= {"correlation": dispatch, "kernel_id": dispatch}
    waves, events = _waves(one, device), _events(one)
    tables = {
        "dispatches": pd.DataFrame([row]),
        "counters": _counters(one),
        "instructions": _instructions(one, waves, events, device),
        "waves": waves,
        "events": events,
        "occupancy": _occupancy(waves, kernel.name),
        "memory": pd.DataFrame(summary(launched.trace)) if launched.trace else pd.DataFrame(),
        "clocks": _clocks(waves, one.end, ns),
    }
    return {name: frame.assign(dispatch=dispatch) for name, frame in tables.items()}


def _counters(one: Timed) -> pd.DataFrame:
    exact = {*RULES, "SQ_WAVES"}
    rows = [(name, float(value), "emulated" if name in exact else "modelled") for name, value in sorted(one.counters.items())]
    return pd.DataFrame(rows, columns=["name", "value", "kind"])


def _waves(one: Timed, device: Device) -> pd.DataFrame:
    w, traced = one.waves, np.isin(np.arange(len(one.waves)), one.events["wave"])
    names = ("xcd", "se", "cu", "simd", "slot", "begin", "end", "workgroup")
    frame = pd.DataFrame({name: w[name].astype(np.int64) for name in names}).assign(
        wave=np.arange(len(w)), part=w["wave"].astype(np.int64), traced=traced
    )
    frame["se"] += frame.xcd * device.cycles("ses")
    frame["id"] = frame.sort_values("begin").groupby(["traced", "se", "cu", "simd", "slot"]).cumcount()
    return frame.drop(columns="traced").assign(**dict(zip(CAUSES, w["cause"].T.astype(np.int64), strict=True)))


def _events(one: Timed) -> pd.DataFrame:
    columns = {name: one.events[name].astype(np.int64) for name in ("wave", "time", "category", "stall", "duration", "pc")}
    return pd.DataFrame(columns).assign(cause=np.array(CAUSES, dtype=object)[one.events["cause"]])


def listing(kernel: Kernel) -> pd.DataFrame:
    """A kernel's instructions: columns kernel, pc, text, file, line (0 where unknown), inlined_at."""
    rows = [
        (kernel.name, pc, ins.text, *(ins.source or ("", 0)), " -> ".join(f"{file}:{line}" for file, line in ins.callers))
        for pc, ins in enumerate(kernel.instructions)
    ]
    return pd.DataFrame(rows, columns=["kernel", "pc", "text", "file", "line", "inlined_at"])


def _instructions(one: Timed, waves: pd.DataFrame, events: pd.DataFrame, device: Device) -> pd.DataFrame:
    kernel = one.launched.kernel
    vaddr = describe(kernel.instructions, device, kernel.arch)["address"].astype(np.int64)
    frame = listing(kernel).assign(codeobj=1, vaddr=vaddr)
    did = recount(events.assign(dispatch=0), waves.assign(dispatch=0)).set_index("pc").reindex(frame.pc, fill_value=0)
    for name in ("hit", "latency", "stall", "idle"):
        frame[name] = did[name].to_numpy()
    causes = dict(zip(CAUSES, one.instructions["cause"].T.astype(np.int64), strict=True))
    return frame.assign(executed=one.launched.counts.sum(0), **causes)


def _occupancy(waves: pd.DataFrame, kernel: str) -> pd.DataFrame:
    place = ["se", "cu", "simd", "slot"]
    ends = [waves[place].assign(time=waves[at], start=start) for at, start in (("end", 0), ("begin", 1))]
    return pd.concat(ends).sort_values(["se", "time"], kind="stable").assign(kernel=kernel)


def _clocks(waves: pd.DataFrame, end: int, ns: float) -> pd.DataFrame:
    """Cycle 0 and a whole tick of the host clock behind the end, for every shader engine that had a wave."""
    ticks = int(end * ns) // _TICK + 1
    rows = [(se, *at) for se in sorted(set(waves.se)) for at in ((0, 0), (round(ticks * _TICK / ns), ticks * _TICK))]
    return pd.DataFrame(rows, columns=["se", "cycle", "time"])
