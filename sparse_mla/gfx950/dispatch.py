"""What the host hands to a kernel: its argument segment, hidden arguments included, and the dispatch packet.

Source: LLVM's "User Guide for AMDGPU Backend", code object V5 metadata and kernel argument segment; HSA's AQL packet.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparse_mla.errors import InputError
from sparse_mla.gfx950.assembly import Argument, Kernel
from sparse_mla.gfx950.memory import Memory

_FLOATS = {2: "<e", 4: "<f", 8: "<d"}
Three = tuple[int, int, int]


def pack_arguments(kernel: Kernel, values: Sequence[Any], memory: Memory) -> bytes:
    """The argument segment of `kernel`, hidden arguments zero: `launch` fills them.

    An array or tensor becomes the address that `memory` maps it at, None a null pointer. A Python int, bool or float takes the
    argument's size; the metadata does not say which of them it is, so that a float parameter wants 1.0, not 1. NumPy scalars
    and bytes (a struct passed by value) go in as they are.
    """
    explicit = kernel.explicit_arguments
    if len(values) != len(explicit):
        raise InputError(f"{kernel.name} takes {len(explicit)} arguments, not {len(values)}")
    segment = bytearray(kernel.descriptor.get("kernarg_size", 0))
    for i, (argument, value) in enumerate(zip(explicit, values, strict=True)):
        name = argument.name or f"argument {i}"
        data = _pack(argument, value, name, memory)
        if len(data) != argument.size:
            raise InputError(f"{name} of {kernel.name} has {argument.size} bytes, not {len(data)}: {value!r:.60}")
        segment[argument.offset : argument.offset + len(data)] = data
    return bytes(segment)


def _pack(argument: Argument, value: Any, name: str, memory: Memory) -> bytes:
    size = argument.size
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.generic):
        if value.nbytes == size:
            return value.tobytes()
        value = value.item()
    if isinstance(value, float) and size in _FLOATS and argument.value_kind == "by_value":
        return struct.pack(_FLOATS[size], value)
    if argument.value_kind != "by_value":
        if value is None:
            value = 0
        elif hasattr(value, "data_ptr") or hasattr(value, "__array_interface__"):
            value = memory.map(value, name)
    if not isinstance(value, int):
        wanted = "an int, a float, a NumPy scalar or bytes" if argument.value_kind == "by_value" else "an array, a tensor or None"
        raise InputError(f"{name} is {argument.value_kind} of {size} bytes: give {wanted}, not {type(value).__name__}")
    try:
        return int(value).to_bytes(size, "little", signed=value < 0)
    except OverflowError:
        raise InputError(f"{name} has {size} bytes: {value} does not fit") from None


def fill_hidden(kernel: Kernel, kernarg: bytes, grid: Three, block: Three, dynamic_lds: int) -> bytes:
    """`kernarg` to the segment's full size with the launch's shape in its hidden arguments. What has no home here (the host
    call and printf buffers, heaps, queues) stays as given, or null."""
    size = kernel.descriptor.get("kernarg_size", 0)
    explicit = max((a.offset + a.size for a in kernel.explicit_arguments), default=0) if kernel.arguments else size
    if not explicit <= len(kernarg) <= size:
        wanted = size if explicit == size else f"{explicit} to {size}"
        raise InputError(f"{kernel.name} takes {wanted} bytes of arguments, not {len(kernarg)}")
    known = {"grid_dims": _dimensions(grid, block), "dynamic_lds_size": dynamic_lds}
    for i, d in enumerate("xyz"):
        known |= {f"block_count_{d}": grid[i], f"group_size_{d}": block[i], f"remainder_{d}": 0, f"global_offset_{d}": 0}
    segment = bytearray(kernarg.ljust(size, b"\0"))
    for a in kernel.arguments:
        if a.hidden and (value := known.get(a.value_kind.removeprefix("hidden_"))) is not None:
            segment[a.offset : a.offset + a.size] = value.to_bytes(a.size, "little")
    return bytes(segment)


def packet(grid: Three, block: Three, scratch: int, lds: int, kernarg_at: int) -> bytes:
    """The 64-byte kernel dispatch packet: sizes of the grid in work-items, bytes of scratch a lane and of LDS a workgroup."""
    items = [g * b for g, b in zip(grid, block, strict=True)]
    return struct.pack("<6H5I4Q", 2, _dimensions(grid, block), *block, 0, *items, scratch, lds, 0, kernarg_at, 0, 0)


def _dimensions(grid: Three, block: Three) -> int:
    return max(i for i in (1, 2, 3) if i == 1 or grid[i - 1] * block[i - 1] > 1)
