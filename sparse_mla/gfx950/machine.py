"""Launching kernels on the emulator: memory at emulated addresses, workgroups over host threads, exact counts, faults.

`Memory` places the caller's arrays at deterministic addresses with gaps between them, so that every access outside one is
caught and every run of a kernel is the same. `launch` runs a grid; `run_snippet` runs a few lines on given registers.
"""

from __future__ import annotations

import ctypes as c
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparse_mla.errors import InputError, KernelFault
from sparse_mla.gfx950 import native
from sparse_mla.gfx950.assembly import Kernel, parse_instruction
from sparse_mla.gfx950.decode import SGPR_OFFSET, VGPR_BYTES, Code, decode

LDS_LIMIT = 163_840   # bytes a workgroup may have (gfx950: all 160 KiB of a CU)
BUDGET = 2_000_000_000   # wave instructions before a wave counts as hung
_GAP = 1 << 21


class Memory:
    """The buffers of a launch. `map` gives a buffer its emulated address; the arrays stay the caller's own."""

    def __init__(self) -> None:
        self._next = 0x10_0000_0000
        self.ranges: list[tuple[int, int, int, str]] = []   # base, bytes, host pointer, name
        self._kept: list[Any] = []

    def map(self, array: Any, name: str) -> int:
        """Maps a NumPy array or CPU torch tensor, from its first element to the end of its span; returns the address.

        A strided view is mapped over everything between its first and last byte.
        """
        if hasattr(array, "data_ptr"):
            if array.device.type != "cpu":
                raise InputError(f"buffer {name} is on {array.device}: the emulator takes CPU tensors")
            host, item = array.data_ptr(), array.element_size()
            span = sum((n - 1) * s for n, s in zip(array.shape, array.stride(), strict=True)) * item + item if array.numel() else 0
        else:
            host = array.__array_interface__["data"][0]
            span = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)) + array.itemsize if array.size else 0
        base = self._next
        self._next += -(-(span + _GAP) // _GAP) * _GAP
        self.ranges.append((base, span, host, name))
        self._kept.append(array)
        return base

    def describe(self, address: int) -> str:
        """Where an address lies, in words."""
        i = bisect_right([base for base, *_ in self.ranges], address) - 1
        if i < 0:
            return "below every buffer"
        base, size, _, name = self.ranges[i]
        past = address - base - size
        if past < 0:
            return f"byte {address - base} of {name} ({size} bytes)"
        return f"{past} bytes past the end of {name} ({size} bytes)"


@dataclass(frozen=True)
class Launched:
    """What one launch did. `counts[wave, i]`: executions of static instruction i by that wave of the workgroup, over all
    workgroups, int64. `seconds` is host time, never a device's."""

    kernel: Kernel
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    counts: np.ndarray = field(repr=False)
    seconds: float

    @property
    def wave_instructions(self) -> int:
        """Executed wave instructions, all waves."""
        return int(self.counts.sum())


def _prepare(code: Code) -> np.ndarray:
    """The Op array with addresses put in."""
    handlers = np.array(native.engine().handlers, np.uint64)
    ops = code.ops.copy()
    ops["run"] = handlers[ops["run"]]
    ops["target"] = ops["target"] * ops.itemsize + ops.ctypes.data
    return ops


def _fill(code: Code, ops: np.ndarray, memory: Memory, lds_bytes: int, n_waves: int) -> tuple[native.Launch, list[Any]]:
    ranges = (native.Range * max(1, len(memory.ranges)))(*[native.Range(base, size, host) for base, size, host, _ in memory.ranges])
    launch = native.Launch(
        code=ops.ctypes.data, ranges=c.cast(ranges, c.c_void_p), constants=code.constants.ctypes.data, n_ranges=len(memory.ranges),
        n_constants=len(code.constants), sgpr_offset=SGPR_OFFSET, vgpr_offset=code.vgpr_offset, n_vgprs=code.n_vgprs,
        wave_bytes=code.wave_bytes, n_waves=n_waves, lds_bytes=lds_bytes, n_blocks=len(code.blocks), budget=BUDGET,
    )  # fmt: skip
    return launch, [ops, ranges, code, memory]


class _HostThread:
    """Wave state, LDS and counters of one host thread, aligned for its widest vectors."""

    def __init__(self, code: Code, n_waves: int, lds_bytes: int) -> None:
        self.waves = aligned(code.wave_bytes * n_waves)
        self.lds = aligned(lds_bytes)
        self.counts = np.zeros((n_waves, max(1, len(code.blocks))), np.uint64)
        self.worker = native.Worker(self.waves.ctypes.data, self.lds.ctypes.data, self.counts.ctypes.data)


def aligned(size: int) -> np.ndarray:
    """uint8 array at a multiple of 256 bytes."""
    raw = np.empty(size + 256, np.uint8)
    start = -raw.ctypes.data % 256
    return raw[start : start + size]


def launch(
    kernel: Kernel | Code,
    grid: Sequence[int],
    block: Sequence[int],
    kernarg: bytes,
    memory: Memory,
    *,
    dynamic_lds: int = 0,
    threads: int | None = None,
) -> Launched:
    """Runs `kernel` on a grid of workgroups of `block` work-items, and returns exact counts.

    `kernarg` is the kernel's argument segment, pointers in it being addresses from `memory.map`. `threads` host threads
    (default: all cores) take workgroups in turn. Raises KernelFault where a wave touches memory it may not or does not end,
    AssemblyError for code that the emulator does not know, InputError for a launch that no device would accept.
    """
    code = kernel if isinstance(kernel, Code) else decode(kernel)
    kernel = code.kernel
    grid3, block3 = _three(grid, "grid"), _three(block, "block")
    lds_bytes = kernel.lds_bytes + dynamic_lds
    work_items = block3[0] * block3[1] * block3[2]
    if work_items > 1024:
        raise InputError(f"a workgroup of {work_items} work-items: a device takes at most 1,024")
    if lds_bytes > LDS_LIMIT:
        raise InputError(f"{lds_bytes} bytes of LDS: a gfx950 workgroup has at most {LDS_LIMIT:,}")
    size = kernel.descriptor.get("kernarg_size", 0)
    if len(kernarg) != size:
        raise InputError(f"{kernel.name} takes {size} bytes of arguments, not {len(kernarg)}")
    n_waves = -(-work_items // 64)
    kernarg_at = memory.map(np.frombuffer(kernarg or b"\0", np.uint8), "kernel arguments")
    filled, kept = _fill(code, _prepare(code), memory, lds_bytes, n_waves)
    filled.grid, filled.block, filled.limit = grid3, block3, grid3[0] * grid3[1] * grid3[2]
    user = _user_sgprs(kernel, kernarg_at, kernarg)
    filled.user_sgprs[: len(user)], filled.n_user_sgprs = user, len(user)
    filled.workgroup_id_mask = sum(kernel.descriptor.get(f"system_sgpr_workgroup_id_{d}", 0) << i for i, d in enumerate("xyz"))
    workers = [_HostThread(code, n_waves, lds_bytes) for _ in range(min(threads or os.cpu_count() or 1, filled.limit) or 1)]
    start = time.perf_counter()
    _run_all(filled, workers)
    seconds = time.perf_counter() - start
    del kept
    for thread in workers:
        if thread.worker.fault.kind:
            raise _kernel_fault(code, memory, thread.worker.fault)
    counts = np.zeros((n_waves, len(kernel.instructions)), np.int64)
    executed = sum(thread.counts for thread in workers)
    for i, (first, last) in enumerate(code.blocks):
        counts[:, first:last] = executed[:, i, None]
    return Launched(kernel, grid3, block3, counts, seconds)


def _run_all(filled: native.Launch, workers: list[_HostThread]) -> None:
    """Every host thread takes workgroups until none is left; Ctrl-C stops within a few workgroups."""
    stop = threading.Event()

    def work(thread: _HostThread) -> None:
        while not stop.is_set():
            done = native.engine().run(c.byref(filled), c.byref(thread.worker), 8)
            if done < 0:
                stop.set()
            if done < 8:
                return

    others = [threading.Thread(target=work, args=(thread,), daemon=True) for thread in workers[1:]]
    for other in others:
        other.start()
    try:
        work(workers[0])
    finally:
        stopping = stop.is_set()
        if not stopping and filled.next < filled.limit:   # interrupted
            stop.set()
        for other in others:
            other.join()


def _three(value: Sequence[int], what: str) -> tuple[int, int, int]:
    full = (*value, 1, 1)[:3]
    if len(value) > 3 or any(int(n) < 1 or int(n) >= 1 << 31 for n in full):
        raise InputError(f"{what} {tuple(value)}: give one to three positive sizes")
    return int(full[0]), int(full[1]), int(full[2])


def _user_sgprs(kernel: Kernel, kernarg_at: int, kernarg: bytes) -> list[int]:
    """User SGPRs in the order of the kernel descriptor; pointers that no kernel of ours needs are null."""
    d = kernel.descriptor
    user: list[int] = []
    for name, dwords in (("private_segment_buffer", 4), ("dispatch_ptr", 2), ("queue_ptr", 2)):
        user += [0] * dwords * d.get(f"user_sgpr_{name}", 0)
    if d.get("user_sgpr_kernarg_segment_ptr"):
        user += [kernarg_at & 0xFFFFFFFF, kernarg_at >> 32]
    for name, dwords in (("dispatch_id", 2), ("flat_scratch_init", 2), ("private_segment_size", 1)):
        user += [0] * dwords * d.get(f"user_sgpr_{name}", 0)
    first, count = d.get("user_sgpr_kernarg_preload_offset", 0), d.get("user_sgpr_kernarg_preload_length", 0)
    user += [int(x) for x in np.frombuffer(kernarg[4 * first : 4 * (first + count)], np.uint32)]
    return user


def _kernel_fault(code: Code, memory: Memory, fault: native.Fault) -> KernelFault:
    ins = code.kernel.instructions[fault.pc]
    reason = native.FAULTS[fault.kind]
    if fault.kind == 1:
        reason += f": {fault.size} bytes at {fault.address:#x}, {memory.describe(fault.address)}"
    elif fault.kind == 2:
        reason += f": {fault.size} bytes at byte {fault.address}"
    workgroup = (fault.workgroup[0], fault.workgroup[1], fault.workgroup[2])
    return KernelFault(
        reason, kernel=code.kernel.name, source_line=ins.source_line, instruction=ins.text, workgroup=workgroup, wave=fault.wave,
        lane=fault.lane if fault.kind < 3 else None, address=fault.address if fault.kind < 3 else None,
    )  # fmt: skip


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
    text: str | Iterable[str],
    *,
    vgpr: np.ndarray | None = None,
    agpr: np.ndarray | None = None,
    sgpr: np.ndarray | None = None,
    exec_mask: int = (1 << 64) - 1,
    vcc: int = 0,
    scc: int = 0,
    m0: int = 0,
    memory: Memory | None = None,
    lds: np.ndarray | None = None,
) -> State:
    """Executes straight lines of assembly on one wave whose registers hold what is given (rows of `vgpr`: v0, v1, ...).

    Registers not given hold all ones. `lds`, uint8, is the wave's LDS, changed in place.
    """
    lines = text.splitlines() if isinstance(text, str) else list(text)
    body = [line.split(";", 1)[0].strip() for line in lines]
    kernel = Kernel("snippet", [parse_instruction(line, i) for i, line in enumerate(body, 1) if line] + [parse_instruction("s_endpgm")])
    code = decode(kernel)
    given = {name: np.zeros((0, 64), np.uint32) if x is None else np.ascontiguousarray(x).view(np.uint32) for name, x in (("v", vgpr), ("a", agpr))}
    # The snippet may be shorter than the register file that it was given.
    need_v, need_a = max(code.agpr_first, len(given["v"])), max(kernel.registers["a"], len(given["a"]))
    if (need_v, need_a) != (code.agpr_first, kernel.registers["a"]):
        code = decode(kernel, min_vgprs=need_v, min_agprs=need_a)
    lds_array = aligned(0) if lds is None else lds
    thread = _HostThread(code, 1, 0)
    thread.worker.lds = lds_array.ctypes.data
    filled, kept = _fill(code, _prepare(code), memory or Memory(), len(lds_array), 1)
    state = thread.waves
    state[:] = 0xFF
    registers = state[code.vgpr_offset :].view(np.uint32).reshape(-1, 64)
    registers[: len(given["v"])] = given["v"]
    registers[code.agpr_first : code.agpr_first + len(given["a"])] = given["a"]
    scalars = state[SGPR_OFFSET:][: 4 * (128 + len(code.constants))].view(np.uint32)
    if sgpr is not None:
        scalars[: len(sgpr)] = sgpr
    scalars[128:] = code.constants
    for at, value in ((106, vcc), (126, exec_mask)):
        scalars[at : at + 2] = value & 0xFFFFFFFF, value >> 32
    scalars[124] = m0
    header = native.WaveHeader.from_buffer(state)
    header.scc = scc
    if native.engine().run_wave(c.byref(filled), c.byref(thread.worker)) < 0:
        raise _kernel_fault(code, memory or Memory(), thread.worker.fault)
    del kept
    two = [int(scalars[at]) | int(scalars[at + 1]) << 32 for at in (106, 126)]
    agprs = registers[code.agpr_first : code.agpr_first + need_a]
    return State(registers[:need_v].copy(), agprs.copy(), scalars[:102].copy(), two[0], two[1], int(header.scc))
