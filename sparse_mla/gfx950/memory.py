"""The buffers of a launch, at emulated addresses: the same in every run, with gaps between them, so that every access outside
one is caught."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from typing import Any

from sparse_mla.errors import InputError

_FIRST = 0x10_0000_0000
_GAP = 1 << 21


class Memory:
    """`map` gives an array its emulated address; the bytes stay the caller's own."""

    def __init__(self) -> None:
        self._next = _FIRST
        self._kept: list[Any] = []
        self.ranges: list[tuple[int, int, int, str]] = []
        """base address, bytes, host pointer, name; in the order of the addresses"""

    def map(self, array: Any, name: str) -> int:
        """Maps a NumPy array or CPU torch tensor and returns its address. A strided view is mapped over everything between its
        first and its last byte."""
        if hasattr(array, "data_ptr"):
            if array.device.type != "cpu":
                raise InputError(f"buffer {name} is on {array.device}: the emulator takes CPU tensors")
            host, item = array.data_ptr(), array.element_size()
            strides = [stride * item for stride in array.stride()]
        else:
            host, item, strides = array.__array_interface__["data"][0], array.itemsize, array.strides
        if min(strides, default=0) < 0:
            raise InputError(f"buffer {name} has strides {strides}: negative strides cannot be mapped; copy it")
        span = sum((n - 1) * stride for n, stride in zip(array.shape, strides, strict=True)) + item if 0 not in array.shape else 0
        base: int = self._next + host % 16  # as aligned as the bytes are
        self._next += (span // _GAP + 2) * _GAP
        self.ranges.append((base, span, host, name))
        self._kept.append(array)
        return base

    @classmethod
    def of_host(cls, ranges: Iterable[tuple[int, int, str]]) -> Memory:
        """Ranges (address, bytes, name) at the host's own addresses; what is mapped later lies behind them."""
        memory = cls()
        memory.ranges = sorted((base, size, base, name) for base, size, name in ranges)
        base, size, *_ = memory.ranges[-1] if memory.ranges else (_FIRST, 0)
        memory._next = (base + size) // _GAP * _GAP + 2 * _GAP
        return memory

    def place(self, base: int, array: Any, name: str) -> None:
        """Maps a NumPy array at an address outside of what `map` gives, in place of what was there."""
        self._kept.append(array)
        self.ranges = [entry for entry in self.ranges if entry[0] != base]
        insort(self.ranges, (base, array.nbytes, array.ctypes.data, name))

    def describe(self, address: int) -> str:
        """Where an address lies, in words."""
        i = bisect_right([base for base, *_ in self.ranges], address) - 1
        if i < 0:
            return "below every buffer"
        base, size, _, name = self.ranges[i]
        past = address - base - size
        what = f"byte {address - base}" if past < 0 else f"{past} bytes past the end"
        return f"{what} of {name} ({size} bytes)"
