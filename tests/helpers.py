"""What several test folders share."""

from __future__ import annotations

import mmap
from dataclasses import replace

import torch

from sparse_mla.cache.layout import TOKEN_BYTES
from sparse_mla.cache.paging import PagedCache
from sparse_mla.kernels.inputs import DecodeInputs, Segment

MAP_NORESERVE = 0x4000  # Linux, on x86-64 and aarch64; Python names it from 3.13 on
HUGE_STRIDE = 2**31 + 64 * TOKEN_BYTES  # the second block of 64 begins beyond 2 GiB, the third beyond 4 GiB


def sparse_cache(num_blocks: int, block_size: int, block_stride: int) -> PagedCache:
    """A paged cache of any address span: only the pages that are written take memory. Unwritten tokens read as 0."""
    span = (num_blocks - 1) * block_stride + block_size * TOKEN_BYTES
    memory = mmap.mmap(-1, span, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    storage = torch.frombuffer(memory, dtype=torch.uint8)  # keeps the mapping alive
    return PagedCache(storage.as_strided((num_blocks, block_size, TOKEN_BYTES), (block_stride, TOKEN_BYTES, 1)))


def spread(inputs: DecodeInputs, block_stride: int = HUGE_STRIDE) -> DecodeInputs:
    """The same decode with its caches' blocks `block_stride` bytes apart: every result must stay the same to the bit."""

    def spread_segment(segment: Segment) -> Segment:
        old = segment.cache
        new = sparse_cache(old.storage.shape[0], old.layout.block_size, block_stride)
        slots = range(old.num_slots)
        new.write_records(slots, *old.read_records(slots))
        return replace(segment, cache=new)

    extra = None if inputs.extra is None else spread_segment(inputs.extra)
    return replace(inputs, main=spread_segment(inputs.main), extra=extra)
