"""Exercises of 01_sparse_mla_and_the_cache: byte offsets, UE8M0 scales, how many tokens a row attends to."""

from __future__ import annotations

import math

from sparse_mla.cache.layout import CacheLayout
from sparse_mla.kernels.case import TOP_K, WINDOW, attended
from sparse_mla.widgets.exercise import Exercise, Wrong, calls


def _offsets(slot: int, block_size: int, block_stride: int) -> tuple[int, int]:
    layout = CacheLayout(block_size, block_stride)
    return layout.data_offset(slot), layout.scale_offset(slot)


def _offsets_with(stride_of: str) -> object:
    """Listed mistakes differ in one term each."""

    def offsets(slot: int, block_size: int, block_stride: int) -> tuple[int, int]:
        block, place = divmod(slot, block_size)
        start = block * (block_size * 584 if stride_of == "contiguous" else block_stride)
        if stride_of == "inline":
            return start + place * 584, start + place * 584 + 576
        if stride_of == "per block":
            return start + place * 576, start + block_size * 576
        return start + place * 576, start + block_size * 576 + place * 8

    return offsets


def _scale_byte(amax: float) -> int:
    return math.ceil(math.log2(max(amax / 448, 1e-4))) + 127


def _attended_wrong(mistake: str) -> object:
    def tokens(layer: str, position: int) -> int:
        seen = position if mistake == "position" else position + 1
        window = min(seen, WINDOW) if mistake != "window" else WINDOW
        top = seen // 4 if mistake == "uncapped" else min(seen // 4, TOP_K["pro"])
        groups = -(-seen // 128) if mistake == "open group" else seen // 128
        return window + {"swa": 0, "csa": top, "hca": groups}[layer]

    return tokens


EXERCISES = [
    Exercise(
        name="01.offsets",
        ask="Return the byte offsets (data record, scale record) of a slot; block_size is in tokens, block_stride in bytes.",
        hint="First the block, slot // block_size, then the place in it. A block's data records come before its scale records.",
        # The strides are padded and the slots lie past block 0, so that none of the terms is zero or hidden by another.
        observe=calls(
            "slot {}, block_size {}, block_stride {}", (7, 64, 37440), (130, 64, 37440), (5, 2, 1728), (99, 64, 1435968)
        ),
        right=_offsets,
        solution="""
            block, place = divmod(slot, block_size)
            start = block * block_stride
            return start + place * 576, start + block_size * 576 + place * 8
        """,
        wrong=[
            Wrong(_offsets_with("contiguous"), "Blocks need not touch: use block_stride, not block_size * 584."),
            Wrong(_offsets_with("inline"), "The scales do not follow their token: they sit together at the end of the block."),
            Wrong(_offsets_with("per block"), "That is the block's first scale record; each token has its own, 8 bytes apart."),
        ],
    ),
    Exercise(
        name="01.scale_byte",
        ask="Return the UE8M0 byte of a group of 64 numbers whose largest magnitude is amax.",
        hint="The scale is the smallest power of two that is at least max(amax / 448, 1e-4); the byte is its exponent plus 127.",
        observe=calls("amax {}", (448.0,), (449.0,), (3.0,), (900.0,), (0.0,), (1.75,)),
        right=_scale_byte,
        solution="import math\n\nreturn math.ceil(math.log2(max(amax / 448, 1e-4))) + 127",
        wrong=[
            Wrong(
                lambda amax: math.floor(math.log2(max(amax / 448, 1e-4))) + 127,
                "Rounding down lets amax / scale exceed 448, and saturate.",
            ),
            Wrong(
                lambda amax: round(math.log2(max(amax / 448, 1e-4))) + 127,
                "Rounding to nearest lets amax / scale exceed 448 half of the time.",
            ),
            Wrong(
                lambda amax: math.ceil(math.log2(amax / 448)) + 127 if amax else 0,
                "A group of zeros has a scale too: the floor 1e-4 decides it.",
            ),
            Wrong(lambda amax: _scale_byte(amax) + 1, "The bias is 127, that of a float32 exponent."),
        ],
    ),
    Exercise(
        name="01.attended",
        ask='Return how many tokens a V4-Pro row at `position` (from 0) attends to in a layer of kind "swa", "csa" or "hca".',
        hint="position + 1 tokens exist. Only completed groups of 4 or 128 are visible, and CSA keeps the best 1024 of them.",
        observe=calls(
            "{} at position {}",
            *(("swa", place) for place in (5, 4096)),
            *(("csa", place) for place in (1022, 1023, 99_999)),
            *(("hca", place) for place in (126, 127, 99_999)),
        ),
        right=lambda layer, position: sum(attended("pro", layer, position)),
        solution="""
            seen = position + 1
            compressed = {"swa": 0, "csa": min(seen // 4, 1024), "hca": seen // 128}
            return min(seen, 128) + compressed[layer]
        """,
        wrong=[
            Wrong(_attended_wrong("position"), "At position p there are p + 1 tokens: a token sees itself."),
            Wrong(_attended_wrong("window"), "Early rows have fewer than 128 tokens behind them."),
            Wrong(_attended_wrong("uncapped"), "CSA reads only the 1024 groups that the indexer chose."),
            Wrong(_attended_wrong("open group"), "A group that is not complete is not visible yet: round down."),
        ],
    ),
]
