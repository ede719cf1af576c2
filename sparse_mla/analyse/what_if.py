"""What if: traced launches timed again with other device constants, other costs of instructions, or fewer LDS conflicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from sparse_mla.analyse.traffic import trace_of
from sparse_mla.errors import InputError
from sparse_mla.gfx950.accesses import accesses
from sparse_mla.gfx950.assembly import Instruction
from sparse_mla.gfx950.machine import Launched
from sparse_mla.gfx950.timing import CAUSES, Device, Timing, simulate
from sparse_mla.gfx950.timing.classes import describe

CONFLICTS = "lds_conflicts"
_TIMES = ("next", "hold", "port_hold", "pipe", "shadow", "latency", "service", "stall")  # of a description: cycles


def what_if(timing: Timing, scenarios: Mapping[str, Mapping[str, float]], *, band: bool = False) -> pd.DataFrame:
    """Times the launches of `timing` again under each scenario, the first row being as they are.

    A scenario maps what changes to its new value: a constant of the device to another value; a mnemonic, or a pattern of
    them (`ds_read_*`), to the factor by which its instructions' own times change; `lds_conflicts` to the share of the
    conflicts' passes that stays. Columns: scenario, microseconds, low, high (NaN unless `band` asks for them), change
    (microseconds), ratio (of times), the CAUSES (shares of wave time), kind. Raises InputError for what is neither a
    constant nor executed."""
    launches = [one.launched for one in timing.kernels]
    rows = [_row("as it is", simulate(launches, timing.device, band=band), band)]
    executed = {ins.mnemonic for one in launches for ins in one.kernel.instructions}
    for name, changes in scenarios.items():
        costs = {key: value for key, value in changes.items() if key not in timing.device.constants and key != CONFLICTS}
        for pattern, factor in costs.items():
            if not any(fnmatchcase(x, pattern) for x in executed):
                raise InputError(
                    f"{pattern!r} is no constant of {timing.device.name}, no mnemonic of these kernels and not {CONFLICTS}"
                )
            if factor < 0:
                raise InputError(f"{pattern!r} is given the factor {factor}; times do not get negative")
        on = timing.device.changed(**{key: value for key, value in changes.items() if key in timing.device.constants})
        share = changes.get(CONFLICTS, 1.0)
        if not 0 <= share <= 1:
            raise InputError(f"{CONFLICTS} is the share of passes that stays, from 0 to 1, not {share}")
        timed = [one if share == 1 else with_conflicts(one, share) for one in launches]
        rows.append(_row(name, simulate(timed, on, band=band, described=_scaled(costs)), band))
    frame = pd.DataFrame(rows)
    frame.insert(4, "change", frame.microseconds - frame.microseconds[0])
    frame.insert(5, "ratio", frame.microseconds / frame.microseconds[0])
    return frame


def sensitivity(timing: Timing, names: Sequence[str] | None = None) -> pd.DataFrame:
    """What each uncertain constant alone does to the time: columns constant, value, low, high (the constant's), unit,
    certainty, fast, slow (microseconds at its two ends), swing (their difference), kind; largest swing first. `names`: some
    constants only."""
    launches, rows = [one.launched for one in timing.kernels], []
    for name, constant in timing.device.constants.items():
        if constant.low == constant.high or (names is not None and name not in names):
            continue
        ends = [
            simulate(launches, timing.device.changed(**{name: x}), band=False).microseconds for x in (constant.low, constant.high)
        ]
        rows.append((name, constant.value, constant.low, constant.high, constant.unit, constant.certainty, min(ends), max(ends)))
    frame = pd.DataFrame(rows, columns=["constant", "value", "low", "high", "unit", "certainty", "fast", "slow"])
    frame = frame.assign(swing=frame.slow - frame.fast, kind="modelled")
    return frame.sort_values("swing", ascending=False, kind="stable", ignore_index=True)


def with_conflicts(launch: Launched, share: float) -> Launched:
    """The launch with `share` (0 to 1) of the passes that LDS bank conflicts added to each access, rounded down."""
    trace = trace_of(launch)
    found = accesses(trace)
    streams = trace.streams.copy()
    stay = (found.extra * share).astype(np.int64)
    kept = streams[found.place] & np.uint32(0xFF0000FF)
    streams[found.place] = kept | (found.phases - found.extra + stay << 8 | stay << 16).astype(np.uint32)
    return replace(launch, trace=replace(trace, streams=streams))


def _scaled(costs: Mapping[str, float]) -> Callable[[Sequence[Instruction], Device, str], np.ndarray]:
    """What instructions ask of the issue rules, times multiplied; one still takes an issue slot."""

    def described(instructions: Sequence[Instruction], device: Device, arch: str) -> np.ndarray:
        descs = describe(instructions, device, arch)
        for pattern, factor in costs.items():
            mine = np.array([fnmatchcase(ins.mnemonic, pattern) for ins in instructions])
            for name in _TIMES:
                values = descs[name][mine]
                top, least = np.iinfo(values.dtype).max, device.cycles("slot") if name in ("next", "hold", "port_hold") else 0
                descs[name][mine] = np.minimum(np.maximum(np.rint(values * factor), np.minimum(values, least)), top)
        return descs

    return described


def _row(name: str, timing: Timing, band: bool) -> dict[str, object]:
    ends = {"low": timing.low, "high": timing.high} if band else {"low": np.nan, "high": np.nan}
    shares = {cause: timing.split[cause] for cause in CAUSES}
    return {"scenario": name, "microseconds": timing.microseconds} | ends | shares | {"kind": "modelled"}
