"""How long traced launches take on a device: `simulate`. The rules are docs/timing.md's and engine/*.c's."""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparse_mla.errors import InputError
from sparse_mla.gfx950.assembly import Instruction, Kernel
from sparse_mla.gfx950.machine import Launched
from sparse_mla.gfx950.timing.classes import describe
from sparse_mla.gfx950.timing.counters import COUNTERS, counters
from sparse_mla.gfx950.timing.device import Device
from sparse_mla.gfx950.timing.memory import memory_counters
from sparse_mla.gfx950.timing.native import STRUCTS, constants, library
from sparse_mla.gfx950.trace import Trace

CAUSES = ("issue", "arbitration", "dependency", "mfma", "lds", "memory", "bandwidth", "barrier", "launch")
_N = len(CAUSES)
Describe = Callable[[Sequence[Instruction], Device, str], np.ndarray]
INSTRUCTION, WAVE, EVENT = (np.dtype(STRUCTS[name]) for name in ("InstructionTime", "WaveTime", "Traced"))
FIXED_LATENCY = 284  # cycles of memory="fixed": a direct-to-LDS load from L2 (docs/timing.md)


@dataclass(frozen=True)
class Timed:
    """One launch. `start`, `end`: shader clocks from the sequence's start, with what comes before and behind the waves.

    Structured arrays: `instructions` [static instruction] of INSTRUCTION, cycles summed over all waves; `waves` of WAVE;
    `events` of EVENT, the thread trace of the traced CUs in ATT's meaning: CU 1 of each shader engine of the first XCD, CU 0
    where the grid does not reach it. `counters`: rocprof's names, modelled where they are not counts.
    """

    launched: Launched
    start: int
    end: int
    instructions: np.ndarray = field(repr=False)
    waves: np.ndarray = field(repr=False)
    events: np.ndarray = field(repr=False)
    counters: dict[str, int] = field(repr=False)


@dataclass(frozen=True)
class Timing:
    """A sequence of launches on `device`. `low`, `high`: microseconds with every uncertain constant at its optimistic and at
    its pessimistic end. `split`: share of each cause in all waves' time."""

    device: Device
    kernels: tuple[Timed, ...]
    cycles: int
    microseconds: float
    low: float
    high: float
    split: dict[str, float]


@dataclass(frozen=True)
class Occupancy:
    """What of a kernel fits: waves of a SIMD, workgroups of a CU, and what limits them (`waves`, `VGPRs`, `LDS`)."""

    waves_per_simd: int
    groups_per_cu: int
    limiter: str


def limits(vgprs: int, waves: int, lds_bytes: int, device: Device) -> dict[str, int]:
    """Workgroups of `waves` waves that each resource of a CU has room for: `waves` (slots), `VGPRs`, and `LDS` if it is used.

    `vgprs`: of a lane, both files; `lds_bytes`: of a workgroup.
    """
    of = device.cycles
    granule, lds = of("vgpr_granule"), of("lds_granule")
    by_vgprs = of("vgprs") // max(granule, -(-vgprs // granule) * granule)
    found = {"waves": 4 * of("wave_slots") // waves, "VGPRs": 4 * min(of("wave_slots"), by_vgprs) // waves}
    return found | ({"LDS": of("lds_bytes") // (-(-lds_bytes // lds) * lds)} if lds_bytes else {})


def occupancy(kernel: Kernel, waves: int, lds_bytes: int, device: Device) -> Occupancy:
    """Occupancy of workgroups of `waves` waves with `lds_bytes` of LDS. Raises InputError where not even one fits."""
    vgprs = kernel.descriptor.get("next_free_vgpr", kernel.registers["v"] + kernel.registers["a"])
    one_wave = limits(vgprs, 1, 0, device)
    per_simd = min(one_wave["waves"], one_wave["VGPRs"]) // 4
    room = limits(vgprs, waves, lds_bytes, device)
    groups = min(room.values())
    if not groups:
        raise InputError(
            f"a workgroup of {waves} waves with {vgprs} VGPRs and {lds_bytes} bytes of LDS does not fit a CU of {device.name}"
        )
    limiter = "LDS" if groups < room["VGPRs"] else "VGPRs" if one_wave["VGPRs"] < one_wave["waves"] else "waves"
    return Occupancy(per_simd, groups, limiter)


def simulate(
    launches: Sequence[Launched], device: Device, *, band: bool = True, memory: str = "model", described: Describe = describe
) -> Timing:
    """Times launches that run one after the other on one device; each must have been traced (decode(trace=True)).

    `band`: also time them at both ends of all uncertain constants, else `low` and `high` are the value. `memory`: "model" or
    "fixed", one latency for all accesses. `described` says what instructions ask of the issue rules; another than `describe`
    times other instructions than there are. Raises InputError for a launch without a trace, or one that fits no CU.
    """
    if not launches:
        raise InputError("no launches to time")
    if memory not in ("model", "fixed"):
        raise InputError(f"memory {memory!r}: there are model and fixed")
    for one in launches:
        _trace(one)
    devices = [device, device.low(), device.high()] if band else [device]
    library()
    with ThreadPoolExecutor(len(devices)) as threads:  # the engine lets go of the interpreter
        results = list(threads.map(lambda on: _simulate(launches, on, memory, described, traced=on is device), devices))
    times = [result[-1].end / on.value("clock") * 1e6 for result, on in zip(results, devices, strict=True)]
    kernels = results[0]
    total = sum((kernel.waves["cause"].sum(axis=0) for kernel in kernels), np.zeros(_N, np.int64))
    split = {name: float(x) / max(1, int(total.sum())) for name, x in zip(CAUSES, total, strict=True)}
    return Timing(device, kernels, kernels[-1].end, times[0], min(times), max(times), split)


def _trace(one: Launched) -> Trace:
    if one.trace is None:
        raise InputError(f"{one.kernel.name} was not traced: decode it with trace=True")
    return one.trace


def _room(struct: str, n: int) -> np.ndarray:
    return np.zeros(c.sizeof(STRUCTS[struct]) * n, np.uint8)


def _simulate(launches: Sequence[Launched], device: Device, memory: str, described: Describe, traced: bool) -> tuple[Timed, ...]:
    of, lib, k = device.cycles, library(), constants(device)
    xcds, ses = of("xcds"), of("ses")
    cus = xcds * ses * of("cus")
    waves_of = [one.counts.shape[0] for one in launches]
    groups_of = [_trace(one).offsets.shape[0] for one in launches]
    pool = min(cus * 4 * of("wave_slots"), max(g * w for g, w in zip(groups_of, waves_of, strict=True)))
    state = {
        "memory": np.zeros(lib.memory_bytes(c.byref(k)), np.uint8),
        "cus": _room("CuState", cus),
        "pool": _room("Wave", pool),
        "free": np.zeros(pool, np.uint32),
        "heap": _room("Event", pool + 1),
        "groups": _room("Group", max(groups_of)),
        "resident": np.zeros(xcds, np.uint32),
        "se_free": np.zeros(xcds * ses, np.uint64),
        "address_free": np.zeros(cus, np.uint64),
    }
    chip = STRUCTS["Chip"](c.addressof(k), *(x.ctypes.data for x in state.values()))
    chip.pool_size, chip.fixed = pool, FIXED_LATENCY if memory == "fixed" else 0
    lib.memory_start(state["memory"].ctypes.data, c.byref(k))
    done: list[Timed] = []
    start = 0
    for one, n_groups, n_waves in zip(launches, groups_of, waves_of, strict=True):
        state["groups"][:] = 0
        state["address_free"][:] = 0
        descs = described(one.kernel.instructions, device, one.kernel.arch)
        done.append(_launch(lib, chip, one, descs, device, start, (n_groups, n_waves), traced))
        start = done[-1].end + of("launch_gap")
    return tuple(done)


def _launch(
    lib: c.CDLL, chip: Any, one: Launched, descs: np.ndarray, device: Device, start: int, sizes: tuple[int, int], traced: bool
) -> Timed:
    of, trace, (n_groups, n_waves) = device.cycles, _trace(one), sizes
    fits = occupancy(one.kernel, n_waves, one.lds_bytes, device)
    blocks = np.array(trace.blocks, np.uint32).reshape(-1, 2)
    access = ((trace.accesses["space"] > 0) + (trace.accesses["cache"] << 4)).astype(np.uint8)
    streams, offsets = np.ascontiguousarray(trace.streams, np.uint32), np.ascontiguousarray(trace.offsets, np.uint64)
    instructions, waves = np.zeros(len(descs), INSTRUCTION), np.zeros(n_groups * n_waves, WAVE)
    capacity = one.wave_instructions if traced else 0
    events = np.empty(capacity, EVENT)
    counted = np.zeros(len(COUNTERS), np.uint64)
    n_lines = int(descs["address"][-1]) // 64 + 2
    fetched = np.zeros((of("xcds") * of("ses") * of("cus") + 1) // 2 * n_lines, np.uint32)
    arrays = (descs, blocks, access, streams, offsets, instructions, waves, events, counted, fetched)
    launch = STRUCTS["LaunchTime"](*(x.ctypes.data for x in arrays), start=start + of("launch_start"), capacity=capacity)
    launch.n_descs, launch.n_groups, launch.n_waves = len(descs), n_groups, n_waves
    launch.per_cu, launch.per_simd, launch.n_lines = fits.groups_per_cu, fits.waves_per_simd, n_lines
    launch.traced_cu = int(n_groups > of("xcds") * of("ses"))
    if lib.time_launch(c.byref(chip), c.byref(launch)):
        raise InputError(f"the trace of {one.kernel.name} does not fit its code: it was traced with another build")
    events = events[: launch.n_events].copy()
    end = int(launch.end) + of("launch_end")
    counts = counters(one, counted, start, end, device) | (
        {} if chip.fixed else memory_counters(lib, chip.memory, int(launch.end))
    )
    return Timed(one, start, end, instructions, waves, events, counts)
