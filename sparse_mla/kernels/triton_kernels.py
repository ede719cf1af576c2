"""The decode in Triton: one kernel that walks whole rows, and a split one with its merge. The same contract as the HIP kernels'.

The plan is that of the published Triton decodes of this cache: a program takes one row (query token) and a block of 16 heads,
the height of a matrix-core tile, and walks the row's slots a tile at a time: gather, dequantise to bf16, QK, online softmax, PV.
`decode_whole` walks all of them with eight warps and tiles of 16 tokens; `decode_split` a share of them with four warps and tiles
of 32, for `decode_merge` to put together, one program a head. Everything else is left to Triton: which lane holds what, what goes
through LDS, where barriers stand. Comparing that with the HIP kernels is what these are for.

The 512 dims of a token are taken as four pieces of 128: a tile of one piece is small enough to stay in registers as K and as V,
and so is the accumulator of one. Pieces 0 to 2 are fp8 with two scales each; piece 3 is the last fp8 group and the bf16 part.

Nothing invalid is loaded, for 0 * NaN is NaN: a slot outside the cache stands for zeros whose score is -inf. Softmax runs in the
log2 domain, from a finite lowest maximum, so that a tile with nothing valid changes nothing.

Triton reads this source itself, so parameters have no types; `arguments` gives what a kernel is called with. Block sizes and
strides are compiled in, as a serving engine's are fixed; they decide how wide loads may be.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from sparse_mla.cache import layout
from sparse_mla.kernels.inputs import DecodeInputs

DATA_BYTES, SCALE_BYTES = tl.constexpr(layout.DATA_BYTES), tl.constexpr(layout.SCALE_BYTES)
NOPE_DIM, HEAD_DIM, GROUP_DIM = tl.constexpr(layout.NOPE_DIM), tl.constexpr(layout.HEAD_DIM), tl.constexpr(layout.GROUP_DIM)
ROPE_OFFSET = tl.constexpr(layout.ROPE_OFFSET)
HEADS = tl.constexpr(16)  # of a program
PIECE = tl.constexpr(128)  # dims
NO_MAX = tl.constexpr(-3.402823466e38)  # where a running maximum starts: NO_MAX - NO_MAX is 0 and not NaN
LOG2_E, LN_2 = tl.constexpr(1.4426950408889634), tl.constexpr(0.6931471805599453)
# Triton's CPU interpreter multiplies the bit patterns of bf16 operands, and truncates where a device rounds: `_dot`, `_bf16`.
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def _dot(a, b, total):
    if INTERPRETED:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), total)
    return tl.dot(a, b, total)


@triton.jit
def _bf16(x):
    if INTERPRETED:
        bits = x.to(tl.int32, bitcast=True)
        x = ((bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000).to(tl.float32, bitcast=True)
    return x.to(tl.bfloat16)


@triton.jit
def _load_q(q, row, head, heads, row_stride, head_stride, N: tl.constexpr):  # phase: load q
    """Piece N of the 16 heads' queries, bf16 [16, 128]; zeros for heads past the last."""
    at = q + row.to(tl.int64) * row_stride + head[:, None].to(tl.int64) * head_stride
    return tl.load(at + (tl.arange(0, PIECE) + PIECE * N)[None, :], mask=(head < heads)[:, None], other=0.0)


@triton.jit
def _scale(scales, valid, GROUP: tl.constexpr):  # phase: dequantise
    """2^(byte - 127) of one fp8 group of each token, f32 [tokens]. Byte 0 is a denormal, 255 NaN: both have one mantissa bit."""
    byte = tl.load(scales + GROUP, mask=valid, other=0).to(tl.int32)
    return ((byte << 23) | tl.where((byte == 0) | (byte == 255), 1 << 22, 0)).to(tl.float32, bitcast=True)


@triton.jit
def _load_kv(data, scales, valid, N: tl.constexpr):  # phase: gather
    """Piece N of a tile, bf16 [tokens, 128]: zeros where not valid. `data`, `scales`: where each token's records lie."""
    dim = tl.arange(0, PIECE) + PIECE * N
    fp8 = (dim < NOPE_DIM)[None, :]
    raw = tl.load(data[:, None] + dim[None, :], mask=valid[:, None] & fp8, other=0)
    # phase: dequantise
    scale = _scale(scales, valid, 2 * N)[:, None]
    if PIECE * (N + 1) <= NOPE_DIM:
        scale = tl.where((dim < PIECE * N + GROUP_DIM)[None, :], scale, _scale(scales, valid, 2 * N + 1)[:, None])
    kv = _bf16(raw.to(tl.float8e4nv, bitcast=True).to(tl.float32) * scale)
    if PIECE * (N + 1) > NOPE_DIM:  # phase: gather
        rope = (data + ROPE_OFFSET).to(tl.pointer_type(tl.bfloat16))[:, None] + (dim - NOPE_DIM)[None, :]
        kv = tl.where(fp8, kv, tl.load(rope, mask=valid[:, None] & (dim >= NOPE_DIM)[None, :], other=0.0))
    return kv


@triton.jit
def _attend(
    q0, q1, q2, q3, top, total, acc0, acc1, acc2, acc3, scale_log2, cache, indices, start, length, slots, first, last,
    TILE: tl.constexpr, BLOCK: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    """Tiles `first` to `last` - 1 of one list of slots: the state of the online softmax before, and after."""
    for tile in range(first, last):
        # phase: gather
        position = tile * TILE + tl.arange(0, TILE)
        slot = tl.load(indices + start + position, mask=position < length, other=-1)
        valid = (slot >= 0) & (slot < slots)
        slot = slot.to(tl.uint32, bitcast=True)
        block = cache + (slot // BLOCK).to(tl.int64) * STRIDE
        place = (slot % BLOCK).to(tl.int32)
        data, scales = block + place * DATA_BYTES, block + BLOCK * DATA_BYTES + place * SCALE_BYTES
        k0, k1 = _load_kv(data, scales, valid, 0), _load_kv(data, scales, valid, 1)
        k2, k3 = _load_kv(data, scales, valid, 2), _load_kv(data, scales, valid, 3)
        # phase: QK
        score = _dot(q0, tl.trans(k0), tl.zeros([HEADS, TILE], dtype=tl.float32))
        score = _dot(q1, tl.trans(k1), score)
        score = _dot(q2, tl.trans(k2), score)
        score = _dot(q3, tl.trans(k3), score)
        # phase: softmax
        score = tl.where(valid[None, :], score * scale_log2, -float("inf"))
        higher = tl.maximum(top, tl.max(score, 1))
        alpha = tl.exp2(top - higher)
        weight = _bf16(tl.exp2(score - higher[:, None]))
        # The sum of what PV will multiply, not of what it was rounded from: then a row's weights add up to one.
        total = total * alpha + tl.sum(weight.to(tl.float32), 1)
        top = higher
        # phase: PV
        acc0 = _dot(weight, k0, acc0 * alpha[:, None])
        acc1 = _dot(weight, k1, acc1 * alpha[:, None])
        acc2 = _dot(weight, k2, acc2 * alpha[:, None])
        acc3 = _dot(weight, k3, acc3 * alpha[:, None])
    # phase: none
    return top, total, acc0, acc1, acc2, acc3


@triton.jit
def _decode(
    q, main_cache, main_indices, main_indptr, extra_cache, extra_indices, extra_indptr,
    q_row_stride, q_head_stride, main_slots, extra_slots, heads, scale, row, head, split, splits,
    MAIN_BLOCK: tl.constexpr, MAIN_STRIDE: tl.constexpr, EXTRA_BLOCK: tl.constexpr, EXTRA_STRIDE: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """One share of a row's tiles, main tiles before extra ones: maximum (log2 domain) and sum [16], and four pieces [16, 128].

    Shares depend on the row's own lengths and on `splits`, so a row's bits do not change with the batch around it."""
    q0 = _load_q(q, row, head, heads, q_row_stride, q_head_stride, 0)
    q1 = _load_q(q, row, head, heads, q_row_stride, q_head_stride, 1)
    q2 = _load_q(q, row, head, heads, q_row_stride, q_head_stride, 2)
    q3 = _load_q(q, row, head, heads, q_row_stride, q_head_stride, 3)
    main_start = tl.load(main_indptr + row)
    main_length = tl.load(main_indptr + row + 1) - main_start
    main_tiles = tl.cdiv(main_length, TILE)
    tiles = main_tiles
    if extra_indptr is not None:
        extra_start = tl.load(extra_indptr + row)
        extra_length = tl.load(extra_indptr + row + 1) - extra_start
        tiles += tl.cdiv(extra_length, TILE)
    first, last = split * tiles // splits, (split + 1) * tiles // splits

    top, total = tl.full([HEADS], NO_MAX, dtype=tl.float32), tl.zeros([HEADS], dtype=tl.float32)
    acc0, acc1 = tl.zeros([HEADS, PIECE], dtype=tl.float32), tl.zeros([HEADS, PIECE], dtype=tl.float32)
    acc2, acc3 = tl.zeros([HEADS, PIECE], dtype=tl.float32), tl.zeros([HEADS, PIECE], dtype=tl.float32)
    top, total, acc0, acc1, acc2, acc3 = _attend(
        q0, q1, q2, q3, top, total, acc0, acc1, acc2, acc3, scale * LOG2_E, main_cache, main_indices, main_start, main_length,
        main_slots, first, tl.minimum(last, main_tiles), TILE, MAIN_BLOCK, MAIN_STRIDE,
    )  # fmt: skip
    if extra_indptr is not None:
        top, total, acc0, acc1, acc2, acc3 = _attend(
            q0, q1, q2, q3, top, total, acc0, acc1, acc2, acc3, scale * LOG2_E, extra_cache, extra_indices, extra_start,
            extra_length, extra_slots, tl.maximum(first - main_tiles, 0), last - main_tiles, TILE, EXTRA_BLOCK, EXTRA_STRIDE,
        )  # fmt: skip
    return top, total, acc0, acc1, acc2, acc3


@triton.jit
def _inverse(top, total, sink):
    """1 / (sum + sink): the sink enters once, when all is merged. An infinite sum gives 0, as does one of nothing."""
    return tl.where(total == 0.0, 0.0, 1.0 / (total + tl.exp2(sink * LOG2_E - top)))


@triton.jit
def _log_sum_exp(top, total):
    """Natural logarithm of a sum without its sink; -inf where nothing was attended."""
    return tl.where(total == 0.0, -float("inf"), (top + tl.log2(total)) * LN_2)


@triton.jit(do_not_specialize=["main_slots", "extra_slots", "heads"])
def decode_whole(
    q, out, lse, attn_sink, main_cache, main_indices, main_indptr, extra_cache, extra_indices, extra_indptr,
    q_row_stride, q_head_stride, out_row_stride, out_head_stride, main_slots, extra_slots, heads, scale,
    MAIN_BLOCK: tl.constexpr, MAIN_STRIDE: tl.constexpr, EXTRA_BLOCK: tl.constexpr, EXTRA_STRIDE: tl.constexpr,
    TILE: tl.constexpr = 16,
):  # fmt: skip
    """Grid (rows, blocks of 16 heads): a program walks all of its row and writes `out` and `lse`."""
    row, head = tl.program_id(0), tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    top, total, acc0, acc1, acc2, acc3 = _decode(
        q, main_cache, main_indices, main_indptr, extra_cache, extra_indices, extra_indptr,
        q_row_stride, q_head_stride, main_slots, extra_slots, heads, scale, row, head, 0, 1,
        MAIN_BLOCK, MAIN_STRIDE, EXTRA_BLOCK, EXTRA_STRIDE, TILE,
    )  # fmt: skip
    # phase: store
    inside = head < heads
    sink = tl.full([HEADS], -float("inf"), dtype=tl.float32)
    if attn_sink is not None:
        sink = tl.load(attn_sink + head, mask=inside, other=-float("inf"))
    if lse is not None:
        tl.store(lse + row.to(tl.int64) * heads + head, _log_sum_exp(top, total), mask=inside)
    inverse = _inverse(top, total, sink)[:, None]
    at = out + row.to(tl.int64) * out_row_stride + head[:, None].to(tl.int64) * out_head_stride + tl.arange(0, PIECE)[None, :]
    tl.store(at, _bf16(acc0 * inverse), mask=inside[:, None])
    tl.store(at + PIECE, _bf16(acc1 * inverse), mask=inside[:, None])
    tl.store(at + 2 * PIECE, _bf16(acc2 * inverse), mask=inside[:, None])
    tl.store(at + 3 * PIECE, _bf16(acc3 * inverse), mask=inside[:, None])


@triton.jit(do_not_specialize=["main_slots", "extra_slots", "heads"])
def decode_split(
    q, partial_acc, partial_ml, main_cache, main_indices, main_indptr, extra_cache, extra_indices, extra_indptr,
    q_row_stride, q_head_stride, main_slots, extra_slots, heads, scale,
    MAIN_BLOCK: tl.constexpr, MAIN_STRIDE: tl.constexpr, EXTRA_BLOCK: tl.constexpr, EXTRA_STRIDE: tl.constexpr,
    TILE: tl.constexpr = 32,
):  # fmt: skip
    """Grid (rows, blocks of 16 heads, splits): a program leaves its share's sums, not normalised, with their maximum."""
    row, head = tl.program_id(0), tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    split, splits = tl.program_id(2), tl.num_programs(2)
    top, total, acc0, acc1, acc2, acc3 = _decode(
        q, main_cache, main_indices, main_indptr, extra_cache, extra_indices, extra_indptr,
        q_row_stride, q_head_stride, main_slots, extra_slots, heads, scale, row, head, split, splits,
        MAIN_BLOCK, MAIN_STRIDE, EXTRA_BLOCK, EXTRA_STRIDE, TILE,
    )  # fmt: skip
    # phase: store
    part = (row.to(tl.int64) * splits + split) * heads + head  # [16]
    # Always written: the merge must not believe what an earlier launch left here. A sum of 0 says that nothing was attended,
    # and then nobody believes the accumulators.
    tl.store(partial_ml + 2 * part, top, mask=head < heads)
    tl.store(partial_ml + 2 * part + 1, total, mask=head < heads)
    at = partial_acc + part[:, None] * HEAD_DIM + tl.arange(0, PIECE)[None, :]
    attended = ((head < heads) & (total != 0.0))[:, None]
    tl.store(at, acc0, mask=attended)
    tl.store(at + PIECE, acc1, mask=attended)
    tl.store(at + 2 * PIECE, acc2, mask=attended)
    tl.store(at + 3 * PIECE, acc3, mask=attended)


@triton.jit(do_not_specialize=["heads"])
def decode_merge(
    partial_acc, partial_ml, out, lse, attn_sink, out_row_stride, out_head_stride, heads, SPLITS: tl.constexpr
):  # phase: merge
    """Grid (rows, heads): with M the largest maximum, split s counts with weight 2^(m_s - M). SPLITS is a power of two."""
    row, head = tl.program_id(0), tl.program_id(1)
    part = (row.to(tl.int64) * SPLITS + tl.arange(0, SPLITS)) * heads + head
    dim = tl.arange(0, HEAD_DIM)
    # Everything is loaded at once. A split that attended nothing left no accumulators: what lies there, NaN included, is left
    # out by selecting; multiplying by 0 would not.
    maximum, sums = tl.load(partial_ml + 2 * part), tl.load(partial_ml + 2 * part + 1)
    acc = tl.load(partial_acc + part[:, None] * HEAD_DIM + dim[None, :]).to(tl.float32)
    top = tl.max(maximum, 0)
    weight = tl.exp2(maximum - top)
    total = tl.sum(sums * weight, 0)
    merged = tl.sum(tl.where((sums != 0.0)[:, None], acc * weight[:, None], 0.0), 0)
    sink = -float("inf")
    if attn_sink is not None:
        sink = tl.load(attn_sink + head)
    if lse is not None:
        tl.store(lse + row.to(tl.int64) * heads + head, _log_sum_exp(top, total))
    at = out + row.to(tl.int64) * out_row_stride + head.to(tl.int64) * out_head_stride + dim
    tl.store(at, _bf16(merged * _inverse(top, total, sink)))


def arguments(
    kernel: Any,
    inputs: DecodeInputs,
    *,
    out: torch.Tensor,
    lse: torch.Tensor | None,
    partial_acc: torch.Tensor,
    partial_ml: torch.Tensor,
    split_k: int,
) -> dict[str, Any]:
    """What one of this module's kernels is called with, by name; tensors as for `params.pack`, which fills the HIP kernels'."""
    values: dict[str, Any] = {
        "q": inputs.q,
        "out": out,
        "lse": lse,
        "attn_sink": inputs.attn_sink,
        "partial_acc": partial_acc,
        "partial_ml": partial_ml,
        "q_row_stride": inputs.q.stride(0),
        "q_head_stride": inputs.q.stride(1),
        "out_row_stride": out.stride(0),
        "out_head_stride": out.stride(1),
        "heads": inputs.heads,
        "scale": inputs.scale,
        "SPLITS": split_k,
    }
    for name, segment in (("main", inputs.main), ("extra", inputs.extra)):
        values |= {
            f"{name}_cache": segment and segment.cache.storage,
            f"{name}_indices": segment and segment.indices,
            f"{name}_indptr": segment and segment.indptr,
            f"{name}_slots": segment.cache.num_slots if segment else 0,
            f"{name.upper()}_BLOCK": segment.cache.layout.block_size if segment else 1,
            f"{name.upper()}_STRIDE": segment.cache.layout.block_stride if segment else 0,
        }
    return {name: values[name] for name in kernel.arg_names if name in values}
