"""The decode on NVIDIA Hopper, in Gluon: warps that fetch and convert, warps that multiply, one launch for split rows too.

Scores are kept transposed, so that heads are the columns of a matrix instruction and 16 of them cost 16:

    S^T[64 tokens, heads] = K[64, 512] Q^T[512, heads]      wgmma, K read from shared memory
    O^T[512, heads]      += K^T[512, 64] P^T[64, heads]     wgmma, the same tile read transposed; O stays in registers

A program takes items (row, block of heads, split) one after another. Its producers, groups of four warps, fetch half a tile of 64
tokens each into registers, convert it and store bf16 into a ring of tiles; its other warps multiply.

fp8 becomes bf16 without a convert instruction: the bits of an e4m3 number, moved to their places in a bf16, are that number times
2^-120, and one multiplication by 2^120 * scale corrects that and applies the scale. It is exact for scales to 2^7; a larger scale
counts as 2^7 (a token of deviation 1e4 has 2^7), and the two NaN codes of fp8 as 480. Nothing invalid is loaded.

Splits of a row meet at a word of the workspace. Each stores its partial sums and adds itself to the word. One that finds all
there merges the part of the output that falls to it; one that has polled long enough without leaves a mark and goes. The last to
come sees whether any has left, and then merges everything. So none needs another program to be running, and a merge is parallel
where they all are. The last to be done sets the word to zero again. A row's bits depend on its split count, not on who merges.

Importing this needs Triton, but no GPU.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language._core import builtin
from triton.experimental.gluon.language.nvidia.hopper import fence_async_shared, mbarrier, warpgroup_mma, warpgroup_mma_wait

from sparse_mla.cache import layout

DATA_BYTES, SCALE_BYTES = gl.constexpr(layout.DATA_BYTES), gl.constexpr(layout.SCALE_BYTES)
ROPE_WORD = gl.constexpr(layout.ROPE_OFFSET // 4)
D = gl.constexpr(layout.HEAD_DIM)
TILE, HALF = gl.constexpr(64), gl.constexpr(32)  # tokens
NO_MAX = gl.constexpr(-1e30)  # where a running maximum starts: finite, so that NO_MAX - NO_MAX is 0
LOG2_E, LN_2 = gl.constexpr(1.4426950408889634), gl.constexpr(0.6931471805599453)
# Fields of a row's meeting word: splits that have arrived, have left, are done looking.
LEFT, DONE, FIELD = gl.constexpr(1 << 10), gl.constexpr(1 << 20), gl.constexpr((1 << 10) - 1)

# Four e4m3 bytes of $2 to two words of bf16, times the pair of scales in $3.
_CONVERT = gl.constexpr("""{
.reg .b32 a, b, c, d;
prmt.b32 a, $2, 0, 0x1404;
prmt.b32 b, $2, 0, 0x3424;
shr.b32 c, a, 4;
shr.b32 d, b, 4;
and.b32 c, c, 0x07f007f0;
and.b32 d, d, 0x07f007f0;
lop3.b32 a, a, 0x80008000, c, 0xEA;
lop3.b32 b, b, 0x80008000, d, 0xEA;
mul.bf16x2 $0, a, $3;
mul.bf16x2 $1, b, $3;
}""")


barrier = getattr(gl, "thread_barrier", None) or gl.barrier  # renamed after Triton 3.6


@builtin
def _as(memory, dtype, shape, layout, _semantic=None):
    """The same shared memory under another type; this was renamed too."""
    method = getattr(memory, "reinterpret", None) or memory._reinterpret
    return method(dtype, shape, layout, _semantic=_semantic)


@gluon.jit
def _convert(raw, scales, GROUP: gl.constexpr):
    """fp8 group GROUP of some tokens, int32 [tokens, 16], as pairs of bf16, int32 [tokens, 32]. `scales`: their records."""
    byte = ((scales >> (8 * GROUP)) & 0xFF).to(gl.int32)
    power = gl.minimum(byte + 120, 254) << 7  # 2^(120 + byte - 127)
    raw, power = gl.broadcast(raw, gl.expand_dims(power | (power << 16), 1))
    low, high = gl.inline_asm_elementwise(_CONVERT, "=r,=r,r,r", [raw, power], dtype=(gl.int32, gl.int32), is_pure=True, pack=1)
    return gl.reshape(gl.join(low, high), [raw.shape[0], 2 * raw.shape[1]])


@gluon.jit
def _item(item, splits, blocks):
    """(row, block of heads, split) of an item: blocks of one split side by side, for they read the same tokens."""
    block = item % blocks
    item = item // blocks
    return item // splits, block, item % splits


@gluon.jit
def _tiles(main_indptr, extra_indptr, row, split, splits):
    """Where a row's lists start and how long they are, tiles of the main one, and the first and end tile of one split."""
    main_start = gl.load(main_indptr + row)
    main_len = gl.load(main_indptr + row + 1) - main_start
    extra_start, extra_len = main_start * 0, main_len * 0
    if extra_indptr is not None:
        extra_start = gl.load(extra_indptr + row)
        extra_len = gl.load(extra_indptr + row + 1) - extra_start
    main_tiles = (main_len + TILE - 1) // TILE
    tiles = main_tiles + (extra_len + TILE - 1) // TILE
    return main_start, main_len, extra_start, extra_len, main_tiles, tiles * split // splits, tiles * (split + 1) // splits


@gluon.jit
def _slots(lists, starts, tile, end, PART: gl.constexpr, ROWS: gl.constexpr):
    """Slots of half a tile, int32 [32]; -1 for whatever is not in the cache, and past `end`."""
    main_indices, extra_indices, main_slots, extra_slots = lists
    main_start, main_len, extra_start, extra_len, main_tiles = starts
    is_main = tile < main_tiles
    position = gl.where(is_main, tile, tile - main_tiles) * TILE + PART * HALF + gl.arange(0, HALF, ROWS)
    at = gl.where(is_main, main_indices + main_start, extra_indices + extra_start) + position
    slot = gl.load(at, mask=(position < gl.where(is_main, main_len, extra_len)) & (tile < end), other=-1)
    return gl.where(slot < gl.where(is_main, main_slots, extra_slots), slot, -1)


@gluon.jit
def _records(cache, slot, BLOCK: gl.constexpr, STRIDE: gl.constexpr):
    """Byte pointers to the data and scale records of slots; of slot 0 where there is none."""
    slot = gl.maximum(slot, 0)
    block = slot // BLOCK
    place = slot - block * BLOCK
    at = cache + block.to(gl.int64) * STRIDE
    return at + place * DATA_BYTES, at + (place * SCALE_BYTES + BLOCK * DATA_BYTES)


@gluon.jit
def _fetch(
    caches,
    slot,
    is_main,
    MB: gl.constexpr,
    MS: gl.constexpr,
    EB: gl.constexpr,
    ES: gl.constexpr,
    FP8: gl.constexpr,
    BF16: gl.constexpr,
):
    """The records of half a tile on their way into registers: seven fp8 groups, RoPE, scales."""
    main_cache, extra_cache = caches
    if MB == EB and MS == ES:
        data, scale = _records(gl.where(is_main, main_cache, extra_cache), slot, MB, MS)
    else:
        data, scale = _records(main_cache, slot, MB, MS)
        extra_data, extra_scale = _records(extra_cache, slot, EB, ES)
        data, scale = gl.where(is_main, data, extra_data), gl.where(is_main, scale, extra_scale)
    ok = slot >= 0
    scales = gl.load(scale.to(gl.pointer_type(gl.int64), bitcast=True), mask=ok, other=0)
    word = gl.expand_dims(data.to(gl.pointer_type(gl.int32), bitcast=True), 1)
    at = word + gl.expand_dims(gl.arange(0, 16, gl.SliceLayout(0, FP8)), 0)
    there = gl.expand_dims(ok, 1)
    g0 = gl.load(at, mask=there, other=0)
    g1 = gl.load(at + 16, mask=there, other=0)
    g2 = gl.load(at + 32, mask=there, other=0)
    g3 = gl.load(at + 48, mask=there, other=0)
    g4 = gl.load(at + 64, mask=there, other=0)
    g5 = gl.load(at + 80, mask=there, other=0)
    g6 = gl.load(at + 96, mask=there, other=0)
    row = gl.convert_layout(data, gl.SliceLayout(1, BF16), assert_trivial=True)
    there = gl.expand_dims(gl.convert_layout(ok, gl.SliceLayout(1, BF16), assert_trivial=True), 1)
    at = gl.expand_dims(row.to(gl.pointer_type(gl.int32), bitcast=True), 1) + ROPE_WORD
    rope = gl.load(at + gl.expand_dims(gl.arange(0, 32, gl.SliceLayout(0, BF16)), 0), mask=there, other=0)
    return g0, g1, g2, g3, g4, g5, g6, rope, scales


@gluon.jit
def _beside(a, b):
    """[tokens, n] and [tokens, n] as [tokens, 2n]."""
    return gl.reshape(gl.permute(gl.join(a, b), (0, 2, 1)), [a.shape[0], 2 * a.shape[1]])


@gluon.jit
def _store(half, raw):
    """Half a tile as bf16 into shared memory, int32 [32, 256]; in one piece, for Triton puts a barrier between any two."""
    g0, g1, g2, g3, g4, g5, g6, rope, scales = raw
    first = _beside(_convert(g0, scales, 0), _convert(g1, scales, 1))
    low = _beside(first, _beside(_convert(g2, scales, 2), _convert(g3, scales, 3)))
    last = _convert(g6, scales, 6)
    rope = gl.convert_layout(rope, last.type.layout, assert_trivial=True)
    high = _beside(_beside(_convert(g4, scales, 4), _convert(g5, scales, 5)), _beside(last, rope))
    half.store(_beside(low, high))


@gluon.jit
def _bias(slot):
    """What is added to the scores of tokens: -inf where there is none."""
    return gl.where(slot >= 0, 0.0, float("-inf"))


@gluon.jit
def _produce(
    ring, bias, full, empty, caches, lists, main_indptr, extra_indptr, items, splits, blocks,
    PART: gl.constexpr, PRODUCERS: gl.constexpr, RING: gl.constexpr, AHEAD: gl.constexpr,
    MB: gl.constexpr, MS: gl.constexpr, EB: gl.constexpr, ES: gl.constexpr,
):  # fmt: skip
    """Four warps that fill half PART of every tile; both halves where they are the only producers."""
    FP8: gl.constexpr = gl.BlockedLayout([1, 4], [8, 4], [4, 1], [1, 0])  # 64 bytes of a token by four lanes: no bank conflict
    BF16: gl.constexpr = gl.BlockedLayout([1, 8], [8, 4], [4, 1], [1, 0])
    ROWS: gl.constexpr = gl.SliceLayout(1, FP8)
    at, phase = 0, 1
    for item in range(gl.program_id(0), items, gl.num_programs(0)):
        row, _, split = _item(item, splits, blocks)
        main_start, main_len, extra_start, extra_len, main_tiles, first, end = _tiles(
            main_indptr, extra_indptr, row, split, splits
        )
        starts = (main_start, main_len, extra_start, extra_len, main_tiles)
        slot = _slots(lists, starts, first, end, PART, ROWS)
        ahead = _slots(lists, starts, first + 1, end, PART, ROWS)
        raw = _fetch(caches, slot, first < main_tiles, MB, MS, EB, ES, FP8, BF16)
        if PRODUCERS == 1:
            slot1 = _slots(lists, starts, first, end, 1, ROWS)
            ahead1 = _slots(lists, starts, first + 1, end, 1, ROWS)
            raw1 = _fetch(caches, slot1, first < main_tiles, MB, MS, EB, ES, FP8, BF16)
        for tile in range(first, end):
            valid = _bias(slot)
            slot = ahead
            if AHEAD:
                coming = _fetch(caches, slot, tile + 1 < main_tiles, MB, MS, EB, ES, FP8, BF16)
                ahead = _slots(lists, starts, tile + 2, end, PART, ROWS)
            mbarrier.wait(empty.index(at), phase)
            _store(ring.index(at).slice(PART * HALF, HALF, 0), raw)
            bias.index(at).slice(PART * HALF, HALF).store(valid)
            fence_async_shared()
            mbarrier.arrive(full.index(at), count=1)
            if AHEAD:
                raw = coming
            else:
                raw = _fetch(caches, slot, tile + 1 < main_tiles, MB, MS, EB, ES, FP8, BF16)
                ahead = _slots(lists, starts, tile + 2, end, PART, ROWS)
            if PRODUCERS == 1:
                _store(ring.index(at).slice(HALF, HALF, 0), raw1)
                bias.index(at).slice(HALF, HALF).store(_bias(slot1))
                fence_async_shared()
                mbarrier.arrive(full.index(at), count=1)
                slot1 = ahead1
                raw1 = _fetch(caches, slot1, tile + 1 < main_tiles, MB, MS, EB, ES, FP8, BF16)
                ahead1 = _slots(lists, starts, tile + 2, end, 1, ROWS)
            at += 1
            if at == RING:
                at = 0
                phase ^= 1


@gluon.jit
def _meet(word, splits, split, polls, SLICES: gl.constexpr):
    """Slices [from, to) of the output that this split's program merges, once all partial sums of the row are there."""
    barrier()
    seen = gl.atomic_add(word, 1, sem="acq_rel", scope="gpu") + 1
    is_last = (seen & FIELD) == splits
    tries, left = 0, 0
    while ((seen & FIELD) < splits) & (left == 0):
        if tries < polls:
            seen = gl.atomic_add(word, 0, sem="acquire", scope="gpu")
        else:
            before = gl.atomic_cas(word, seen, seen + LEFT, sem="acq_rel", scope="gpu")
            left = (before == seen).to(gl.int32)
            seen = before
        tries += 1
    absent = (seen // LEFT) & FIELD
    first = gl.where(absent > 0, 0, split)
    last = gl.where(absent > 0, gl.where(is_last, SLICES, 0), gl.minimum(split + 1, SLICES))
    barrier()
    return first, gl.where(left == 0, last, first), absent, left


@gluon.jit
def _part(word, splits, absent):
    """Count this split as done with its row's word; whoever is last to be sets it to zero."""
    done = (gl.atomic_add(word, DONE, sem="relaxed", scope="gpu") // DONE) & FIELD
    if done + 1 + absent == splits:
        gl.atomic_xchg(word, 0, sem="relaxed", scope="gpu")


@gluon.jit
def _inverse(total, top, attn_sink, head, heads):
    """1 / (sum + sink), the sink entering once; 0 for a sum of nothing, and for an infinite one."""
    below = total
    if attn_sink is not None:
        sink = gl.load(attn_sink + head, mask=head < heads, other=float("-inf"))
        below += gl.exp2(sink * LOG2_E - top)
    return gl.where(total > 0, 1.0 / below, 0.0)


@gluon.jit
def _store_lse(lse, total, top, row, head, heads):
    if lse is not None:
        value = gl.where(total > 0, (top + gl.log2(total)) * LN_2, float("-inf"))
        gl.store(lse + row.to(gl.int64) * heads + head, value, mask=head < heads)


@gluon.jit
def _merge(
    partial, partial_ml, out, lse, attn_sink, out_row_stride, out_head_stride, heads, row, group, head0, splits, first, last,
    BH: gl.constexpr, SPLITS: gl.constexpr, SLICES: gl.constexpr, WARPS: gl.constexpr,
):  # fmt: skip
    """Slices `first` to `last` - 1 of a row's output for BH heads, of D / SLICES dims each. SPLITS: a power of two >= splits."""
    DIMS: gl.constexpr = D // SLICES
    AT_ONCE: gl.constexpr = 2048 * WARPS  # numbers: 64 a thread
    CHUNK: gl.constexpr = SPLITS if SPLITS * DIMS * BH <= AT_ONCE else AT_ONCE // (DIMS * BH)  # splits at a time
    WIDE: gl.constexpr = WARPS * 128 // BH  # dims that the warps cover side by side
    ACROSS: gl.constexpr = 1 if WIDE <= DIMS else WIDE // DIMS
    L3: gl.constexpr = gl.BlockedLayout([1, 1, 4], [1, 128 // BH, BH // 4], [ACROSS, WARPS // ACROSS, 1], [2, 1, 0])
    FLAT: gl.constexpr = gl.SliceLayout(0, L3)
    L2: gl.constexpr = gl.BlockedLayout([1, 4], [128 // BH, BH // 4], [WARPS, 1], [1, 0])
    PLAIN: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [1, 0])
    weights = gl.allocate_shared_memory(gl.float32, [SPLITS // CHUNK, CHUNK, BH], PLAIN)
    partial += (group * splits).to(gl.int64) * (D * BH)
    partial_ml += group * splits * (2 * BH)

    head = gl.arange(0, BH, gl.SliceLayout(0, L2))
    each = gl.expand_dims(gl.arange(0, SPLITS, gl.SliceLayout(1, L2)), 1)
    ml_at = partial_ml + each * (2 * BH) + gl.expand_dims(head, 0)
    tops = gl.load(ml_at, mask=each < splits, other=NO_MAX, cache_modifier=".cg")
    sums = gl.load(ml_at + BH, mask=each < splits, other=0.0, cache_modifier=".cg")
    top = gl.max(tops, axis=0)
    weight = gl.exp2(tops - gl.expand_dims(top, 0))
    total = gl.sum(weight * sums, axis=0)
    if first == 0:
        _store_lse(lse, total, top, row, head0 + head, heads)
    weight = weight * gl.expand_dims(_inverse(total, top, attn_sink, head0 + head, heads), 0)
    _as(weights, gl.float32, [SPLITS, BH], PLAIN).store(weight)

    column = head0 + gl.arange(0, BH, gl.SliceLayout(0, FLAT))
    out_at = out + row.to(gl.int64) * out_row_stride + gl.expand_dims(column.to(gl.int64) * out_head_stride, 0)
    deep = gl.expand_dims(gl.expand_dims(gl.arange(0, CHUNK, gl.SliceLayout(1, gl.SliceLayout(2, L3))), 1), 2)
    wide = gl.arange(0, DIMS, gl.SliceLayout(0, gl.SliceLayout(2, L3)))
    low = gl.expand_dims(gl.expand_dims(gl.arange(0, BH, gl.SliceLayout(0, FLAT)), 0), 0)
    spot = deep * (D * BH) + gl.expand_dims(gl.expand_dims(wide, 0) * BH, 2) + low
    for piece in range(first, last):
        merged = gl.zeros([DIMS, BH], gl.float32, FLAT)
        for chunk in range((splits + CHUNK - 1) // CHUNK):
            here = partial + chunk * (CHUNK * D * BH) + piece * (DIMS * BH)
            part = gl.load(here + spot, mask=chunk * CHUNK + deep < splits, other=0.0, cache_modifier=".cg")
            merged += gl.sum(part * gl.expand_dims(weights.index(chunk).load(gl.SliceLayout(1, L3)), 1), axis=0)
        dim = gl.expand_dims(piece * DIMS + gl.arange(0, DIMS, gl.SliceLayout(1, FLAT)), 1)
        gl.store(out_at + dim, merged.to(gl.bfloat16), mask=gl.expand_dims(column, 0) < heads)


@gluon.jit
def _consume(
    ring, bias, full, empty, q_shared, p_shared, q, out, lse, attn_sink, partial, partial_ml, words,
    q_row_stride, q_head_stride, out_row_stride, out_head_stride, main_indptr, extra_indptr,
    heads, scale, items, splits, blocks, polls,
    BH: gl.constexpr, RING: gl.constexpr, SPLITS: gl.constexpr, SLICES: gl.constexpr,
    WARPS: gl.constexpr,
):  # fmt: skip
    """Warps that multiply tiles for BH heads."""
    ST: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, WARPS // 4], [16, BH * 4 // WARPS, 16])  # S^T [64, BH]
    OT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [WARPS, 1], [16, BH, 16])  # O^T [512, BH]
    LQ: gl.constexpr = gl.BlockedLayout([1, 8], [1, 32], [WARPS, 1], [1, 0])
    BY_HEAD: gl.constexpr = gl.SliceLayout(0, OT)
    at, phase = 0, 0
    for item in range(gl.program_id(0), items, gl.num_programs(0)):
        row, block, split = _item(item, splits, blocks)
        _, _, _, _, _, first, end = _tiles(main_indptr, extra_indptr, row, split, splits)
        group = row * blocks + block
        head0 = block * BH
        lane_head = head0 + gl.arange(0, BH, gl.SliceLayout(1, LQ))
        wide = gl.expand_dims(gl.arange(0, D, gl.SliceLayout(0, LQ)), 0)
        inside = gl.expand_dims(lane_head, 1) < heads
        q_at = q + row.to(gl.int64) * q_row_stride + gl.expand_dims(lane_head.to(gl.int64) * q_head_stride, 1) + wide
        q_shared.store(gl.load(q_at, mask=inside, other=0.0))
        fence_async_shared()

        acc = gl.zeros([D, BH], gl.float32, OT)
        total = gl.zeros([TILE, BH], gl.float32, ST)
        top = gl.full([BH], NO_MAX, gl.float32, gl.SliceLayout(0, ST))
        for _tile in range(first, end):
            mbarrier.wait(full.index(at), phase)
            kv = ring.index(at)
            score = warpgroup_mma(
                kv, q_shared.permute((1, 0)), gl.zeros([TILE, BH], gl.float32, ST), use_acc=False, is_async=True
            )
            valid = bias.index(at).load(gl.SliceLayout(1, ST))
            score = warpgroup_mma_wait(0, deps=[score])
            score = score * scale + gl.expand_dims(valid, 1)
            higher = gl.maximum(top, gl.max(score, axis=0))
            weight = gl.exp2(score - gl.expand_dims(higher, 0))
            p_shared.store(weight.to(gl.bfloat16))
            fence_async_shared()
            alpha = gl.exp2(top - higher)
            top = higher
            total = total * gl.expand_dims(alpha, 0) + weight
            acc = acc * gl.expand_dims(gl.convert_layout(alpha, BY_HEAD), 0)
            acc = warpgroup_mma(kv.permute((1, 0)), p_shared, acc, is_async=True)
            acc = warpgroup_mma_wait(0, deps=[acc])
            mbarrier.arrive(empty.index(at), count=1)
            at += 1
            if at == RING:
                at = 0
                phase ^= 1

        sums = gl.convert_layout(gl.sum(total, axis=0), BY_HEAD)
        top = gl.convert_layout(top, BY_HEAD)
        head = gl.arange(0, BH, BY_HEAD)
        if SPLITS == 1:
            inverse = _inverse(sums, top, attn_sink, head0 + head, heads)
            _store_lse(lse, sums, top, row, head0 + head, heads)
            # Through q's place, to leave by whole lines.
            q_shared.permute((1, 0)).store((acc * gl.expand_dims(inverse, 0)).to(gl.bfloat16))
            o_at = out + row.to(gl.int64) * out_row_stride + gl.expand_dims(lane_head.to(gl.int64) * out_head_stride, 1) + wide
            gl.store(o_at, q_shared.load(LQ), mask=inside)
        else:
            part = group * splits + split
            spot = gl.expand_dims(gl.arange(0, D, gl.SliceLayout(1, OT)) * BH, 1) + gl.expand_dims(head, 0)
            gl.store(partial + part.to(gl.int64) * (D * BH) + spot, acc)
            gl.store(partial_ml + part * (2 * BH) + head, top)
            gl.store(partial_ml + part * (2 * BH) + BH + head, sums)
            begin, stop, absent, left = _meet(words + group, splits, split, polls, SLICES)
            if begin < stop:
                _merge(
                    partial, partial_ml, out, lse, attn_sink, out_row_stride, out_head_stride, heads, row, group, head0, splits,
                    begin, stop, BH, SPLITS, SLICES, WARPS,
                )  # fmt: skip
            if left == 0:
                _part(words + group, splits, absent)


@gluon.jit(do_not_specialize=["heads", "items", "splits", "blocks", "polls", "main_slots", "extra_slots"])
def hopper_decode(
    q, out, lse, attn_sink, main_cache, main_indices, main_indptr, extra_cache, extra_indices, extra_indptr,
    partial, partial_ml, words, q_row_stride, q_head_stride, out_row_stride, out_head_stride, main_slots, extra_slots,
    heads, scale, items, splits, blocks, polls,
    MAIN_BLOCK: gl.constexpr, MAIN_STRIDE: gl.constexpr, EXTRA_BLOCK: gl.constexpr, EXTRA_STRIDE: gl.constexpr,
    BH: gl.constexpr, WARPS: gl.constexpr, RING: gl.constexpr, SPLITS: gl.constexpr, SLICES: gl.constexpr,
    AHEAD: gl.constexpr, PRODUCERS: gl.constexpr, REGISTERS: gl.constexpr,
):  # fmt: skip
    """A program a multiprocessor. `scale` is in the log2 domain."""
    KV: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    KV32: gl.constexpr = gl.NVMMASharedLayout(128, 32, 2)
    PT: gl.constexpr = gl.NVMMASharedLayout(BH * 2, 16, 2)
    FLAT: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [0])
    ring = gl.allocate_shared_memory(gl.bfloat16, [RING, TILE, D], KV)
    words32 = _as(ring, gl.int32, [RING, TILE, D // 2], KV32)
    bias = gl.allocate_shared_memory(gl.float32, [RING, TILE], FLAT)
    q_shared = gl.allocate_shared_memory(gl.bfloat16, [BH, D], KV)
    p_shared = gl.allocate_shared_memory(gl.bfloat16, [TILE, BH], PT)
    full = gl.allocate_shared_memory(gl.int64, [RING, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [RING, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(RING):
        mbarrier.init(full.index(i), count=2)
        mbarrier.init(empty.index(i), count=1)
    barrier()
    caches = (main_cache, extra_cache)
    lists = (main_indices, extra_indices, main_slots, extra_slots)
    # Tuples in place: a tuple with a name would make tensors of its constants.
    if PRODUCERS == 2:
        gl.warp_specialize(
            [
                (_consume, (
                    ring, bias, full, empty, q_shared, p_shared, q, out, lse, attn_sink, partial, partial_ml, words,
                    q_row_stride, q_head_stride, out_row_stride, out_head_stride, main_indptr, extra_indptr,
                    heads, scale, items, splits, blocks, polls, BH, RING, SPLITS, SLICES, WARPS,
                )),
                (_produce, (
                    words32, bias, full, empty, caches, lists, main_indptr, extra_indptr, items, splits, blocks,
                    0, PRODUCERS, RING, AHEAD, MAIN_BLOCK, MAIN_STRIDE, EXTRA_BLOCK, EXTRA_STRIDE,
                )),
                (_produce, (
                    words32, bias, full, empty, caches, lists, main_indptr, extra_indptr, items, splits, blocks,
                    1, PRODUCERS, RING, AHEAD, MAIN_BLOCK, MAIN_STRIDE, EXTRA_BLOCK, EXTRA_STRIDE,
                )),
            ],
            [4, 4], [REGISTERS, REGISTERS],
        )  # fmt: skip
    else:
        gl.warp_specialize(
            [
                (_consume, (
                    ring, bias, full, empty, q_shared, p_shared, q, out, lse, attn_sink, partial, partial_ml, words,
                    q_row_stride, q_head_stride, out_row_stride, out_head_stride, main_indptr, extra_indptr,
                    heads, scale, items, splits, blocks, polls, BH, RING, SPLITS, SLICES, WARPS,
                )),
                (_produce, (
                    words32, bias, full, empty, caches, lists, main_indptr, extra_indptr, items, splits, blocks,
                    0, PRODUCERS, RING, AHEAD, MAIN_BLOCK, MAIN_STRIDE, EXTRA_BLOCK, EXTRA_STRIDE,
                )),
            ],
            [4], [REGISTERS],
        )  # fmt: skip
