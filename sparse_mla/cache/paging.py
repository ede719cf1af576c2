"""A paged cache: blocks of tokens in one uint8 tensor whose block stride is whatever the serving engine chose."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sparse_mla.cache.layout import DATA_BYTES, MAX_SLOTS, SCALE_BYTES, TOKEN_BYTES, CacheLayout
from sparse_mla.cache.quantise import dequantise, quantise
from sparse_mla.errors import InputError

UNWRITTEN = 0xFF  # as e4m3fn, as a scale and as half a bf16 this is NaN, so a token read before it was written shows


class PagedCache:
    """Tokens by slot id in `storage`, uint8 `[num_blocks, block_size, 584]` with any stride(0); shares memory with it."""

    def __init__(self, storage: torch.Tensor) -> None:
        shape, stride = storage.shape, storage.stride()
        if storage.dtype != torch.uint8 or storage.dim() != 3 or shape[2] != TOKEN_BYTES or shape[1] < 1:
            raise InputError(
                f"storage is {storage.dtype} {list(shape)}; a cache is uint8 [num_blocks, block_size, {TOKEN_BYTES}]"
            )
        if stride[2] != 1 or (shape[1] > 1 and stride[1] != TOKEN_BYTES):
            raise InputError(f"storage has strides {stride}; only the block stride is free: (any, {TOKEN_BYTES}, 1)")
        num_blocks, block_size, _ = shape
        # The stride of a lone block means nothing, and torch may report anything there.
        block_stride = stride[0] if num_blocks > 1 else max(stride[0], block_size * TOKEN_BYTES)
        self.storage = storage
        self.layout = CacheLayout(block_size, block_stride)
        self.num_slots = num_blocks * block_size
        if self.num_slots > MAX_SLOTS:
            raise InputError(f"storage holds {self.num_slots} slots; slot ids are int32, so at most {MAX_SLOTS}")

    @classmethod
    def empty(cls, num_blocks: int, block_size: int, block_stride: int | None = None) -> PagedCache:
        """A new cache; every token, and all padding between blocks, reads as NaN until written. `block_stride` in bytes."""
        layout = CacheLayout(block_size, block_stride)
        memory = torch.full((num_blocks * layout.block_stride,), UNWRITTEN, dtype=torch.uint8)
        return cls(memory.as_strided((num_blocks, block_size, TOKEN_BYTES), (layout.block_stride, TOKEN_BYTES, 1)))

    def __repr__(self) -> str:
        return f"PagedCache({self.num_slots // self.layout.block_size} blocks, {self.layout})"

    def write(self, slots: torch.Tensor | Sequence[int], kv: torch.Tensor) -> None:
        """Quantise latents `[n, 512]` into n slots."""
        self.write_records(slots, *quantise(kv))

    def read(self, slots: torch.Tensor | Sequence[int]) -> torch.Tensor:
        """The latents of n slots, float32 `[n, 512]`."""
        return dequantise(*self.read_records(slots))

    def write_records(self, slots: torch.Tensor | Sequence[int], data: torch.Tensor, scale: torch.Tensor) -> None:
        """Store raw bytes, data uint8 `[n, 576]` and scale uint8 `[n, 8]`, into n slots."""
        where = self._where(slots)
        data_view, scale_view = self._views()
        data_view[where] = data
        scale_view[where] = scale

    def read_records(self, slots: torch.Tensor | Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The raw bytes of n slots: data uint8 `[n, 576]`, scale uint8 `[n, 8]`."""
        where = self._where(slots)
        data_view, scale_view = self._views()
        return data_view[where], scale_view[where]

    def _views(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The data records `[num_blocks, block_size, 576]` and scale records `[num_blocks, block_size, 8]`, in place."""
        blocks, layout, start = self.storage.shape[0], self.layout, self.storage.storage_offset()
        data, scale = (
            self.storage.as_strided((blocks, layout.block_size, size), (layout.block_stride, size, 1), start + first)
            for size, first in ((DATA_BYTES, layout.data_offset(0)), (SCALE_BYTES, layout.scale_offset(0)))
        )
        return data, scale

    def _where(self, slots: torch.Tensor | Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Valid slot ids as (block, token in block), both int64."""
        slot = torch.as_tensor(slots, dtype=torch.int64)
        bad = slot[(slot < 0) | (slot >= self.num_slots)]
        if bad.numel():
            raise InputError(f"slot {int(bad[0])} is outside this cache; it has slots 0 to {self.num_slots - 1}")
        return slot // self.layout.block_size, slot % self.layout.block_size
