"""The kernels' one argument, byte for byte as csrc/include/decode_params.h declares it. The header asserts the same offsets."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import Structure, c_float, c_int32, c_int64, c_uint32, c_uint64

import torch

from sparse_mla.kernels.inputs import DecodeInputs, Segment


class Divisor(Structure):
    """Division by a number that stays the same, for numbers below 2**31: n // divisor == (2 * n * magic >> 32) >> shift."""

    _fields_ = [(name, c_uint32) for name in ("magic", "shift")]

    @classmethod
    def by(cls, divisor: int) -> Divisor:
        """`divisor` from 1 to 2**31: magic is 2**(31 + shift) / divisor, rounded up, with shift the least that keeps it exact."""
        shift = (divisor - 1).bit_length()
        return cls((1 << 31 + shift) // divisor + 1, shift)


class ListParams(Structure):
    """Each row's slots in a cache; zero where a decode has no such segment."""

    _fields_ = [(name, c_uint64) for name in ("indices", "indptr")]


class SegmentParams(Structure):
    """One cache; all zero where a decode has no such segment."""

    _fields_ = [
        ("cache", c_uint64),
        ("block_stride", c_int64),  # bytes
        *((name, c_int32) for name in ("num_slots", "block_size")),
        ("block", Divisor),
    ]


class DecodeParams(Structure):
    """Addresses, strides in elements, and sizes; `bytes(params)` is the kernel's argument block."""

    _fields_ = [
        *((name, ListParams) for name in ("main_list", "extra_list")),
        ("split", Divisor),
        *((name, c_int32) for name in ("main_even", "extra_even")),
        *((name, c_uint64) for name in ("q", "out", "lse", "attn_sink", "partial_acc", "partial_ml", "arrivals")),
        *((name, c_int64) for name in ("q_row_stride", "q_head_stride", "out_row_stride", "out_head_stride")),
        ("main", SegmentParams),
        ("extra", SegmentParams),
        *((name, c_int32) for name in ("rows", "heads", "split_k")),
        ("scale", c_float),
    ]


Place = Callable[[torch.Tensor, str], int]
"""The address at which a kernel finds a tensor, which is called by this name in error messages."""


def device_address(tensor: torch.Tensor, name: str) -> int:
    """Where a tensor of the device that runs the kernel lies."""
    return tensor.data_ptr()


def _segment(segment: Segment | None, name: str, place: Place) -> tuple[SegmentParams, ListParams, int]:
    """A cache, its lists, and how many slots a row has if they all have as many: nothing is read from a device."""
    if segment is None:
        return SegmentParams(), ListParams(), 0
    cache = segment.cache
    slots = int(segment.indptr[-1]) if segment.indptr.is_cpu else segment.indices.numel()
    even = slots // max(1, segment.indptr.numel() - 1)
    lists = ListParams(place(segment.indices, f"{name} indices"), place(segment.indptr, f"{name} indptr"))
    return (
        SegmentParams(
            cache=place(cache.storage, f"{name} cache"),
            block_stride=cache.layout.block_stride,
            num_slots=cache.num_slots,
            block_size=cache.layout.block_size,
            block=Divisor.by(cache.layout.block_size),
        ),
        lists,
        even,
    )


def pack(
    inputs: DecodeInputs,
    *,
    out: torch.Tensor,
    lse: torch.Tensor | None = None,
    partial_acc: torch.Tensor | None = None,
    partial_ml: torch.Tensor | None = None,
    arrivals: torch.Tensor | None = None,
    split_k: int = 1,
    place: Place = device_address,
) -> DecodeParams:
    """The argument of one launch; `out` bf16 `[rows, heads, 512]`, `lse` f32 `[rows, heads]`, partials per `workspace_shape`."""

    def at(tensor: torch.Tensor | None, name: str) -> int:
        return 0 if tensor is None else place(tensor, name)

    main, main_list, main_even = _segment(inputs.main, "main", place)
    extra, extra_list, extra_even = _segment(inputs.extra, "extra", place)
    return DecodeParams(
        main_list=main_list,
        extra_list=extra_list,
        split=Divisor.by(split_k),
        main_even=main_even,
        extra_even=extra_even,
        q=at(inputs.q, "q"),
        out=at(out, "out"),
        lse=at(lse, "lse"),
        attn_sink=at(inputs.attn_sink, "attn_sink"),
        partial_acc=at(partial_acc, "partial_acc"),
        partial_ml=at(partial_ml, "partial_ml"),
        arrivals=at(arrivals, "arrivals"),
        q_row_stride=inputs.q.stride(0),
        q_head_stride=inputs.q.stride(1),
        out_row_stride=out.stride(0),
        out_head_stride=out.stride(1),
        main=main,
        extra=extra,
        rows=inputs.rows,
        heads=inputs.heads,
        split_k=split_k,
        scale=inputs.scale,
    )
