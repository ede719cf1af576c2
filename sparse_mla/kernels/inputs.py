"""What a decode reads: the query, one or two ragged lists of cache slots, the softmax scale and the attention sink."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch

from sparse_mla.cache.layout import HEAD_DIM
from sparse_mla.cache.paging import PagedCache
from sparse_mla.errors import InputError


def check_tensor(name: str, tensor: torch.Tensor, dtype: torch.dtype, shape: tuple[int | str, ...]) -> None:
    """Refuse a tensor of another dtype or shape; a string in `shape` names a free extent."""
    fits = tensor.dim() == len(shape) and all(
        isinstance(want, str) or have == want for have, want in zip(tensor.shape, shape, strict=True)
    )
    if tensor.dtype != dtype or not fits:
        wanted = f"{dtype} [{', '.join(map(str, shape))}]"
        raise InputError(f"{name} is {tensor.dtype} {list(tensor.shape)}; it must be {wanted}")


@dataclass(frozen=True)
class Segment:
    """A paged cache and each row's slots in it: row r reads `indices[indptr[r]:indptr[r + 1]]`; other slot ids than the cache's
    0 .. num_slots - 1 stand for nothing. `indices` may be longer than the last row's end."""

    cache: PagedCache
    indices: torch.Tensor  # int32 [nnz]
    indptr: torch.Tensor  # int32 [rows + 1], starts at 0 or later, never decreases

    def __post_init__(self) -> None:
        for name, tensor in (("indices", self.indices), ("indptr", self.indptr)):
            check_tensor(name, tensor, torch.int32, ("any",))
            if not tensor.is_contiguous():
                raise InputError(f"{name} has stride {tensor.stride(0)}; it must be contiguous")
        if self.indptr.numel() < 1:
            raise InputError("indptr is empty; it has one entry more than there are rows")
        # A device tensor is not checked: reading it would make the host wait. Nor is one that torch.compile only traces.
        if not self.indptr.is_cpu or torch.compiler.is_compiling():
            return
        ends = self.indptr.tolist()
        if ends[0] < 0 or ends[-1] > self.indices.numel() or any(end < start for start, end in pairwise(ends)):
            raise InputError(f"indptr is {ends}; it must rise from 0 or more to at most the {self.indices.numel()} indices given")

    @property
    def lens(self) -> tuple[int, ...]:
        """Entries of each row, valid or not. (On a device, asking makes the host wait.)"""
        return tuple(end - start for start, end in pairwise(self.indptr.tolist()))

    def row(self, row: int) -> torch.Tensor:
        """The slot ids of one row, int32 `[n]`."""
        start, end = self.indptr[row : row + 2].tolist()
        return self.indices[start:end]


@dataclass(frozen=True)
class DecodeInputs:
    """The arguments of one decode. A row is a query token; `main` is its sliding window, `extra` its compressed tokens."""

    q: torch.Tensor  # bf16 [rows, heads, 512], last stride 1, other strides any
    main: Segment
    extra: Segment | None
    scale: float  # multiplies q . k; natural-log domain
    attn_sink: torch.Tensor | None  # f32 [heads], natural-log domain

    def __post_init__(self) -> None:
        check_tensor("q", self.q, torch.bfloat16, ("rows", "heads", HEAD_DIM))
        if self.q.stride(2) != 1:
            raise InputError(f"q has strides {self.q.stride()}; only the last one is fixed: it must be 1")
        for name, segment in self.segments.items():
            check_tensor(f"{name}.indptr", segment.indptr, torch.int32, (self.rows + 1,))
        if self.attn_sink is not None:
            check_tensor("attn_sink", self.attn_sink, torch.float32, (self.heads,))
            if not self.attn_sink.is_contiguous():
                raise InputError(f"attn_sink has stride {self.attn_sink.stride(0)}; it must be contiguous")
        devices = {str(tensor.device) for tensor in self.tensors().values()}
        if len(devices) > 1:
            raise InputError(f"the inputs lie on {sorted(devices)}; they must lie on one device")

    @property
    def rows(self) -> int:
        return self.q.shape[0]

    @property
    def heads(self) -> int:
        return self.q.shape[1]

    @property
    def segments(self) -> dict[str, Segment]:
        """The segments there are, by name."""
        return {"main": self.main} if self.extra is None else {"main": self.main, "extra": self.extra}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every tensor a kernel reads, by name."""
        found = {"q": self.q} if self.attn_sink is None else {"q": self.q, "attn_sink": self.attn_sink}
        for name, part in self.segments.items():
            found |= {f"{name}.cache": part.cache.storage, f"{name}.indices": part.indices, f"{name}.indptr": part.indptr}
        return found

    def to(self, device: torch.device | str) -> DecodeInputs:
        """The same inputs on a device: strides, storage offsets and what lies between the elements included."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            there = torch.empty(storage.nbytes(), dtype=torch.uint8, device=device).untyped_storage()
            there.copy_(storage)
            view = torch.empty(0, dtype=tensor.dtype, device=device)
            return view.set_(there, tensor.storage_offset(), tensor.shape, tensor.stride())

        segments = {
            name: Segment(PagedCache(moved(part.cache.storage)), moved(part.indices), moved(part.indptr))
            for name, part in self.segments.items()
        }
        sink = None if self.attn_sink is None else moved(self.attn_sink)
        return DecodeInputs(moved(self.q), segments["main"], segments.get("extra"), self.scale, sink)
