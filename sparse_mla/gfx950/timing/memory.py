"""The memory model's counters (engine/memory.c) by name."""

from __future__ import annotations

import ctypes as c

import numpy as np

# In the order of engine/memory.c. Those in lower case are of the model alone; no profiler counts them.
_COUNTED = ("TCP_TOTAL_CACHE_ACCESSES_sum", "TCP_TCC_READ_REQ_sum", "TCP_TCC_WRITE_REQ_sum", "TCP_TCC_ATOMIC_WITH_RET_REQ_sum",
            "TCP_TCC_ATOMIC_WITHOUT_RET_REQ_sum", "TCC_HIT_sum", "TCC_MISS_sum", "TCC_EA0_RDREQ_sum", "TCC_EA0_WRREQ_sum",
            "scalar_requests", "scalar_hits", "scalar_misses", "mall_read_bytes", "mall_write_bytes", "hbm_read_bytes",
            "hbm_write_bytes", "translation_misses")  # fmt: skip


def memory_counters(lib: c.CDLL, memory: int, end: int) -> dict[str, int]:
    """Counters of the launch that ends at clock `end`, summed over the chip; clears them and writes L2's dirty lines back."""
    out = np.zeros(len(_COUNTED), np.uint64)
    assert c.c_uint32.in_dll(lib, "memory_counters_count").value == len(out)
    lib.memory_counters(c.c_void_p(memory), c.c_uint64(end), c.c_void_p(out.ctypes.data))
    found = dict(zip(_COUNTED, out.tolist(), strict=True))
    whole = {"TCC_EA0_RDREQ_128B_sum": found["TCC_EA0_RDREQ_sum"], "TCC_EA0_WRREQ_64B_sum": found["TCC_EA0_WRREQ_sum"]}
    none = dict.fromkeys(("TCC_EA0_RDREQ_32B_sum", "TCC_EA0_RDREQ_64B_sum"), 0)  # L2 asks for whole lines
    return found | whole | none | {"TCC_REQ_sum": found["TCC_HIT_sum"] + found["TCC_MISS_sum"]}
