"""Launching kernels on the emulator: workgroups over host threads, exact counts, faults.

`launch` runs a grid of a kernel. `run_snippet` runs a few lines of assembly on one wave with given registers.
"""

from __future__ import annotations

import _thread
import ctypes as c
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparse_mla.errors import InputError, KernelFault
from sparse_mla.gfx950 import native, trace
from sparse_mla.gfx950.assembly import Kernel, parse_instruction
from sparse_mla.gfx950.data import BASE
from sparse_mla.gfx950.decode import Code, decode
from sparse_mla.gfx950.dispatch import fill_hidden, packet
from sparse_mla.gfx950.isa import ARCHES
from sparse_mla.gfx950.memory import Memory
from sparse_mla.gfx950.modifiers import HARDWARE_SGPRS, SGPR_OFFSET, TEMPORARIES
from sparse_mla.gfx950.sanitize import Finding, Shadow
from sparse_mla.gfx950.trace import Recorder, Trace

__all__ = ["Launched", "Memory", "State", "launch", "run_snippet"]

WORK_ITEMS_LIMIT = 1_024
DYNAMIC_STACK = 16_384  # bytes of scratch a lane has where the compiler could not tell
BUDGET = 100_000_000  # wave instructions before a wave counts as hung
_VCC, _M0, _EXEC = 106, 124, 126  # scalar register numbers
_SCRATCH = (("private_segment_fixed_size", 1), ("uses_dynamic_stack", DYNAMIC_STACK))  # directives, bytes for each unit
_AT_ONCE = 8  # workgroups between looks at whether to stop


@dataclass(frozen=True)
class Launched:
    """What one launch did. `counts[wave, i]`: executions of static instruction i by that wave of the workgroup, over all
    workgroups, int64. `seconds` is host time, never a device's."""

    kernel: Kernel = field(repr=False)
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    counts: np.ndarray = field(repr=False)
    seconds: float
    findings: tuple[Finding, ...] = ()  # of a launch whose code was decoded with `sanitize`
    trace: Trace | None = field(default=None, repr=False)  # of one whose code was decoded with `trace`
    lds_bytes: int = 0  # of a workgroup

    @property
    def wave_instructions(self) -> int:
        """Executed wave instructions, all waves."""
        return int(self.counts.sum())


def launch(
    kernel: Kernel | Code,
    grid: Sequence[int],
    block: Sequence[int],
    kernarg: bytes,
    memory: Memory,
    *,
    dynamic_lds: int = 0,
    threads: int | None = None,
    mfma: str = "plain",
    banks: bool = False,
    seed: int | None = None,
) -> Launched:
    """Runs `kernel` on a grid of workgroups of `block` work-items, and returns exact counts.

    `kernarg` is the kernel's argument segment (dispatch.pack_arguments makes one), pointers in it being addresses from
    `memory.map`; hidden arguments, which may be left out at its end, are filled in here. `threads` host threads
    (default: all cores) take workgroups in turn. A trace counts conflicts bank by bank where `banks` asks for that.
    With a `seed`, workgroups, and between barriers the waves of each, run in an order shuffled by it; else as they are numbered.

    Raises KernelFault where a wave touches memory it may not or does not end, AssemblyError for code that the emulator does not
    know, InputError for a launch that no device would accept, or whose trace is too large.
    """
    code = kernel if isinstance(kernel, Code) else decode(kernel)
    kernel, run = code.kernel, prepare(code, grid, block, kernarg, memory, dynamic_lds)
    run.shared.mfma_model = mfma_model(mfma)
    shared = run.shared
    n_vectors = code.n_vgprs - TEMPORARIES
    sizes = n_vectors, shared.n_waves, shared.lds_bytes, shared.scratch_bytes
    shadow = None if code.checks is None else Shadow(code.checks, *sizes, memory)
    # A checked launch runs on one host thread, so that its findings are the same every time.
    hosts = [run.host() for _ in range(1 if shadow else min(threads or os.cpu_count() or 1, shared.limit))]
    if shadow:
        hosts[0].worker.sanitizer = c.addressof(shadow.native)
    recorder = None
    if code.accesses is not None:
        recorder = Recorder(code.accesses, kernel.arch, memory, shared.n_waves, len(hosts), banks)
        for host, tracer in zip(hosts, recorder.native, strict=True):
            host.worker.tracer = c.addressof(tracer)
    if seed is not None:
        order = np.random.default_rng(seed).permutation(shared.limit).astype(np.uint64)
        shared.order, shared.seed = order.ctypes.data, 1 + seed
    start = time.perf_counter()
    _run_all(shared, hosts)
    seconds = time.perf_counter() - start
    for host in hosts:
        run.check(host)
    executed = np.sum([host.counts for host in hosts], axis=0)
    counts = np.zeros((shared.n_waves, len(kernel.instructions)), np.int64)
    for i, (first, last) in enumerate(code.blocks):
        counts[:, first:last] = executed[:, i, None]
    findings = shadow.report(kernel, code.agpr_first, run.grid) if shadow else ()
    traced = recorder.trace(native.engine().trace_gather, shared.limit, shared.n_waves, code.blocks) if recorder else None
    return Launched(kernel, run.grid, run.block, counts, seconds, findings, traced, shared.lds_bytes)


class _Host:
    """Wave states, LDS and counters of one host thread, aligned for its widest vectors."""

    def __init__(self, code: Code, n_waves: int, lds: np.ndarray, scratch: np.ndarray) -> None:
        self.waves, self.lds, self.scratch = _aligned(code.wave_bytes * n_waves), lds, scratch
        self.counts = np.zeros((n_waves, len(code.blocks)), np.uint64)
        self.worker = native.Worker(*(x.ctypes.data for x in (self.waves, lds, scratch, self.counts)))


def mfma_model(name: str) -> int:
    """How matrix products round, as the engine counts such models: "plain" or "cdna3" (engine/matrix.h)."""
    if name not in native.MFMA_MODELS:
        raise InputError(f"mfma {name!r}: the models of matrix products are {', '.join(native.MFMA_MODELS)}")
    return native.MFMA_MODELS.index(name)


class Run:
    """A launch as the engine takes it, with everything that must stay alive meanwhile."""

    def __init__(self, code: Code, memory: Memory, lds_bytes: int, n_waves: int, scratch: int = 0) -> None:
        self.code, self.memory = code, memory
        if (data := code.kernel.data) and len(data.bytes):
            memory.place(BASE, data.bytes, "the kernel's data")
        self.ops = code.ops.copy()
        self.ops["run"] = np.array(native.engine().handlers, np.uint64)[self.ops["run"]]
        self.ops["target"] = self.ops["target"] * self.ops.itemsize + self.ops.ctypes.data
        self.shared = native.Launch(
            code=self.ops.ctypes.data,
            constants=code.constants.ctypes.data,
            n_constants=len(code.constants),
            vgpr_offset=code.vgpr_offset,
            n_vgprs=code.n_vgprs,
            wave_bytes=code.wave_bytes,
            n_waves=n_waves,
            lds_bytes=lds_bytes,
            scratch_bytes=-(-scratch // 16) * 16,
            n_blocks=len(code.blocks),
            n_ops=len(code.ops),
            code_base=code.kernel.first_address,
            budget=BUDGET,
        )
        self.grid = self.block = (1, 1, 1)
        self._set_ranges()

    def _set_ranges(self) -> None:
        ranges = [native.Range(base, size, host) for base, size, host, _ in self.memory.ranges] or [native.Range()]
        self.ranges = (native.Range * len(ranges))(*ranges)
        self.shared.ranges, self.shared.n_ranges = c.addressof(self.ranges), len(ranges)

    def map_last(self, array: np.ndarray, name: str) -> int:
        """One more buffer, of this launch's own."""
        address = self.memory.map(array, name)
        self._set_ranges()
        return address

    def host(self, lds: np.ndarray | None = None, scratch: np.ndarray | None = None) -> _Host:
        shared = self.shared
        lds = _aligned(shared.lds_bytes) if lds is None else lds
        scratch = _aligned(shared.n_waves * 64 * shared.scratch_bytes) if scratch is None else scratch
        return _Host(self.code, shared.n_waves, lds, scratch)

    def check(self, host: _Host) -> None:
        """Raises the fault that stopped this host thread, if one did."""
        fault = host.worker.fault
        if not fault.kind:
            return
        if fault.kind == native.TRACE_FAULT:
            limit = f"{self.code.kernel.name} x {self.grid} workgroups: its trace has more than {trace.LIMIT_BYTES:,} bytes"
            raise InputError(f"{limit}; trace fewer workgroups (rows, parts) at a time")
        ins, at = self.code.kernel.instructions[fault.pc], fault.address
        reason = native.FAULTS[fault.kind]
        if fault.kind in (native.GLOBAL_FAULT, native.ALIGNMENT_FAULT):
            reason += f": {fault.size} bytes at {at:#x}, {self.memory.describe(at)}"
        elif fault.kind == native.LDS_FAULT:
            reason += f": {fault.size} bytes at byte {at} of {self.shared.lds_bytes}"
        elif fault.kind == native.SCRATCH_FAULT:
            reason += f": {fault.size} bytes at byte {at} of {self.shared.scratch_bytes}"
        access = fault.kind not in (native.BUDGET_FAULT, native.PAST_END_FAULT)
        raise KernelFault(
            reason,
            kernel=self.code.kernel.name,
            source_line=ins.source_line,
            instruction=ins.text,
            workgroup=tuple(fault.workgroup),
            wave=fault.wave,
            lane=fault.lane if access else None,
            address=at if access else None,
        )


def prepare(code: Code, grid: Sequence[int], block: Sequence[int], kernarg: bytes, memory: Memory, dynamic_lds: int) -> Run:
    """A launch that is ready to run: checked, its arguments mapped. Raises InputError as `launch` does."""
    kernel = code.kernel
    grid3, block3 = _three(grid, "grid"), _three(block, "block")
    work_items, lds_bytes = block3[0] * block3[1] * block3[2], kernel.lds_bytes + dynamic_lds
    if work_items > WORK_ITEMS_LIMIT:
        raise InputError(f"a workgroup of {work_items} work-items: a device takes at most {WORK_ITEMS_LIMIT:,}")
    if not 0 <= lds_bytes <= (limit := ARCHES[kernel.arch].lds_bytes):
        raise InputError(f"{lds_bytes} bytes of LDS: a {kernel.arch} workgroup has 0 to {limit:,}")
    kernarg = fill_hidden(kernel, kernarg, grid3, block3, dynamic_lds)
    scratch = max(kernel.descriptor.get(x, 0) * y for x, y in _SCRATCH)
    run = Run(code, memory, lds_bytes, n_waves=-(-work_items // 64), scratch=scratch)
    run.grid, run.block = grid3, block3
    padded = kernarg.ljust(-(-len(kernarg) // 16) * 16 or 16, b"\0")  # compilers load whole quads of it
    kernarg_at = run.map_last(np.frombuffer(padded, np.uint8), "kernel arguments")
    shared = run.shared
    shared.grid, shared.block, shared.limit = grid3, block3, grid3[0] * grid3[1] * grid3[2]
    packet_at = 0
    if kernel.descriptor.get("user_sgpr_dispatch_ptr"):
        aql = packet(grid3, block3, scratch, lds_bytes, kernarg_at)
        packet_at = run.map_last(np.frombuffer(aql, np.uint8), "dispatch packet")
    user = _user_sgprs(kernel, kernarg_at, packet_at, kernarg)
    shared.user_sgprs[: len(user)], shared.n_user_sgprs = user, len(user)
    shared.entry = int(np.searchsorted(code.ops["pc"], _entry(kernel)))
    shared.workgroup_id_mask = sum(kernel.descriptor.get(f"system_sgpr_workgroup_id_{d}", 0) << i for i, d in enumerate("xyz"))
    return run


def _aligned(size: int) -> np.ndarray:
    """uint8 array at a multiple of 256 bytes."""
    raw = np.empty(size + 256, np.uint8)
    start = -raw.ctypes.data % 256
    return raw[start : start + size]


def _run_all(shared: Any, hosts: list[_Host]) -> None:
    """Every host thread takes workgroups until none is left. A fault in one, or Ctrl-C here, stops them all soon after."""
    stop = threading.Event()
    run = native.engine().run

    def work(host: _Host) -> None:
        done = _AT_ONCE
        while done == _AT_ONCE and not stop.is_set():
            done = run(c.byref(shared), c.byref(host.worker), _AT_ONCE)
        if done < 0:
            stop.set()

    def help_with(host: _Host, running: threading.Lock) -> None:
        try:
            work(host)
        finally:
            running.release()

    locks = []
    for host in hosts[1:]:
        locks.append(threading.Lock())
        locks[-1].acquire()
        # Not threading.Thread: its start() waits until the other thread runs, some milliseconds where a core has to wake up.
        _thread.start_new_thread(help_with, (host, locks[-1]))
    try:
        work(hosts[0])
    except BaseException:
        stop.set()
        raise
    finally:
        for lock in locks:
            lock.acquire()


def _three(value: Sequence[int], what: str) -> tuple[int, int, int]:
    x, y, z = (*value, 1, 1, 1)[:3]
    if len(value) > 3 or not all(1 <= n < 1 << 31 for n in (x, y, z)):
        raise InputError(f"{what} {tuple(value)}: give one to three positive sizes")
    return x, y, z


def _entry(kernel: Kernel) -> int:
    """The instruction with which a wave starts. Where arguments are preloaded, the compiler's first instructions, up to a branch,
    load them for devices whose firmware does not; others start behind them, 256 bytes later."""
    if not kernel.descriptor.get("user_sgpr_kernarg_preload_length"):
        return 0
    branch = next(i for i in kernel.instructions if i.mnemonic == "s_branch")
    return kernel.labels[str(branch.args[0].value)]


def _user_sgprs(kernel: Kernel, kernarg_at: int, packet_at: int, kernarg: bytes) -> list[int]:
    """User SGPRs in the order of the kernel descriptor. Arguments and dispatch packet exist here; other pointers are null."""
    d = kernel.descriptor
    parts = {
        "private_segment_buffer": [0] * 4,
        "dispatch_ptr": [packet_at & 0xFFFFFFFF, packet_at >> 32],
        "queue_ptr": [0] * 2,
        "kernarg_segment_ptr": [kernarg_at & 0xFFFFFFFF, kernarg_at >> 32],
        "dispatch_id": [0] * 2,
        "flat_scratch_init": [0] * 2,
        "private_segment_size": [0],
    }
    user = [x for name, dwords in parts.items() if d.get(f"user_sgpr_{name}") for x in dwords]
    first, count = (d.get(f"user_sgpr_kernarg_preload_{what}", 0) for what in ("offset", "length"))
    return [*user, *np.frombuffer(kernarg[4 * first : 4 * (first + count)], np.uint32).tolist()]


@dataclass(frozen=True)
class State:
    """Registers after a snippet: vgpr and agpr uint32 [n, 64], sgpr uint32 [102], vcc and exec 64-bit masks, scc 0 or 1."""

    vgpr: np.ndarray
    agpr: np.ndarray
    sgpr: np.ndarray
    vcc: int
    exec: int
    scc: int


def run_snippet(
    text: str,
    *,
    vgpr: np.ndarray | None = None,
    agpr: np.ndarray | None = None,
    sgpr: np.ndarray | None = None,
    exec_mask: int = (1 << 64) - 1,
    vcc: int = 0,
    scc: int = 0,
    memory: Memory | None = None,
    lds: np.ndarray | None = None,
    scratch: np.ndarray | None = None,
    mfma: str = "plain",
    arch: str = "gfx950",
) -> State:
    """Executes straight lines of assembly on one wave whose registers hold what is given, uint32 (rows of `vgpr`: v0, v1, ...).

    Registers not given hold all ones. `lds`, uint8, is the wave's LDS, and `scratch`, uint8 [64, a multiple of 16], its lanes'
    private memory; both are changed in place.
    """
    lines = [line.split(";", 1)[0].strip() for line in text.splitlines()]
    body = [parse_instruction(line, i) for i, line in enumerate(lines, 1) if line]
    kernel = Kernel("snippet", arch, [*body, parse_instruction("s_endpgm")])
    v, a = (np.zeros((0, 64), np.uint32) if x is None else x for x in (vgpr, agpr))
    code = decode(kernel, min_vgprs=max(1, len(v)), min_agprs=len(a))
    n_agprs = max(kernel.registers["a"], len(a))
    run = Run(code, memory or Memory(), 0 if lds is None else len(lds), 1, 0 if scratch is None else scratch.shape[1])
    run.shared.mfma_model = mfma_model(mfma)
    host = run.host(lds, scratch)
    host.waves[:] = 0xFF
    registers = host.waves[code.vgpr_offset :].view(np.uint32).reshape(-1, 64)
    agprs = registers[code.agpr_first : code.agpr_first + n_agprs]
    registers[: len(v)], agprs[: len(a)] = v, a
    scalars = host.waves[SGPR_OFFSET : code.vgpr_offset].view(np.uint32)
    if sgpr is not None:
        scalars[: len(sgpr)] = sgpr
    scalars[HARDWARE_SGPRS : HARDWARE_SGPRS + len(code.constants)] = code.constants
    scalars[_VCC : _VCC + 2] = vcc & 0xFFFFFFFF, vcc >> 32
    scalars[_EXEC : _EXEC + 2] = exec_mask & 0xFFFFFFFF, exec_mask >> 32
    scalars[_M0] = 0
    header = native.Wave.from_address(host.waves.ctypes.data)
    header.scc = scc
    native.engine().run_wave(c.byref(run.shared), c.byref(host.worker))
    run.check(host)
    vcc, exec_mask = (int(scalars[at]) | int(scalars[at + 1]) << 32 for at in (_VCC, _EXEC))
    return State(registers[: code.agpr_first].copy(), agprs.copy(), scalars[:102].copy(), vcc, exec_mask, int(header.scc))
