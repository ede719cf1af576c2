"""The bytes of a cached token (the `fp8_ds_mla` format) and where a slot's bytes lie: the only home of these facts.

A token is a latent vector of 512 dims. Its first 448 (NoPE) are OCP e4m3fn, one UE8M0 scale for each 64 of them; its last 64
(RoPE) are bf16. A *block* holds `block_size` tokens: first all their data records, then all their scale records.

    block + 0                        data record of token 0      576 B: 448 x e4m3fn, 64 x bf16
    block + 576                      data record of token 1
    ...
    block + 576 * block_size         scale record of token 0       8 B: 7 x UE8M0, 1 B pad
    block + 576 * block_size + 8     scale record of token 1

Slot `s` is token `s % block_size` of block `s // block_size`. Blocks lie `block_stride` bytes apart, which serving engines make
larger than `block_size * 584` (padding, or other layers' caches between), up to spans far beyond 4 GiB: offsets are 64-bit.

The kernels have the same numbers in csrc/include/cache_layout.h; a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sparse_mla.errors import InputError

NOPE_DIM = 448
ROPE_DIM = 64
HEAD_DIM = NOPE_DIM + ROPE_DIM
GROUP_DIM = 64
GROUPS = NOPE_DIM // GROUP_DIM
ROPE_OFFSET = NOPE_DIM  # bytes into a data record: an e4m3fn is one byte
DATA_BYTES = ROPE_OFFSET + 2 * ROPE_DIM
SCALE_BYTES = 8
TOKEN_BYTES = DATA_BYTES + SCALE_BYTES
SCALE_BIAS = 127  # a UE8M0 byte b means 2**(b - 127); 255 is NaN
FP8_MAX = 448  # largest finite e4m3fn
MAX_SLOTS = 2**31 - 1  # slot ids travel as int32

Slot = TypeVar("Slot", int, torch.Tensor, NDArray[np.int64])


def _wide(slot: Slot) -> Slot:
    """The same slots in 64 bits: an int32 product with a block stride would wrap silently."""
    if isinstance(slot, torch.Tensor):
        return slot.to(torch.int64)
    if isinstance(slot, np.ndarray):
        return slot.astype(np.int64)
    return int(slot)


@dataclass(frozen=True, init=False)
class CacheLayout:
    """Where the records of a paged cache lie. Sizes in tokens and bytes; `block_stride` defaults to blocks without padding."""

    block_size: int
    block_stride: int

    def __init__(self, block_size: int, block_stride: int | None = None) -> None:
        smallest = block_size * TOKEN_BYTES
        stride = smallest if block_stride is None else block_stride
        if block_size < 1:
            raise InputError(f"block_size is {block_size}; a block holds at least 1 token")
        if stride < smallest or stride % SCALE_BYTES:
            raise InputError(
                f"block_stride is {stride} bytes for {block_size} tokens; it must be at least {block_size} * {TOKEN_BYTES} = "
                f"{smallest} and a multiple of {SCALE_BYTES}"
            )
        object.__setattr__(self, "block_size", block_size)
        object.__setattr__(self, "block_stride", stride)

    def data_offset(self, slot: Slot) -> Slot:
        """Byte offset of the data records of valid slots (>= 0; any shape, int64 out)."""
        slot = _wide(slot)
        return slot // self.block_size * self.block_stride + slot % self.block_size * DATA_BYTES

    def scale_offset(self, slot: Slot) -> Slot:
        """Byte offset of the scale records of valid slots (>= 0; any shape, int64 out)."""
        slot = _wide(slot)
        scales = self.block_size * DATA_BYTES
        return slot // self.block_size * self.block_stride + scales + slot % self.block_size * SCALE_BYTES


def padded_stride(block_size: int) -> int:
    """Bytes from block to block when blocks are padded to whole data records, as FlashMLA's caches are."""
    return -(-block_size * TOKEN_BYTES // DATA_BYTES) * DATA_BYTES
