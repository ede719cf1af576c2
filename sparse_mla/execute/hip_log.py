"""What a host program sees of its calls to HIP, on the emulated runtime: which call reports an error, and when."""

from __future__ import annotations

import ctypes as c
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pandas as pd

from sparse_mla.build import compile_hip
from sparse_mla.errors import HipError, KernelFault
from sparse_mla.execute import hip_device
from sparse_mla.execute.hip_device import Hip, launch, runtime

SOURCE = """#include <hip/hip_runtime.h>
extern "C" __global__ void add(int* x, int by) { x[blockIdx.x * blockDim.x + threadIdx.x] += by; }
"""
BLOCK = 64  # work-items
_TO_HOST = 2  # hipMemcpyDeviceToHost


@contextmanager
def emulated_runtime() -> Iterator[Hip]:
    """The emulated HIP runtime in ROCm's place, for as long as the context lasts; nothing that it computes is `measured`."""
    before = os.environ.get("SPARSE_MLA_HIP")
    os.environ["SPARSE_MLA_HIP"] = "emulated"
    try:
        yield runtime()
    finally:
        if before is None:
            del os.environ["SPARSE_MLA_HIP"]
        else:
            os.environ["SPARSE_MLA_HIP"] = before


def call_log(elements: int, groups: Sequence[int], *, wait: bool = False) -> tuple[pd.DataFrame, KernelFault | None]:
    """Allocates `elements` ints, adds to them by a launch of each number of workgroups of BLOCK work-items, waits and copies
    back; with `wait`, waits behind every launch. Gives a row a call (number, call, returned: what HIP calls the code), and what
    a device would not say: the fault itself. The runtime is reset at the end: whatever else was on it is gone."""
    rows: list[tuple[int, str, str]] = []
    fault: list[KernelFault] = []
    code, size = compile_hip(SOURCE), 4 * elements
    with emulated_runtime() as hip:
        at, host = hip.make("hipMalloc", size), c.create_string_buffer(size)
        rows.append((1, f"hipMalloc(&x, {size})", "hipSuccess"))

        def call(text: str, name: str, *given: object) -> None:
            said = "hipSuccess"
            try:
                if given and given[0] is code:
                    launch(code, "add", (int(str(given[1])), 1, 1), (BLOCK, 1, 1), 0, struct.pack("<Qi", at, 1))
                else:
                    hip(name, *given)
            except HipError as problem:
                said = problem.name
                if isinstance(problem.__cause__, KernelFault):
                    fault.append(problem.__cause__)
            rows.append((len(rows) + 1, text, said))

        try:
            for count in groups:
                call(f"hipModuleLaunchKernel(add, grid {count}, block {BLOCK}, x, 1)", "hipModuleLaunchKernel", code, count)
                if wait:
                    call("hipDeviceSynchronize()", "hipDeviceSynchronize")
            call("hipGetLastError()", "hipGetLastError")
            call("hipDeviceSynchronize()", "hipDeviceSynchronize")
            call(f"hipMemcpy(host, x, {size}, hipMemcpyDeviceToHost)", "hipMemcpy", host, at, size, _TO_HOST)
        finally:
            with suppress(HipError):
                hip("hipDeviceReset")
            hip_device._module.cache_clear()  # modules are gone with it
            hip_device._function.cache_clear()
    return pd.DataFrame(rows, columns=["number", "call", "returned"]), fault[0] if fault else None
