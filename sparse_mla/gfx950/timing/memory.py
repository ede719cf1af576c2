"""The memory model (engine/memory.c) from Python: its counters by name, and accesses one by one, for its tests."""

from __future__ import annotations

import ctypes as c
from collections.abc import Sequence

import numpy as np

from sparse_mla.gfx950.timing.device import Device
from sparse_mla.gfx950.timing.native import constants, library

# In the order of engine/memory.c. Those in lower case are of the model alone; no profiler counts them.
_COUNTED = ("TCP_TOTAL_CACHE_ACCESSES_sum", "TCP_TCC_READ_REQ_sum", "TCP_TCC_WRITE_REQ_sum", "TCP_TCC_ATOMIC_WITH_RET_REQ_sum",
            "TCP_TCC_ATOMIC_WITHOUT_RET_REQ_sum", "TCC_HIT_sum", "TCC_MISS_sum", "TCC_EA0_RDREQ_sum", "TCC_EA0_WRREQ_sum",
            "scalar_requests", "scalar_hits", "scalar_misses", "mall_read_bytes", "mall_write_bytes", "hbm_read_bytes",
            "hbm_write_bytes", "translation_misses")  # fmt: skip
LOAD, STORE, ATOMIC, TO_LDS, SCALAR = range(5)  # kinds, as in engine/timing.h
SC0, SC1, NT = 8, 16, 32


def memory_counters(lib: c.CDLL, memory: int, end: int) -> dict[str, int]:
    """Counters of the launch that ends at clock `end`, summed over the chip; clears them and writes L2's dirty lines back."""
    out = np.zeros(len(_COUNTED), np.uint64)
    assert c.c_uint32.in_dll(lib, "memory_counters_count").value == len(out)
    lib.memory_counters(c.c_void_p(memory), c.c_uint64(end), c.c_void_p(out.ctypes.data))
    found = dict(zip(_COUNTED, out.tolist(), strict=True))
    whole = {"TCC_EA0_RDREQ_128B_sum": found["TCC_EA0_RDREQ_sum"], "TCC_EA0_WRREQ_64B_sum": found["TCC_EA0_WRREQ_sum"]}
    none = dict.fromkeys(("TCC_EA0_RDREQ_32B_sum", "TCC_EA0_RDREQ_64B_sum"), 0)  # L2 asks for whole lines
    return found | whole | none | {"TCC_REQ_sum": found["TCC_HIT_sum"] + found["TCC_MISS_sum"]}


class MemoryTime(c.Structure):
    """engine/timing.h's MemoryTime: when an access is taken and done, the level that it reached, its cycles in queues."""

    _fields_ = [("accept", c.c_uint64), ("done", c.c_uint64), ("level", c.c_uint8), ("queued", c.c_uint32)]


class MemoryModel:
    """A chip's memory, at a kernel's start. Accesses come in the order of their times."""

    def __init__(self, device: Device) -> None:
        self._library, self._constants = library(), constants(device)
        self._state = np.zeros(self._library.memory_bytes(c.byref(self._constants)), np.uint8)
        self._library.memory_start(self._state.ctypes.data, c.byref(self._constants))
        self._access = self._library.memory_access
        self._access.restype = MemoryTime
        self._access.argtypes = (c.c_void_p, c.c_uint32, c.c_uint64, *(c.c_uint32,) * 3, c.c_void_p, c.c_uint32)
        self.launch()

    def launch(self) -> None:
        """Another kernel begins."""
        self._library.memory_launch(c.c_void_p(self._state.ctypes.data))

    def access(self, cu: int, clock: int, kind: int, dwords: int, lanes: int, lines: Sequence[int] | np.ndarray) -> MemoryTime:
        """One instruction of one wave: `dwords` a lane, distinct `lines`."""
        numbers = np.asarray(lines, np.uint32)
        done: MemoryTime = self._access(
            self._state.ctypes.data, cu, clock, kind, dwords, lanes, numbers.ctypes.data, len(numbers)
        )
        return done

    def counters(self, end: int) -> dict[str, int]:
        """As `memory_counters`."""
        return memory_counters(self._library, self._state.ctypes.data, end)
